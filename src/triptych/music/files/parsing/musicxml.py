"""MusicXML scores, plain or compressed -> notes, tempos, time and key signatures, as `parsed.Found`.

MusicXML 4.0, W3C Community Group, 2021: partwise and timewise scores; notes, chords, ties, voices, transposing
instruments, upbeats, dynamics and tempos as they should sound. Passed over: grace notes, cue notes, repeats, ornaments.
Runs in the process that reads untrusted files, so it needs nothing beyond Python's own library. A document that
declares entities or elements is refused, because a few bytes of them can ask for all memory.
"""

from __future__ import annotations

import math
import re
import struct
import zipfile
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from itertools import accumulate
from lzma import LZMAError
from xml.etree import ElementTree
from xml.etree.ElementTree import Element

from triptych.music.files.parsing.found import (
    LAST_TICK,
    NAME_LENGTH,
    VELOCITY,
    DamagedError,
    Found,
    TooLargeError,
)

MAX_BYTES = 10_000_000  # of the XML
MAX_PARTS = 256
MAX_RESOLUTION = 0x7FFF  # of a MIDI file
USUAL_RESOLUTION = 10_080  # ticks a quarter note where nothing finer fits: 32 times 3, 5, 7 and 9
MIN_RESOLUTION = 16  # parts of a quarter note, so that a 64th is whole
MAX_NUMBER = 1e9
DECLARATIONS = ("<!ENTITY", "<!ELEMENT", "<!ATTLIST", "<!NOTATION")
SCORES = ("score-partwise", "score-timewise")
STEPS = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
UNITS = {"breve": 8.0, "whole": 4.0, "half": 2.0, "quarter": 1.0, "eighth": 0.5, "16th": 0.25, "32nd": 0.125}
DRUMS = "10"  # the channel of percussion, counted from 1
DAMAGED_ZIP = (
    zipfile.BadZipFile, RuntimeError, EOFError, OSError, ValueError, LookupError, struct.error, zlib.error, LZMAError,
)  # fmt: skip


def parse(data: bytes) -> Found:
    """The notes of a score, and all that belongs to them. Raises DamagedError and TooLargeError."""
    if data[:2] == b"PK":
        data = _unzipped(data)
    root = _root(data)
    names = {part.get("id", ""): part for part in root.iterfind("part-list/score-part")}
    parts = _parts(root)
    if len(parts) > MAX_PARTS:
        raise TooLargeError
    found = Found(resolution=_resolution(root))
    readers = []
    for number, (identity, measures) in enumerate(parts.items()):
        reader = _Part(found, names.get(identity), first=number == 0)
        for measure in measures:
            reader.read(measure)
        readers.append(reader)
    starts = _starts(found, readers)
    for number, reader in enumerate(readers):
        reader.write(starts[number], number)
    found.check_size()
    return found


def _unzipped(data: bytes) -> bytes:
    """The score within an archive (.mxl): the first that its container names, else its first XML file."""
    try:
        with zipfile.ZipFile(BytesIO(data)) as archive:
            names = archive.namelist()
            name = next((name for name in names if _is_score(name)), "")
            if "META-INF/container.xml" in names:
                container = _root(_member(archive, "META-INF/container.xml"), ("container",))
                name = next((file.get("full-path", "") for file in container.iter("rootfile")), name)
            return _member(archive, name)
    except DAMAGED_ZIP:
        raise DamagedError("its archive is damaged or holds no score") from None


def _is_score(name: str) -> bool:
    return name.lower().endswith((".xml", ".musicxml")) and not name.startswith("META-INF/")


def _member(archive: zipfile.ZipFile, name: str) -> bytes:
    with archive.open(name) as packed:
        content = packed.read(MAX_BYTES + 1)
    if len(content) > MAX_BYTES:
        raise DamagedError(f"its score has more than {MAX_BYTES:,} bytes")
    return content


def _root(data: bytes, tags: tuple[str, ...] = SCORES) -> Element:
    """The outermost element of a document, its tags without namespaces."""
    text = _decoded(data)
    if any(declaration in text for declaration in DECLARATIONS):
        raise DamagedError("it declares entities or elements, which no score needs")
    parser = ElementTree.XMLParser()
    try:
        parser.feed(text)
        root = parser.close()
    except ElementTree.ParseError as error:
        raise DamagedError(f"its XML is not well formed in line {error.position[0]}") from None
    if "}" in root.tag:
        for element in root.iter():
            element.tag = element.tag.rpartition("}")[2]
    if root.tag not in tags:
        raise DamagedError("it is XML, but no score in MusicXML")
    return root


def _decoded(data: bytes) -> str:
    encoding = "utf-8-sig"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif named := re.match(rb"<\?xml[^>]{0,80}?encoding\s*=\s*[\"']([A-Za-z0-9_.-]{1,20})", data):
        encoding = named[1].decode().lower()
    if encoding not in ("utf-8-sig", "utf-8", "utf-16", "us-ascii", "iso-8859-1", "iso-8859-15", "windows-1252"):
        raise DamagedError(f"its encoding is {encoding}, and UTF-8 is expected")
    try:
        return data.decode("utf-8-sig" if encoding == "utf-8" else encoding)
    except UnicodeDecodeError:
        raise DamagedError(f"it holds bytes that are not {encoding.removesuffix('-sig').upper()}") from None


def _parts(root: Element) -> dict[str, list[Element]]:
    """The measures of each part."""
    parts: dict[str, list[Element]] = {}
    if root.tag == "score-partwise":
        for number, part in enumerate(root.iterfind("part")):
            parts[part.get("id") or str(number)] = part.findall("measure")
        return parts
    for measure in root.iterfind("measure"):
        for part in measure.iterfind("part"):
            part.attrib = {**measure.attrib, **part.attrib}
            parts.setdefault(part.get("id", ""), []).append(part)
    return parts


def _resolution(root: Element) -> int:
    """Ticks a quarter note in which every duration is whole, if a MIDI file can have them."""
    divisions = {_positive(element.text) for element in root.iter("divisions")} or {1.0}
    if not all(division.is_integer() for division in divisions):
        return USUAL_RESOLUTION
    least = MIN_RESOLUTION
    for division in divisions:
        least = math.lcm(least, int(division))
        if least > MAX_RESOLUTION:
            return USUAL_RESOLUTION
    return least


def _number(text: str | None, default: float = 0.0) -> float:
    if text is None or not text.strip():
        return default
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not abs(value) <= MAX_NUMBER:
        raise DamagedError("it has something else where a number should be")
    return value


def _positive(text: str | None) -> float:
    value = _number(text)
    if value <= 0:
        raise DamagedError("its divisions of a quarter note are not above 0")
    return value


@dataclass(slots=True)
class _Row:
    """A note in its measure: start and end in ticks from there, and the ties at it, "stop" and "start"."""

    start: int
    end: int
    pitch: int
    velocity: int
    voice: tuple[int, str]
    ties: frozenset[str | None]


@dataclass(slots=True)
class _Measure:
    """What a part gives for a measure: its length in ticks, its time signature, its notes, and what else it changes at
    some of its ticks.
    """

    length: int = 0
    time: tuple[int, int] | None = None
    rows: list[_Row] = field(default_factory=list)
    keys: list[tuple[int, int, int]] = field(default_factory=list)  # tick, fifths, mode
    tempos: list[tuple[int, int]] = field(default_factory=list)  # tick, microseconds


@dataclass
class _Part:
    """Reads one part, measure by measure, and writes its notes when all know where the measures begin."""

    found: Found
    head: Element | None
    first: bool
    measures: list[_Measure] = field(default_factory=list)
    _divisions: float = 1.0
    _chromatic: int = 0
    _fifths: int = 0  # that the transposition adds
    _velocity: int = VELOCITY
    _last: int = 0  # start of the last note that is no further note of a chord

    def __post_init__(self) -> None:
        channels = self.head.findall("midi-instrument/midi-channel") if self.head is not None else []
        self.drums = bool(channels) and all((channel.text or "").strip() == DRUMS for channel in channels)

    def read(self, element: Element) -> None:
        """Read a measure."""
        now = end = 0
        measure = _Measure()
        self.measures.append(measure)
        for child in element:
            tag = child.tag
            if tag == "note":
                now = self._note(child, measure, now)
            elif tag == "backup":
                now = max(0, now - self._ticks(child.findtext("duration")))
            elif tag == "forward":
                now += self._ticks(child.findtext("duration"))
            elif tag == "attributes":
                self._attributes(child, measure, now)
            elif tag in ("direction", "sound"):
                self._direction(child, measure, now)
            elif tag == "barline" and self.first:
                self.found.notice("repeats", len(child.findall("repeat[@direction='backward']")))
            end = max(end, now)
            if end > LAST_TICK:
                raise DamagedError("it is longer than a piece can be")
        measure.length = end

    def _ticks(self, duration: str | None) -> int:
        return max(0, round(_number(duration) * self.found.resolution / self._divisions))

    def _note(self, note: Element, measure: _Measure, now: int) -> int:
        """Read a note or a rest; where the next one begins."""
        fields = {child.tag: child for child in note}
        texts = {tag: child.text for tag, child in fields.items()}
        if "grace" in fields:
            self.found.notice("graces")
            return now
        duration = self._ticks(texts.get("duration"))
        start = self._last if "chord" in fields else now
        after = now if "chord" in fields else now + duration
        self._last = start
        if "cue" in fields:
            self.found.notice("graces")
        elif "unpitched" in fields or ("pitch" in fields and self.drums):
            self.found.notice("drums")
        elif "pitch" in fields:
            ties: frozenset[str | None] = frozenset()
            if "tie" in fields or "notations" in fields:
                ties = frozenset(tie.get("type") for path in ("tie", "notations/tied") for tie in note.iterfind(path))
            pitch, velocity = self._pitch(fields["pitch"]), self._loudness(note.get("dynamics"))
            voice = int(_number(texts.get("staff"), 1)), (texts.get("voice") or "1").strip().rjust(8)
            measure.rows.append(_Row(start, start + duration, pitch, velocity, voice, ties))
        return after

    def _pitch(self, pitch: Element) -> int:
        texts = {child.tag: child.text for child in pitch}
        step = STEPS.get((texts.get("step") or "").strip().upper())
        octave, alter = _number(texts.get("octave")), _number(texts.get("alter"))
        number = -1 if step is None else round(12 * (octave + 1) + step + alter) + self._chromatic
        if not 0 <= number <= 127:
            raise DamagedError("it has a pitch that is none")
        return number

    def _loudness(self, dynamics: str | None) -> int:
        """MIDI velocity of a percentage of 90, or the one that holds."""
        return self._velocity if dynamics is None else max(1, min(127, round(0.9 * _number(dynamics))))

    def _attributes(self, element: Element, measure: _Measure, now: int) -> None:
        if (divisions := element.findtext("divisions")) is not None:
            self._divisions = _positive(divisions)
        if (transpose := element.find("transpose")) is not None:
            octaves = 12 * _number(transpose.findtext("octave-change"))
            chromatic, diatonic = _number(transpose.findtext("chromatic")), transpose.findtext("diatonic")
            self._chromatic = round(chromatic + octaves)
            steps = _number(diatonic) if diatonic is not None else 7 * chromatic / 12
            self._fifths = round(7 * chromatic - 12 * round(steps))
        if (key := element.find("key")) is not None and key.find("fifths") is not None:
            fifths = round(_number(key.findtext("fifths"))) + self._fifths
            mode = {"minor": 1, "major": 0}.get((key.findtext("mode") or "").strip().lower(), -1)
            if abs(fifths) <= 7:
                measure.keys.append((now, fifths, mode))
            else:
                self.found.notice("signatures", int(self.first))
        if (time := element.find("time")) is not None and time.find("senza-misura") is None:
            measure.time = _time(time)
            self.found.notice("signatures", int(measure.time is None and self.first))

    def _direction(self, element: Element, measure: _Measure, now: int) -> None:
        sound = element if element.tag == "sound" else element.find("sound")
        if sound is not None:
            self._velocity = self._loudness(sound.get("dynamics"))
            if self.first and any(sound.get(name) is not None for name in ("dacapo", "dalsegno")):
                self.found.notice("repeats")
        quarters = _number(sound.get("tempo")) if sound is not None else 0.0
        if not quarters and (mark := element.find("direction-type/metronome")) is not None:
            beat = UNITS.get((mark.findtext("beat-unit") or "").strip(), 0.0)
            dots = len(mark.findall("beat-unit-dot"))
            mark_number = re.search(r"\d{1,4}(\.\d{1,4})?", mark.findtext("per-minute") or "")
            quarters = beat * (2 - 0.5 ** min(dots, 4)) * float(mark_number[0]) if mark_number else 0.0
        microseconds = round(60e6 / quarters) if quarters > 1 else 0
        if 0 < microseconds <= 0xFFFFFF:
            measure.tempos.append((now, microseconds))

    def write(self, starts: list[int], channel: int) -> None:
        """Add the notes, with ties made one, the tempos, and the keys of the first part that has any."""
        found, keyless = self.found, not self.found.keys
        rows: list[tuple[int, int, _Row]] = []
        for first, measure in zip(starts, self.measures, strict=False):  # other parts may have more measures
            for tick, microseconds in measure.tempos:
                found.tempos.extend((first + tick, microseconds))
            for tick, fifths, mode in measure.keys if keyless else ():
                found.keys.extend((first + tick, fifths, mode))
            rows += [(first + row.start, first + row.end, row) for row in measure.rows]
        heard = sorted({row.voice for _, _, row in rows})
        voices = {voice: place for place, voice in enumerate(heard, len(found.voices))}
        title, program = self._name()
        for place in range(len(voices)):
            found.voices.append((title if place == 0 or not title else f"{title} {place + 1}", program, channel))
        tied: dict[tuple[int, int], list[tuple[int, tuple[int, str]]]] = {}  # by pitch and end: rows, voices
        for start, end, row in sorted(rows, key=lambda row: row[0]):
            waiting = tied.get((row.pitch, start), [])
            # Some programs write where a tie starts and not where it stops.
            other = waiting[0] if waiting and "stop" in row.ties else None
            before = next((one for one in waiting if one[1] == row.voice), other)
            if before is not None:
                waiting.remove(before)
                at = before[0]
                found.notes[at + 1] = end
            else:
                at = len(found.notes)
                found.notes.extend((start, end, row.pitch, row.velocity, voices[row.voice]))
            if "start" in row.ties:
                tied.setdefault((row.pitch, end), []).append((at, row.voice))

    def _name(self) -> tuple[str, int]:
        """Name and General MIDI program of the part."""
        if self.head is None:
            return "", -1
        names = (self.head.findtext(path) or "" for path in ("part-name", "score-instrument/instrument-name"))
        title = next((" ".join(name.split())[:NAME_LENGTH] for name in names if name.strip()), "")
        program = round(_number(self.head.findtext("midi-instrument/midi-program"))) - 1
        return title, program if 0 <= program <= 127 else -1


def _time(time: Element) -> tuple[int, int] | None:
    """Beats and unit of a time signature, of which there may be several to be added; None for one that is none."""
    pairs = []
    for beats, unit in zip(time.iterfind("beats"), time.iterfind("beat-type"), strict=False):
        count = sum(int(_number(part)) for part in (beats.text or "").split("+"))
        pairs.append((count, int(_number(unit.text))))
    if not pairs or not all(0 < count <= 255 and unit in (1, 2, 4, 8, 16, 32, 64) for count, unit in pairs):
        return None
    longest = max(unit for _, unit in pairs)
    total = sum(count * longest // unit for count, unit in pairs)
    return (total, longest) if total <= 255 else None


def _starts(found: Found, parts: list[_Part]) -> list[list[int]]:
    """Where each measure of each part begins; the upbeat and the time signatures go into `found`.

    Measures begin together. One is a bar long if any part with notes is, else as long as the longest of them; an empty
    one is a bar. Parts of equal lengths whose measures differ, as in editions of mensural music, have each its own.
    Where a measure begins within a bar, its time signature is written again, unless two measures are a bar cut in two.
    """
    together = _together(found, [part.measures for part in parts])
    lengths = [[measure.length for measure in part.measures] for part in parts]
    equal = any(len({sum(each[:last]) for each in lengths}) == 1 for last in (None, -1))
    if equal and any(each[:-1] != lengths[0][:-1] for each in lengths):
        return [[0, *accumulate(each)][:-1] for each in lengths]
    return [together] * len(parts)


def _together(found: Found, parts: list[list[_Measure]]) -> list[int]:
    """Where each measure of all parts begins."""
    count = max((len(part) for part in parts), default=0)
    time: tuple[int, int] | None = None
    now, anchor, before = 0, 0, 0
    starts: list[int] = []
    for place in range(count):
        each = [part[place] for part in parts if place < len(part)]
        new = next((measure.time for measure in each if measure.time is not None), None)
        time = new or time
        bar = 4 * found.resolution * (time or (4, 4))[0] // (time or (4, 4))[1]
        lengths = [measure.length for measure in each if measure.rows] or [measure.length for measure in each]
        length = bar if bar in lengths else max(lengths) or bar
        if place == 0:
            found.pickup = length if length < bar and count > 1 else 0
            anchor = found.pickup
        other_half = place > 1 and before + length == bar
        if new is not None and (place == 0 or not other_half):
            found.metres.extend((now, *new))
            anchor = anchor if place == 0 else now
        elif time is not None and place and not other_half and (now - anchor) % bar:
            found.metres.extend((now, *time))
            anchor = now
        starts.append(now)
        now, before = now + length, length
        if now > LAST_TICK:
            raise DamagedError("it is longer than a piece can be")
    return starts
