"""`triptych demo`: the tour on shipped weights, offline."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from triptych.cli import options
from triptych.cli.loading import load
from triptych.cli.output import answer, parts, say

TRANSLATOR, COMPOSER, FILLER = "captions-en-de", "chorales", "chorales-infill"
PAINTER, COMPLETER, UPSCALER = "fashion", "fashion-complete", "emoji-upscale"
PIANIST = "piano"


@options.grouped
def demo(
    *,
    out: Annotated[Path, typer.Option("--out", file_okay=False, metavar="DIR", help="Folder of the pages.")] = Path(
        "gallery"
    ),
    machine: options.Machine,
) -> None:
    """Take the tour: a gallery of translations, pictures, pieces and what the models looked at, for a browser.

    It computes in one thread unless --threads is given: most of it is made one token after another, where a
    second thread mostly waits for the first.
    """
    from triptych.cli.gallery import notes as gallery_notes
    from triptych.cli.gallery import piano as gallery_piano
    from triptych.cli.gallery import pixels as gallery_pixels
    from triptych.cli.gallery import words as gallery_words
    from triptych.cli.gallery.pages import CONTENTS, finished, renewed, write_page
    from triptych.image.painter import Painter
    from triptych.music.chorales.composer import Composer
    from triptych.music.performances.pianist import Pianist
    from triptych.shape.store import shipped
    from triptych.text.translator import Translator

    there = {card["name"] for card in shipped()}
    machine = replace(machine, threads=machine.threads or 1)
    painting, *more_pixels = gallery_pixels.PARTS
    shares: dict[str, float] = {}
    if words := _ships(there, TRANSLATOR):
        shares |= gallery_words.PARTS
    if pixels := _ships(there, PAINTER):
        shares[painting] = gallery_pixels.PARTS[painting]
    also = [pixels and _ships(there, name) for name in (COMPLETER, UPSCALER)]
    shares |= {name: gallery_pixels.PARTS[name] for name, ships in zip(more_pixels, also, strict=True) if ships}
    if notes := _ships(there, COMPOSER, FILLER):
        shares |= gallery_notes.PARTS
    if piano := _ships(there, PIANIST):
        shares |= gallery_piano.PARTS

    making = renewed(out)

    def sections(begin: Callable[[str], None]) -> Iterator[str]:
        if words:
            yield from gallery_words.words(load(Translator, TRANSLATOR, machine), TRANSLATOR, making, begin)
        if pixels:
            completer, upscaler = (
                load(Painter, name, machine) if ships else None
                for name, ships in zip((COMPLETER, UPSCALER), also, strict=True)
            )
            yield from gallery_pixels.pixels(load(Painter, PAINTER, machine), completer, upscaler, making, begin)
        if notes:
            composer, filler = (load(Composer, name, machine) for name in (COMPOSER, FILLER))
            yield from gallery_notes.notes(composer, filler, making, begin)
        if piano:
            yield from gallery_piano.piano(load(Pianist, PIANIST, machine), making, begin)

    with parts(shares) as begin:
        write_page(sections(begin), making)
    page = finished(making, out)
    count = sum(path.name != CONTENTS for path in out.rglob("*.*"))
    answer({"page": str(page), "files": count}, [str(page)], as_json=machine.json)


def _ships(there: set[str], *names: str) -> bool:
    """Whether this build has the models; a panel without them is left out with a word."""
    missing = [name for name in names if name not in there]
    if missing:
        say(f"the gallery is without {' and '.join(missing)}: not in this build")
    return not missing
