"""Harmonies of twelve tunes in the public domain, with four seeds each; of sopranos of Bach with `--data`.

    python benchmarks/tunes.py [--model chorales-infill] [--seeds 4] [--alone] [--data Jsb16thSeparated.json --limit 20]
    python benchmarks/tunes.py --compose chorales [--seeds 2] [--alone]

Each tune is written as a MIDI file, some after bars of rests, harmonized, and written as MusicXML. Of every harmony:
empty: written parts without a note.  late: written parts that do not begin with the tune.  signature: whether the score
has the key signature and every note of the tune its spelling.  key: whether the key found for the harmony is the
tune's.  scale: share of the written notes, by duration, in its scale (in minor with both sixths and sevenths).  tonic:
whether the last chord is the tonic chord over its root.  Fifths and octaves: parallels in a hundred sixteenths.  rest:
the longest rest of a written part while the tune sounds, in sixteenths. Exits with 1 where a part is empty or a
signature or spelling is not the tune's.

--compose: a piece in each of 24 keys instead, by each seed; ended: whether the model ended it.

--alone: without the rules of the grammar but for the ranges, so by the model alone. --unsigned: the file tells no key.
"""

from __future__ import annotations

import argparse
import re
import sys
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from leading import voice_leading
from numpy.typing import NDArray

from triptych.cli.output import answer
from triptych.music.chorales.codec import SILENT, from_piece, to_piece
from triptych.music.chorales.composer import Composer
from triptych.music.chorales.data import read_chorales
from triptych.music.chorales.grammar import ALONE
from triptych.music.chorales.sampler import KEYED_STEPS
from triptych.music.files.save import save_music
from triptych.music.piece.key import Key, key_of
from triptych.music.piece.metre import Metre
from triptych.music.piece.piece import Piece
from triptych.music.piece.tunes import tunes

SCALES = {False: {0, 2, 4, 5, 7, 9, 11}, True: {0, 2, 3, 5, 7, 8, 9, 10, 11}}
MEANS = ("ended", "mode", "steps", "signature", "key", "scale", "tonic", "fifths", "octaves")


@dataclass(frozen=True)
class Case:
    """A tune, its key, and the names of its notes where they are known (F#, Bb)."""

    name: str
    piece: Piece
    key: Key
    names: tuple[str, ...] = ()


def cases() -> Iterator[Case]:
    """The twelve tunes: three of them after two bars of rests, after one, and with rests that fill up their upbeat."""
    for name, tune in tunes().items():
        bar = Metre.parse(tune.metre).ticks(4)
        first = sum(length for _, length in tune.bars()[0])
        rests = {"twinkle": 2 * bar, "three-kings": bar, "auld-lang-syne": bar - first}.get(name, 0)
        names = tuple(re.findall(r"([A-G][#b]?)\d", tune.notes))
        yield Case(name, tune.piece(rests), Key.parse(tune.key), names)


def sopranos(path: str, limit: int) -> Iterator[Case]:
    """The sopranos of Bach's validation chorales, with the keys of the whole pieces."""
    for number, grid in enumerate(read_chorales(path, "valid")[0][:limit], 1):
        alone = np.where(np.arange(4) == 0, grid, SILENT)
        piece = to_piece(alone)
        yield Case(f"valid {number}", replace(piece, keys=(key_of(grid).signature,)), key_of(grid))


def measured(case: Case, found: Piece, score: str) -> dict[str, float]:
    """The figures of one harmony."""
    grid = np.full((found.length, 4), SILENT)
    for note in found.notes:
        grid[note.start : note.end, note.voice] = note.pitch
    first = min(note.start for note in found.notes if note.voice == 0)
    sung, lower = grid[:, 0] >= 0, grid[:, 1:]
    leading = voice_leading(grid).per_hundred_steps()
    classes = (lower[lower >= 0] - case.key.tonic) % 12
    return {
        "empty": float((lower < 0).all(0).sum()),
        "late": float((lower[first] < 0).sum()),
        "signature": float(_signed(case, score)),
        "key": float(key_of(grid) == case.key),
        "scale": float(np.isin(classes, list(SCALES[case.key.minor])).mean()) if len(classes) else 0.0,
        "tonic": float(_tonic(grid[sung][-1], case.key)),
        "fifths": leading["parallel_fifths"],
        "octaves": leading["parallel_octaves"],
        "rest": float(max(_longest(lower[sung, voice] < 0) for voice in range(3))),
    }


def _signed(case: Case, score: str) -> bool:
    """Whether a MusicXML score has the tune's key signature, and the names of its notes."""
    fifths = re.search(r"<fifths>(-?\d+)</fifths>", score)
    part = score[score.index("<part id") : score.index("</part>")]
    names = []
    for note in re.findall(r"<note.*?</note>", part, re.DOTALL):
        pitch = re.search(r"<step>(\w)</step>\s*(?:<alter>(-?\d)</alter>)?", note)
        if pitch and '<tie type="stop"' not in note:
            names.append(pitch[1] + {"1": "#", "-1": "b", "0": ""}.get(pitch[2] or "0", "?"))
    spelled = not case.names or tuple(names) == case.names
    return fifths is not None and int(fifths[1]) == case.key.fifths and spelled


def _tonic(chord: NDArray[np.int64], key: Key) -> bool:
    classes = (chord[chord >= 0] - key.tonic) % 12
    return bool(chord[3] >= 0 and classes[-1] == 0 and set(classes.tolist()) <= {0, 4, 7, 3 if key.minor else 4})


def _longest(silent: NDArray[np.bool_]) -> int:
    longest = now = 0
    for one in silent.tolist():
        now = now + 1 if one else 0
        longest = max(longest, now)
    return longest


def harmonized(composer: Composer, case: Case, seeds: Sequence[int], unsigned: bool) -> list[dict[str, float]]:
    """The figures of the harmonies of a tune, by way of files."""
    rows = []
    with tempfile.TemporaryDirectory() as folder:
        source, score = Path(folder, "tune.mid"), Path(folder, "score.musicxml")
        save_music(replace(case.piece, keys=()) if unsigned else case.piece, source)
        for seed in seeds:
            found = composer.harmonize(source, seed=seed)
            save_music(found, score)
            rows.append(measured(case, found, score.read_text("utf-8")))
    return rows


def composed(composer: Composer, seeds: Sequence[int]) -> list[dict[str, float]]:
    """The figures of a piece in each key by each seed."""
    rows = []
    for key in (Key(tonic, minor) for tonic in range(12) for minor in (False, True)):
        for seed in seeds:
            piece = composer.compose(label=key.name, seed=seed)
            grid, _ = from_piece(piece)
            found, leading = key_of(grid), voice_leading(grid).per_hundred_steps()
            rows.append(
                {
                    "ended": float(len(grid) < KEYED_STEPS),
                    "key": float(found == key),
                    "mode": float(found.minor == key.minor),
                    "tonic": float(_tonic(grid[(grid >= 0).any(1)][-1], key)),
                    "fifths": leading["parallel_fifths"],
                    "octaves": leading["parallel_octaves"],
                    "steps": float(len(grid)),
                }
            )
    return rows


def lines(rows: Sequence[dict[str, object]]) -> Iterator[str]:
    names = list(rows[0])
    yield "| " + " | ".join(names) + " |"
    yield "|---" * len(names) + "|"
    for row in rows:
        yield "| " + " | ".join(f"{one:.3g}" if isinstance(one, float) else str(one) for one in row.values()) + " |"


def total(name: str, rows: Sequence[dict[str, float]]) -> dict[str, object]:
    """Of several harmonies: means of what is a share or a rate, sums of what is empty or late, the longest rest."""
    said: dict[str, object] = {"tune": name, "harmonies": len(rows)}
    for figure in rows[0]:
        values = [row[figure] for row in rows]
        said[figure] = (
            sum(values) / len(values) if figure in MEANS else max(values) if figure == "rest" else sum(values)
        )
    return said


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="chorales-infill")
    parser.add_argument("--seeds", type=int, default=4)
    parser.add_argument("--compose", metavar="MODEL")
    parser.add_argument("--alone", action="store_true")
    parser.add_argument("--unsigned", action="store_true")
    parser.add_argument("--data")
    parser.add_argument("--limit", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    composer = Composer.load(options.compose or options.model, device="cpu")
    if options.alone:
        composer.rules = ALONE
    if options.compose:
        table = [total("composed", composed(composer, range(1, options.seeds + 1)))]
        answer({"model": options.compose, "tunes": table}, lines(table), as_json=options.json)
        return
    table, everything = [], []
    for case in sopranos(options.data, options.limit) if options.data else cases():
        rows = harmonized(composer, case, range(1, options.seeds + 1), options.unsigned)
        table.append(total(case.name, rows))
        everything += rows
    table.append(total("all", everything))
    answer({"model": options.model, "tunes": table}, lines(table), as_json=options.json)
    sys.exit(any(row["empty"] or not row["signature"] for row in everything))


if __name__ == "__main__":
    main()
