"""Find the metres and upbeats of the JSB chorales: `python benchmarks/jsb_metres.py --data Jsb16thSeparated.json`.

The pieces of the data set say nothing of their bars. music21's corpus of Bach's chorales does; a piece is found there
by its soprano and bass, in whatever key, and its time signatures and its first bar are written down, and nothing else:
no note of the corpus is kept. The table is `src/triptych/music/piece/jsb_metres.json`, by digests of pieces.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from triptych.music.chorales.codec import Grid, to_piece
from triptych.music.chorales.data import read_chorales
from triptych.music.piece.metre import Metre
from triptych.music.piece.metre_table import TABLE, digest, metres_of
from triptych.music.piece.upbeat import found_upbeat

SPLITS = ("train", "valid")
WINDOW = 8  # steps of a passage
ENOUGH = 0.4  # share of the passages of a piece that are found
FIRST = 40  # passages, by which the beginning of a piece is aligned


def corpus() -> list[tuple[str, Grid, str, int]]:
    """Chorales of music21's corpus: name, grid, metres as "4/4" or "4/4 32:3/4" (from step 32 on), upbeat in steps."""
    import music21

    found = []
    for score in music21.corpus.chorales.Iterator():
        voices = [part for part in score.parts if part.flatten().notes]
        if len(voices) != 4:
            continue
        end = int(4 * max(part.highestTime for part in voices))
        grid = np.full((end, 4), -1, np.int64)
        for column, part in enumerate(voices):
            for note in part.flatten().notes:
                start = int(4 * note.offset)
                grid[start : start + max(1, int(4 * note.quarterLength)), column] = note.pitches[-1].midi
        signs = voices[0].flatten().getTimeSignatures() if hasattr(voices[0].flatten(), "getTimeSignatures") else []
        changes = {int(4 * sign.offset): sign.ratioString for sign in signs}
        first = voices[0].getElementsByClass("Measure").first()
        upbeat = int(4 * first.duration.quarterLength)
        bar = int(4 * signs[0].barDuration.quarterLength) if signs else 16
        text = " ".join(ratio if not step else f"{step}:{ratio}" for step, ratio in sorted(changes.items()))
        found.append((score.metadata.title or str(score.metadata.number), grid, text or "4/4", upbeat % bar))
    return found


def windows(grid: Grid) -> dict[bytes, list[int]]:
    """Where each passage of two quarter notes begins, by its soprano and bass in whatever key."""
    found: dict[bytes, list[int]] = {}
    for start in range(0, len(grid) - WINDOW + 1):
        part = grid[start : start + WINDOW, [0, 3]]
        if (part >= 0).all():
            found.setdefault((part - part[0, 0]).astype(np.int16).tobytes(), []).append(start)
    return found


def alignment(one: dict[bytes, list[int]], other: dict[bytes, list[int]]) -> tuple[float, int]:
    """The share of one's passages that other has, and how much later the first of them stand there, mostly."""
    shared = [key for key in one if key in other]
    count = sum(len(places) for places in one.values())
    if not shared:
        return 0.0, 0
    early = sorted(shared, key=lambda key: one[key][0])[:FIRST]
    later = Counter(there - here for key in early for here in one[key][:1] for there in other[key])
    return sum(len(one[key]) for key in shared) / count, later.most_common(1)[0][0]


def upbeats(data: str) -> None:
    """Print of how many pieces of one metre `found_upbeat` finds the upbeat of the table, with all voices or one."""
    for split in SPLITS:
        for voices in (4, 1):
            right = total = 0
            for grid in read_chorales(data, split)[0]:
                known = metres_of(grid)
                if known is None or len(known[0]) > 1:
                    continue
                piece = replace(to_piece(grid), pickup=None, metres=known[0])
                piece = replace(piece, notes=tuple(note for note in piece.notes if note.voice < voices))
                right += found_upbeat(piece) == known[1]
                total += 1
            print(f"{split}, {'all voices' if voices == 4 else 'the soprano'}: {right} of {total}")


def main() -> None:
    """Match, and write the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", required=True)
    parser.add_argument("--out", type=Path, default=Path("src/triptych/music") / TABLE)
    parser.add_argument("--upbeats", action="store_true", help="only say how often the rhythm tells the upbeat")
    options = parser.parse_args()
    if options.upbeats:
        upbeats(options.data)
        return
    known = corpus()
    indexed = [windows(grid) for _, grid, _, _ in known]
    print(f"{len(known)} chorales in the corpus")
    table: dict[str, Any] = {}
    for split in SPLITS:
        grids, _ = read_chorales(options.data, split)
        missing = []
        for number, grid in enumerate(grids):
            mine = windows(grid)
            (share, later), place = max((alignment(mine, other), place) for place, other in enumerate(indexed))
            if share < ENOUGH:
                missing.append((number, round(share, 2)))
                continue
            _, _, metres, upbeat = known[place]
            bar = Metre.parse(metres.split()[0].rpartition(":")[2]).ticks(4)
            # Only where it stands at the same place in both do later changes of metre hold.
            table[digest(grid)] = [metres if not later else metres.split()[0], (upbeat - later) % bar]
        print(f"{split}: {len(grids) - len(missing)} of {len(grids)} found; not found: {missing}")
    options.out.write_text(json.dumps(table, indent=0, sort_keys=True) + "\n", "utf-8")


if __name__ == "__main__":
    main()
