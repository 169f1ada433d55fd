from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from triptych.errors import UserError
from triptych.fields import Checked, Share, Size, parsed, read_json


@dataclass(frozen=True)
class Use(Checked):
    CALLED = "data.{name}"

    share: Share = 0.5
    count: Annotated[int, Size(1)] | None = None
    mirror: bool = False
    task: Literal["paint", "complete"] | None = None
    size: Annotated[tuple[int, int], "[height, width]"] | None = None
    names: tuple[str, ...] = ()
    dropout: Annotated[float, Size(0, 1, below=True)] = 0.0
    sizes: Annotated[tuple[Annotated[int, Size(1, 9)], ...], Size(0, 2)] = ()


def test_values_in_the_types_of_their_fields() -> None:
    values: dict[str, Any] = {"share": 1, "count": 3, "mirror": True, "task": "paint", "size": [2, 3], "names": ["a"]}
    made = Use(**values)
    assert made == Use(1.0, 3, True, "paint", (2, 3), ("a",)) and isinstance(made.share, float)
    assert parsed(Use, values) == made and parsed(Use, {"count": None}) == Use()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": "x"}, "data.share to be a number, got 'x'; correct it"),
        ({"share": True}, "data.share to be a number, got True"),
        ({"share": 1.5}, "data.share of 0 to 1, got 1.5"),
        ({"share": float("nan")}, "a finite data.share, got nan"),
        ({"dropout": 1}, "data.dropout of 0 to below 1, got 1.0"),
        ({"count": 2.0}, "data.count to be a whole number, got 2.0"),
        ({"count": 0}, "data.count of at least 1, got 0"),
        ({"mirror": 1}, "data.mirror to be true or false, got 1"),
        ({"mirror": None}, "data.mirror to be true or false, got None"),
        ({"task": "draw"}, "data.task to be one of paint, complete, got 'draw'; correct it"),
        ({"task": ["paint"]}, "data.task to be one of"),
        ({"size": [2]}, r"data.size to be \[height, width\], got \[2\]"),
        ({"size": [2, "a"]}, "each of data.size to be a whole number, got 'a'"),
        ({"size": 2}, r"data.size to be \[height, width\], got 2"),
        ({"sizes": [1, 10]}, "each of data.sizes of 1 to 9, got 10"),
        ({"sizes": [1, 2, 3]}, "data.sizes of 0 to 2 items, got 3"),
    ],
)
def test_values_of_other_types_or_sizes(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"^expected {message}"):
        Use(**values)


def test_whole_numbers_of_json() -> None:
    found = read_json(b"[2.0, 2.5, 3, 1e3]")
    assert found == [2, 2.5, 3, 1000] and list(map(type, found)) == [int, float, int, int]
    for text, message in ((b"1e999", "finite"), (b"NaN", "finite"), (b"[", "JSON"), (b"9" * 30, "digits")):
        with pytest.raises(UserError, match=message):
            read_json(text)
