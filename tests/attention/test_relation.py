"""Relations: what rows they choose, and what they refuse."""

from typing import Any

import pytest
import torch

from triptych.attention.dense import dense
from triptych.attention.relation import Relation, by_distance
from triptych.errors import UserError
from triptych.shape.pattern import Full
from triptych.shape.relations import Difference


def test_rows_by_distance() -> None:
    relation = Relation(torch.zeros(1, 5, 2), Difference(2))
    assert relation.rows(torch.arange(2), torch.arange(3)).tolist() == [[[2, 1, 0], [3, 2, 1]]]


def test_rows_by_coordinate() -> None:
    key = torch.tensor([[60, 59, 61, 40]])
    relation = Relation(torch.zeros(1, 5, 2), Difference(2), torch.tensor([[60]]), key)
    assert relation.rows(torch.arange(1), torch.arange(4)).tolist() == [[[2, 3, 1, 22]]]


@pytest.mark.parametrize(("far", "expected"), [("clip", [30, 30, 30, 20, 10, 10]), ("zero", [0, 0, 30, 20, 10, 0])])
def test_expanded_table(far: Any, expected: list[int]) -> None:
    table = torch.tensor([[[10.0], [20.0], [30.0]]])
    assert by_distance(Relation(table, Difference(1), far=far), 3, -2)[0, :, 0].tolist() == expected


def test_the_gradient_of_a_clipped_row_is_summed_precisely() -> None:
    """4,096 ones summed in bfloat16 would stop at 256."""
    table = torch.zeros(1, 2, 1, dtype=torch.bfloat16, requires_grad=True)
    by_distance(Relation(table), 4096, 0).sum().backward()
    assert table.grad is not None and table.grad.flatten().tolist() == [1, 4096]


COORDINATES = torch.zeros(2, 4, dtype=torch.int64)


@pytest.mark.parametrize(
    ("relation", "message"),
    [
        (Relation(torch.zeros(5, 8)), r"shape \[3, rows, 8\].*got \[5, 8\]"),
        (Relation(torch.zeros(2, 5, 8)), r"got \[2, 5, 8\]"),
        (Relation(torch.zeros(3, 0, 8)), r"got \[3, 0, 8\]"),
        (Relation(torch.zeros(3, 5, 8), Difference(5)), "an offset from 0 to 4, a row, got 5"),
        (Relation(torch.zeros(3, 5, 8), far="near"), "'zero' or 'clip', got 'near'"),  # type: ignore[arg-type]
        (Relation(torch.zeros(3, 5, 8), key=COORDINATES), "of queries and of keys, got one"),
        (Relation(torch.zeros(3, 5, 8), Difference(2), COORDINATES[:, :3], COORDINATES), r"got \[2, 3\] and \[2, 4\]"),
        (Relation(torch.zeros(3, 5, 8), Difference(2), COORDINATES, COORDINATES.float()), "integer coordinates"),
    ],
)
def test_mistakes_are_one_clear_line(relation: Relation, message: str) -> None:
    query = torch.zeros(2, 3, 4, 8)
    with pytest.raises(UserError, match=message) as error:
        dense(query, query, query, pattern=Full(), relations=[relation])
    assert "\n" not in str(error.value)
