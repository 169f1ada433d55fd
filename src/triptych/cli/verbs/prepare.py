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
    index: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            metavar="FILE.csv",
            help="Columns file, composer and split of the files to take; else all, by folder, every tenth held out.",
        ),
    ] = None,
    melody: Annotated[
        bool, typer.Option("--melody", help="Keep the melodies too (a part named melody, else the highest notes).")
    ] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, max=64, metavar="N", help="Processes that read; as processors.")
    ] = None,
    json: options.Json = False,
) -> None:
    """Read piano performances from MIDI files: for `train music` and `evaluate music` of a pianist."""
    shards, words = prepared(data, out, index=index, melody=melody, workers=workers)
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
