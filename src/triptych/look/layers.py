"""The four layers of the complexity table, ready to be timed and weighed: Vaswani et al. 2017, section 4, table 1.

The table counts the operations of a layer that maps n vectors of width d to n others. What is run here is that and
nothing else, so that the measured time grows as the term of the table:

- self-attention is softmax(Q K^T / 8) V from given queries, keys and values, in heads of 64. Its projections are
  left out, as in the table: they cost 4 n d^2, like the layers that the table compares it with;
- restricted self-attention is the same with `Local1D`, where blocks of r queries see r positions before them;
- the recurrent layer is torch's LSTM, the convolution one of kernel k, both from width d to width d.

Everything is batch 1, float32, on the CPU, forward and backward.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from triptych.attention.attend import attend, choose
from triptych.look.measure import extra_memory, interleaved
from triptych.shape.pattern import Full, Local1D, Pattern
from triptych.train.memory import keep_freed_memory

Kind = Literal["full", "lstm", "convolution", "local"]
Weighed = Kind | Literal["dense"]  # dense: full attention by its definition

REACH = 256  # r: positions that restricted attention sees before its block
KERNEL = 3  # k of the convolution
HEAD = 64  # width of a head


@dataclass(frozen=True)
class Row:
    """A row of the paper's table, and the exponents that follow from it. Formulas are those of TeX, plainly written."""

    name: str
    complexity: str
    sequential: str
    path: str
    by_length: int  # time grows as n to this power
    by_width: int  # and as d to this one


TABLE: dict[Kind, Row] = {
    "full": Row("Self-attention", "n^2 d", "1", "1", 2, 1),
    "lstm": Row("Recurrent (LSTM)", "n d^2", "n", "n", 1, 2),
    "convolution": Row(f"Convolution (k = {KERNEL})", "k n d^2", "1", "log_k n", 1, 2),
    "local": Row(f"Restricted self-attention (r = {REACH})", "r n d", "1", "n / r", 1, 1),
}


@dataclass(frozen=True)
class Layer:
    """A layer on its input: `forward` gives its output, `leaves` are input and weights, which take a gradient."""

    forward: Callable[[], Tensor]
    leaves: tuple[Tensor, ...]
    gradient: Tensor  # of the output

    def train(self) -> float:
        """Run once forward and backward; one unit of work."""
        torch.autograd.grad(self.forward(), self.leaves, self.gradient)
        return 1.0


def layer(kind: Weighed, length: int, width: int) -> Layer:
    """A layer of `kind` from `length` positions of `width` to as many; the width a multiple of 64, or one head."""
    random = torch.Generator().manual_seed(0)

    def normal(*shape: int, gradient: bool = True) -> Tensor:
        return torch.randn(shape, generator=random).requires_grad_(gradient)

    if kind == "lstm":
        module = nn.LSTM(width, width)
        sequence = normal(length, 1, width)
        leaves = (sequence, *module.parameters())
        return Layer(lambda: module(sequence)[0], leaves, normal(length, 1, width, gradient=False))
    if kind == "convolution":
        leaves = normal(1, width, length), normal(width, width, KERNEL)
        run = partial(F.conv1d, *leaves, padding=KERNEL // 2)
        return Layer(run, leaves, normal(1, width, length, gradient=False))
    heads = max(1, width // HEAD)
    shape = 1, heads, length, width // heads
    query, key, value = (normal(*shape) for _ in range(3))
    run = partial(attend, query, key, value, pattern=_pattern(kind), backend="dense" if kind == "dense" else "auto")
    return Layer(run, (query, key, value), normal(*shape, gradient=False))


def backend(kind: Literal["full", "local"]) -> str:
    """The way of computing that `attend` chooses for one of the attentions."""
    query = torch.empty(1, 1, REACH, HEAD)
    return choose(query, query, pattern=_pattern(kind))


def median_seconds(kinds: Sequence[Kind], length: int, width: int, repeats: int) -> dict[Kind, float]:
    """Median time in seconds of a call of each layer, the layers taken in turn `repeats` times.

    Makes this process keep freed memory, as training does: without it, the first touch of fresh pages is a good part
    of the time of a large call, and bends the lines.
    """
    keep_freed_memory()
    rates = interleaved({kind: layer(kind, length, width).train for kind in kinds}, repeats)
    return {kind: statistics.median(1 / rate for rate in rates[kind]) for kind in kinds}


def megabytes(kind: Weighed, length: int, width: int) -> float:
    """Memory of a call of a layer: MB at its peak above what a fresh process held before, the input included.

    A process for every figure costs its start, and is exact where a peak cannot be set back; torch's own count of
    allocations would be cheaper, but does not see what the libraries below it take.
    """
    return extra_memory(partial(_prepared, kind, width), length)


def _prepared(kind: Weighed, width: int, length: int) -> Callable[[], float]:
    return layer(kind, length, width).train


def _pattern(kind: str) -> Pattern:
    return Local1D(query=REACH, memory=REACH) if kind == "local" else Full()
