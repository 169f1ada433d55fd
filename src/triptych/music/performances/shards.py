"""Performances prepared for training: the notes of thousands of MIDI files in a few memory-mapped arrays.

Notes and not tokens, so that music can be stretched and transposed when it is asked for, exactly: times are rounded to
events once, after the stretch, as in Magenta's code, and not a second time. Encoding a piece costs about a millisecond.
"""

from __future__ import annotations

import csv
import io
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.music.files.folder import HELD_OUT, MusicFiles
from triptych.music.files.reading import MusicReader, read_many
from triptych.music.performances.codec import PerformanceCodec
from triptych.music.performances.melody import melody_of_parts
from triptych.music.piece.performance import NOTE, Performance
from triptych.shape.files import MARK, write_file
from triptych.splits import WORDS, evenly
from triptych.train.run.inputs import digest_of

INDEX = "index.json"
ARRAY = re.compile(r"notes-\d{4,}\.npy")
PART = re.compile(rf"\.(notes-\d{{4,}}\.npy|index\.json)\.{MARK}")
VERSION = 1
SHARD = 1 << 20  # notes of an array, at least, but for the last: 21 MB
TRAIN, VALID = "train", "valid"
# Columns of an index, as people call them: the second of each are those of MAESTRO.
FILE, LABEL = ("file", "midi_filename"), ("composer", "canonical_composer", "label")


@dataclass(frozen=True)
class Entry:
    """One piece: what it is called, its class, its split, and where its notes are.

    label: a name, or None. tokens: its ids, without END. seconds: up to the end of its last note. melody: the number of
    notes of its melody, which stand after its notes; 0 if it was not kept.
    """

    name: str
    label: str | None
    split: str
    shard: int
    first: int
    notes: int
    tokens: int
    seconds: float
    melody: int = 0


class Shards:
    """The performances of a folder that `prepare` made, mapped into memory and read when they are asked for.

    entries: all pieces, in the order of their names. labels: the names of all classes, sorted; none if there is one.
    Raises UserError for another folder.
    """

    def __init__(self, folder: str | Path) -> None:
        folder = Path(folder)
        try:
            index = json.loads((folder / INDEX).read_bytes())
            if index["version"] != VERSION:
                raise ValueError(f"version {index['version']!r}")
            self.entries = [Entry(**entry) for entry in index["pieces"]]
            self.left_out = list(index["left_out"])
            self._arrays = [_mapped(folder / name) for name in index["shards"]]
            if any(entry.first + entry.notes + entry.melody > len(self._arrays[entry.shard]) for entry in self.entries):
                raise ValueError("a shard is too short")
        except (OSError, EOFError, ValueError, TypeError, LookupError, RecursionError) as error:
            reason = error.strerror if isinstance(error, OSError) and error.strerror else f"{error}"
            raise UserError(
                f"expected a folder of prepared music, got {folder}: {' '.join(reason.split())[:200]}; prepare it anew"
            ) from None
        labels = sorted({entry.label for entry in self.entries if entry.label is not None})
        self.labels = tuple(labels) if len(labels) > 1 else ()

    def digest(self) -> str:
        """A digest of all pieces, their notes, labels and splits."""
        entries = json.dumps([asdict(entry) for entry in self.entries]).encode()
        return digest_of([entries, *self._arrays])

    def of_split(self, split: str) -> list[Entry]:
        """The pieces of a split. Raises UserError where there are none."""
        found = [entry for entry in self.entries if entry.split == split]
        if not found:
            known = ", ".join(sorted({repr(entry.split) for entry in self.entries}))
            raise UserError(f"expected pieces in the split {split!r}, got none; its splits: {known}")
        return found

    def evenly(self, split: str, most: int | None) -> list[Entry]:
        """At most so many pieces of a split (all of them, if None), evenly from all."""
        entries = self.of_split(split)
        return [entries[place] for place in evenly(len(entries), most)]

    def performance(self, entry: Entry) -> Performance:
        """The notes of a piece, from its first one on."""
        return self._notes(entry, 0, entry.notes)

    def melody(self, entry: Entry) -> Performance:
        """The melody of a piece, its notes in the time of the piece. Raises UserError where it was not kept."""
        if not entry.melody:
            raise UserError(
                f"expected music that was prepared with its melodies, got {entry.name!r} without; "
                "prepare it anew with --melody"
            )
        return self._notes(entry, entry.notes, entry.notes + entry.melody)

    def _notes(self, entry: Entry, first: int, last: int) -> Performance:
        return Performance(np.asarray(self._arrays[entry.shard][entry.first + first : entry.first + last]))


def _mapped(path: Path) -> NDArray[np.void]:
    array: NDArray[np.void] = np.load(path, mmap_mode="r", allow_pickle=False)
    if array.dtype != NOTE or array.ndim != 1:
        raise ValueError(f"{path.name} holds {array.dtype} {list(array.shape)}")
    return array


def prepare(
    source: str | Path,
    out: str | Path,
    *,
    index: str | Path | None = None,
    melody: bool = False,
    workers: int | None = None,
    progress: Callable[[int, int], None] = lambda done, count: None,
) -> tuple[Shards, list[str]]:
    """Read all MIDI files of a folder or a zip into shards, and say a word about each that was left out or changed.

    A piece begins with its first note. Its label is the name of the folder above it; every tenth piece by name is of
    the split "valid", the others of "train".

    Args:
        source: the folder or zip; what is in its folders belongs to it.
        out: a folder for the arrays and the index, which is written last: without it the folder is not prepared.
        index: a CSV file with labels and splits instead: a column `file` or `midi_filename` (a path inside of the
            source, or the last part of one), and columns `composer`, `canonical_composer` or `label`, and `split`,
            where they are known. Files that it does not name are left out.
        melody: keep the melodies too (`melody_of_parts`, of keys as they were played), to learn to accompany them.
        workers: processes that parse; as many as there are processors if None.
        progress: gets the number of files that are done, and of all, after each.

    Raises:
        UserError: nothing can be read, `out` is prepared already, or `index` is no such file.
    """
    out = Path(out)
    if (out / INDEX).exists():
        raise UserError(f"expected a new folder, got {out}, which holds prepared music; choose another or remove it")
    _expect_new(out)
    codec, writer, words = PerformanceCodec(), _Writer(out), []

    def read(reader: MusicReader, name: str) -> tuple[Performance, Performance, int, list[str]]:
        source = files.source(name)
        performance, notices = reader.read_performance(source, name=name)
        tune = Performance(performance.notes[:0])
        if melody:
            tune, _ = melody_of_parts(reader.read_parts(source, name=name, pedal=False)[0])
        begin = performance.notes["start"][0]
        performance = performance.after(begin)  # a model that composes begins with a note
        return performance, tune.after(begin), len(codec.encode(performance)), notices

    with MusicFiles(source) as files:
        described = _described(files.names, index)
        words += [f"{name!r}: not in {index}" for name in files.names if name not in described]
        for done, (name, found) in enumerate(read_many(list(described), read, workers=workers or os.cpu_count() or 1)):
            if isinstance(found, UserError):  # which names the file
                words.append(str(found))
            else:
                performance, tune, tokens, notices = found
                words += [f"{name!r}: {word}" for word in notices]
                label, split = described[name]
                writer.add(name, label, split, performance, tune, tokens)
            progress(done + 1, len(described))
    if not writer.entries:
        reason = f"first: {words[0]}" if words else "give a folder with .mid files"
        raise UserError(f"expected MIDI files in {source}, got none that can be read; {reason}")
    writer.close(words)
    return Shards(out), words


def _expect_new(out: Path) -> None:
    """Raise UserError for a folder that holds more than what a preparation that was killed has left there."""
    for path in sorted(out.iterdir()) if out.is_dir() else ():
        part = PART.fullmatch(path.name) and path.is_file() and not path.is_symlink()
        try:
            if part or (ARRAY.fullmatch(path.name) and not path.is_symlink() and _mapped(path) is not None):
                continue
        except (OSError, EOFError, ValueError):
            pass
        raise UserError(f"expected a new or empty folder, got {out}, which holds {path.name!r}; choose another")


class _Writer:
    """Collects pieces and writes an array whenever it is full."""

    def __init__(self, out: Path) -> None:
        self.out = out
        self.entries: list[Entry] = []
        self._shards: list[str] = []
        self._waiting: list[NDArray[np.void]] = []

    def add(
        self, name: str, label: str | None, split: str, performance: Performance, melody: Performance, tokens: int
    ) -> None:
        first = sum(map(len, self._waiting))
        place = len(self._shards), first, len(performance)
        self.entries.append(Entry(name, label, split, *place, tokens, performance.seconds, len(melody)))
        self._waiting += [performance.notes, melody.notes]
        if first + len(performance) + len(melody) >= SHARD:
            self._flush()

    def close(self, words: Sequence[str]) -> None:
        if self._waiting:
            self._flush()
        pieces = [asdict(entry) for entry in self.entries]
        index = {"version": VERSION, "shards": self._shards, "pieces": pieces, "left_out": list(words)}
        write_file(self.out / INDEX, (json.dumps(index, indent=0) + "\n").encode(), MARK)

    def _flush(self) -> None:
        buffer = io.BytesIO()
        np.save(buffer, np.concatenate(self._waiting), allow_pickle=False)
        self._shards.append(f"notes-{len(self._shards):04}.npy")
        write_file(self.out / self._shards[-1], buffer.getvalue(), MARK)
        self._waiting = []


def _described(names: Sequence[str], index: str | Path | None) -> Mapping[str, tuple[str | None, str]]:
    """Label and split of the files, by name; only of those that the index names, if there is one."""
    rows = _rows(Path(index)) if index is not None else None
    described = {}
    for number, name in enumerate(names, 1):
        split = VALID if number % HELD_OUT == 0 else TRAIN
        if rows is None:
            described[name] = (PurePosixPath(name).parent.name or None, split)
        elif row := rows.get(name) or rows.get(PurePosixPath(name).name):
            named = row.get("split") or split
            described[name] = (_column(row, LABEL) or None, WORDS.get(named.lower(), named))
    return described


def _column(row: Mapping[str, str], names: Sequence[str]) -> str:
    """What a line has in the first of some columns, or nothing."""
    return next((row[name] for name in names if row.get(name)), "")


def _rows(path: Path) -> dict[str, dict[str, str]]:
    """The lines of the index by their files."""
    try:
        rows = list(csv.DictReader(path.read_text("utf-8-sig").splitlines()))
    except (OSError, ValueError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else "no CSV in UTF-8"
        raise UserError(f"expected a CSV file with a column 'file', got {path}: {reason}; check it") from None
    if not rows or not set(FILE) & set(rows[0]):
        raise UserError(f"expected a CSV file with a column 'file', got {path} without; name its columns in line 1")
    return {_column(row, FILE): row for row in rows}
