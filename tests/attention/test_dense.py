"""The definition, against loops over single queries and keys with numbers of Python."""

import math
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from triptych.attention.dense import dense, weights
from triptych.attention.relation import Relation
from triptych.attention.tables import mask
from triptych.errors import UserError
from triptych.shape.pattern import Full, Local1D, Local2D
from triptych.shape.relations import Difference

KINDS = ["distance", "distance-zero", "two-sided", "two-sided-zero", "coordinate", "coordinate-zero"]
KINDS += ["odd", "odd-zero", "odd-coordinate", "odd-coordinate-zero"]


def row_of(relation: Relation, b: int, i: int, j: int) -> int | None:
    """The row of the table for one query and key; None = far, adds nothing."""
    rows = relation.table.size(1)
    if relation.query is not None and relation.key is not None:
        i, j = int(relation.query[b, i]), int(relation.key[b, j])
    # What is no difference is `odd` of conftest.py.
    row = relation.row.offset + i - j if isinstance(relation.row, Difference) else (2 * i + j) % 7 - 1
    if 0 <= row < rows:
        return row
    return None if relation.far == "zero" else (0 if row < 0 else rows - 1)


def by_loops(case: Any) -> Tensor:
    batch, heads, queries, width = case.query.shape
    keys = case.key.size(2)
    see = mask(case.pattern, queries, keys).tolist()
    out = torch.zeros_like(case.query)
    q, k, v = (x.tolist() for x in (case.query, case.key, case.value))
    tables = [relation.table.tolist() for relation in case.relations]
    for b in range(batch):
        valid = keys if case.lengths is None else int(case.lengths[b])
        for h in range(heads):
            for i in range(queries):
                logits = {}
                for j in range(valid):
                    if not see[i][j]:
                        continue
                    total = sum(x * y for x, y in zip(q[b][h][i], k[b][h][j], strict=True))
                    for relation, rows in zip(case.relations, tables, strict=True):
                        row = row_of(relation, b, i, j)
                        if row is not None:
                            total += sum(x * y for x, y in zip(q[b][h][i], rows[h][row], strict=True))
                    logits[j] = total / math.sqrt(width)
                highest = max(logits.values(), default=0.0)
                mass = sum(math.exp(x - highest) for x in logits.values())
                for j, logit in logits.items():
                    probability = math.exp(logit - highest) / mass
                    for d in range(width):
                        out[b, h, i, d] += probability * v[b][h][j][d]
    return out


PATTERNS = [(Full(), 4, 6), (Full(), 5, 5), (Full(causal=True), 6, 6), (Local1D(3, 2), 8, 8)]
PATTERNS += [(Local2D(4, 4, 2, 2, 1, 1), 11, 11)]


@pytest.mark.parametrize(("pattern", "queries", "keys"), PATTERNS)
@pytest.mark.parametrize("kinds", [[], *([kind] for kind in KINDS), ["distance", "coordinate-zero"]])
def test_against_loops(pattern: Any, queries: int, keys: int, kinds: list[str], case: Callable[..., Any]) -> None:
    made = case(pattern, queries, keys, kinds=kinds, rows=3, width=3, batch=3, lengths=[keys, 2, 0])
    assert (made.run(dense) - by_loops(made)).abs().max() < 1e-12


@pytest.mark.parametrize("kind", KINDS)
def test_tables_end_before_the_sequence_and_the_case_notices(kind: str, case: Callable[..., Any]) -> None:
    """The oracle would be blind if no distance ever left the table: clipping must differ from nothing."""
    near, far = (case(Full(), 8, kinds=[kind.removesuffix("-zero") + end], rows=2) for end in ("", "-zero"))
    assert (near.run(dense) - far.run(dense)).abs().max() > 1e-3


def test_weights_are_probabilities_of_what_is_seen(case: Callable[..., Any]) -> None:
    made = case(Local1D(3, 2), 8, lengths=[8, 3])
    found = weights(made.query, made.key, pattern=made.pattern, lengths=made.lengths)
    see = mask(made.pattern, 8, 8) & (torch.arange(8) < made.lengths[:, None])[:, None, None]
    assert bool(((found > 0) == see).all())
    sums = found.sum(-1)
    assert torch.allclose(sums, see.any(-1).double().expand_as(sums))


@pytest.mark.parametrize("pattern", [Full(), Full(causal=True), Local1D(2, 2)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32, torch.bfloat16, torch.float16])
def test_a_row_without_keys_gives_and_passes_back_zeros(
    pattern: Any, dtype: torch.dtype, case: Callable[..., Any]
) -> None:
    made = case(pattern, 6, lengths=[0, 6], kinds=["distance"]).to(dtype)
    out, *gradients = made.results(dense)
    assert out.dtype == dtype
    assert bool((out[0] == 0).all()) and bool((out[1] != 0).any())
    assert all(bool((x[0] == 0).all()) for x in gradients[:3])
    assert all(bool(x.isfinite().all()) for x in gradients)


def test_padding_is_never_looked_at(case: Callable[..., Any]) -> None:
    made = case(Full(), 5, lengths=[3, 5])
    before = made.run(dense)
    made.key[0, :, 3:], made.value[0, :, 3:] = 1e3, -1e3
    assert torch.equal(made.run(dense), before)


def test_no_keys_at_all(case: Callable[..., Any]) -> None:
    assert case(Full(), 3, 0).run(dense).tolist() == torch.zeros(2, 2, 3, 4).tolist()


@pytest.mark.parametrize("kinds", [[], ["two-sided-zero", "coordinate"]])
def test_gradients_by_differences(kinds: list[str], case: Callable[..., Any]) -> None:
    made = case(Full(causal=True), 4, kinds=kinds, rows=2, width=2, lengths=[0, 3]).to(torch.float64)

    def of_leaves(query: Tensor, key: Tensor, value: Tensor, *tables: Tensor) -> Tensor:
        relations = [type(r)(**{**vars(r), "table": t}) for r, t in zip(made.relations, tables, strict=True)]
        return dense(query, key, value, pattern=made.pattern, relations=relations, lengths=made.lengths)

    assert torch.autograd.gradcheck(of_leaves, made.leaves())


def tensors(*shapes: tuple[int, ...]) -> list[Tensor]:
    return [torch.zeros(shape) for shape in shapes]


Q, K = (2, 3, 4, 8), (2, 3, 5, 8)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(3, 4, 8), K, K], r"shape \[batch, heads, length, width\], got \[3, 4, 8\]"),
        ([Q, (2, 3, 5, 7), (2, 3, 5, 7)], r"shape \[2, 3, keys, 8\]"),
        ([Q, K, (2, 3, 6, 8)], r"got \[2, 3, 5, 8\] and \[2, 3, 6, 8\]"),
        ([Q, (1, 3, 5, 8), (1, 3, 5, 8)], "to match the query"),
    ],
)
def test_shapes_that_do_not_fit(shapes: list[tuple[int, ...]], message: str) -> None:
    with pytest.raises(UserError, match=message):
        dense(*tensors(*shapes), pattern=Full())


def test_dtypes_and_lengths_that_do_not_fit() -> None:
    query, key, value = tensors(Q, K, K)
    with pytest.raises(UserError, match=r"one floating dtype, got torch.float32, torch.float64"):
        dense(query, key.double(), value, pattern=Full())
    with pytest.raises(UserError, match="one floating dtype"):
        dense(query.long(), key.long(), value.long(), pattern=Full())
    with pytest.raises(UserError, match=r"lengths of shape \[2\], got torch.int64 \[3\]"):
        dense(query, key, value, pattern=Full(), lengths=torch.tensor([1, 2, 3]))
    with pytest.raises(UserError, match="integer lengths"):
        dense(query, key, value, pattern=Full(), lengths=torch.tensor([1.0, 2.0]))
    with pytest.raises(UserError, match="as many queries as keys"):
        dense(query, key, value, pattern=Full(causal=True))
