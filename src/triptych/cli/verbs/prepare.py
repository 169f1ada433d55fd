"""`triptych prepare`: files of a kind, read once, as arrays to train on. One command a panel."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from triptych.cli import options
from triptych.cli.loading import prepared, say_some
from triptych.cli.output import answer

app = typer.Typer(name="prepare", help="Read many files once, for training.")


@app.command()
@options.grouped
def music(
    *,
    data: Annotated[Path, typer.Option(metavar="PATH", help="A folder or zip of MIDI (or MusicXML) files.")],
    out: Annotated[Path, typer.Option(file_okay=False, metavar="DIR", help="A new folder for the arrays.")],
    melody: Annotated[
        bool, typer.Option("--melody", help="Keep the melodies too (a part named melody, else the highest notes).")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, metavar="N", help="Processes that read; as processors.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Read piano performances from MIDI files: for `train music` and `evaluate music` of a pianist.

    The folder of a file is its label, such as a composer. In folders train, valid and test it is of that split, else
    every tenth file by name is held out.
    """
    shards, words = prepared(data, out, melody=melody, workers=workers)
    say_some(words, "about these files")
    result = {
        "out": str(out),
        "pieces": len(shards.entries),
        "tokens": sum(entry.tokens for entry in shards.entries),
        "seconds": round(sum(entry.seconds for entry in shards.entries), 1),
        "labels": list(shards.labels),
        "left_out": len(words),
    }
    lines = [f"{out}: {result['pieces']:,} pieces, {result['tokens']:,} tokens"]
    answer(result, lines, as_json=json)
