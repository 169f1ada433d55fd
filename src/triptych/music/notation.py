"""The score of a piece: MusicXML 4.0 (W3C 2021) by our own hand, and the same engraved as SVG by Verovio."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from triptych.errors import UserError
from triptych.model.files import write_file
from triptych.music.bars import BAR, Symbol, bars_of, beams_of, in_sixteenths, layers_of, symbols_of
from triptych.music.metre import Bar
from triptych.music.piece import Piece

MOST_LAYERS = 4  # that MuseScore reads of one staff
STEPS = "FCGDAEB"  # along the line of fifths
ACCIDENTALS = ("flat-flat", "flat", "natural", "sharp", "double-sharp")
TYPES = {16: "whole", 8: "half", 4: "quarter", 2: "eighth", 1: "16th"}
TREBLE, TENOR, BASS = ("G", 2, 0), ("G", 2, -1), ("F", 4, 0)  # sign, line, octaves
CLEFS = {"soprano": TREBLE, "alto": TREBLE, "tenor": TENOR, "bass": BASS}
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


@dataclass(frozen=True)
class Staff:
    """A staff with up to four layers: the signs of each, [layers][bars][signs]."""

    name: str
    clef: tuple[str, int, int]
    layers: Sequence[Sequence[Sequence[Symbol]]]


def musicxml(piece: Piece) -> str:
    """Score of a piece in 4/4, a staff a voice, as MusicXML.

    The piece's key signature also chooses between sharps and flats, and keeps the leading tone of the minor key with
    that signature a leading tone.
    Times that are no sixteenths go to the nearest, a note shorter than one is written as one, and nothing is left out:
    notes of one voice that overlap are written in layers, and a fifth layer gets a staff of its own. Below 16 hertz
    (pitches under 12) the format has no octaves: those notes get octave -1, which not every program reads.
    Raises UserError for more than 5,000 bars.
    """
    piece = in_sixteenths(piece)
    bars = bars_of(piece)
    staves = _staves(piece, bars)
    score = ET.Element("score-partwise", version="4.0")
    _add(_add(_add(score, "identification"), "encoding"), "software", "Triptych")
    names = _add(score, "part-list")
    if len(staves) > 1:
        _group(names, "start")
    for number, staff in enumerate(staves, 1):
        _add(_add(names, "score-part", id=f"P{number}"), "part-name", staff.name)
    if len(staves) > 1:
        _group(names, "stop")
    for number, staff in enumerate(staves, 1):
        part = _add(score, "part", id=f"P{number}")
        _write_staff(part, staff, bars, piece.key_at(0).fifths)
        if number == 1:
            _write_tempo(part[0], piece.tempo)
    ET.indent(score)
    return HEADER + ET.tostring(score, "unicode") + "\n"


def write_musicxml(piece: Piece, path: Path) -> None:
    """Write the score as a MusicXML file; see `musicxml`."""
    write_file(path, musicxml(piece).encode())


def svg(piece: Piece) -> str:
    """Engrave the score on one page that is as tall as it must be, as SVG that needs no scripts and no fonts.

    Raises UserError without the package verovio, and where `musicxml` does.
    """
    try:
        import verovio
    except ImportError:
        raise UserError(
            "expected the package verovio to engrave with, got none; pip install 'triptych[score]'"
        ) from None
    toolkit = verovio.toolkit()
    toolkit.setOptions(ENGRAVING)
    read = toolkit.loadData(musicxml(piece))
    assert read, "Verovio reads our MusicXML"
    return _stack([toolkit.renderToSVG(page) for page in range(1, toolkit.getPageCount() + 1)])


def write_svg(piece: Piece, path: Path) -> None:
    """Write the engraved score as an SVG file; see `svg`."""
    write_file(path, svg(piece).encode())


def _stack(pages: Sequence[str]) -> str:
    """Join SVG pages of one width, one below the other."""
    if len(pages) == 1:
        return pages[0]
    width = height = 0
    inner = []
    for page in pages:
        size = re.match(r'<svg width="(\d+)px" height="(\d+)px"', page)
        assert size, "Verovio tells the size of a page first"
        inner.append(page.replace("<svg ", f'<svg y="{height}" ', 1))
        width, height = int(size[1]), height + int(size[2])
    return "\n".join([f'<svg width="{width}px" height="{height}px" xmlns="{SVG}">', *inner, "</svg>\n"])


def spell(pitch: int, fifths: int) -> tuple[str, int, int]:
    """Name a MIDI pitch in a key signature: step A to G, semitones that it is raised by, octave (middle C begins 4).

    Twelve neighbours on the line of fifths get names: in C major, B flat to D sharp, so that dominants of the major key
    and of its relative minor are spelled as such. Of all such windows it is the one nearest to Bach's own spelling.
    """
    lowest = fifths - 2
    place = lowest + (7 * pitch - lowest) % 12 + 1  # F is 0
    step, alter = STEPS[place % 7], place // 7
    return step, alter, (pitch - alter) // 12 - 1


def _signature(step: str, fifths: int) -> int:
    """Semitones by which the key signature raises a step."""
    return (fifths + (STEPS.index(step) - fifths) % 7) // 7


def _staves(piece: Piece, bars: Sequence[Bar]) -> list[Staff]:
    staves = []
    for voice, name in enumerate(piece.voices):
        notes = [note for note in piece.notes if note.voice == voice]
        mean = sum(note.pitch for note in notes) / len(notes) if notes else 60
        clef = CLEFS.get(name.lower(), TREBLE if mean >= 60 else BASS)
        layers = [symbols_of(layer, bars) for layer in layers_of(notes) or [[]]]
        title = "".join(filter(str.isprintable, name)).strip()  # XML knows no control characters
        staves += [
            Staff(title[:1].upper() + title[1:], clef, layers[first : first + MOST_LAYERS])
            for first in range(0, len(layers), MOST_LAYERS)
        ]
    return staves


def _write_staff(part: ET.Element, staff: Staff, bars: Sequence[Bar], fifths: int) -> None:
    first = 0 if bars[0].offset else 1
    for index, bar in enumerate(bars):
        measure = _add(part, "measure", number=str(first + index))
        if bar.offset:
            measure.set("implicit", "yes")
        if index == 0:
            _write_attributes(measure, staff.clef, fifths)
        layers = [layer[index] for layer in staff.layers]
        shown = _accidentals(layers, fifths)
        for voice, symbols in enumerate(layers, 1):
            # The first layer fills the bar; of the others only what sounds is of interest.
            if voice > 1 and not any(symbol.pitches for symbol in symbols):
                continue
            if voice > 1:
                _add(_add(measure, "backup"), "duration", bar.end - bar.start)
            for symbol, beams in zip(symbols, beams_of(symbols, bar), strict=True):
                if symbol.pitches:
                    _write_chord(
                        measure,
                        symbol,
                        voice,
                        beams,
                        [shown.get((voice, symbol.start, pitch)) for pitch in symbol.pitches],
                        fifths,
                    )
                elif voice == 1:
                    _write_rest(measure, symbol)
                else:
                    forward = _add(measure, "forward")
                    _add(forward, "duration", symbol.length)
                    _add(forward, "voice", voice)
    barline = _add(part[-1], "barline", location="right")
    _add(barline, "bar-style", "light-heavy")


def _accidentals(layers: Sequence[Sequence[Symbol]], fifths: int) -> dict[tuple[int, int, int], str]:
    """Accidentals to be seen in a bar, by layer (from 1), start and pitch: where signature and bar tell otherwise."""
    valid: dict[tuple[str, int], int] = {}
    shown = {}
    timed = ((symbol.start, layer, symbol) for layer, symbols in enumerate(layers, 1) for symbol in symbols)
    for start, layer, symbol in sorted(timed, key=lambda entry: entry[:2]):
        # What is tied over a bar line needs no accidental, and gives none to the bar.
        for pitch in () if symbol.tied_back else symbol.pitches:
            step, alter, octave = spell(pitch, fifths)
            if valid.get((step, octave), _signature(step, fifths)) != alter:
                shown[layer, start, pitch] = ACCIDENTALS[alter + 2]
                valid[step, octave] = alter
    return shown


def _write_attributes(measure: ET.Element, clef: tuple[str, int, int], fifths: int) -> None:
    sign, line, octaves = clef
    attributes = _add(measure, "attributes")
    _add(attributes, "divisions", 4)
    _add(_add(attributes, "key"), "fifths", fifths)
    time = _add(attributes, "time")
    _add(time, "beats", 4)
    _add(time, "beat-type", 4)
    element = _add(attributes, "clef")
    _add(element, "sign", sign)
    _add(element, "line", line)
    if octaves:
        _add(element, "clef-octave-change", octaves)


def _write_chord(
    measure: ET.Element, symbol: Symbol, voice: int, beams: Iterable[str], shown: Iterable[str | None], fifths: int
) -> None:
    ties = [kind for kind, is_tied in (("stop", symbol.tied_back), ("start", symbol.tied_on)) if is_tied]
    for place, (pitch, accidental) in enumerate(zip(symbol.pitches, shown, strict=True)):
        step, alter, octave = spell(pitch, fifths)
        note = _add(measure, "note")
        if place:
            _add(note, "chord")
        name = _add(note, "pitch")
        _add(name, "step", step)
        _add(name, "alter", alter)  # a 0 too: music21 holds a tied note with and one without for different pitches
        _add(name, "octave", octave)
        _add(note, "duration", symbol.length)
        for kind in ties:
            _add(note, "tie", type=kind)
        _add(note, "voice", voice)
        _write_type(note, symbol.length)
        if accidental:
            _add(note, "accidental", accidental)
        for number, beam in enumerate(() if place else beams, 1):
            _add(note, "beam", beam, number=str(number))
        notations = _add(note, "notations") if ties else note
        for kind in ties:
            _add(notations, "tied", type=kind)


def _write_rest(measure: ET.Element, symbol: Symbol) -> None:
    note = _add(measure, "note")
    rest = _add(note, "rest")
    _add(note, "duration", symbol.length)
    _add(note, "voice", 1)
    if symbol.length == BAR:
        rest.set("measure", "yes")
    else:
        _write_type(note, symbol.length)


def _write_type(note: ET.Element, length: int) -> None:
    dotted = length not in TYPES
    _add(note, "type", TYPES[length * 2 // 3 if dotted else length])
    if dotted:
        _add(note, "dot")


def _write_tempo(measure: ET.Element, tempo: float) -> None:
    text = f"{tempo:.2f}".rstrip("0").rstrip(".")
    direction = ET.Element("direction", placement="above")
    metronome = _add(_add(direction, "direction-type"), "metronome")
    _add(metronome, "beat-unit", "quarter")
    _add(metronome, "per-minute", text)
    _add(direction, "sound", tempo=text)
    measure.insert(1, direction)  # after the attributes


def _group(names: ET.Element, kind: str) -> None:
    group = _add(names, "part-group", type=kind, number="1")
    if kind == "start":
        _add(group, "group-symbol", "bracket")
        _add(group, "group-barline", "yes")


def _add(parent: ET.Element, tag: str, text: str | int | None = None, **attributes: str) -> ET.Element:
    element = ET.SubElement(parent, tag, attributes)
    if text is not None:
        element.text = str(text)
    return element
