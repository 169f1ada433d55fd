from pathlib import Path

import pytest

from triptych.errors import UserError
from triptych.music.files import sound
from triptych.music.files.save import SUFFIXES, check_suffix, save_music
from triptych.music.piece.performance import Performance
from triptych.music.piece.piece import Note, Piece

SHORT = Piece((Note(0, 1, 60), Note(1, 2, 64, voice=1)), tempo=240.0, voices=("a", "b"))


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("a.mid", b"MThd"),
        ("a.MIDI", b"MThd"),
        ("a.wav", b"RIFF"),
        ("a.musicxml", b"<?xml"),
        ("a.svg", b"<svg"),
        ("new/folders/a.png", b"\x89PNG"),
    ],
)
def test_the_suffix_chooses_the_format(tmp_path: Path, name: str, begins: bytes) -> None:
    if name.endswith(".svg"):
        pytest.importorskip("verovio")
    save_music(SHORT, tmp_path / name)
    first = (tmp_path / name).read_bytes()
    assert begins in first[:200]
    save_music(SHORT, str(tmp_path / name))
    assert (tmp_path / name).read_bytes() == first, "the same piece gives the same bytes"


def test_a_soundfont_is_for_sound(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(sound, "wav_bytes", lambda piece, soundfont: asked.append(soundfont) or b"RIFF")
    save_music(SHORT, tmp_path / "a.wav", soundfont="a.sf2")
    assert asked == ["a.sf2"] and (tmp_path / "a.wav").read_bytes()[:4] == b"RIFF"


@pytest.mark.parametrize("name", ["a", "a.mp3", "a.mid.txt", ".mid"])
def test_other_suffixes(tmp_path: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"expected a file named \*\.mid"):
        save_music(SHORT, tmp_path / "folder" / name)
    assert not list(tmp_path.iterdir()), "nothing is made for a name that is wrong"
    assert {check_suffix(Path(f"a{suffix}")) for suffix in SUFFIXES} == set(SUFFIXES)


def test_a_performance_is_saved_as_its_piece(tmp_path: Path) -> None:
    performance = Performance.of([0.0], [1.5], [60], [80])
    save_music(performance, tmp_path / "a.mid")
    save_music(performance.to_piece(), tmp_path / "b.mid")
    assert (tmp_path / "a.mid").read_bytes() == (tmp_path / "b.mid").read_bytes()
    with pytest.raises(UserError, match="expected a Piece or a Performance, got"):
        save_music("piece", tmp_path / "c.mid")  # type: ignore[arg-type]
