"""Which attention suits a picture? One small shape, one budget, five patterns; bits/dim of the validation split.

    python benchmarks/image_patterns.py --data PATH [--rows full local-1d-64 ...] [--seeds 1] [--hours H] [--runs DIR]

Full attention, local attention over blocks of 16, 64 and 256 positions with as many before, and over blocks of 7 rows
and 14 columns with 7 rows above and 7 columns beside; one subpixel a position. The paper's table 4 (Parmar et al. 2018)
compares such blocks on CIFAR-10 at equal numbers of updates; here all have the same time, in which a cheap pattern sees
more pictures: as many updates as fit into --hours at the speed of its steps, float32 or bfloat16, whichever is faster.
The steps of all are timed in turn at the start, and kept in --runs, so that other work on the machine favours none.

Trains what is missing, one run after another, and prints the table. What is done is kept, by row, seed and updates: the
same command goes on where it was stopped. With --threads 1, two commands with other --rows may run side by side, once
the first has timed all. The checkpoint of each run is chosen on the first --choose pictures of the
validation split, and all of that split are reported, as a rule with the test split left for the end.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import statistics
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

import torch

from triptych.cli.output import answer, say
from triptych.image.data import PictureData, PictureModel
from triptych.image.files.pictures import Pictures, read_pictures
from triptych.image.painter import Painter
from triptych.train.optimizer import measure_optimizers
from triptych.train.precision import choose_dtype, cost_of_bfloat16, fast_dtype
from triptych.train.recipe import Recipe
from triptych.train.run.state import FILE as STATE

SHAPE: dict[str, Any] = {
    "cell": (1, 1),
    "head": "tied",
    "width": 128,
    "heads": 4,
    "feed_forward": 512,
    "decoder_layers": 6,
}
PATTERNS: dict[str, dict[str, Any]] = {
    "full": {"kind": "full", "causal": True},
    **{f"local-1d-{size}": {"kind": "local_1d", "query": size, "memory": size} for size in (16, 64, 256)},
    "local-2d": {"kind": "local_2d", "query_rows": 7, "query_columns": 14, "memory_rows": 7, "memory_columns": 7},
}
ROWS = 8  # pictures in an update
TOKENS = 28 * 28 * ROWS
ROUNDS = 5

Dtype = Literal["float32", "bfloat16"]


@dataclass(frozen=True)
class Step:
    """Seconds of an update of a row, and the dtype in which it is fastest."""

    seconds: float
    dtype: Dtype

    def updates(self, hours: float) -> int:
        """As many as fit."""
        return round(hours * 3600 / self.seconds)


def steps(pictures: Pictures, runs: Path) -> dict[str, Step]:
    """The updates of all rows, timed in turn: the median of several rounds. Kept, and the same from then on."""
    kept = runs / f"steps-{torch.get_num_threads()}-threads.json"
    if kept.exists():
        return {row: Step(**found) for row, found in json.loads(kept.read_text()).items()}
    painters = {row: Painter.new(pictures, seed=1, device="cpu", pattern=PATTERNS[row], **SHAPE) for row in PATTERNS}
    cost = cost_of_bfloat16(torch.device("cpu"))
    batches = {
        row: PictureData(pictures, PictureModel(painter.codec, "paint"), tokens_per_batch=TOKENS).epoch(0)[0]
        for row, painter in painters.items()
    }
    times: dict[str, list[dict[str, float]]] = {row: [] for row in PATTERNS}
    for _, (row, painter) in itertools.product(range(ROUNDS), painters.items()):
        times[row].append(choose_dtype(painter.module(), batches[row], 0.0, cost)[1])
    one = next(iter(painters.values())).module()
    same = measure_optimizers(one, recipe(1.0, 1), fast_dtype(cost))
    found = {}
    for row, rounds in times.items():
        seconds = {dtype: statistics.median(each[dtype] for each in rounds) for dtype in rounds[0]}
        dtype: Dtype = "bfloat16" if seconds.get("bfloat16", math.inf) < seconds["float32"] else "float32"
        found[row] = Step(seconds[dtype] + same, dtype)
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_text(json.dumps({row: asdict(step) for row, step in found.items()}))
    return found


def recipe(epochs: float, seed: int, dtype: Dtype = "float32") -> Recipe:
    """The same for all rows, but for the number of updates and their dtype."""
    return Recipe(
        epochs=epochs,
        dtype=dtype,
        tokens_per_batch=TOKENS,
        optimizer="muon",
        matrix_learning_rate=0.01,
        learning_rate=0.002,
        warmup=50,
        ema=0.998,
        evaluations=8,
        label_smoothing=0.0,
        seed=seed,
    )


def train(
    run: Path, row: str, step: Step, pictures: Pictures, valid: Pictures, options: argparse.Namespace, seed: int
) -> bool:
    """Start or go on with a run; one that was measured is finished and left alone. False if it was interrupted."""
    kept = measured(run, options.limit)
    if kept.exists():
        return True
    painter = Painter.new(pictures, seed=seed, device="cpu", pattern=PATTERNS[row], **SHAPE)
    say(f"{row}, seed {seed}: {run}, updates of {step.seconds:.3f} s in {step.dtype}")
    outcome = painter.fit(
        pictures,
        held_out=some_of(valid, options.choose),
        recipe=recipe(step.updates(options.hours) * ROWS / len(pictures), seed, step.dtype),
        out=run,
        resume=(run / STATE).exists(),
    )
    if outcome.reason == "interrupted":
        return False
    found = painter.evaluate(valid)
    figures = {
        **found.to_dict(),
        "parameters": sum(each.numel() for each in painter.module().parameters()),
        "updates": outcome.updates,
        "seconds": outcome.seconds,
        "pictures_seen": outcome.updates * ROWS,
        "milliseconds": 1000 * step.seconds,
        "dtype": step.dtype,
    }
    kept.write_text(json.dumps(figures))
    return True


def measured(run: Path, limit: int | None) -> Path:
    """Where it is kept, beside a run, what its best checkpoint reaches on so many pictures."""
    return run / ("measured.json" if limit is None else f"measured-{limit}.json")


def some_of(pictures: Pictures, count: int) -> Pictures:
    labels = None if pictures.labels is None else pictures.labels[:count]
    return replace(pictures, pictures=pictures.pictures[:count], labels=labels)


def summary(found: dict[str, list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row a pattern, the best first."""
    rows = []
    for name, runs in found.items():
        values = [run["bits_per_dim"] for run in runs]
        spread = {"deviation": statistics.stdev(values)} if len(values) > 1 else {}
        means = {
            key: statistics.mean(run[key] for run in runs) for key in ("interval", "pictures_seen", "milliseconds")
        }
        row = {"name": name, "bits_per_dim": statistics.mean(values), **spread, **means, "runs": len(runs)}
        rows.append({**row, "dtype": runs[0]["dtype"], "parameters": runs[0]["parameters"]})
    return sorted(rows, key=lambda row: float(row["bits_per_dim"]))


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown."""
    yield "| pattern | bits/dim | 95 % | over seeds | runs | pictures seen | ms an update | dtype | parameters |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for row in rows:
        spread = f"± {row['deviation']:.4f}" if "deviation" in row else ""
        yield (
            f"| {row['name']} | {row['bits_per_dim']:.4f} | ± {row['interval']:.4f} | {spread} | {row['runs']} | "
            f"{row['pictures_seen']:,.0f} | {row['milliseconds']:.0f} | {row['dtype']} | {row['parameters']:,} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="pictures, as `triptych train image` reads them")
    parser.add_argument("--rows", nargs="*", default=list(PATTERNS), choices=list(PATTERNS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[1])
    parser.add_argument("--hours", type=float, default=1.0, help="of each run")
    parser.add_argument("--choose", type=int, default=500, help="validation pictures that choose the checkpoint")
    parser.add_argument("--limit", type=int, help="report the first N validation pictures only")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--runs", type=Path, default=Path("runs/image-patterns"))
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if options.threads:
        torch.set_num_threads(options.threads)
    pictures, valid = (read_pictures(options.data, split)[0] for split in ("train", "valid"))
    if options.limit:
        valid = some_of(valid, options.limit)
    timed = steps(pictures, options.runs)
    found: dict[str, list[dict[str, Any]]] = {}
    # One run of each first: a queue that is stopped has something of all.
    for seed, row in itertools.product(options.seeds, options.rows):
        run = options.runs / f"{row}-seed{seed}-{timed[row].updates(options.hours)}updates"
        if not train(run, row, timed[row], pictures, valid, options, seed):
            say(f"stopped in {run}; the same command goes on with it")
            break
        found.setdefault(row, []).append(json.loads(measured(run, options.limit).read_text()))
    rows = summary(found)
    answer({"pictures": len(valid), "hours": options.hours, "rows": rows}, table(rows), as_json=options.json)


if __name__ == "__main__":
    main()
