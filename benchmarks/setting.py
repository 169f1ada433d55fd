"""Set the tunes of the small free set for four voices: `python benchmarks/setting.py` prints the lower three of each.

By a rule, without a model: a chord a beat, of six chords of a key, then the nearest notes of it. What it prints is
kept in `src/triptych/music/piece/tunes.toml`, and CC0.
"""

from __future__ import annotations

import dataclasses
import itertools
import textwrap
from collections.abc import Sequence

from triptych.music.piece.key import Key
from triptych.music.piece.metre import COMMON
from triptych.music.piece.piece import Note, Piece
from triptych.music.piece.tunes import VOICES, tunes

LOWEST, HIGHEST = (52, 48, 38), (72, 67, 57)  # of alto, tenor and bass
# Semitones of the chords' notes above the tonic: root, third, fifth.
MAJOR = {"I": (0, 4, 7), "ii": (2, 5, 9), "iii": (4, 7, 11), "IV": (5, 9, 0), "V": (7, 11, 2), "vi": (9, 0, 4)}
MINOR = {"I": (0, 3, 7), "III": (3, 7, 10), "IV": (5, 8, 0), "V": (7, 11, 2), "v": (7, 10, 2), "VI": (8, 0, 3)}
STRANGE, AGAIN, HOME, ODD = 4.0, 0.6, 1.5, 0.7  # costs: a tone outside, no change, no rest at the end, a rarer chord
USUAL = ("I", "IV", "V")
LEAPS = {("V", "IV"): 1.5, ("V", "ii"): 1.5}


def four_voices(melody: Piece, key: Key) -> Piece:
    """The melody as a soprano, with alto, tenor and bass."""
    beat = (melody.metres[0] if melody.metres else COMMON).beat(melody.resolution)
    first = (melody.pickup or 0) % beat  # of an upbeat there may be a part of a beat
    places = [*([0] if first else []), *range(first, melody.length, beat)]
    ends = [*places[1:], melody.length]
    heard = [
        [note for note in melody.notes if note.start < end and note.end > place]
        for place, end in zip(places, ends, strict=True)
    ]
    chords = MINOR if key.minor else MAJOR
    table = {name: [(key.tonic + tone) % 12 for tone in chord] for name, chord in chords.items()}
    names = _chords(heard, table, places)
    notes = [dataclasses.replace(note, voice=0) for note in melody.notes]
    before = (64, 57, 48)
    for place, end, sounding, name in zip(places, ends, heard, names, strict=True):
        if not sounding:  # a rest of the melody is one of all
            continue
        before = _nearest(table[name], min(note.pitch for note in sounding), before)
        notes += [Note(place, end, pitch, voice=voice) for voice, pitch in enumerate(before, 1)]
    return dataclasses.replace(melody, notes=tuple(_joined(notes)), voices=VOICES)


def _chords(heard: Sequence[Sequence[Note]], table: dict[str, list[int]], places: Sequence[int]) -> list[str]:
    """The cheapest sequence of chords that ends on the first one (Viterbi)."""
    names = list(table)
    costs = {name: 0.0 if name == "I" else HOME for name in names}
    ways: list[dict[str, str]] = []
    for number, notes in enumerate(heard):
        came = {}
        arrived = {}
        for name in names:
            here = sum(
                STRANGE * (1.0 if note.start <= places[number] else 0.4)
                for note in notes
                if note.pitch % 12 not in table[name]
            ) + (0.0 if name in USUAL else ODD)
            before = min(names, key=lambda old: (costs[old] + _step(old, name), names.index(old)))
            came[name], arrived[name] = before, costs[before] + _step(before, name) + here
        costs = arrived
        ways.append(came)
    name = min(names, key=lambda last: (costs[last] + (0.0 if last == "I" else 2 * STRANGE), names.index(last)))
    found = [name]
    for came in reversed(ways[1:]):
        found.append(came[found[-1]])
    return found[::-1]


def _step(old: str, new: str) -> float:
    return AGAIN if old == new else LEAPS.get((old, new), 0.0)


def _nearest(chord: Sequence[int], soprano: int, before: tuple[int, int, int]) -> tuple[int, int, int]:
    """Alto, tenor and bass from the chord, below the soprano, its root in the bass, as near as may be to the last."""
    alto, tenor, bass = (
        [pitch for pitch in range(low, high + 1) if pitch % 12 in tones and pitch <= soprano]
        for low, high, tones in zip(LOWEST, HIGHEST, (chord, chord, chord[:1]), strict=True)
    )
    several = [voices for voices in itertools.product(alto, tenor, bass) if voices[0] > voices[1] > voices[2]]

    def cost(voices: tuple[int, int, int]) -> tuple[float, ...]:
        moved = sum(abs(now - then) for now, then in zip(voices, before, strict=True))
        missing = len(set(chord) - {pitch % 12 for pitch in (soprano, *voices)})
        return 8 * missing + moved, *voices

    return min(several, key=cost)


def _joined(notes: Sequence[Note]) -> list[Note]:
    """Notes of the lower voices that go on at the same pitch are one."""
    kept: list[Note] = []
    last: dict[int, Note] = {}
    for note in sorted(notes, key=lambda one: (one.voice, one.start)):
        before = last.get(note.voice)
        if note.voice and before is not None and before.end == note.start and before.pitch == note.pitch:
            kept[-1] = last[note.voice] = dataclasses.replace(before, end=note.end)
        else:
            kept.append(note)
            last[note.voice] = note
    return kept


def written(notes: Sequence[Note], fifths: int, length: int) -> str:
    """The notes of a voice as tunes.toml has them."""
    names = ("C", "Db", "D", "Eb", "E", "F", "Gb", "G", "Ab", "A", "Bb", "B")
    if fifths >= 0:
        names = ("C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B")
    found, now = [], 0
    for note in sorted(notes):
        found += [f"r/{note.start - now}"] * (note.start > now)
        found.append(f"{names[note.pitch % 12]}{note.pitch // 12 - 1}/{note.end - note.start}".removesuffix("/4"))
        now = note.end
    return " ".join([*found, *[f"r/{length - now}"] * (length > now)])


def main() -> None:
    """Print alto, tenor and bass of every tune."""
    for name, tune in tunes().items():
        key = Key.parse(tune.key)
        piece = four_voices(tune.piece(), key)
        print(f"[{name}]")
        for voice in range(1, 4):
            notes = [note for note in piece.notes if note.voice == voice]
            text = written(notes, key.fifths, piece.length)
            quotes = '"""' if len(text) > 110 else '"'
            lines = textwrap.fill(text, 118, break_on_hyphens=False)
            print(f"{VOICES[voice]} = {quotes}" + (f"\\\n{lines}" if len(text) > 110 else text) + quotes)


if __name__ == "__main__":
    main()
