"""The two hands of a piano: which notes each plays, and how long they are written."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import groupby, pairwise

from triptych.music.piece.piece import Note, overlaps

BETWEEN = (57, 64)  # pitches; a part that goes below and above takes two staves
RECENT = 0.7  # share of its old place in where a hand is
SPAN = 14  # semitones that a hand reaches
HIGHEST_LEFT, LOWEST_RIGHT = 64, 55  # beyond which a staff has many ledger lines


def needs_two(notes: Sequence[Note]) -> bool:
    """Whether a part is for two hands: with notes well below and above middle C, some of them together."""
    if not notes or min(note.pitch for note in notes) >= BETWEEN[0] or max(note.pitch for note in notes) <= BETWEEN[1]:
        return False
    return overlaps(notes) > 0


def hands(notes: Sequence[Note]) -> tuple[list[Note], list[Note]]:
    """The notes of a piano's right and left hand, in the order in which they begin.

    What begins together is cut in two, where both hands stay near to where they were, and neither reaches too far.
    """
    right: list[Note] = []
    left: list[Note] = []
    places = [67.0, 50.0]  # where the hands are: right, left
    for _, together in groupby(notes, lambda note: note.start):
        chord = sorted(together, key=lambda note: note.pitch)
        cut = min(range(len(chord) + 1), key=lambda cut: _strain(chord[:cut], chord[cut:], places))
        for hand, mine, number in ((right, chord[cut:], 0), (left, chord[:cut], 1)):
            hand.extend(mine)
            if mine:
                middle = sum(note.pitch for note in mine) / len(mine)
                places[number] = RECENT * places[number] + (1 - RECENT) * middle
    return sorted(right), sorted(left)


def _strain(lower: Sequence[Note], upper: Sequence[Note], places: Sequence[float]) -> float:
    """How unlikely it is that the left hand plays the lower notes and the right the upper ones."""
    strain = sum(abs(note.pitch - places[1]) + 3 * max(0, note.pitch - HIGHEST_LEFT) for note in lower)
    strain += sum(abs(note.pitch - places[0]) + 3 * max(0, LOWEST_RIGHT - note.pitch) for note in upper)
    for hand in (lower, upper):
        if hand:
            strain += 10 * max(0, hand[-1].pitch - hand[0].pitch - SPAN)
    return strain


def shortened(hand: Sequence[Note]) -> list[Note]:
    """The notes of a hand, each ending at the latest where the next one begins: one layer of chords, and no more.

    A note that ends a sixteenth before the next one is held up to it.
    """
    starts = sorted({note.start for note in hand})
    after = dict(pairwise([*starts, max((note.end for note in hand), default=0)]))
    last: dict[int, int] = {}
    for note in hand:
        last[note.start] = max(last.get(note.start, 0), note.end)
    found = []
    for note in hand:
        following = after[note.start]
        end = min(last[note.start], following) if following > note.start else last[note.start]
        found.append(replace(note, end=following if end == following - 1 else end))
    return found
