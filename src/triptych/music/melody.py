"""Melodies <-> token ids: the onset of a key, a hold or a rest, ten times a second.

As what a performance accompanies (Huang et al. 2018; Magenta's `TextMelodyEncoderAbsolute` has the same three).
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from triptych.music.performance import KEYS, LOWEST, Ids, Performance, together

STEPS = 10  # of a second
NAME = "melody"  # of a part, in whatever case
HOLD, REST = KEYS, KEYS + 1  # after the onsets, one a key
VELOCITY = 80  # of a melody that is heard
LEGATO = 0.1  # seconds for which a note may sound on into the next one of its melody
CHORD = 0.03  # seconds within which notes are struck together: hands are not exact
# The share of notes that begin within another: at most 5 % in the melodies of POP909, at least 49 % in its piano parts.
POLYPHONIC = 0.2


class MelodyCodec:
    """The vocabulary of melodies: the onset of each of 88 keys (0 is A0), HOLD and REST, each a tenth of a second."""

    vocabulary = REST + 1

    def encode(self, melody: Performance) -> Ids:
        """Ids [steps] up to the last end: times are the nearest steps, and a note has at least one.

        A note ends where the next one begins; of those that begin in one step, the last is kept, or the highest.
        """
        notes = melody.notes
        start, end = (np.floor(STEPS * notes[name] + 0.5).astype(np.int64) for name in ("start", "end"))
        end = np.maximum(end, start + 1)
        ids = np.full(end.max(initial=0), REST)
        # in the order of (start, pitch): a later note overwrites what an earlier one holds
        for first, last, pitch in zip(start.tolist(), end.tolist(), notes["pitch"].tolist(), strict=True):
            ids[first:] = REST
            ids[first:last] = HOLD
            ids[first] = pitch - LOWEST
        return ids

    def decode(self, ids: Iterable[int]) -> Performance:
        """The melody of any ids at all: what is no onset is a hold after one, and a rest otherwise."""
        rows: list[list[int]] = []
        holding = False
        step = 0
        for step, token in enumerate(ids):
            if holding and token != HOLD:
                rows[-1][1] = step
            if 0 <= token < KEYS:
                rows.append([step, step + 1, int(token) + LOWEST])
            holding = 0 <= token < KEYS or (holding and token == HOLD)
        if holding:
            rows[-1][1] = step + 1
        start, end, pitch = np.array(rows, np.int64).reshape(-1, 3).T
        return Performance.of(start / STEPS, end / STEPS, pitch, np.full(len(rows), VELOCITY))


def melody_of_parts(parts: Sequence[tuple[str, Performance]]) -> tuple[Performance, list[str]]:
    """The melody of a piece: of its part of that name, as in pop songs, else of all parts together."""
    named = [part for title, part in parts if title.strip().lower() == NAME]
    return melody_of(named[0] if named else together(part for _, part in parts))


def melody_of(performance: Performance) -> tuple[Performance, list[str]]:
    """The melody of a part: itself where it has hardly more than one voice, else its skyline, with a word.

    Give it as the keys were played, without the pedal (`MusicReader.read_parts`): what a pedal holds covers a melody.
    """
    notes = performance.notes
    before = np.maximum.accumulate(notes["end"])[:-1]
    if (before - notes["start"][1:] > LEGATO).sum() <= POLYPHONIC * len(notes):
        return performance, []
    found = skyline(performance)
    return found, [f"the melody is the highest notes: {len(found)} of {len(notes)}"]


def skyline(performance: Performance) -> Performance:
    """The highest notes: each that is struck with no higher one, and while none sounds on for longer than legato."""
    rows: list[tuple[float, float, int, int]] = performance.notes.tolist()
    kept = np.ones(len(rows), bool)
    sounding: list[int] = []  # places of notes that may cover later ones
    for place, (start, _, pitch, _) in enumerate(rows):
        sounding = [one for one in sounding if rows[one][1] > start or rows[one][0] >= start - CHORD]
        for one in sounding:
            struck_with_it = rows[one][0] >= start - CHORD
            if rows[one][2] > pitch and (struck_with_it or rows[one][1] > start + LEGATO):
                kept[place] = False
            elif rows[one][2] < pitch and struck_with_it:
                kept[one] = False
        sounding.append(place)
    return Performance(performance.notes[kept])
