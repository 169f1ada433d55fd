"""What models of chorales have learned, beside Bach; without a model, Bach alone.

    python benchmarks/chorales.py --data Jsb16thSeparated.json [--compose MODEL ...] [--infill MODEL] [--pieces 100]

On the validation pieces:
1. Length: nats a token at positions L to 2L (L: the length of the training crops) with all before in sight, and with
   the last L tokens only (a window that begins after a whole bar: L less than a bar, to L).
2. Filling in: nats a hidden note given all others, beside a forward-only model that is forced with the same notes.
3. Voice leading in a hundred steps of composed and harmonized pieces.
4. Repetition (see docs/music.md) of composed pieces, and of Bach's with their beats in random order.
5. How often the key found for a piece is that of its last bass note.
6. Labels: nats a token of pieces that are labelled with their key, and without; of 24 pieces that are composed, one
   by the label of each key, how many are found in that key, or at least in its mode.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import replace

import numpy as np
import torch
from leading import VoiceLeading, voice_leading
from numpy.typing import NDArray

from triptych.cli.output import answer
from triptych.look.similarity import WINDOW, repetition, similarity
from triptych.model.batch import Batch
from triptych.music.chorales.codec import HOLE, STEPS_PER_QUARTER, UNKNOWN, Grid, from_piece, to_piece
from triptych.music.chorales.composer import Composer
from triptych.music.chorales.data import BAR_TOKENS, read_chorales, whole_quarters
from triptych.music.chorales.labels import label_of
from triptych.music.chorales.score import token_nll
from triptych.music.piece.key import Key, key_of


def length_table(composers: Sequence[tuple[str, Composer]], grids: Sequence[Grid]) -> list[dict[str, object]]:
    """Nats a token at positions L to 2L, with everything in sight and with the last L tokens only."""
    rows = []
    for name, composer in composers:
        length = int(composer.card.get("crop", 1024))
        far, near, count = 0.0, 0.0, 0
        for grid in grids:
            ids = torch.from_numpy(composer.codec.encode(grid))[None, : 2 * length]
            if ids.size(1) <= length:
                continue
            far += float(token_nll(composer.module(), batch(ids))[0, length:].double().sum())
            for at in range(length, ids.size(1), BAR_TOKENS):
                stop = min(at + BAR_TOKENS, ids.size(1))
                window = ids[:, at + BAR_TOKENS - length : stop]
                near += float(token_nll(composer.module(), batch(window))[0, length - BAR_TOKENS :].double().sum())
            count += ids.size(1) - length
        common = {"model": name, "L": length, "tokens": count}
        rows.append({**common, "all before": far / count, "the last L": near / count} if count else common)
    return rows


def filling_table(
    composers: Sequence[tuple[str, Composer]], filler: tuple[str, Composer], grids: Sequence[Grid]
) -> list[dict[str, object]]:
    """Nats a hidden note: three voices of four, and all voices of the middle third."""
    rows = []
    for what, mask in (("alto, tenor and bass", lower_voices), ("the middle third", middle)):
        row: dict[str, object] = {"hidden": what}
        for name, composer in (filler, *composers):
            total, count = 0.0, 0
            for grid in grids:
                hidden = mask(grid)
                ids = torch.from_numpy(composer.codec.encode(grid))[None]
                holes = torch.from_numpy(hidden.reshape(1, -1))
                source = ids.masked_fill(holes, HOLE) if composer.task == "infill" else None
                total += float(token_nll(composer.module(), batch(ids, source))[holes].double().sum())
                count += int(holes.sum())
            row |= {name: total / count, "notes": count}
        rows.append(row)
    return rows


def lower_voices(grid: Grid) -> NDArray[np.bool_]:
    hidden = np.zeros(grid.shape, bool)
    hidden[:, 1:] = True
    return hidden


def middle(grid: Grid) -> NDArray[np.bool_]:
    hidden = np.zeros(grid.shape, bool)
    third = len(grid) // 3 // STEPS_PER_QUARTER * STEPS_PER_QUARTER
    hidden[third : 2 * third] = True
    return hidden


def batch(ids: torch.Tensor, source: torch.Tensor | None = None) -> Batch:
    lengths = torch.tensor([ids.size(1)])
    return Batch(ids, lengths, source, None if source is None else lengths)


def harmonized(composer: Composer, grids: Sequence[Grid], seed: int) -> list[Grid]:
    """The sopranos with three new voices each."""
    return [composer.fill(np.where(lower_voices(grid), UNKNOWN, grid), seed=seed + at) for at, grid in enumerate(grids)]


def leading_row(name: str, grids: Iterable[Grid]) -> dict[str, object]:
    total = VoiceLeading(0, 0, 0, 0, 0)
    for grid in grids:
        total = total + voice_leading(grid)
    return {"pieces of": name, "steps": total.steps, **total.per_hundred_steps()}


def repetition_row(name: str, grids: Iterable[Grid]) -> dict[str, object]:
    matrices = (similarity(to_piece(grid)) for grid in grids)
    values = [repetition(matrix) for matrix in matrices if len(matrix) >= 2 * WINDOW]
    spread = statistics.stdev(values) if len(values) > 1 else 0.0
    return {"pieces of": name, "pieces": len(values), "repetition": statistics.mean(values), "deviation": spread}


def in_random_order(grid: Grid, random: np.random.Generator) -> Grid:
    """The same quarter notes, one after another as chance has it."""
    beats = whole_quarters(grid).reshape(-1, STEPS_PER_QUARTER, 4)
    return beats[random.permutation(len(beats))].reshape(-1, 4)


def key_row(name: str, grids: Sequence[Grid]) -> dict[str, object]:
    endings = [grid[(grid >= 0).any(1)][-1] for grid in grids]
    basses = [ending[ending >= 0].min() % 12 for ending in endings]
    agreed = sum(key_of(grid).tonic == bass for grid, bass in zip(grids, basses, strict=True))
    return {"pieces of": name, "pieces": len(grids), "tonic is the last bass note": agreed}


def label_row(name: str, composer: Composer, grids: Sequence[Grid], seed: int) -> dict[str, object]:
    nats, tokens = np.zeros(2), 0
    for grid in grids:
        ids = torch.from_numpy(composer.codec.encode(grid))[None]
        for column, label in enumerate((label_of(key_of(grid)), -1)):
            labelled = replace(batch(ids), label=torch.tensor([label]))
            nats[column] += float(token_nll(composer.module(), labelled).double().sum())
        tokens += ids.size(1)
    asked = [Key(tonic, minor) for minor in (False, True) for tonic in range(12)]
    found = [key_of(from_piece(composer.compose(label=key.name, seed=seed))[0]) for key in asked]
    return {
        "model": name,
        "nats with the key": nats[0] / tokens,
        "without": nats[1] / tokens,
        "of 24, in the key asked for": sum(want == got for want, got in zip(asked, found, strict=True)),
        "in its mode": sum(want.minor == got.minor for want, got in zip(asked, found, strict=True)),
    }


def lines(tables: dict[str, list[dict[str, object]]]) -> Iterable[str]:
    for title, rows in tables.items():
        yield f"\n{title}"
        names = list(dict.fromkeys(name for row in rows for name in row))
        yield "| " + " | ".join(names) + " |"
        yield "|---" * len(names) + "|"
        for row in rows:
            cells = (row.get(name, "") for name in names)
            yield "| " + " | ".join(f"{cell:.4f}" if isinstance(cell, float) else str(cell) for cell in cells) + " |"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True)
    parser.add_argument("--compose", nargs="*", default=[], help="models that compose")
    parser.add_argument("--infill", help="a model that fills in")
    parser.add_argument("--pieces", type=int, default=100, help="to compose with each model")
    parser.add_argument("--limit", type=int, help="the first N validation pieces only")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    train, grids = (read_chorales(options.data, split)[0][: options.limit] for split in ("train", "valid"))
    composers = [(name, Composer.load(name)) for name in options.compose]
    bach = {"Bach, training": train, "Bach, validation": grids}
    made = {name: composer.composed(options.pieces, seed=options.seed) for name, composer in composers}
    tables = {}
    if composers:
        tables["Twice the length of training: nats a token"] = length_table(composers, grids)
    if options.infill:
        filler = Composer.load(options.infill)
        made[f"{options.infill}, harmonizing"] = harmonized(filler, grids, options.seed)
        tables["Filling in: nats a hidden note"] = filling_table(composers, (options.infill, filler), grids)
    everything = {**bach, **made}
    random = np.random.default_rng(options.seed)
    shuffled = {"Bach, training, shuffled": [in_random_order(grid, random) for grid in train]}
    tables["Voice leading, in a hundred steps"] = [leading_row(name, found) for name, found in everything.items()]
    tables["Repetition"] = [repetition_row(name, found) for name, found in {**everything, **shuffled}.items()]
    tables["Keys"] = [key_row(name, found) for name, found in bach.items()]
    labelled = [(name, composer) for name, composer in composers if composer.card.get("labelled")]
    if labelled:
        tables["Labels"] = [label_row(*each, grids, options.seed) for each in labelled]
    answer({"tables": tables}, lines(tables), as_json=options.json)


if __name__ == "__main__":
    main()
