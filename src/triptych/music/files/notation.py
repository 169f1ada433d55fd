"""The score of a piece: MusicXML 4.0 (W3C 2021) by our own hand, and the same engraved as SVG by Verovio."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from triptych.extras import require
from triptych.music.files.spelling import STEPS, spell
from triptych.music.files.staves import MAX_LAYERS, Part, parts_of
from triptych.music.piece.bars import QUARTER, Symbol, bars_of, beams_of, in_sixteenths, is_whole
from triptych.music.piece.key import signed
from triptych.music.piece.metre import Bar
from triptych.music.piece.piece import Piece, Tempo
from triptych.music.piece.transcription import transcribed

ACCIDENTALS = ("flat-flat", "flat", "natural", "sharp", "double-sharp")
TYPES = {32: "breve", 16: "whole", 8: "half", 4: "quarter", 2: "eighth", 1: "16th"}
CLEARLY = 0.05  # share by which a tempo differs that a reader is shown
HEADER = (
    '<?xml version="1.0" encoding="UTF-8"?>\n<!DOCTYPE score-partwise PUBLIC '
    '"-//Recordare//DTD MusicXML 4.0 Partwise//EN" "http://www.musicxml.org/dtds/partwise.dtd">\n'
)
SVG = "http://www.w3.org/2000/svg"
ENGRAVING = {
    "adjustPageHeight": True,
    "breaks": "auto",
    "footer": "none",
    "header": "none",
    "pageHeight": 60_000,  # the tallest that there is: some 500 bars of four voices
    "pageWidth": 2_400,
    "scale": 40,  # percent
    "xmlIdSeed": 1,  # without a seed, every run gives other names to the signs
}


def musicxml(piece: Piece) -> str:
    """Score of a piece, a staff a voice, as MusicXML: in its metres, with its upbeat, or in 4/4 where it has none.

    The key signatures are those of the piece, or the key that it sounds in; they and the notes around one choose its
    name (`spelling`).
    Times that are no sixteenths go to the nearest, a note shorter than one is written as one, and nothing is left out:
    notes of one voice that overlap are written in layers, and a fifth layer gets a staff of its own. Below 16 hertz
    (pitches under 12) the format has no octaves: those notes get octave -1, which not every program reads.
    Of a performance the beat is found: see `transcription`.
    Raises UserError for more than 5,000 bars, and for a performance without a beat.
    """
    piece = in_sixteenths(signed(piece if piece.metrical else transcribed(piece)))
    bars = bars_of(piece)
    parts = parts_of(piece, bars)
    score = ET.Element("score-partwise", version="4.0")
    _add(_add(score, "identification"), "encoding", {"software": "Triptych"})
    names = _add(score, "part-list")
    if len(parts) > 1:
        _add(names, "part-group", {"group-symbol": "bracket", "group-barline": "yes"}, type="start", number="1")
    for number, part in enumerate(parts, 1):
        _add(names, "score-part", {"part-name": part.name}, id=f"P{number}")
    if len(parts) > 1:
        _add(names, "part-group", type="stop", number="1")
    for number, part in enumerate(parts, 1):
        element = _add(score, "part", id=f"P{number}")
        _write_part(element, part, bars, piece)
        if number == 1:
            _write_tempos(element, bars, piece)
    ET.indent(score)
    return HEADER + ET.tostring(score, "unicode") + "\n"


def svg(piece: Piece) -> str:
    """Engrave the score on one page that is as tall as it must be, as SVG that needs no scripts and no fonts.

    Raises UserError without the package verovio, and where `musicxml` does.
    """
    require("verovio", "engraving")
    import verovio

    verovio.setDefaultResourcePath(str(Path(verovio.__file__).parent / "data"))  # which each thread has of its own
    toolkit = verovio.toolkit()
    toolkit.setOptions(ENGRAVING)
    read = toolkit.loadData(musicxml(piece))
    assert read, "Verovio reads our MusicXML"
    return _stack([toolkit.renderToSVG(page) for page in range(1, toolkit.getPageCount() + 1)])


def _stack(pages: Sequence[str]) -> str:
    """Join SVG pages of one width, one below the other."""
    if len(pages) == 1:
        return pages[0]
    width = height = 0
    inner = []
    for page in pages:
        size = re.match(r'<svg width="(\d+)px" height="(\d+)px"', page)
        assert size, "Verovio writes the size of a page first"
        inner.append(page.replace("<svg ", f'<svg y="{height}" ', 1))
        width, height = int(size[1]), height + int(size[2])
    return "\n".join([f'<svg width="{width}px" height="{height}px" xmlns="{SVG}">', *inner, "</svg>\n"])


def _signature(step: str, fifths: int) -> int:
    """Semitones by which the key signature raises a step."""
    return (fifths + (STEPS.index(step) - fifths) % 7) // 7


def _write_part(part: ET.Element, content: Part, bars: Sequence[Bar], piece: Piece) -> None:
    for index, bar in enumerate(bars):
        measure = _add(part, "measure", number=str(bar.number))
        if bar.offset:
            measure.set("implicit", "yes")
        _write_attributes(measure, content, bars[index - 1] if index else None, bar, piece)
        fifths = piece.key_at(bar.start).fifths
        for number, staff in enumerate(content.staves, 1):
            if number > 1:
                _add(measure, "backup", {"duration": bar.end - bar.start})
            layers = [layer[index] for layer in staff.layers]
            writer = _Writer(measure, content.names, number if len(content.staves) > 1 else None)
            writer.write(layers, bar, fifths)
    _add(part[-1], "barline", {"bar-style": "light-heavy"}, location="right")


def _write_attributes(measure: ET.Element, content: Part, before: Bar | None, bar: Bar, piece: Piece) -> None:
    """Key, metre and clefs, as far as they have changed since the bar before."""
    key, metre = piece.key_at(bar.start), bar.metre
    new_key = before is None or piece.key_at(before.start) != key
    new_metre = before is None or (before.metre.beats, before.metre.unit) != (metre.beats, metre.unit)
    if not (new_key or new_metre):
        return
    attributes = _add(measure, "attributes")
    if before is None:
        _add(attributes, "divisions", 4)
    if new_key:
        element = _add(attributes, "key")
        _add(element, "fifths", key.fifths)
        if key.minor is not None:
            _add(element, "mode", "minor" if key.minor else "major")
    if new_metre:
        _add(attributes, "time", {"beats": metre.beats, "beat-type": metre.unit})
    if before is None:
        if len(content.staves) > 1:
            _add(attributes, "staves", len(content.staves))
        for number, staff in enumerate(content.staves, 1):
            sign, line, octaves = staff.clef
            element = _add(attributes, "clef", {"sign": sign, "line": line})
            if len(content.staves) > 1:
                element.set("number", str(number))
            if octaves:
                _add(element, "clef-octave-change", octaves)


@dataclass(frozen=True)
class _Writer:
    """Writes the signs of one staff into a measure; `staff` is its number, of a part that has several."""

    measure: ET.Element
    names: dict[tuple[int, int], int]
    staff: int | None

    def write(self, layers: Sequence[Sequence[Symbol]], bar: Bar, fifths: int) -> None:
        """Write the layers of a bar, one after another."""
        shown = self._accidentals(layers, fifths)
        for number, symbols in enumerate(layers, 1):
            # The first layer fills the bar; of the others only what sounds is of interest.
            if number > 1 and not any(symbol.pitches for symbol in symbols):
                continue
            if number > 1:
                _add(self.measure, "backup", {"duration": bar.end - bar.start})
            voice = number + MAX_LAYERS * ((self.staff or 1) - 1)
            for symbol, beams in zip(symbols, beams_of(symbols, bar), strict=True):
                if symbol.pitches or number == 1:
                    accidentals = [shown.get((number, symbol.start, pitch)) for pitch in symbol.pitches]
                    self._write_notes(symbol, voice, beams, accidentals, bar)
                else:
                    forward = _add(self.measure, "forward", {"duration": symbol.length, "voice": voice})
                    if self.staff:
                        _add(forward, "staff", self.staff)

    def _spell(self, symbol: Symbol, pitch: int) -> tuple[str, int, int]:
        return spell(pitch, self.names[symbol.onset, pitch])

    def _accidentals(self, layers: Sequence[Sequence[Symbol]], fifths: int) -> dict[tuple[int, int, int], str]:
        """Accidentals to be seen in a bar, by layer (from 1), start, pitch: where signature and bar say otherwise."""
        valid: dict[tuple[str, int], int] = {}
        shown = {}
        timed = ((symbol.start, layer, symbol) for layer, symbols in enumerate(layers, 1) for symbol in symbols)
        for start, layer, symbol in sorted(timed, key=lambda entry: entry[:2]):
            # What is tied over a bar line needs no accidental, and gives none to the bar.
            for pitch in () if symbol.tied_back else symbol.pitches:
                step, alter, octave = self._spell(symbol, pitch)
                if valid.get((step, octave), _signature(step, fifths)) != alter:
                    shown[layer, start, pitch] = ACCIDENTALS[alter + 2]
                    valid[step, octave] = alter
        return shown

    def _write_notes(
        self, symbol: Symbol, voice: int, beams: Iterable[str], shown: Sequence[str | None], bar: Bar
    ) -> None:
        """Write the notes of a chord, or a rest."""
        ties = [kind for kind, is_tied in (("stop", symbol.tied_back), ("start", symbol.tied_on)) if is_tied]
        whole = not symbol.pitches and is_whole(symbol.start, symbol.end, bar)
        for place, (pitch, accidental) in enumerate(zip(symbol.pitches or [None], shown or [None], strict=True)):
            note = _add(self.measure, "note")
            if place:
                _add(note, "chord")
            if pitch is None:
                _add(note, "rest", **({"measure": "yes"} if whole else {}))
            else:
                step, alter, octave = self._spell(symbol, pitch)
                # An alter of 0 too: music21 holds a tied note with and one without for different pitches.
                _add(note, "pitch", {"step": step, "alter": alter, "octave": octave})
            _add(note, "duration", symbol.length)
            for kind in ties:
                _add(note, "tie", type=kind)
            _add(note, "voice", voice)
            if not whole:
                _write_type(note, symbol.length)
            if accidental:
                _add(note, "accidental", accidental)
            if self.staff:
                _add(note, "staff", self.staff)
            for number, beam in enumerate(() if place else beams, 1):
                _add(note, "beam", beam, number=str(number))
            notations = _add(note, "notations") if ties else note
            for kind in ties:
                _add(notations, "tied", type=kind)


def _write_type(note: ET.Element, length: int) -> None:
    dotted = length not in TYPES
    _add(note, "type", TYPES[length * 2 // 3 if dotted else length])
    if dotted:
        _add(note, "dot")


def _write_tempos(part: ET.Element, bars: Sequence[Bar], piece: Piece) -> None:
    """Write the tempos into the measures of a part: all for programs, and for readers those that are clearly new."""
    shown = 0.0
    starts = [bar.start for bar in bars]
    written: dict[int, int] = {}  # directions in a measure, which stand after its attributes, in order
    for change in (Tempo(0, piece.tempo), *piece.tempos):
        index = bisect_right(starts, change.start) - 1
        bar, measure = bars[index], part[index]
        if change.start >= bar.end:
            break
        clear = not shown or abs(change.quarters / shown - 1) >= CLEARLY
        shown = change.quarters if clear else shown
        place = written.get(index, int(measure[0].tag == "attributes"))
        measure.insert(place, _tempo(change, bar) if clear else _sound(change, bar))
        written[index] = place + 1


def _tempo(change: Tempo, bar: Bar) -> ET.Element:
    """A mark of beats a minute, where a beat is what it is in the bar."""
    direction = ET.Element("direction", placement="above")
    metronome = _add(_add(direction, "direction-type"), "metronome")
    beat = bar.metre.beat(4)
    beat = beat if beat in (1, 2, 3, 4, 6, 8, 12, 16) else QUARTER
    _add(metronome, "beat-unit", TYPES.get(beat) or TYPES[beat * 2 // 3])
    if beat not in TYPES:
        _add(metronome, "beat-unit-dot")
    _add(metronome, "per-minute", _number(change.quarters * QUARTER / beat))
    if change.start > bar.start:
        _add(direction, "offset", change.start - bar.start)
    _add(direction, "sound", tempo=_number(change.quarters))
    return direction


def _sound(change: Tempo, bar: Bar) -> ET.Element:
    """A tempo that is heard and not seen."""
    sound = ET.Element("sound", tempo=_number(change.quarters))
    if change.start > bar.start:
        _add(sound, "offset", change.start - bar.start)
    return sound


def _number(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")


def _add(
    parent: ET.Element, tag: str, content: str | int | Mapping[str, str | int] | None = None, **attributes: str
) -> ET.Element:
    """Add an element; its content is a text, or elements by their tags with a text each."""
    element = ET.SubElement(parent, tag, attributes)
    if isinstance(content, Mapping):
        for name, text in content.items():
            _add(element, name, text)
    elif content is not None:
        element.text = str(content)
    return element
