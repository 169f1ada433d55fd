import zipfile
from pathlib import Path

import pytest

from triptych.errors import UserError
from triptych.music.files.folder import MusicFiles
from triptych.music.files.midi import midi_bytes
from triptych.music.files.reading import MusicReader, read_many
from triptych.music.files.save import save_music
from triptych.music.piece.piece import Note, Piece

NAMES = ["a/b.MIDI", "a/c/d.mid", "a.mid", "a0/e.mid"]  # folder by folder: as text, "a.mid" comes before "a/b.MIDI"


def test_a_folder_and_a_zip_are_the_same(tmp_path: Path) -> None:
    contents = {name: midi_bytes(Piece((Note(0, 1, 60 + place),))) for place, name in enumerate(NAMES)}
    with zipfile.ZipFile(tmp_path / "music.zip", "w") as archive:
        for name in reversed(NAMES):
            archive.writestr(name, contents[name])
            (tmp_path / "folder" / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / "folder" / name).write_bytes(contents[name])
        archive.writestr("a/read.me", "no music")
    (tmp_path / "folder" / "a" / "read.me").write_text("no music")
    for path in (tmp_path / "folder", tmp_path / "music.zip"):
        with MusicFiles(path) as files:
            assert files.names == NAMES
            read = read_many(
                files.names, lambda reader, name: reader.read_piece(files.source(name), name=name), workers=2
            )
            pitches = [found[0].notes[0].pitch for _, found in read if not isinstance(found, UserError)]
            assert pitches == [60, 61, 62, 63]


def test_a_large_member_is_not_opened(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "music.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("bomb.mid", bytes(10_000_001))
    with MusicFiles(tmp_path / "music.zip") as files, pytest.raises(UserError, match=r"got 'bomb\.mid'; cut it"):
        files.source("bomb.mid")


def test_what_is_neither(tmp_path: Path) -> None:
    (tmp_path / "a.zip").write_text("no zip")
    for path, reason in [(tmp_path / "a.zip", "File is not a zip file"), (tmp_path / "none", "No such file")]:
        with pytest.raises(UserError, match=f"^expected a folder or a zip of MIDI files, got {path}: {reason}"):
            MusicFiles(path)


def test_a_folder_that_has_the_name_of_a_file(tmp_path: Path) -> None:
    (tmp_path / "a.mid").mkdir()
    with MusicFiles(tmp_path) as files, MusicReader() as reader, pytest.raises(UserError, match="is no file"):
        reader.read_piece(files.source("a.mid"))


def test_every_kind_of_file_of_music_is_found(tmp_path: Path) -> None:
    piece = Piece((Note(0, 4, 60), Note(4, 8, 62)), voices=("melody",))
    data = midi_bytes(piece)
    for name in ("a.KAR", "b.mid", "c.midi"):
        (tmp_path / name).write_bytes(data)
    (tmp_path / "d.rmi").write_bytes(b"RIFF" + bytes(4) + b"RMIDdata" + len(data).to_bytes(4, "little") + data)
    save_music(piece, tmp_path / "e.musicxml")
    (tmp_path / "f.xml").write_bytes((tmp_path / "e.musicxml").read_bytes())
    with zipfile.ZipFile(tmp_path / "g.mxl", "w") as archive:
        archive.write(tmp_path / "e.musicxml", "e.musicxml")
    with MusicFiles(tmp_path) as files:
        assert len(files.names) == 7
        for _, found in read_many(files.names, lambda reader, name: reader.read_piece(files.source(name), name=name)):
            assert not isinstance(found, UserError)
            assert [(n.start // found[0].resolution, n.pitch) for n in found[0].notes] == [(0, 60), (1, 62)]
