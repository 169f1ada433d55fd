"""The staves of a piece: which notes stand on which, in which layers, under which clef."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from triptych.music.files.hands import hands, needs_two, shortened
from triptych.music.files.spelling import places
from triptych.music.piece.bars import Symbol, layers_of, symbols_of
from triptych.music.piece.metre import Bar
from triptych.music.piece.piece import Note, Piece

MAX_LAYERS = 4  # that MuseScore reads of one staff
TREBLE, TENOR, BASS = ("G", 2, 0), ("G", 2, -1), ("F", 4, 0)  # sign, line, octaves
CLEFS = {"soprano": TREBLE, "alto": TREBLE, "tenor": TENOR, "bass": BASS}
MIDDLE = 60  # from its mean pitch on a voice whose name is not in `CLEFS` has a treble clef


@dataclass(frozen=True)
class Staff:
    """A staff with up to four layers: the signs of each, [layers][bars][signs]."""

    clef: tuple[str, int, int]
    layers: Sequence[Sequence[Sequence[Symbol]]]


@dataclass(frozen=True)
class Part:
    """One player: a name, a staff or a piano's two, and the names of the notes (see `places`) by onset and pitch."""

    name: str
    staves: Sequence[Staff]
    names: dict[tuple[int, int], int]


def parts_of(piece: Piece, bars: Sequence[Bar]) -> list[Part]:
    """Parts of a piece in sixteenths: a part a voice with notes; one of a fifth layer has more staves, which are parts
    too. A piece without notes has all its voices.

    A part for two hands, as on a piano, has two staves. There a note is written no longer than up to the next one of
    its hand.
    """
    notes: list[list[Note]] = [[] for _ in piece.voices]
    named: list[dict[tuple[int, int], int]] = [{} for _ in piece.voices]
    for note, place in zip(piece.notes, places(piece), strict=True):
        notes[note.voice].append(note)
        named[note.voice][note.start, note.pitch] = place
    found = []
    for name, mine, names in zip(piece.voices, notes, named, strict=True):
        if piece.notes and not mine:
            continue
        title = "".join(filter(str.isprintable, name)).strip()  # XML has no control characters
        title = title[:1].upper() + title[1:]
        if name.lower() not in CLEFS and needs_two(mine):
            found.append(Part(title, _two_staves(mine, bars), names))
            continue
        mean = sum(note.pitch for note in mine) / len(mine) if mine else MIDDLE
        clef = CLEFS.get(name.lower(), TREBLE if mean >= MIDDLE else BASS)
        layers = [symbols_of(layer, bars) for layer in layers_of(mine) or [[]]]
        for first in range(0, len(layers), MAX_LAYERS):
            found.append(Part(title, [Staff(clef, layers[first : first + MAX_LAYERS])], names))
    return found


def _two_staves(notes: Sequence[Note], bars: Sequence[Bar]) -> list[Staff]:
    """The staves of a piano's right and left hand, of one layer or two."""
    staves = []
    for clef, hand in zip((TREBLE, BASS), hands(notes), strict=True):
        layers = layers_of(hand)
        if len(layers) > 2:
            layers = layers_of(shortened(hand))
        staves.append(Staff(clef, [symbols_of(layer, bars) for layer in layers or [[]]]))
    return staves
