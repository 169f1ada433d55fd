"""Saving music: a piece or a performance as a file of the format that the suffix names."""

from __future__ import annotations

from pathlib import Path

from triptych.errors import UserError, expect
from triptych.extras import require
from triptych.music.piece.performance import Performance
from triptych.music.piece.piece import Piece
from triptych.shape.files import write_file
from triptych.shape.marks import marked

SUFFIXES = {  # of the files that music becomes, and their media types
    ".mid": "audio/midi",
    ".midi": "audio/midi",
    ".wav": "audio/wav",
    ".musicxml": "application/vnd.recordare.musicxml+xml",
    ".svg": "image/svg+xml",
    ".png": "image/png",
}


def save_music(music: Piece | Performance, path: str | Path, *, soundfont: str | Path | None = None) -> None:
    """Write a piece or a performance to a file, whole or not at all; the suffix names the format.

    .mid: Standard MIDI File. .wav: sound, by our own synthesizer or, with `soundfont`, by FluidSynth. .musicxml: a
    score. .svg: engraved sheet music (needs verovio). .png: a piano roll. Raises UserError for other suffixes.
    """
    expect(music, Piece | Performance, "a Piece or a Performance", "compose or read one")
    piece = music.to_piece() if isinstance(music, Performance) else music
    path = Path(path)
    suffix = check_suffix(path)
    if suffix == ".png":
        from triptych.music.files.roll import draw_roll
        from triptych.picture import save

        save(draw_roll(piece), path)
    else:
        write_file(path, marked(music_bytes(piece, suffix, soundfont=soundfont), suffix))


def music_bytes(piece: Piece, suffix: str, *, soundfont: str | Path | None = None) -> bytes:
    """The file that `save_music` writes of a piece for a suffix, but for pictures."""
    if suffix in (".mid", ".midi"):
        from triptych.music.files.midi import midi_bytes

        return midi_bytes(piece)
    if suffix == ".wav":
        from triptych.music.files.sound import wav_bytes

        return wav_bytes(piece, soundfont=soundfont)
    from triptych.music.files.notation import musicxml, svg

    return (svg if suffix == ".svg" else musicxml)(piece).encode()


def check_suffix(path: Path) -> str:
    """The suffix of a file that music can become; any other is a UserError."""
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise UserError(f"expected a file named *{', *'.join(SUFFIXES)}, got {path.name!r}; change the suffix")
    if suffix == ".svg":
        require("verovio", "engraving")
    return suffix
