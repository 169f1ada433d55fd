"""`triptych demo`: the tour on shipped weights, offline."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from triptych.cli import options
from triptych.cli.output import answer, parts
from triptych.extras import require

PARTS = {"words": 3, "pixels": 9, "notes": 12, "layers": 1}  # and their shares of the time


@options.grouped
def demo(
    *,
    out: Annotated[Path, typer.Option("--out", file_okay=False, metavar="DIR", help="Folder of the page.")] = Path(
        "gallery"
    ),
    machine: options.Machine,
) -> None:
    """Take the tour: the studio's page in one file, with translations, pictures and pieces made now, for a browser.

    It needs no server. It computes in one thread unless --threads is given: most of it is made one token after another,
    where a second thread mostly waits for the first.
    """
    require("starlette", "the page of the studio")
    from triptych.cli.gallery import Recorder, begun, finished, page_of, recorded
    from triptych.studio.app import Studio

    begun(out)
    recorder = Recorder(Studio(threads=machine.threads or 1))
    with parts(PARTS) as begin:
        for part in recorded(recorder):
            begin(part)
    page = finished(out, page_of(recorder.answers))
    result = {"page": str(page), "answers": len(recorder.answers), "bytes": page.stat().st_size}
    answer(
        result,
        [str(page), "the same live, with your own words, pictures and notes: triptych studio"],
        as_json=machine.json,
    )
