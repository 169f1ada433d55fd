"""Generation by a plan beside a Transformer in float64: errors of log-probabilities, and draws that differ.

    python benchmarks/plan_equality.py [--steps 4096] [MODEL ...]

For every model, with 1, 2, 5, 16 and 64 rows: ids that the plan itself draws are forced on a Transformer in float64, on
one in float32 and on the plan, over so many steps in all. The largest error of a log-probability, where the probability
is above 1e-6, may be 1e-5 more than twice that of float32. Then 64 sequences are sampled by the plan and in float32
through torch with the same seeds. Where two differ first, the uniform number must lie within the larger error of a
boundary of the cumulative distribution in float64. What steps is what generates here: the kernel, or numpy with
TRIPTYCH_KERNEL=off.
"""

from __future__ import annotations

import argparse
import sys
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from triptych.decode.kernel import decoder_of, engine
from triptych.decode.plan import plan_of
from triptych.generation.sample import generate
from triptych.generation.seeds import row_keys, uniforms
from triptych.model.decoder import TorchDecoder
from triptych.model.weights import transformer_of
from triptych.shape.store import Stored, read_model, ships

ROWS = (1, 2, 5, 16, 64)
LIKELY = np.log(1e-6)
LENGTH = 128  # of a sequence that is compared
SEQUENCES = 64  # that are sampled


def asked(stored: Stored, rows: int, length: int, seed: int) -> dict[str, Any]:
    """Arguments of `start`: sources and labels drawn at random."""
    config, random = stored.config, np.random.default_rng(seed)
    found: dict[str, Any] = {"length": length, "rows": rows}
    if config.encoder_layers:
        size = length if config.aligned else 20
        found["source"] = random.integers(3, config.source_vocabulary or config.vocabulary, (rows, size))
    if config.classes:
        found["label"] = random.integers(-1, config.classes, rows)
    return found


def sampled(decoder: Any, given: dict[str, Any], seed: int) -> NDArray[np.int64]:
    """Ids [rows, length]."""
    columns = generate(decoder, decoder.start(**given), steps=given["length"], seed=seed)
    return np.stack(list(columns), 1)


def forced(decoder: Any, given: dict[str, Any], ids: NDArray[np.int64]) -> NDArray[np.float64]:
    """Log-probabilities [length, rows, V] while these ids are written."""
    cache = decoder.start(**given)
    steps = [decoder.step(ids[:, at - 1] if at else None, cache) for at in range(ids.shape[1])]
    return np.stack(steps).astype(np.float64)


def compare(name: str, steps: int) -> bool:
    """Print the errors of a model; whether they are within the bar."""
    stored = read_model(name)
    plan = decoder_of(plan_of(stored.config, stored.weights), stored.weights, 1)
    single, double = TorchDecoder(transformer_of(stored)), TorchDecoder(transformer_of(stored).double())
    errors = np.zeros(2)
    for rows in ROWS:
        length = min(LENGTH, max(8, steps // (rows * len(ROWS))))
        given = asked(stored, rows, length, rows)
        ids = sampled(plan, given, rows)
        exact = forced(double, given, ids)
        likely = exact > LIKELY
        for place, decoder in enumerate((single, plan)):
            errors[place] = max(errors[place], np.abs(forced(decoder, given, ids) - exact)[likely].max())
    bar = 2 * errors[0] + 1e-5
    different, outside = draws(stored, plan, single, double, float(errors.max()))
    print(
        f"{name:16} float32 in torch {errors[0]:.2e}, plan {errors[1]:.2e}, bar {bar:.2e};"
        f" {different} of {SEQUENCES} sequences differ, {outside} not at a boundary",
        flush=True,
    )
    return bool(errors[1] <= bar) and not outside


def draws(stored: Stored, plan: Any, single: Any, double: Any, error: float) -> tuple[int, int]:
    """How many sampled sequences differ between plan and torch, and how many of these not at a boundary."""
    given = asked(stored, SEQUENCES, LENGTH, 7)
    ours, theirs = (sampled(decoder, given, 7) for decoder in (plan, single))
    exact = np.exp(forced(double, given, ours))
    cumulative = exact.cumsum(-1)
    numbers = uniforms(row_keys(7, SEQUENCES), range(LENGTH))  # [length, rows]
    different = outside = 0
    for row in range(SEQUENCES):
        apart = np.flatnonzero(ours[row] != theirs[row])
        if len(apart):
            different += 1
            at = apart[0]
            outside += np.abs(cumulative[at, row] - numbers[at, row]).min() > error
    return different, int(outside)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="*", default=ships())
    parser.add_argument("--steps", type=int, default=4096)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    print(f"a plan steps by {engine()}")
    held = [compare(name, arguments.steps) for name in arguments.models]
    return 0 if all(held) else 1


if __name__ == "__main__":
    sys.exit(main())
