"""Files of music that people have: what is read of them, held against pretty_midi, and whether the verbs take them.

    python benchmarks/read_midi.py FOLDER [--no-verbs] [--patience SECONDS] [--table FILE.md]

Every MIDI file of the folder is read here and by pretty_midi (an extra of `dev`). Notes are compared by their onset,
in ticks and in seconds, their pitch and their velocity; then by their ends, where pretty_midi has another rule: it
drops a note without an end, lets a note that is struck while it sounds go on to the next note-off, and knows no "all
notes off". Drums are left out of both. Then `harmonize` and `continue --model piano` get every file, MusicXML too,
with the shipped models. A verb that refuses a file does so before it composes: one that still composes after some
seconds of the processor has taken it, and is stopped ("yes"; "yes, to the end" where it was done). Prints a line a
file, writes the table, and exits with 1 where a note differs or a verb refuses more than one file of twenty.
"""

from __future__ import annotations

import argparse
import signal
import struct
import sys
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType

from triptych.errors import UserError
from triptych.music.chorales.composer import Composer
from triptych.music.files.folder import SUFFIXES
from triptych.music.files.reading import MusicReader
from triptych.music.performances.pianist import Pianist
from triptych.music.piece.piece import Piece

MIDI = (".mid", ".midi", ".kar")
SECONDS = 1e-3  # by which onsets may differ: a piece has its tempos to the hundredth where a file may have them so
SHARE = 0.95  # of the files that each verb has to take
CONTINUED = 1.0  # seconds that are composed


@dataclass
class Row:
    """What was found out about one file."""

    name: str
    notes: int = 0
    onsets: str = ""
    ends: str = ""
    harmonize: str = ""
    continued: str = ""
    agrees: bool = True

    def __str__(self) -> str:
        return f"| {self.name} | {self.notes} | {self.onsets} | {self.ends} | {self.harmonize} | {self.continued} |"


def compare(row: Row, path: Path, piece: Piece, words: list[str]) -> None:
    """Hold the notes of a piece against those that pretty_midi finds."""
    import pretty_midi

    if struct.unpack(">H", path.read_bytes()[8:10])[0] == 2:
        row.onsets = "format 2, which pretty_midi reads as one at a time"
        return
    try:
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            other = pretty_midi.PrettyMIDI(str(path))
    except Exception as error:
        row.onsets = f"pretty_midi: {type(error).__name__}"
        return
    elsewhere = any("non-zero" in str(warning.message) for warning in caught)  # tempos that it does not read
    theirs: list[tuple[int, int, int, int]] = []
    shifted = 0
    for instrument in other.instruments:
        for note in instrument.notes if not instrument.is_drum else ():
            start, end = other.time_to_tick(note.start), other.time_to_tick(note.end)
            theirs.append((start, end, note.pitch, note.velocity))
            shifted += not elsewhere and abs(piece.seconds_at(start) - note.start) > SECONDS
    mine = [(note.start, note.end, note.pitch, note.velocity) for note in piece.notes]
    only_mine, only_theirs = (
        Counter((start, *rest) for start, _, *rest in one) - Counter((start, *rest) for start, _, *rest in two)
        for one, two in ((mine, theirs), (theirs, mine))
    )
    unended = next((int(word.split()[0].replace(",", "")) for word in words if "without an end" in word), 0)
    missing, added = only_theirs.total(), max(0, only_mine.total() - unended)
    row.agrees = not (missing or added or shifted)
    row.onsets = "equal" if row.agrees else f"{missing} missing, {added} added, {shifted} at another time"
    row.onsets += f", {unended} without an end" if unended else ""
    row.onsets += " (in ticks)" if elsewhere else ""
    different = list((Counter(mine) - Counter(theirs)).elements())
    onsets = {(start, pitch) for start, _, pitch, _ in mine}
    again = sum((end, pitch) in onsets for _, end, pitch, _ in different)
    other = max(0, len(different) - again - unended)
    row.ends = f"{again} struck again, {other} by all notes off" if different else "equal"


class Composing(Exception):  # noqa: N818 - no error
    """A verb is at work."""


def stop(_: int, frame: FrameType | None) -> None:
    """Stop a verb that composes, and give one that still reads some more time."""
    while frame is not None:
        if frame.f_code.co_filename.endswith(("sample.py", "sampler.py", "single.py", "transformer.py")):
            raise Composing
        frame = frame.f_back
    signal.setitimer(signal.ITIMER_PROF, 0.2)


def tried(verb: Callable[[], Piece], patience: float) -> str:
    """What a verb says: that it took the file, or why not."""
    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, patience)
    try:
        verb()
    except UserError as error:
        return str(error)
    except Composing:
        return "yes"
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
    return "yes, to the end"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--no-verbs", action="store_true", help="read and compare alone")
    parser.add_argument("--patience", type=float, default=1.0, help="seconds for a verb; 0: as long as it takes")
    parser.add_argument("--table", type=Path, help="write what was found out as a table")
    options = parser.parse_args()
    paths = sorted(path for path in options.folder.rglob("*") if path.suffix.lower() in SUFFIXES)
    composer = None if options.no_verbs else Composer.load("chorales-infill")
    pianist = None if options.no_verbs else Pianist.load("piano")
    rows = []
    with MusicReader() as reader:
        for path in paths:
            row = Row(path.name)
            try:
                piece, words = reader.read_piece(path)
            except UserError as error:
                row.onsets = str(error).replace(str(path), path.name)
            else:
                row.notes = len(piece.notes)
                if path.suffix.lower() in MIDI:
                    compare(row, path, piece, words)
            if composer is not None and pianist is not None:
                row.harmonize = tried(partial(composer.harmonize, path), options.patience)
                row.continued = tried(partial(pianist.continue_, path, seconds=CONTINUED), options.patience)
            row.harmonize, row.continued = (
                text.replace(str(path), path.name) for text in (row.harmonize, row.continued)
            )
            print(row, flush=True)
            rows.append(row)
    if options.table is not None:
        head = "| file | notes | onset, pitch, velocity | ends | harmonize | continue |\n|---|---|---|---|---|---|\n"
        options.table.write_text(head + "".join(f"{row}\n" for row in rows), "utf-8")
    compared = [row for row in rows if row.onsets.startswith("equal") or not row.agrees]
    same_ends = sum(row.ends == "equal" for row in compared)
    agree = sum(row.agrees for row in compared)
    print(f"{len(rows)} files, {len(compared)} compared: notes agree in {agree}, their ends too in {same_ends}")
    taken = {name: sum(getattr(row, name).startswith("yes") for row in rows) for name in ("harmonize", "continued")}
    if not options.no_verbs:
        print(f"harmonize takes {taken['harmonize']}, continue --model piano {taken['continued']} of {len(rows)}")
    short = not options.no_verbs and min(taken.values()) < SHARE * len(rows)
    return int(short or agree < len(compared) or not rows)


if __name__ == "__main__":
    sys.exit(main())
