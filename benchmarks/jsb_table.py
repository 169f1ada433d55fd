"""The chorale table of Huang et al. 2018 (table 2), trained here: six Transformers, one shape, one budget.

    python benchmarks/jsb_table.py --data Jsb16thSeparated.json [--rows 1 4] [--seeds 1 2 3] [--hours H] [--runs DIR]

Rows 7 and 8 are not in the paper: relative attention or none, with four voices at one position.

Trains what is missing, one run after another, and prints the table beside the paper's values. What is done is kept, by
row, seed and hours: the same command goes on where it was stopped. The checkpoint of each run is chosen on the split
that is reported, as there is no other. Everything goes through the command line, as a person would do it.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path

MEASURED = "valid.json"  # beside a run: what `triptych evaluate music` said of it
RECIPES = Path(__file__).parent.parent / "recipes" / "jsb"
# Validation, nats a token, of the paper's table 2: another framework, other budgets, and sizes that differ by row.
PAPER = {"1": 0.417, "2": 0.398, "3": 0.370, "4": 0.357, "5": 0.347, "6": 0.335}
# What n-grams of Witten and Bell reach on this split: given with the description of the data, not computed here.
FLOORS = {
    "each pitch as often as any other": 3.850,
    "how often each voice sings a pitch": 2.611,
    "the pitch before it in its voice": 0.934,
    "that, and all voices above": 0.739,
    "long contexts with back-off, and the beat": 0.647,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data", required=True, help="JSB JSON with the splits train and valid")
    parser.add_argument("--rows", nargs="*", default=sorted(PAPER), help="numbers of recipes/jsb")
    parser.add_argument("--seeds", nargs="*", type=int, default=[1])
    parser.add_argument("--hours", type=float, help="of each run, instead of the recipes'")
    parser.add_argument("--runs", type=Path, default=Path("runs/jsb"))
    arguments = parser.parse_args()
    found: dict[str, list[float]] = {}
    for row in arguments.rows:
        (recipe,) = RECIPES.glob(f"{row}-*.toml")
        for seed in arguments.seeds:
            budget = "" if arguments.hours is None else f"-{arguments.hours:g}h"
            run = arguments.runs / f"{recipe.stem}-seed{seed}{budget}"
            train(run, recipe, arguments.data, seed, arguments.hours)
            found.setdefault(recipe.stem, []).append(evaluate(run, arguments.data))
    print("\n".join(table(found)))


def train(run: Path, recipe: Path, data: str, seed: int, hours: float | None) -> None:
    """Start or go on with a run; one that was measured is finished and left alone."""
    if (run / MEASURED).exists():
        return
    settings = ["--set", f"seed={seed}", *([] if hours is None else ["--set", f"hours={hours}"])]
    command = [sys.executable, "-m", "triptych.cli.main", "train", "music", "--data", data, "--recipe", str(recipe)]
    resume = ["--resume"] if (run / "resume.safetensors").exists() else []
    subprocess.run([*command, *settings, "--out", str(run), *resume], check=True)


def evaluate(run: Path, data: str) -> float:
    """Nats a token of the whole validation split; asked once, and kept beside the run."""
    kept = run / MEASURED
    if not kept.exists():
        command = [sys.executable, "-m", "triptych.cli.main", "evaluate", "music", "--json"]
        done = subprocess.run([*command, "--model", str(run), "--data", data], check=True, stdout=subprocess.PIPE)
        kept.write_bytes(done.stdout)
    return float(json.loads(kept.read_bytes())["nll"])


def table(found: dict[str, list[float]]) -> list[str]:
    """The rows as Markdown, the floors below."""
    lines = ["| row | nats a token here | runs | paper |", "|---|---|---|---|"]
    for name, values in found.items():
        spread = f" ± {statistics.stdev(values):.4f}" if len(values) > 1 else ""
        lines.append(
            f"| {name} | {statistics.mean(values):.4f}{spread} | {len(values)} | {PAPER.get(name.split('-')[0], '')} |"
        )
    return [*lines, *(f"| counting: {name} | {value:.3f} | | |" for name, value in FLOORS.items())]


if __name__ == "__main__":
    main()
