"""What a composer of chorales can be asked for: a mode or a key, as people write it and as the class of a model."""

from __future__ import annotations

from typing import Literal

from triptych.errors import UserError, expect
from triptych.music.piece.key import Key

LABELS = 26  # major, minor, then 12 major keys and 12 minor ones from C upwards
Label = Key | Literal["major", "minor"]


def read_label(text: str) -> Label:
    """The mode, "major" or "minor", or the key (see `Key.parse`) that a person names."""
    expect(text, str, "a label as text", "give a name")
    name = text.strip().lower()
    if name in ("major", "minor"):
        return "minor" if name == "minor" else "major"
    try:
        return Key.parse(text)
    except UserError:
        raise UserError(
            f'expected a label of major, minor, or a key of at most 7 sharps or flats, such as "G minor", "Bb major", '
            f'"F#" or "c" (minor), got {text!r}'
        ) from None


def class_of(label: Label | None) -> int:
    """The class of a label; -1, no class, of none."""
    if label is None:
        return -1
    return label_of(label) if isinstance(label, Key) else int(label == "minor")


def label_of(key: Key, *, mode_only: bool = False) -> int:
    """The class of a piece in that key, or of its mode alone."""
    return int(key.minor) if mode_only else 2 + 12 * key.minor + key.tonic


def moved_label(label: int, semitones: int) -> int:
    """The class of a piece moved by semitones; -1, no class, stays."""
    if label < 2:
        return label
    minor, tonic = divmod(label - 2, 12)
    return label_of(Key(tonic, bool(minor)).transposed(semitones))
