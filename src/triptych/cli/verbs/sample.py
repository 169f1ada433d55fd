"""`triptych sample`: small free data sets of our own, to try everything on. One command a panel."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated

import typer

from triptych.cli import options
from triptych.cli.output import answer
from triptych.errors import UserError

app = typer.Typer(name="sample", help="Write a small free data set, to try training and measuring on.")

LICENSE = """{what}
Made by Triptych, by the command `triptych sample {panel}`.

To the extent possible under law, the authors have waived all copyright and related or neighboring rights to these
files: CC0 1.0 Universal, https://creativecommons.org/publicdomain/zero/1.0/
"""
Folder = Annotated[Path, typer.Argument(metavar="DIR", file_okay=False, help="A new folder, or an empty one.")]


@app.command()
@options.grouped
def words(folder: Folder, *, json: options.Json = False) -> None:
    """Write 6,600 sentence pairs with numbers in words, English and German: train.en, train.de, valid.*, test.*."""
    from triptych.text.numbers import files

    _write(
        "words", "Sentences with numbers in words, English and German, made by a rule.", folder, files(), as_json=json
    )


@app.command()
@options.grouped
def pixels(folder: Folder, *, json: options.Json = False) -> None:
    """Write 480 drawn shapes in colour, 16 x 16 pixels, as PNG in folders of six classes: train, valid, test."""
    from triptych.image.shapes import files

    _write("pixels", "Drawn shapes in colour, in folders of their classes.", folder, files(), as_json=json)


@app.command()
@options.grouped
def notes(folder: Folder, *, json: options.Json = False) -> None:
    """Write twelve old tunes as MIDI: each alone in melodies, and set for four voices by a rule in chorales."""
    from triptych.music.files.midi import midi_bytes
    from triptych.music.piece.tunes import sample_pieces

    files = {f"{name}.mid": midi_bytes(piece) for name, piece in sample_pieces().items()}
    what = "Old tunes in the public domain, alone and set for four voices by a rule."
    _write("notes", what, folder, files, as_json=json)


def _write(panel: str, what: str, folder: Path, files: Mapping[str, bytes], *, as_json: bool) -> None:
    """Write the files into a folder in which nothing else is but these very files."""
    from triptych.shape.files import write_file

    files = {"LICENSE": LICENSE.format(what=what, panel=panel).encode(), **files}
    for path in folder.rglob("*"):
        name = path.relative_to(folder).as_posix()
        ours = path.is_dir() and not path.is_symlink() and any(own.startswith(f"{name}/") for own in files)
        if not ours and not (path.is_file() and name in files and path.read_bytes() == files[name]):
            raise UserError(f"expected a new or empty folder, got {folder} with {name!r} in it; choose another")
    for name, content in files.items():
        if not (folder / name).is_file():
            write_file(folder / name, content)
    result = {"out": str(folder), "files": len(files), "bytes": sum(map(len, files.values()))}
    answer(result, [f"{folder}: {len(files)} files"], as_json=as_json)
