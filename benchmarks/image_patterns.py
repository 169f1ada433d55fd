"""Which attention suits a picture? One small shape, one budget, five patterns; bits/dim of the validation split.

    python benchmarks/image_patterns.py --data PATH [--rows full local-1d-64 ...] [--seeds 1] [--hours H] [--runs DIR]

Full attention, local attention over blocks of 16, 64 and 256 positions with as many before, and over blocks of 7 rows
and 14 columns with 7 rows above and 7 columns beside; one subpixel a position. The paper's table 4 (Parmar et al. 2018)
compares such blocks on CIFAR-10 at equal numbers of updates; here all have the same hours, in which a cheap pattern
sees more pictures.

Trains what is missing, one run after another, and prints the table. What is done is kept, by row, seed and hours: the
same command goes on where it was stopped. The checkpoint of each run is chosen on the first --choose pictures of the
validation split, and all of that split are reported, as a rule with the test split left for the end.
"""

from __future__ import annotations

import argparse
import itertools
import json
import statistics
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import torch

from triptych.cli.output import answer, say
from triptych.image.files import Pictures, read_pictures
from triptych.image.painter import Painter
from triptych.train.recipe import Recipe
from triptych.train.state import FILE as STATE

SHAPE: dict[str, Any] = {
    "cell": (1, 1),
    "patch": None,
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


def recipe(options: argparse.Namespace, seed: int) -> Recipe:
    """The same for all rows."""
    return Recipe(
        hours=options.hours,
        dtype=options.dtype,
        tokens_per_batch=6_272,  # 8 pictures of 28 x 28
        optimizer="muon",
        matrix_learning_rate=0.01,
        learning_rate=0.002,
        warmup=50,
        ema=0.998,
        evaluations=8,
        label_smoothing=0.0,
        seed=seed,
    )


def train(run: Path, row: str, pictures: Pictures, valid: Pictures, options: argparse.Namespace, seed: int) -> bool:
    """Start or go on with a run; one that was measured is finished and left alone. False if it was interrupted."""
    kept = measured(run, options.limit)
    if kept.exists():
        return True
    painter = Painter.new(pictures, seed=seed, device="cpu", pattern=PATTERNS[row], **SHAPE)
    say(f"{row}, seed {seed}: {run}")
    outcome = painter.fit(
        pictures,
        held_out_pictures=some_of(valid, options.choose),
        recipe=recipe(options, seed),
        out=run,
        resume=(run / STATE).exists(),
    )
    if outcome.reason == "interrupted":
        return False
    found = painter.evaluate(valid)
    rows = max(1, recipe(options, seed).tokens_per_batch // painter.codec.tokens)
    figures = {
        **found.to_dict(),
        "parameters": sum(each.numel() for each in painter.model.parameters()),
        "updates": outcome.updates,
        "seconds": outcome.seconds,
        "pictures_seen": outcome.updates * rows,
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
        means = {key: statistics.mean(run[key] for run in runs) for key in ("interval", "pictures_seen", "seconds")}
        row = {"name": name, "bits_per_dim": statistics.mean(values), **spread, **means, "runs": len(runs)}
        rows.append({**row, "parameters": runs[0]["parameters"]})
    return sorted(rows, key=lambda row: float(row["bits_per_dim"]))


def table(rows: list[dict[str, Any]]) -> Iterator[str]:
    """Markdown."""
    yield "| pattern | bits/dim | 95 % | over seeds | runs | pictures seen | hours | parameters |"
    yield "|---|---|---|---|---|---|---|---|"
    for row in rows:
        spread = f"± {row['deviation']:.4f}" if "deviation" in row else ""
        yield (
            f"| {row['name']} | {row['bits_per_dim']:.4f} | ± {row['interval']:.4f} | {spread} | {row['runs']} | "
            f"{row['pictures_seen']:,.0f} | {row['seconds'] / 3600:.2f} | {row['parameters']:,} |"
        )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, help="pictures, as `triptych train image` reads them")
    parser.add_argument("--rows", nargs="*", default=list(PATTERNS), choices=list(PATTERNS))
    parser.add_argument("--seeds", nargs="*", type=int, default=[1])
    parser.add_argument("--hours", type=float, default=1.0, help="of each run")
    parser.add_argument("--dtype", default="auto", choices=("auto", "float32", "bfloat16"), help="of the training")
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
    found: dict[str, list[dict[str, Any]]] = {}
    # One run of each first: a queue that is stopped has something of all.
    for seed, row in itertools.product(options.seeds, options.rows):
        run = options.runs / f"{row}-seed{seed}-{options.hours:g}h"
        if not train(run, row, pictures, valid, options, seed):
            say(f"stopped in {run}; the same command goes on with it")
            break
        found.setdefault(row, []).append(json.loads(measured(run, options.limit).read_text()))
    rows = summary(found)
    answer({"pictures": len(valid), "hours": options.hours, "rows": rows}, table(rows), as_json=options.json)


if __name__ == "__main__":
    main()
