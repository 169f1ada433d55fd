"""`triptych demo`: the tour on shipped weights, offline, within a minute."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from triptych.cli import options
from triptych.cli.loading import load_composer, load_painter, load_pianist, load_translator
from triptych.cli.output import answer, say

TRANSLATOR, COMPOSER, FILLER = "captions-en-de", "chorales", "chorales-infill"
PAINTER, COMPLETER, UPSCALER = "fashion", "fashion-complete", "emoji-upscale"
PIANIST = "piano"


def demo(
    out: Annotated[Path, typer.Option("--out", file_okay=False, metavar="DIR", help="Folder of the pages.")] = Path(
        "gallery"
    ),
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = options.DtypeName.auto,
    json: options.Json = False,
) -> None:
    """Take the tour: a gallery of translations, pictures, pieces and what the models looked at, for a browser."""
    from triptych.cli.gallery import write_page
    from triptych.cli.gallery_notes import notes
    from triptych.cli.gallery_piano import piano
    from triptych.cli.gallery_pixels import pixels
    from triptych.cli.gallery_words import words
    from triptych.model.store import shipped

    there = {card["name"] for card in shipped()}
    settings = device, threads, dtype.value

    def sections() -> Iterator[str]:
        if _ships(there, TRANSLATOR):
            yield from words(load_translator(TRANSLATOR, *settings), TRANSLATOR, out)
        if _ships(there, PAINTER):
            completer, upscaler = (
                load_painter(name, *settings) if _ships(there, name) else None for name in (COMPLETER, UPSCALER)
            )
            yield from pixels(load_painter(PAINTER, *settings), completer, upscaler, out)
        if _ships(there, COMPOSER, FILLER):
            yield from notes(load_composer(COMPOSER, *settings), load_composer(FILLER, *settings), out)
        if _ships(there, PIANIST):
            yield from piano(load_pianist(PIANIST, *settings), out)

    out.mkdir(parents=True, exist_ok=True)
    page = write_page(sections(), out)
    answer({"page": str(page), "files": sum(1 for _ in out.rglob("*.*"))}, [str(page)], as_json=json)


def _ships(there: set[str], *names: str) -> bool:
    """Whether this build has the models; a panel without them is left out with a word."""
    missing = [name for name in names if name not in there]
    if missing:
        say(f"the gallery is without {' and '.join(missing)}: not in this build")
    return not missing
