"""Standard MIDI Files -> notes, pedals, tempos, time and key signatures, by the bytes.

MIDI 1.0 Detailed Specification 4.2, "Standard MIDI Files 1.0". Runs in the process that reads untrusted files
(`triptych.music.files.parsing.process`), so it needs nothing beyond Python's own library.

The end of a note. A note-off ends the sounding note of its pitch, channel and track, as a synthesizer does. A key that
is struck while it sounds ends the earlier note, so a missing note-off costs one note its length and no other. The
controllers "all sound off" and "all notes off" end every note of their channel and track. What still sounds at the end
of its track ends there, or a quarter note after it began where the track ends at once.
"""

from __future__ import annotations

import struct
from array import array
from collections.abc import Iterator
from dataclasses import dataclass, field

from triptych.music.files.parsing.found import (
    LAST_TICK,
    MAX_NOTES,
    MAX_VOICES,
    NAME_LENGTH,
    SOSTENUTO,
    SUSTAIN,
    DamagedError,
    Found,
    TooLargeError,
)

DRUMS = 9  # the channel of percussion
DOWN = 64  # the least value that is a pedal held down
ALL_SOUND_OFF, RESET, ALL_NOTES_OFF = 120, 121, 123
FRAMES = {24: (24, 1), 25: (25, 1), 29: (30_000, 1_001), 30: (30, 1)}  # a second, of a division in SMPTE frames
MAX_UNIT = 6  # of a time signature, as a power of two: 64
MAX_TRACKS = 1024
PORTS = 16  # that a file can address, of 16 channels each


def parse(data: bytes) -> Found:
    """The notes of a Standard MIDI File, and all that belongs to them. Raises DamagedError and TooLargeError."""
    if len(data) < 14:
        raise DamagedError("its header is cut short")
    length, kind, count, division = struct.unpack(">IHHH", data[4:14])
    found = Found(resolution=division)
    if division & 0x8000:
        frames, ticks = 256 - (division >> 8), division & 0xFF
        if frames not in FRAMES or not ticks:
            raise DamagedError(f"its header gives {ticks} ticks in each of {frames} frames a second")
        numerator, denominator = FRAMES[frames]
        found.rate = numerator * ticks, denominator
        found.resolution = max(1, round(numerator * ticks / denominator / 2))  # a quarter note of half a second
    if length < 6 or kind > 2 or not 1 <= count <= MAX_TRACKS or not division:
        raise DamagedError(f"its header gives format {kind}, {count} tracks and {division} ticks a quarter note")
    places = _Places()
    begin = number = 0
    try:
        for number, (body, whole) in enumerate(_chunks(data, 8 + length, count), 1):
            track = _Track(found, places, part=0 if kind == 2 else number, begin=begin)
            track.read(body, whole=whole)
            begin = track.end if kind == 2 else 0  # the patterns of format 2 follow one another
    except EOFError:
        raise DamagedError(f"its track {number} ends in the middle") from None
    except OverflowError:
        raise DamagedError("it is longer than a MIDI file can be") from None
    found.notice("tracks", count - number)
    _order_voices(found, places)
    found.check_size()
    return found


def _chunks(data: bytes, at: int, count: int) -> Iterator[tuple[bytes, bool]]:
    """Bodies of the first `count` track chunks, and whether they are as long as they should be.

    Chunks of other kinds are passed over, as the specification asks.
    """
    while at + 8 <= len(data) and count:
        length = int.from_bytes(data[at + 4 : at + 8], "big")
        if data[at : at + 4] == b"MTrk":
            count -= 1
            body = data[at + 8 : at + 8 + length]
            yield body, len(body) == length
        at += 8 + length


@dataclass
class _Places:
    """Part, channel and program of every voice, as they were found, and the first program of every channel.

    keys: the part whose key signatures hold. Others have signatures of their own where their instruments transpose.
    """

    voices: list[tuple[int, int, int]] = field(default_factory=list)
    programs: dict[int, int] = field(default_factory=dict)
    keys: int | None = None


class _Track:
    """Reads one track into `found`, its first tick being `begin`.

    A voice is what one channel and program plays in one part. end: tick of the end of the track, once it is read.
    """

    def __init__(self, found: Found, places: _Places, *, part: int, begin: int) -> None:
        self.found, self.places, self.part, self.end = found, places, part, begin
        self.name = self.instrument = b""
        self.port = 0
        self._finished = False
        self._first = len(places.voices) if part else 0
        self._programs: dict[int, int] = {}  # by channel
        self._voices: dict[int, int] = {}  # by channel, in its present program
        self._sounding: dict[int, list[int]] = {}  # by channel and pitch: the rows of the notes, all struck at one tick
        self._struck_again: dict[int, int] = {}  # by channel and pitch: when a note was ended by the next
        self._pedals: dict[int, bool] = {}  # by channel and controller

    def read(self, track: bytes, *, whole: bool) -> None:
        """Read all events. Raises EOFError where the track breaks off."""
        try:
            self._events(track)
        except IndexError:
            raise EOFError from None
        if not (whole or self._finished):
            raise EOFError
        self._close()

    def _events(self, track: bytes) -> None:
        at, now, running = 0, self.end, 0
        strike, release = self._strike, self._release
        while at < len(track):
            byte = track[at]
            at += 1
            if byte & 0x80:
                byte, at = _variable_length(track, at - 1)
            now += byte
            byte = track[at]
            if byte & 0x80:
                at += 1
                if byte >= 0xF0:
                    at = self._system(byte, track, at, now)
                    continue
                running = byte
            if running < 0xA0:
                pitch, velocity = track[at], track[at + 1]
                at += 2
                if not running:
                    raise DamagedError("it has data where an event should begin")
                if (pitch | velocity) & 0x80:
                    raise DamagedError(f"it has a note of pitch {pitch} and velocity {velocity}, which end at 127")
                if velocity and running >= 0x90:
                    strike(running & 15, pitch, velocity, now)
                else:
                    release(running & 15, pitch, now)
            elif running & 0xF0 == 0xB0:
                self._control(running & 15, track[at], track[at + 1], now)
                at += 2
            elif running & 0xF0 == 0xC0:
                self._program(running & 15, track[at])
                at += 1
            else:
                at += 1 if running & 0xF0 == 0xD0 else 2
            if at > len(track):
                raise EOFError
        self.end = max(self.end, now)

    def _strike(self, channel: int, pitch: int, velocity: int, now: int) -> None:
        if channel == DRUMS:
            self.found.notice("drums")
            return
        voice = self._voices.get(channel)
        if voice is None:
            voice = self._voices[channel] = self._voice(channel)
        notes, key = self.found.notes, channel << 7 | pitch
        row = len(notes)
        notes.extend((now, now, pitch, velocity, voice))
        rows = self._sounding.get(key)
        if rows is None:
            self._sounding[key] = [row]
        elif notes[rows[0]] == now:  # two parts in unison
            rows.append(row)
        else:
            for earlier in rows:
                notes[earlier + 1] = now
            self._sounding[key] = [row]
            self._struck_again[key] = now
        if row > 5 * MAX_NOTES:
            raise TooLargeError

    def _release(self, channel: int, pitch: int, now: int) -> None:
        key = channel << 7 | pitch
        rows = self._sounding.get(key)
        if rows is None:
            return
        notes = self.found.notes
        if notes[rows[0]] == now and self._struck_again.get(key) == now:
            del self._struck_again[key]  # the earlier note has its end after the beginning of the next, at one tick
            return
        del self._sounding[key]
        for row in rows:
            notes[row + 1] = now

    def _voice(self, channel: int) -> int:
        """The voice of a channel in its present program."""
        place = self.part, self.port << 4 | channel, self._programs.get(channel, -1)
        voices = self.places.voices
        if place in voices[self._first :]:
            return voices.index(place, self._first)
        if len(voices) >= MAX_VOICES:
            raise TooLargeError
        voices.append(place)
        return len(voices) - 1

    def _program(self, channel: int, program: int) -> None:
        self._programs[channel] = program & 0x7F
        self.places.programs.setdefault(self.port << 4 | channel, program & 0x7F)
        self._voices.pop(channel, None)

    def _control(self, channel: int, controller: int, value: int, now: int) -> None:
        if controller in (SUSTAIN, SOSTENUTO):
            self._pedal(channel, controller, value >= DOWN, now)
        elif controller in (ALL_SOUND_OFF, ALL_NOTES_OFF):
            for key in [key for key in self._sounding if key >> 7 == channel]:
                for row in self._sounding.pop(key):
                    self.found.notes[row + 1] = now
        if controller in (ALL_SOUND_OFF, RESET):
            for pedal in (SUSTAIN, SOSTENUTO):
                if self._pedals.get(channel << 7 | pedal):
                    self._pedal(channel, pedal, False, now)
                    if controller == ALL_SOUND_OFF:  # what the pedal held ends; the pedal is down as before
                        self._pedal(channel, pedal, True, now + 1)

    def _pedal(self, channel: int, controller: int, down: bool, now: int) -> None:
        key = channel << 7 | controller
        if self._pedals.get(key, False) != down:
            self._pedals[key] = down
            self.found.pedals.extend((now, down, controller, self.port << 4 | channel))
            if len(self.found.pedals) > 4 * MAX_NOTES:
                raise TooLargeError

    def _system(self, status: int, track: bytes, at: int, now: int) -> int:
        """Read a meta event, or pass over a message of the system; where the next event begins."""
        if status not in (0xF0, 0xF7, 0xFF):
            return at + (2 if status == 0xF2 else status in (0xF1, 0xF3))
        kind = track[at] if status == 0xFF else -1
        length, at = _variable_length(track, at + (status == 0xFF))
        if at + length > len(track):
            raise EOFError
        if kind == 0x2F:
            self._finished = True
            self.end = max(self.end, now)
            return len(track)
        if kind >= 0:
            self._meta(kind, track[at : at + min(length, 4 * NAME_LENGTH)], now)
        return at + length

    def _meta(self, kind: int, content: bytes, now: int) -> None:
        found = self.found
        if kind == 0x03:
            self.name = self.name or content.strip()
        elif kind == 0x04:
            self.instrument = self.instrument or content.strip()
        elif kind == 0x21 and content:
            self.port = content[0] % PORTS
            self._voices.clear()
        elif kind == 0x51 and len(content) >= 3:
            tempo = int.from_bytes(content[:3], "big")
            if not tempo:
                raise DamagedError("its tempo is out of range")
            found.tempos.extend((now, tempo))
        elif kind == 0x58 and len(content) >= 2:
            if content[0] and content[1] <= MAX_UNIT:
                found.metres.extend((now, content[0], 1 << content[1]))
            else:
                found.notice("signatures")
        elif kind == 0x59 and len(content) >= 2:
            fifths = content[0] - 256 if content[0] > 127 else content[0]
            if abs(fifths) > 7 or content[1] > 1:
                found.notice("signatures")
            elif self.places.keys in (None, self.part):
                self.places.keys = self.part
                found.keys.extend((now, fifths, content[1]))
        if max(len(found.tempos), len(found.metres), len(found.keys)) > 3 * MAX_NOTES:
            raise TooLargeError

    def _close(self) -> None:
        """End what still sounds, and name the voices."""
        notes = self.found.notes
        rows = [row for rows in self._sounding.values() for row in rows]
        if rows:
            last = max(notes[row] for row in rows)
            end = self.end if self.end > last else last + self.found.resolution
            for row in rows:
                notes[row + 1] = end
            self.found.notice("open", len(rows))
        title = text(self.name or self.instrument)
        for _, channel, program in self.places.voices[len(self.found.voices) :]:
            self.found.voices.append((title, program, channel))


def _variable_length(track: bytes, at: int) -> tuple[int, int]:
    """The number at a place, 7 bits a byte, and the place after it."""
    value = 0
    while True:
        byte = track[at]
        at += 1
        value = value << 7 | byte & 0x7F
        if not byte & 0x80:
            return value, at
        if value > LAST_TICK:
            raise OverflowError


def text(raw: bytes) -> str:
    """A name in UTF-8 or, as older programs write it, in Windows' Latin alphabet."""
    try:
        return raw.decode()
    except UnicodeDecodeError as error:
        cut = error.start > len(raw) - 4 and len(raw) == 4 * NAME_LENGTH
        return raw.decode(errors="ignore") if cut else raw.decode("cp1252", errors="replace")


def _order_voices(found: Found, places: _Places) -> None:
    """Put the voices in the order of their parts, channels and programs; a program may be in another part."""
    order = sorted(range(len(places.voices)), key=places.voices.__getitem__)
    found.voices = [
        (name, program if program >= 0 else places.programs.get(channel, -1), channel)
        for name, program, channel in (found.voices[voice] for voice in order)
    ]
    place_of = {voice: place for place, voice in enumerate(order)}
    found.notes[4::5] = array("i", [place_of[voice] for voice in found.notes[4::5]])
