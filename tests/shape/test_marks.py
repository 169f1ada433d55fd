"""Files that were written here are known again, and whoever reads their formats passes the mark over."""

import io
import wave
from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from triptych.errors import UserError
from triptych.music.files.reading import read_piece
from triptych.music.files.save import save_music
from triptych.music.piece.piece import Note, Piece
from triptych.picture import save
from triptych.shape.marks import check_out, is_marked

PIECE = Piece((Note(0, 4, 60), Note(4, 8, 62)), pickup=0)


@pytest.mark.parametrize(
    "name", ["a.mid", "a.MIDI", "a.wav", "a.musicxml", "a.svg", "a.png", "b.svg", "b.png", "b.pdf"]
)
def test_a_file_of_ours_is_known_until_it_is_changed(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    if name.startswith("a"):
        save_music(PIECE, path)
    else:
        save(Figure(), path)
    assert is_marked(path)
    check_out(path)
    data = path.read_bytes()
    for at in (0, 5, len(data) // 2, len(data) - 3):
        path.write_bytes(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])
        assert not is_marked(path)
    for other in (b"", b"x", data[:-1], data + b"\n", b"a person's own file of some length " * 9):
        path.write_bytes(other)
        with pytest.raises(UserError, match="expected a new file, or one that was written here"):
            check_out(path)


def test_new_files_and_folders_are_another_matter(tmp_path: Path) -> None:
    check_out(tmp_path)
    check_out(tmp_path / "new.mid")


def test_readers_pass_the_mark_over(tmp_path: Path) -> None:
    for name in ("a.mid", "a.musicxml"):
        save_music(PIECE, tmp_path / name)
        read, _ = read_piece(tmp_path / name)
        assert [note.pitch for note in read.notes] == [60, 62]
    save_music(PIECE, tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert file.getnframes() * file.getsampwidth() * file.getnchannels() == len(file.readframes(10**9))
    save_music(PIECE, tmp_path / "a.png")
    with Image.open(io.BytesIO((tmp_path / "a.png").read_bytes())) as picture:
        assert np.asarray(picture).ndim == 3 and picture.info["Software"].startswith("triptych ")
