"""Relative attention, forward and backward: ours block by block beside the naive skew, in one run.

    python benchmarks/attention.py [--json] [--length 2048] [--memory-length 8192] [--repeats 7] [--threads N]

Batch 1, 8 heads of 64, causal, one row of the table for every distance. The naive form writes down the logits of all
pairs of positions and skews them as in Huang et al. (2018), figure 1. Times are taken in turn, in float32 and bfloat16.
Memory is the peak of a fresh process above what it held before the first call, inputs and libraries included in the
latter; 0 leaves it out.
"""

from __future__ import annotations

import argparse
import gc
import json
import math
import statistics
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path

import torch
from measure import interleaved, machine
from torch import Tensor
from torch.nn import functional

from triptych.attention import ByDistance, Full, blockwise

HEADS, WIDTH = 8, 64
Form = Callable[[Tensor, Tensor, Tensor, Tensor], Tensor]


def naive(query: Tensor, key: Tensor, value: Tensor, table: Tensor) -> Tensor:
    """[B, H, L, D]; row d of table [H, L, D] is distance d. Every tensor here with two dimensions of length L is
    real.
    """
    length = query.size(2)
    products = query @ table.flip(1).transpose(-1, -2)
    padded = functional.pad(products, (1, 0))
    skewed = padded.reshape(*products.shape[:2], length + 1, length)[:, :, 1:]
    logits = (query @ key.transpose(-1, -2) + skewed) / math.sqrt(query.size(-1))
    future = torch.ones(length, length, dtype=torch.bool).triu(1)
    return logits.masked_fill(future, -math.inf).softmax(-1) @ value


def ours(query: Tensor, key: Tensor, value: Tensor, table: Tensor) -> Tensor:
    return blockwise(query, key, value, pattern=Full(causal=True), relations=[ByDistance(table)])


FORMS: dict[str, Form] = {"naive": naive, "blockwise": ours}


def inputs(length: int, dtype: torch.dtype) -> list[Tensor]:
    """Query, key, value and table to be trained, and the gradient of the output."""
    random = torch.Generator().manual_seed(0)
    shapes = [(1, HEADS, length, WIDTH)] * 3 + [(HEADS, length, WIDTH), (1, HEADS, length, WIDTH)]
    made = [torch.randn(shape, generator=random).to(dtype) for shape in shapes]
    made[3] = made[3] / math.sqrt(WIDTH)
    return [x.requires_grad_() for x in made[:4]] + made[4:]


def train(form: Form, tensors: list[Tensor]) -> float:
    """Once forward and backward; one unit of work."""
    *leaves, gradient = tensors
    torch.autograd.grad(form(*leaves), leaves, gradient)
    return 1.0


def agreement(length: int) -> float:
    """Largest difference of the two forms, output and gradients, in float64."""
    *leaves, gradient = (x.detach().double().requires_grad_() for x in inputs(length, torch.float32))
    found = []
    for form in FORMS.values():
        out = form(*leaves)
        found.append([out, *torch.autograd.grad(out, leaves, gradient)])
    return float(max((x - y).abs().max().item() for x, y in zip(*found, strict=True)))


def status(field: str) -> float:
    """A figure of this process in MB, as Linux counts it: VmRSS held now, VmHWM at most so far."""
    for line in Path("/proc/self/status").read_text("ascii").splitlines():
        if line.startswith(field):
            return int(line.split()[1]) / 1024
    raise SystemExit(
        f"expected {field} in /proc/self/status, got none; measure memory on Linux, or give --memory-length 0"
    )


def extra_memory(name: str, length: int) -> float:
    """Peak of one call in MB above what this process holds before it; to be called in a fresh process."""
    train(FORMS[name], inputs(64, torch.float32))  # what the libraries set up once
    tensors = inputs(length, torch.float32)
    gc.collect()
    before = status("VmRSS")
    train(FORMS[name], tensors)
    return status("VmHWM") - before


def in_fresh_process(name: str, length: int) -> float:
    command = [sys.executable, __file__, "--memory-of", name, "--memory-length", str(length)]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return float(done.stdout)


def measure(length: int, memory_length: int, repeats: int) -> dict[str, object]:
    report: dict[str, object] = {"heads": HEADS, "width": WIDTH, "batch": 1, "length": length, "machine": machine()}
    report["difference_float64"] = agreement(min(length, 600))
    for dtype in (torch.float32, torch.bfloat16):
        tensors = inputs(length, dtype)
        rates = interleaved({name: partial(train, form, tensors) for name, form in FORMS.items()}, repeats)
        seconds = {name: statistics.median(1 / rate for rate in found) for name, found in rates.items()}
        report[str(dtype).removeprefix("torch.")] = {
            "milliseconds": {name: round(1000 * value, 1) for name, value in seconds.items()},
            "faster": round(seconds["naive"] / seconds["blockwise"], 2),
            "runs": repeats,
        }
    if memory_length:
        megabytes = {name: round(in_fresh_process(name, memory_length), 1) for name in FORMS}
        fraction = round(megabytes["blockwise"] / megabytes["naive"], 4)
        report["memory"] = {"length": memory_length, "megabytes": megabytes, "fraction": fraction}
    return report


def tell(report: dict[str, object]) -> None:
    print(f"Relative attention, forward and backward: batch 1, {HEADS} heads of {WIDTH}, causal\n{report['machine']}")
    print(f"largest difference of the two forms in float64: {report['difference_float64']:.1e}\n")
    print(f"{'':28} {'naive skew':>14} {'blockwise':>14}   ratio")
    for dtype in ("float32", "bfloat16"):
        found = report[dtype]
        assert isinstance(found, dict)
        slow, fast = found["milliseconds"]["naive"], found["milliseconds"]["blockwise"]
        label = f"{dtype}, length {report['length']:,}"
        print(f"{label:28} {slow:11,.1f} ms {fast:11,.1f} ms   {found['faster']:.2f} times as fast")
    memory = report.get("memory")
    if isinstance(memory, dict):
        slow, fast = memory["megabytes"]["naive"], memory["megabytes"]["blockwise"]
        label = f"memory, length {memory['length']:,}"
        print(f"{label:28} {slow:11,.1f} MB {fast:11,.1f} MB   {memory['fraction']:.4f} of it")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.add_argument("--length", type=int, default=2048, help="positions, for the times")
    parser.add_argument("--memory-length", type=int, default=8192, help="positions, for the memory; 0: not measured")
    parser.add_argument("--repeats", type=int, default=7, help="rounds that count")
    parser.add_argument("--memory-of", choices=FORMS, help=argparse.SUPPRESS)
    parser.add_argument(
        "--threads", type=int, default=torch.get_num_threads(), help="one is steadier on a busy machine"
    )
    given = parser.parse_args()
    torch.set_num_threads(given.threads)
    if given.memory_of:
        print(extra_memory(given.memory_of, given.memory_length))
        return
    report = measure(given.length, given.memory_length, given.repeats)
    if given.json:
        print(json.dumps(report))
    else:
        tell(report)


if __name__ == "__main__":
    main()
