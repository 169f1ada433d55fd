"""Standard MIDI Files of pieces, written to the tick.

MIDI 1.0 Detailed Specification 4.2, "Standard MIDI Files 1.0". `triptych.music.files.reading` reads them.
"""

from __future__ import annotations

import struct

from triptych.errors import UserError
from triptych.music.piece.key import signed
from triptych.music.piece.metre import with_upbeat
from triptych.music.piece.piece import Note, Piece, Tempo

TICKS_PER_QUARTER = 480  # of a written file, at least; the custom of sequencers
MAX_DELTA = 2**28 - 1  # of a variable-length quantity
MICROSECONDS_PER_MINUTE = 60e6
THIRTY_SECONDS = 8  # of a quarter note
SIGN, OFF, ON = range(3)  # the order of events at one tick

_Event = tuple[int, int, bytes]  # tick, order, message


def midi_bytes(piece: Piece) -> bytes:
    """Standard MIDI File of format 1: one track a voice with its name; tempos, metres and keys in the first.

    A resolution below 96 is multiplied by a whole number to at least 480 ticks a quarter note (4 becomes 480), so no
    note moves. Each voice has a channel to itself, up to 15 voices. MIDI identifies a sounding note by its pitch: a
    note ends where the next of its pitch and voice begins, and those that begin together end with the longest of them.
    A pickup is a first bar of its own length. Where a piece has no metre, 4/4 is written, and where it has no key, that
    in which it sounds, unless its time is free.
    Raises UserError for a tempo, resolution or length that MIDI cannot write.
    """
    factor = 1 if piece.resolution >= 96 else -(-TICKS_PER_QUARTER // piece.resolution)
    slowest = MICROSECONDS_PER_MINUTE / 0xFFFFFF
    for tempo in (piece.tempo, *(change.quarters for change in piece.tempos)):
        if not slowest <= tempo <= MICROSECONDS_PER_MINUTE:
            raise UserError(f"expected a tempo from {slowest:.2f} for a MIDI file, got {tempo}; change the tempo")
    if piece.resolution * factor > 0x7FFF or piece.length * factor > MAX_DELTA or len(piece.voices) > 0xFFFF:
        raise UserError(
            f"expected a piece that fits a MIDI file, got {piece.length} ticks at {piece.resolution} a quarter note in "
            f"{len(piece.voices)} voices; choose a coarser resolution or cut the piece"
        )
    parts: list[list[Note]] = [[] for _ in piece.voices]
    for note in piece.notes:
        parts[note.voice].append(note)
    chunks = [b"MThd" + struct.pack(">IHHH", 6, 1, len(parts), piece.resolution * factor)]
    for voice, (title, part) in enumerate(zip(piece.voices, parts, strict=True)):
        channel = (*range(9), *range(10, 16))[voice % 15]  # 9 is for drums
        events = _notes(part, channel) + ([] if voice else _signs(piece))
        if piece.programs:
            events.append((0, SIGN, bytes([0xC0 | channel, piece.programs[voice]])))
        body = b"\x00" + _meta(0x03, title.encode(errors="replace")) + _delivered(events, factor, piece.length)
        chunks.append(b"MTrk" + struct.pack(">I", len(body)) + body)
    return b"".join(chunks)


def _notes(notes: list[Note], channel: int) -> list[_Event]:
    """Events of the notes of one voice."""
    events = []
    after: dict[int, tuple[int, int]] = {}  # by pitch: start and end of the next note
    for note in sorted(notes, key=lambda note: (-note.start, -note.end)):
        start, end = after.get(note.pitch, (MAX_DELTA, MAX_DELTA))
        end = end if start == note.start else min(note.end, start)
        after[note.pitch] = note.start, end
        events.append((note.start, ON, bytes([0x90 | channel, note.pitch, note.velocity])))
        events.append((end, OFF, bytes([0x80 | channel, note.pitch, 0])))
    return events


def _signs(piece: Piece) -> list[_Event]:
    """Tempos, time signatures and key signatures; an upbeat is a first bar of its own."""
    found = []
    for tempo in (Tempo(0, piece.tempo), *piece.tempos):
        microseconds = round(MICROSECONDS_PER_MINUTE / tempo.quarters)
        found.append((tempo.start, SIGN, _meta(0x51, microseconds.to_bytes(3, "big"))))
    for metre in with_upbeat(piece.bars):
        signature = bytes([metre.beats, metre.unit.bit_length() - 1, min(255, metre.beat(24)), THIRTY_SECONDS])
        found.append((metre.start, SIGN, _meta(0x58, signature)))
    for key in signed(piece).keys if piece.metrical else piece.keys:
        found.append((key.start, SIGN, _meta(0x59, struct.pack(">bB", key.fifths, bool(key.minor)))))
    return [event for event in found if event[0] <= piece.length]


def _delivered(events: list[_Event], factor: int, length: int) -> bytes:
    """Events of a track in order, up to its end at tick `length`; a tick is `factor` of the file's."""
    events.sort(key=lambda event: event[:2])  # a note ends before it is struck again
    body, now = bytearray(), 0
    for tick, _, message in [*events, (length, ON, _meta(0x2F, b""))]:
        body += _variable_length((tick - now) * factor) + message
        now = tick
    return bytes(body)


def _meta(kind: int, content: bytes) -> bytes:
    return bytes([0xFF, kind]) + _variable_length(len(content)) + content


def _variable_length(number: int) -> bytes:
    """7 bits a byte, the highest first, all but the last marked by their top bit."""
    groups = [number & 0x7F]
    while number := number >> 7:
        groups.append(number & 0x7F | 0x80)
    return bytes(reversed(groups))
