"""`triptych demo`: the tour on shipped weights, offline, within a minute."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from triptych.cli import options
from triptych.cli.loading import load_translator
from triptych.cli.output import answer


def demo(
    out: Annotated[Path, typer.Option("--out", file_okay=False, metavar="DIR", help="Folder of the pages.")] = Path(
        "gallery"
    ),
    model: options.Model = "captions-en-de",
    device: options.Device = "auto",
    threads: options.Threads = None,
    dtype: options.Dtype = options.DtypeName.auto,
    json: options.Json = False,
) -> None:
    """Take the tour: a gallery of translations and what the model looked at, to open in a browser."""
    from triptych.cli.gallery import build

    translator = load_translator(model, device, threads, dtype.value)
    page = build(translator, model, out)
    answer({"model": model, "page": str(page), "files": sum(1 for _ in out.rglob("*.*"))}, [str(page)], as_json=json)
