"""How chorales come out by how they are drawn: the default draw of a model is chosen from this table.

    python benchmarks/drawing.py --data Jsb16thSeparated.json [--model chorales] [--pieces 100]
        [--temperatures 0.8 1 1.2] [--min-p 0 0.05 0.1 0.15 0.2 0.3] [--picture FILE.png]

A model that composes writes so many pieces by every pair of settings; one that fills in harmonizes the sopranos of the
validation pieces. Of these: changes of note, parallel fifths and octaves and crossings in a hundred steps (voices that
stand still make no parallels), repetition (see
docs/music.md), and nats a token by the model itself (of a harmony, of its three lower voices). Bach's validation pieces
are the last row. --picture: the same as curves over min-p, a line for each temperature.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from chorales import leading_row, lower_voices, repetition_row

from triptych.cli.output import answer
from triptych.generation.sampling import Sampling
from triptych.generation.seeds import derive
from triptych.music.chorales.codec import UNKNOWN, Grid, from_piece
from triptych.music.chorales.composer import Composer
from triptych.music.chorales.data import read_chorales

TOGETHER = 20  # pieces that are composed side by side
COLUMNS = ("notes", "parallel fifths", "parallel octaves", "crossings", "repetition", "nats a token")


def made_by(composer: Composer, sampling: Sampling, sopranos: Sequence[Grid], pieces: int) -> list[Grid]:
    """So many composed pieces, or harmonies of so many sopranos."""
    if composer.task == "infill":
        hidden = [np.where(lower_voices(grid), UNKNOWN, grid) for grid in sopranos[:pieces]]
        return [composer.fill(grid, sampling=sampling, seed=derive(1, at)) for at, grid in enumerate(hidden)]
    seeds = [derive(1, piece) for piece in range(pieces)]
    batches = [seeds[first : first + TOGETHER] for first in range(0, pieces, TOGETHER)]
    found = [composer.compose_many(len(batch), seed=batch, sampling=sampling) for batch in batches]
    return [from_piece(piece)[0] for batch in found for piece in batch]


def row(composer: Composer, settings: tuple[float | str, float | str], grids: Sequence[Grid]) -> dict[str, float | str]:
    """The measures of pieces that were made by a temperature and a min-p."""
    leading = leading_row("", grids)
    changes = [np.count_nonzero(np.diff(grid, axis=0)) for grid in grids]
    values = (
        100 * sum(changes) / sum(map(len, grids)),
        leading["parallel_fifths"],
        leading["parallel_octaves"],
        leading["crossings"],
        repetition_row("", grids)["repetition"],
        composer.evaluate(grids).nll,
    )
    named = {name: float(f"{value:.4g}") for name, value in zip(COLUMNS, values, strict=True)}
    return {"temperature": settings[0], "min-p": settings[1], **named}


def draw_curves(rows: Sequence[dict[str, float | str]], bach: dict[str, float | str], path: Path) -> None:
    """A panel a measure: its value over min-p, a line a temperature, and Bach's as a dashed one."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(15, 3.2), layout="constrained")
    for axes, name in zip(figure.subplots(1, len(COLUMNS)), COLUMNS, strict=True):
        for temperature in dict.fromkeys(one["temperature"] for one in rows):
            line = [one for one in rows if one["temperature"] == temperature]
            axes.plot([one["min-p"] for one in line], [one[name] for one in line], "o-", label=f"{temperature:g}")
        axes.axhline(bach[name], color="black", linestyle="--", linewidth=1)
        axes.set(title=name, xlabel="min-p", ylim=(0, None))
    figure.legend(*axes.get_legend_handles_labels(), title="temperature", loc="outside right upper")
    figure.savefig(path, dpi=80)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--model", default="chorales")
    parser.add_argument("--pieces", type=int, default=100)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[0.8, 1.0, 1.2])
    parser.add_argument("--min-p", type=float, nargs="+", default=[0.0, 0.05, 0.1, 0.15, 0.2, 0.3])
    parser.add_argument("--picture", type=Path)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    composer, (valid, _) = Composer.load(options.model), read_chorales(options.data, "valid")
    rows = []
    for temperature in options.temperatures:
        for least in options.min_p:
            made = made_by(composer, Sampling(temperature, min_p=least), valid, options.pieces)
            rows.append(row(composer, (temperature, least), made))
            print("" if options.json else " | ".join(map(str, rows[-1].values())), end="\n" * (not options.json))
    bach = row(composer, ("Bach", ""), valid)
    if options.picture is not None:
        draw_curves(rows, bach, options.picture)
    answer({"rows": [*rows, bach]}, [" | ".join(map(str, bach.values()))], as_json=options.json)


if __name__ == "__main__":
    main()
