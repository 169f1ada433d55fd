"""What the parsing process answered -> a piece, or performances, with words about what was left out or changed.

The parsers let no number out of its range; what is left of a file's own words are names, which are made printable.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, printable
from triptych.music.files.parsing.found import MAX_NOTES, MAX_VOICES, NAME_LENGTH, SOSTENUTO, SUSTAIN
from triptych.music.piece.metre import COMMON, Metre
from triptych.music.piece.performance import HIGHEST, LOWEST, Performance, held_by_sostenuto, sustained
from triptych.music.piece.piece import KeySignature, Note, Piece, Tempo

TEMPO = 500_000  # microseconds of a quarter note, where a file gives none
WORDS = {  # notices by name, of one thing and of several
    "drums": ("note of drums left out", "notes of drums left out"),
    "open": ("note without an end, which ends with its part", "notes without an end, which end with their part"),
    "tracks": ("track missing that the header counts", "tracks missing that the header counts"),
    "graces": ("grace or cue note left out", "grace or cue notes left out"),
    "repeats": ("repeat passed over: the score is read once", "repeats passed over: the score is read once"),
    "signatures": ("impossible time or key signature left out", "impossible time or key signatures left out"),
}


@dataclass(frozen=True)
class Answer:
    """What the process found in a file; see `parsed.Found`.

    notes: int64 [notes, 5], start, end, pitch, velocity and voice. pedals: int64 [changes, 4], tick, whether down,
    controller and channel. tempos: int64 [changes, 2], tick and microseconds of a quarter note. metres: int64
    [changes, 3], tick, beats and unit. keys: int64 [changes, 3], tick, sharps less flats, mode. All but the notes are
    in the order of their ticks.
    """

    name: str
    resolution: int
    rate: tuple[int, int] | None
    pickup: int
    voices: tuple[str, ...]
    programs: tuple[int, ...]
    channels: tuple[int, ...]
    words: tuple[str, ...]
    notes: NDArray[np.int64]
    pedals: NDArray[np.int64]
    tempos: NDArray[np.int64]
    metres: NDArray[np.int64]
    keys: NDArray[np.int64]

    def seconds(self, ticks: NDArray[np.int64]) -> NDArray[np.float64]:
        """Seconds from the beginning at some ticks, by all tempos."""
        if self.rate is not None:
            return ticks * self.rate[1] / self.rate[0]
        changes = np.concatenate([[[0, TEMPO]], self.tempos])
        begins = np.concatenate([[0], np.cumsum(np.diff(changes[:, 0]) * changes[:-1, 1])])  # microseconds x resolution
        valid = np.searchsorted(changes[:, 0], ticks, side="right") - 1
        since = (ticks - changes[valid, 0]) * changes[valid, 1]
        return (begins[valid] + since) / (1e6 * self.resolution)


def checked(header: dict[str, Any], tables: Mapping[str, NDArray[np.int64]], name: str) -> Answer:
    """The answer of a file that could be read. Raises UserError for any other."""
    if isinstance(reason := header.get("error"), str):
        raise damaged(name, printable(reason, 200))
    if header.get("unknown") is True:
        raise UserError(f"expected a MIDI file, got {name!r}, which has no MIDI header, nor is it MusicXML; export it")
    if header.get("large") is True:
        raise UserError(
            f"expected at most {MAX_NOTES:,} notes in {MAX_VOICES} voices, and as many changes of pedal and tempo, "
            f"got {name!r} with more; cut it"
        )
    voices = header["voices"]
    return Answer(
        name=name,
        resolution=header["resolution"],
        rate=tuple(header["rate"]) if header["rate"] else None,
        pickup=header["pickup"],
        voices=tuple(printable(voice[0], NAME_LENGTH) or f"voice {place}" for place, voice in enumerate(voices, 1)),
        programs=tuple(voice[1] for voice in voices),
        channels=tuple(voice[2] for voice in voices),
        words=tuple(_words(header["notices"])),
        **{
            title: table if title == "notes" else table[table[:, 0].argsort(kind="stable")]
            for title, table in tables.items()
        },
    )


def _words(notices: dict[str, int]) -> list[str]:
    """A word about each notice."""
    return [f"{notices[name]:,} {words[notices[name] > 1]}" for name, words in WORDS.items() if notices.get(name)]


def piece_of(answer: Answer) -> tuple[Piece, list[str]]:
    """The piece of an answer, without voices and notes that have no duration; and words."""
    notes = answer.notes[answer.notes[:, 1] > answer.notes[:, 0]]
    if not len(notes):
        raise _silent(answer)
    words = list(answer.words)
    heard = np.unique(notes[:, 4])
    notes[:, 4] = np.searchsorted(heard, notes[:, 4])
    tempo, tempos = _tempos(answer)
    if answer.rate is not None:
        words.append(f"its time is in seconds: read as {tempo:.4g} quarter notes a minute")
    metres, pickup = _metres(answer)
    programs = tuple(answer.programs[voice] for voice in heard)
    piece = Piece(
        notes=tuple(Note(*row) for row in notes.tolist()),
        resolution=answer.resolution,
        tempo=tempo,
        voices=tuple(answer.voices[voice] for voice in heard),
        pickup=pickup,
        metres=metres,
        keys=tuple(
            KeySignature(tick, fifths, None if mode < 0 else bool(mode))
            for tick, fifths, mode in _changes(answer.keys).tolist()
        ),
        tempos=tempos,
        programs=tuple(max(0, program) for program in programs) if max(programs) >= 0 else (),
    )
    return piece, words


def _tempos(answer: Answer) -> tuple[float, tuple[Tempo, ...]]:
    """Quarter notes a minute at the beginning, and all changes after it."""
    if answer.rate is not None:
        return 60 * answer.rate[0] / (answer.rate[1] * answer.resolution), ()
    changes = _changes(np.concatenate([[[0, TEMPO]], answer.tempos]))
    tempos = [Tempo(tick, _quarters(microseconds)) for tick, microseconds in changes.tolist()]
    return tempos[0].quarters, tuple(tempos[1:])


def _quarters(microseconds: int) -> float:
    """Quarter notes a minute: those, to the hundredth, that a program rounded to whole microseconds, if there are."""
    near = round(60e6 / microseconds, 2)
    return near if near and round(60e6 / near) == microseconds else 60e6 / microseconds


def _changes(table: NDArray[np.int64]) -> NDArray[np.int64]:
    """The rows that change something: of several at one tick the last, and none that repeats the one before."""
    last = np.append(table[1:, 0] != table[:-1, 0], True)[: len(table)]
    table = table[last]
    new = np.append(True, (table[1:, 1:] != table[:-1, 1:]).any(1))[: len(table)]
    changes: NDArray[np.int64] = table[new]
    return changes


def _metres(answer: Answer) -> tuple[tuple[Metre, ...], int | None]:
    """The time signatures and the pickup.

    A first bar that is shorter than a bar of the metre after it is a pickup in that metre. A signature that is written
    again changes nothing, unless it is within a bar, which it then ends.
    """
    table = answer.metres
    last = np.append(table[1:, 0] != table[:-1, 0], True)[: len(table)]
    found = [Metre(*row) for row in table[last].tolist()]
    # A metre a moment after the beginning holds from the beginning on.
    found = [replace(metre, start=0) if 8 * metre.start < answer.resolution else metre for metre in found]
    pickup = answer.pickup if answer.pickup >= 0 else None
    metres: list[Metre] = []
    for metre in found:
        before = metres[-1] if metres else None
        again = before is not None and (before.beats, before.unit) == (metre.beats, metre.unit)
        if before is not None and again:
            since = metre.start - before.start - (pickup or 0) * (before is metres[0])
            if since % before.ticks(answer.resolution) == 0:
                continue
        metres.append(metre)
    if pickup is None and metres:
        first = metres[0] if not metres[0].start else COMMON
        second = next((metre for metre in metres if metre.start), None)
        longest = 0 if second is None else min(first.ticks(answer.resolution), second.ticks(answer.resolution) - 1)
        if second is not None and second.start <= longest:
            pickup = second.start
            metres = [replace(second, start=0), *(metre for metre in metres if metre.start > second.start)]
    return tuple(metres), pickup


def parts_of(answer: Answer, *, pedal: bool) -> tuple[list[tuple[str, Performance]], list[str]]:
    """The performances of an answer, a voice after the other, and words."""
    words = list(answer.words)
    notes = answer.notes[(answer.notes[:, 2] >= LOWEST) & (answer.notes[:, 2] <= HIGHEST)]
    if outside := len(answer.notes) - len(notes):
        words.append(f"{outside} of {len(answer.notes)} notes left out, which are off the 88 keys of a piano")
    parts = []
    for voice, title in enumerate(answer.voices):
        start, end, pitch, velocity = notes[notes[:, 4] == voice, :4].T
        if pedal:
            changes = answer.pedals[answer.pedals[:, 3] == answer.channels[voice]]
            end = held_by_sostenuto(start, end, changes[changes[:, 2] == SOSTENUTO, :2])
            end = sustained(end, changes[changes[:, 2] == SUSTAIN, :2])
        sounding = end > start
        if sounding.any():
            start, end = answer.seconds(start[sounding]), answer.seconds(end[sounding])
            try:
                parts.append((title, Performance.of(start, end, pitch[sounding], velocity[sounding])))
            except UserError as error:
                raise UserError(f"{answer.name!r}: {error}") from None
    if not parts:
        raise _silent(answer)
    return parts, words


def _silent(answer: Answer) -> UserError:
    drums = any("drums" in word for word in answer.words)
    what = "which has notes of drums alone" if drums else "which has no notes"
    return UserError(f"expected a MIDI or MusicXML file with notes, got {answer.name!r}, {what}; choose another file")


def damaged(name: str, reason: str, *, remedy: str = "export it again") -> UserError:
    """The error about a file that is none."""
    return UserError(f"expected a valid MIDI or MusicXML file, got {name!r}: {reason}; {remedy}")
