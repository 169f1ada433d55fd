"""Seconds to paint 32 x 32 RGB pictures subpixel by subpixel, beside peers; training time and memory by length.

    python benchmarks/generate_image.py [--rows 1 16] [--dtypes float32] [--repeats 5] [--steps 3072] [--json]

6 layers of width 256 with 8 heads and feed-forward networks of 1,024, random weights; 3,072 positions, one a subpixel.
Local attention in blocks of 256 with the 256 positions before, or in blocks of 8 x 16 with 8 rows above and 32 columns
beside; the mixture of 10 logistics has a pixel at one position. "painting" is `paint`, as a person calls it; "cached
steps" are those of `Transformer`, "one row" those of `SingleRow` with matrices in float16, or in the model's own dtype.

Without a cache every step runs the whole prefix again: extrapolated from passes in the middle of every so many steps
(--every), each timed once. Peers paint one picture at a time; of --peer-steps, if fewer, the rest is assumed to be no
slower, which favours those that slow down with the length. With fewer --steps all others are timed for these alone, and
told for 3,072 of them, "painting" by the steps that `paint` takes: a quick look. Needs, for peers: the `bench` extra.

Training is forward and backward of one sequence; --lengths 0 leaves it out, and the memory is measured on Linux alone.
The slope is that of a straight line through the logarithms of length and milliseconds, or megabytes: 1 is linear.
"""

from __future__ import annotations

import argparse
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import numpy as np
import torch

from triptych.bench import peers
from triptych.bench.measure import Name, Table, can_weigh, circumstances, extra_memory, interleaved, lines, table
from triptych.bench.train import random_tokens
from triptych.cli.output import answer, say
from triptych.errors import UserError
from triptych.generation.sample import generate
from triptych.image.files import Pictures
from triptych.image.painter import Painter
from triptych.model.decoder import Rows, TorchDecoder
from triptych.model.single import SingleRow, fits
from triptych.model.transformer import Transformer
from triptych.train.memory import keep_freed_memory
from triptych.train.precision import autocast

SHAPE: dict[str, Any] = {"width": 256, "heads": 8, "feed_forward": 1024, "decoder_layers": 6}
LOCAL_1D: dict[str, Any] = {"kind": "local_1d", "query": 256, "memory": 256}
LOCAL_2D: dict[str, Any] = {
    "kind": "local_2d",
    "query_rows": 8,
    "query_columns": 16,
    "memory_rows": 8,
    "memory_columns": 32,
}
SUBPIXELS = 32 * 32 * 3
LENGTHS = (1024, 2048, 3072, 6144, 12_288)
REFERENCE = "local 1-D, painting"
SECONDS, MIXTURE, SLOPE = 6.0, 2.5, 1.1  # hoped for: of a picture, at most; times as fast, at least; at most

Contestants = dict[Name, Callable[[], float]]


def painter(dtype: str, *, mixture: bool = False, **changes: Any) -> Painter:
    """An untrained one, in that dtype."""
    blank = Pictures(np.zeros((1, 32, 32, 3), np.uint8), None, ())
    cell: dict[str, Any] = (
        {"cell": "pixel", "head": {"kind": "mixture"}} if mixture else {"cell": (1, 1), "head": "tied"}
    )
    made = Painter.new(blank, device="cpu", **cell, **SHAPE, **{"pattern": LOCAL_1D, **changes})
    made.model.to(getattr(torch, dtype)).eval()
    return made


def painting(made: Painter, rows: int, steps: int) -> Callable[[], float]:
    """Pictures, or of so many steps what they are of them."""

    def run() -> float:
        assert len(made.paint(rows)) == rows
        return float(rows)

    alone = SingleRow(made.model) if rows == 1 and fits(made.model) else None
    return run if steps == SUBPIXELS else cached(made.model, rows, steps, alone)


def cached(model: Transformer, rows: int, steps: int, alone: SingleRow | None = None) -> Callable[[], float]:
    """Pictures, or the part of them that so many steps are; `alone` steps one row instead of the model."""

    def run() -> float:
        if alone is not None:
            started = Rows(alone, alone.start(length=SUBPIXELS))
        else:
            started = Rows(model, model.start(length=SUBPIXELS, rows=rows))
        columns = list(generate(TorchDecoder(model), started, steps=steps))
        return rows * len(columns) / SUBPIXELS

    return run


@torch.no_grad()
def uncached(model: Transformer, rows: int, every: int) -> float:
    """Pictures a second when every token costs a pass over all before it."""
    ids = torch.randint(model.config.vocabulary, (rows, SUBPIXELS))
    seconds = 0.0
    for length in range(every // 2, SUBPIXELS, every):
        model(ids[:, :length])  # the first of its shape sets things up
        start = time.perf_counter()
        model(ids[:, :length])
        seconds += every * (time.perf_counter() - start)
    return rows / seconds


def local_attention(made: Painter, steps: int) -> Callable[[], float]:
    torch.manual_seed(0)
    model: Any = peers.local_transformer(made.model.config, SUBPIXELS + 1, LOCAL_1D["query"]).train(False)
    model.to(made.model.dtype)
    start = torch.zeros(1, 1, dtype=torch.int64)

    def run() -> float:
        found = model.generate(start, steps, filter_thres=0.0)
        assert found.size(1) == steps
        return steps / SUBPIXELS

    return run


def x_transformers(made: Painter, steps: int) -> Callable[[], float]:
    from x_transformers import AutoregressiveWrapper

    torch.manual_seed(0)
    inner = peers.x_decoder(made.model.config, SUBPIXELS + 1, rotary_pos_emb=True, attn_flash=True)
    model: Any = AutoregressiveWrapper(inner).train(False).to(made.model.dtype)
    start = torch.zeros(1, 1, dtype=torch.int64)

    @torch.no_grad()
    def run() -> float:
        found = model.generate(start, steps, cache_kv=True, filter_logits_fn=lambda logits: logits)
        assert found.size(1) == steps
        return steps / SUBPIXELS

    return run


PEERS = {"local-attention": local_attention, "x-transformers": x_transformers}


def sampling(rows: int, options: argparse.Namespace) -> Table:
    """Milliseconds a picture, `rows` pictures side by side."""
    contestants: Contestants = {}
    prefixes: dict[str, Transformer] = {}  # those that run without a cache
    left_out: list[str] = []
    for dtype in options.dtypes:
        one, two = painter(dtype), painter(dtype, pattern=LOCAL_2D)
        mixed = painter(dtype, mixture=True)
        for name, made in (("local 1-D", one), ("local 2-D", two), ("mixture", mixed)):
            contestants[f"{name}, painting", dtype] = painting(made, rows, options.steps)
        if rows == 1 or options.steps == SUBPIXELS:
            contestants["local 1-D, cached steps", dtype] = cached(one.model, rows, options.steps)
        if rows == 1 and fits(one.model):
            for number in dict.fromkeys((SingleRow(one.model).dtype, getattr(torch, dtype))):
                alone = SingleRow(one.model, number)
                contestants[f"local 1-D, one row {str(number)[6:]}", dtype] = cached(one.model, 1, options.steps, alone)
        for name in options.peers if rows == 1 else ():
            try:
                PEERS[name](one, 2)()
            except RuntimeError as error:  # no package takes every dtype
                left_out.append(f"{name} in {dtype}: {error}")
                continue
            contestants[name, dtype] = PEERS[name](one, min(options.peer_steps, options.steps))
        prefixes[dtype] = one.model
    title = f"painting 32 x 32 RGB, {rows} at once: milliseconds a picture"
    rates = interleaved(contestants, options.repeats, title=title, watch=told)
    for dtype, model in prefixes.items():
        say(f"without a cache, {rows} at once, {dtype}")
        rates["local 1-D, no cache", dtype] = [uncached(model, rows, options.every)] * options.repeats
    more: dict[Name, dict[str, object]] = {}
    for name, dtype in rates:
        steps = min(options.peer_steps, options.steps) if name in PEERS else options.steps
        guessed = steps < SUBPIXELS or name.endswith("no cache")
        seconds = 1 / statistics.median(rates[name, dtype])
        more[name, dtype] = {"seconds": seconds, "extrapolated": guessed}
    found = table(title, "ms", rates, REFERENCE, more)
    return {**found, "left_out": left_out} if left_out else found


def told(title: str, rounds: range) -> Iterator[int]:
    """Say where a long measurement stands."""
    for number in rounds:
        say(f"{title}: round {number} of {rounds.stop - 1}")
        yield number


def pass_of(dtype: str, length: int) -> Callable[[], float]:
    """One sequence forward and backward, its gradients added to what is there already; one unit of work."""
    torch.manual_seed(0)
    model = painter("float32").model.train()
    (batch,) = random_tokens(model.config.vocabulary, 1, length)
    for parameter in model.parameters():
        parameter.grad = torch.empty_like(parameter).fill_(0)  # filled, so that it is there before memory is weighed

    def run() -> float:
        with autocast(batch.target.device, getattr(torch, dtype)):
            loss, _ = model.loss(batch)
        (loss / length).backward()  # type: ignore[no-untyped-call]
        return 1.0

    return run


def training(lengths: Sequence[int], options: argparse.Namespace) -> tuple[Table, dict[str, dict[str, float]]]:
    """Time and memory by length, and by dtype the slopes of both."""
    names = {length: f"{length:,} positions" for length in lengths}
    more: dict[Name, dict[str, object]] = {}
    weights: dict[str, list[float]] = {}
    for dtype in options.dtypes if can_weigh() else ():
        for length in lengths:
            say(f"memory of {names[length]}, {dtype}")
            weights.setdefault(dtype, []).append(extra_memory(partial(pass_of, dtype), length))
            more[names[length], dtype] = {"MB": weights[dtype][-1]}
    contestants = {(names[length], dtype): pass_of(dtype, length) for dtype in options.dtypes for length in lengths}
    title = "training, local 1-D: one sequence forward and backward"
    rates = interleaved(contestants, options.repeats, title=title, watch=told)
    slopes = {}
    for dtype in options.dtypes:
        seconds = [1 / statistics.median(rates[names[length], dtype]) for length in lengths]
        slopes[dtype] = {"time": slope(lengths, seconds)}
        if dtype in weights:
            slopes[dtype]["memory"] = slope(lengths, weights[dtype])
    return table(title, "ms", rates, names[lengths[0]], more), slopes


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Of the straight line through the logarithms, by least squares."""
    return statistics.linear_regression([math.log(size) for size in sizes], [math.log(value) for value in values]).slope


def verdicts(report: dict[str, Any], steps: int) -> Iterator[str]:
    """What was hoped for beside what was found."""
    for found in report["tables"]:
        rows = {(row["name"], row["dtype"]): row for row in found["rows"]}
        for (name, dtype), row in rows.items():
            if name == REFERENCE and ", 1 at once" in found["title"]:
                yield f"one picture, {dtype}: {row['seconds']:.2f} s (less than {SECONDS:g} hoped for)"
            if name == "mixture, painting":
                times = f"{row['ratio']:.2f} times as fast (at least {MIXTURE:g} hoped for)"
                yield f"mixture, {dtype}: {times}; {found['title']}"
    for dtype, slopes in report.get("slopes", {}).items():
        found = ", ".join(f"{what} {value:.3f}" for what, value in slopes.items())
        yield f"slope, {dtype}: {found} (at most {SLOPE:g} hoped for)"
    if steps < SUBPIXELS:
        yield f"only {steps:,} of {SUBPIXELS:,} steps were timed"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, nargs="*", default=[1, 16], help="pictures at once, a table each")
    parser.add_argument("--dtypes", nargs="+", default=["float32"], choices=("float32", "bfloat16"))
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--steps", type=int, default=SUBPIXELS, help="fewer for a quick look")
    parser.add_argument("--peer-steps", type=int, default=SUBPIXELS)
    parser.add_argument("--peers", nargs="*", default=[name for name in PEERS if name in peers.installed()])
    parser.add_argument("--every", type=int, default=512, help="steps for one timed pass without a cache")
    parser.add_argument("--lengths", type=int, nargs="*", default=list(LENGTHS), help="of training; 0 leaves it out")
    parser.add_argument("--threads", type=int)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    if not 0 < options.steps <= SUBPIXELS or set(options.peers) - set(PEERS):
        raise UserError(f"expected 1 to {SUBPIXELS:,} steps and peers of {', '.join(PEERS)}; see --help")
    if options.threads:
        torch.set_num_threads(options.threads)
    keep_freed_memory()  # for all: it is one process
    report: dict[str, Any] = {**circumstances(), "steps": options.steps, "tables": []}
    report["parameters"] = sum(each.numel() for each in painter("float32").model.parameters())
    for rows in options.rows:
        report["tables"].append(sampling(rows, options))
    lengths = [length for length in options.lengths if length]
    if len(lengths) > 1:
        measured, report["slopes"] = training(lengths, options)
        report["tables"].append(measured)
    answer(report, [*lines(report), "", *verdicts(report, options.steps)], as_json=options.json)


if __name__ == "__main__":
    main()
