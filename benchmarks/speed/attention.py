"""Attention calls, forward and backward: ours beside the naive form, torch's kernel and local-attention.

A row also has the time that arithmetic allows: the products that a causal form cannot do without, at the rate at which
this machine multiplies square matrices in the same dtype.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor

from speed import naive, peers
from speed.plain import block_local, causal
from speed.tables import Contestants, More, Settings, Table, product_rates, quadratic, table
from triptych.attention.attend import attend, choose
from triptych.attention.dense import dense
from triptych.attention.relation import Relation
from triptych.attention.tables import visible
from triptych.look.measure import can_weigh, extra_memory
from triptych.shape.pattern import Full, Local1D, Pattern

Shape = tuple[int, int, int, int]  # batch, heads, length, width of a head

CAUSAL = Full(causal=True)
RELATIVE_SHAPES: tuple[Shape, ...] = ((1, 8, 2048, 64), (8, 8, 512, 32))
LOCAL_SHAPES: tuple[Shape, ...] = ((1, 8, 3072, 32), (1, 8, 12_288, 32))
WINDOW = 256
MEMORY_LENGTH = 16_384
PAPER_LENGTH = 2048  # positions of the reckoning in Huang et al. 2018, section 3.4.1, at a width of 512: 8 x 64
SMALL = 300  # positions, at most, at which outputs are checked: more than any rule counts as short, and no multiple
TOLERANCE = {"float64": 1e-9, "float32": 1e-4, "bfloat16": 0.1}  # of the largest value


@dataclass(frozen=True)
class Form:
    """A way to compute attention; `dense` defines the result by pattern and relation.

    compute: takes query, key, value [B, H, L, D] and, if `related`, a table [H, L, D] by distance; None is `attend`.
    """

    compute: Callable[..., Tensor] | None = None
    pattern: Pattern = CAUSAL
    related: bool = False

    def __call__(self, query: Tensor, key: Tensor, value: Tensor, *tables: Tensor) -> Tensor:
        """Attention [B, H, L, D]."""
        if self.compute is not None:
            return self.compute(query, key, value, *tables)
        return attend(query, key, value, **self.arguments(tables))

    def arguments(self, tables: Sequence[Tensor]) -> dict[str, Any]:
        """Pattern and relations, as `attend` and `dense` take them."""
        return {"pattern": self.pattern, "relations": [Relation(each) for each in tables]}


RELATIVE = {
    "naive skew": Form(naive.relative, related=True),
    "skew as a mask for torch": Form(naive.relative_by_mask, related=True),
    "torch causal, no relation": Form(causal),
    "triptych relative": Form(related=True),
}


PAIRS, SKEW, OURS = "a row for each pair", "naive skew", "triptych relative"
WEIGHED = {**RELATIVE, PAIRS: Form(naive.relative_by_pairs, related=True)}


def local_forms(window: int, packages: Sequence[str]) -> dict[str, Form]:
    """Local attention by various means, and full attention, which it has to beat."""
    pattern = Local1D(window, window)
    forms = {
        "torch causal, full": Form(causal),
        "torch, blocks in the batch": Form(partial(block_local, block=window), pattern),
        "triptych local": Form(pattern=pattern),
    }
    if "local-attention" in packages:
        forms["local-attention"] = Form(peers.local_attention(window), pattern)
    return forms


def inputs(form: Form, shape: Shape, dtype: torch.dtype) -> list[Tensor]:
    """Query, key, value, the table if there is one, and last the gradient of the output."""
    _, heads, length, width = shape
    random = torch.Generator().manual_seed(0)
    made = [torch.randn(shape, generator=random) for _ in range(4)]
    if form.related:
        made.insert(3, torch.randn(heads, length, width, generator=random) / math.sqrt(width))
    *leaves, gradient = (x.to(dtype) for x in made)
    return [*(x.requires_grad_() for x in leaves), gradient]


def once(form: Callable[..., Tensor], tensors: Sequence[Tensor]) -> float:
    """Once forward and backward; one unit of work."""
    *leaves, gradient = tensors
    torch.autograd.grad(form(*leaves), leaves, gradient)
    return 1.0


def difference(form: Form, shape: Shape, dtype: torch.dtype) -> float:
    """Largest difference from the definition in float64 on the same inputs, relative to the largest value: of the
    output and of each gradient.
    """
    *leaves, gradient = inputs(form, shape, dtype)
    exact = [x.detach().double().requires_grad_() for x in leaves]
    out, expected = form(*leaves), dense(*exact[:3], **form.arguments(exact[3:]))
    ours = (out.detach(), *torch.autograd.grad(out, leaves, gradient))
    true = (expected.detach(), *torch.autograd.grad(expected, exact, gradient.double()))
    return max(float((x - y).abs().max() / y.abs().max()) for x, y in zip(ours, true, strict=True))


def operations(form: Form, shape: Shape) -> float:
    """Floating point operations that a form must do for the pairs of positions that see each other.

    Forward, a pair costs two products of width D, three with a relation; backward, twice as many.
    """
    batch, heads, length, width = shape
    pairs = sum(visible(form.pattern, position).numel() for position in range(length))
    return 3.0 * (3 if form.related else 2) * 2 * width * pairs * batch * heads


def compare(
    title: str, forms: Mapping[str, Form], shape: Shape, rates: Mapping[str, float], settings: Settings
) -> Table:
    """Time the forms at one shape. rates: floating point operations a second by dtype, for the limit."""
    title = f"{title}, {' x '.join(f'{size:,}' for size in shape)}, forward and backward"
    contestants: Contestants = {}
    more: More = {}
    left_out: list[str] = []
    small: Shape = (1, shape[1], min(shape[2], SMALL), shape[3])
    for name, form in forms.items():
        needed = operations(form, shape)
        for dtype in settings.dtypes:
            number = getattr(torch, dtype)
            wrong = difference(form, small, number)
            if wrong > TOLERANCE[dtype]:
                left_out.append(f"{name} in {dtype}, which differs from the definition by {wrong:.1e} of it")
                continue
            tensors = inputs(form, shape, number)
            contestants[name, dtype] = partial(once, form, tensors)
            more[name, dtype] = {"limit": 1000 * needed / rates[dtype], "difference": wrong}
            if form.compute is None:
                more[name, dtype]["backend"] = choose(*tensors[:2], **form.arguments(tensors[3:-1]))
    measured = settings.rates(title, contestants)
    found = table(title, "ms", measured, next(iter(forms)), more)
    return {**found, "left_out": left_out} if left_out else found


def prepared(name: str, length: int) -> Callable[[], object]:
    """One call of a relative form in float32 at 1 x 8 x length x 64, its inputs made: for `extra_memory`."""
    form = WEIGHED[name]
    return partial(once, form, inputs(form, (1, 8, length, 64), torch.float32))


def memory(length: int, settings: Settings, names: Sequence[str] = (SKEW, OURS)) -> Table:
    """Extra memory of naive forms and of ours; that of the former is extrapolated where the machine has not enough.

    rows: those of the relation that a form reads, in MiB, as the paper reckons (section 3.4.1: 8.5 GB for one of each
    pair and 4.2 MB for one of each distance, at 2,048 positions and a width of 512); the products are not in it.
    """
    title = f"extra memory of relative attention, 1 x 8 x {length:,} x 64, forward and backward"
    found, more = {}, {}
    for name, _ in zip(names, settings.watch(title, range(len(names))), strict=True):
        measured = partial(extra_memory, partial(prepared, name))
        size, guessed = (measured(length), False) if name == OURS else quadratic(measured, length)
        rows = length * length if name == PAIRS else length
        found[name, "float32"] = [size]
        more[name, "float32"] = {"extrapolated": guessed, "rows": rows * 8 * 64 * 4 / 2**20}
    return table(title, "MB", found, names[0], more)


def tables(settings: Settings, *, length: int | None = None, memory_length: int = MEMORY_LENGTH) -> Iterator[Table]:
    """All tables, one after another. length: positions, instead of those of each table; memory_length 0: no memory."""
    products, rates = product_rates(settings)
    yield products
    if memory_length and can_weigh():  # first, because it is what a machine may not be able to do
        if memory_length > PAPER_LENGTH:
            yield memory(memory_length, settings)
        yield memory(min(memory_length, PAPER_LENGTH), settings, (PAIRS, SKEW, OURS))
    for shape in _at(RELATIVE_SHAPES, length):
        yield compare("relative causal attention", RELATIVE, shape, rates, settings)
    for shape in _at(LOCAL_SHAPES, length):
        forms = local_forms(WINDOW, settings.peers)
        yield compare(f"local attention, blocks of {WINDOW} and {WINDOW} before", forms, shape, rates, settings)


def _at(shapes: Sequence[Shape], length: int | None) -> list[Shape]:
    """The shapes at the length asked for, each once."""
    return list(dict.fromkeys((batch, heads, length or at, width) for batch, heads, at, width in shapes))
