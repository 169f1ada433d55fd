"""Melodies -> token ids: the onset of a key, a hold or a rest, ten times a second.

As what a performance accompanies (Huang et al. 2018; Magenta's `TextMelodyEncoderAbsolute` has the same three).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.music.performances.codec import KEYS, Ids
from triptych.music.piece.performance import LOWEST, NOTE, Performance, together

STEPS = 10  # of a second
MELODIES = ("melody", "vocal", "voice", "soprano", "lead")  # words in the name of a part
OTHERS = {"backing", "background", "harmony", "bass"}  # words in the name of a part that is none all the same
HOLD, REST = KEYS, KEYS + 1  # after the onsets, one a key
LEGATO = 0.1  # seconds for which a note may sound on into the next one of its melody
CHORD = 0.03  # seconds within which notes are struck together: hands are not exact
MISSING = 5  # notes that begin one after another and end together: more than hold a chord that is built up
# The share of notes that begin within another: at most 5 % in the melodies of POP909, at least 49 % in its piano parts.
POLYPHONIC = 0.2
OCTAVE = 12
LEADING = 0.25  # of what the highest part of all must have on top, to be the leading one
NEAR, ROUNDS = 8.0, 3  # seconds of a passage in whose neighbourhood a melody is separated from what lies below it


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


def melody_of_parts(parts: Sequence[tuple[str, Performance]]) -> tuple[Performance, list[str]]:
    """The melody of a piece: see `melody_notes`."""
    rows = np.concatenate([np.empty(0, NOTE), *(part.notes for _, part in parts)])
    place = np.repeat(np.arange(len(parts)), [len(part) for _, part in parts])
    kept, words = melody_notes([title for title, _ in parts], place, rows)
    return together([Performance(rows[kept])]), words


def melody_of(performance: Performance) -> tuple[Performance, list[str]]:
    """The melody of one part, with a word if it is not all of it.

    Give it as the keys were played, without the pedal (`MusicReader.read_parts`): what a pedal holds covers a melody.
    """
    return melody_of_parts([("", performance)])


def melody_notes(
    names: Sequence[str], part: NDArray[np.integer[Any]], notes: NDArray[np.void]
) -> tuple[NDArray[np.bool_], list[str]]:
    """Which notes are the melody, bool [notes], and a word where it is not all of them.

    names: of the parts. part: that of each note. notes: as a `Performance` has them, in any order. The part that is
    named as a melody is it, else all parts that lie at most an octave below the leading one, the highest that is heard
    for long. Of these it is every note where hardly any sound together, else the highest; but not those that come to
    the top because the melody rests, and lie nearer to what else is covered by it than to the melody itself.
    """
    notes, parts = notes.copy(), set(part.tolist())
    for one in parts:
        notes["end"][part == one] = _released(notes[part == one])
    named = melody_part(names)
    mine = np.ones(len(part), bool) if named is None else part == named
    words = []
    if named is not None and not mine.all():
        words.append(f"the melody is the part {names[named]!r}")
    chosen = _highest(mine, notes)
    if named is None and len(parts) > 1:
        lengths = np.bincount(part[chosen], (notes["end"] - notes["start"])[chosen], len(names))
        middle = {one: float(np.median(notes["pitch"][part == one])) for one in parts}
        lowest = max(middle[one] for one in middle if lengths[one] >= lengths.max() * LEADING) - OCTAVE
        mine = np.array([middle[one] >= lowest for one in part.tolist()], bool)
        chosen = _highest(mine, notes)
    if chosen.sum() < mine.sum() or (not words and not chosen.all()):
        words.append(f"the melody is the highest notes: {chosen.sum()} of {mine.sum() if words else len(chosen)}")
    return chosen, words


def _released(notes: NDArray[np.void]) -> NDArray[np.float64]:
    """The ends of the notes of a part. Where note-offs are missing, so that many notes that begin one after another end
    together, these notes and those that end where their key is struck again end with the next onset at the latest.
    """
    start, end, pitch = notes["start"], notes["end"], notes["pitch"]
    onsets, ends = np.unique(start), np.unique(end)
    begun = np.unique(np.stack([np.searchsorted(ends, end), np.searchsorted(onsets, start)]), axis=1)[0]
    missing = np.bincount(begun)[np.searchsorted(ends, end)] >= MISSING
    if not missing.any():
        return end
    struck = set(zip(start.tolist(), pitch.tolist(), strict=True))
    missing |= np.array([one in struck for one in zip(end.tolist(), pitch.tolist(), strict=True)])
    following = np.append(onsets, np.inf)[np.searchsorted(onsets, start + CHORD, side="right")]
    return np.where(missing, np.minimum(end, following), end)


def melody_part(names: Sequence[str]) -> int | None:
    """The first part with a word for a melody in its name; "voice 2" is what a reader calls a part without a name."""
    for word in MELODIES:
        for place, name in enumerate(names):
            found = re.findall(r"[^\W\d_]+", name.lower())
            nameless = re.fullmatch(r"voice \d+", name)
            if {word, f"{word}s"} & set(found) and not nameless and not set(found) & OTHERS:
                return place
    return None


def _highest(mine: NDArray[np.bool_], notes: NDArray[np.void]) -> NDArray[np.bool_]:
    """Of some notes those of the melody: all where hardly any sound together, else the highest."""
    places = np.flatnonzero(mine)
    places = places[np.lexsort((notes["pitch"][places], notes["start"][places]))]
    some = notes[places]
    before = np.maximum.accumulate(some["end"])[:-1]
    if (before - some["start"][1:] > LEGATO).sum() <= POLYPHONIC * len(some):
        return mine
    found = np.zeros(len(mine), bool)
    found[places[_of_melody(skyline(some[["start", "end", "pitch"]].tolist()), some)]] = True
    return found


def skyline(rows: Sequence[tuple[float, float, int]]) -> NDArray[np.bool_]:
    """The highest of notes (start, end, pitch) in the order of start and pitch, bool [notes]: each that is struck with
    no higher one, and while none sounds on for longer than legato.
    """
    kept = np.ones(len(rows), bool)
    sounding: list[int] = []  # places of notes that may cover later ones
    for place, (start, _, pitch) in enumerate(rows):
        sounding = [one for one in sounding if rows[one][1] > start or rows[one][0] >= start - CHORD]
        for one in sounding:
            struck_with_it = rows[one][0] >= start - CHORD
            if rows[one][2] > pitch and (struck_with_it or rows[one][1] > start + LEGATO):
                kept[place] = False
            elif rows[one][2] < pitch and struck_with_it:
                kept[one] = False
        sounding.append(place)
    return kept


def _of_melody(kept: NDArray[np.bool_], notes: NDArray[np.void]) -> NDArray[np.bool_]:
    """The highest notes without those of the accompaniment, by the nearer of two middles in the `NEAR` seconds around:
    that of what is covered, and that of the melody, which is found from the highest of the highest down.
    """
    found, pitch = kept.copy(), notes["pitch"]
    block = (notes["start"] // NEAR).astype(np.int64)
    for number in np.unique(block).tolist():
        near = np.abs(block - number) <= 1
        top, covered = pitch[near & kept], pitch[near & ~kept]
        if not len(top) or not len(covered):
            continue
        below, middle = float(np.median(covered)), float(np.quantile(top, 0.9))
        for _ in range(ROUNDS):
            melody = top[np.abs(top - middle) <= np.abs(top - below)]
            middle = float(np.median(melody)) if len(melody) else middle
        found &= (block != number) | (np.abs(pitch - middle) <= np.abs(pitch - below))
    return found
