from dataclasses import dataclass
from typing import Annotated, Any, Literal

import pytest

from triptych.errors import UserError
from triptych.shape.settings import check_names, names_of, settings_from


@dataclass(frozen=True)
class Use:
    share: float = 0.5
    count: int | None = None
    mirror: bool = False
    task: Literal["paint", "complete"] | None = None
    size: Annotated[tuple[int, int], "[height, width]"] | None = None
    names: tuple[str, ...] = ()


def test_values_in_the_types_of_their_fields() -> None:
    values = {"share": 1, "count": 3, "mirror": True, "task": "paint", "size": [2, 3], "names": ["a"], "other": 5}
    made = settings_from(Use, "data", values)
    assert made == Use(1.0, 3, True, "paint", (2, 3), ("a",)) and isinstance(made.share, float)
    assert settings_from(Use, "data", {}) == Use()


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"share": "x"}, "data.share to be a number, got 'x'"),
        ({"share": True}, "data.share to be a number, got True"),
        ({"count": 2.0}, "data.count to be a whole number, got 2.0"),
        ({"mirror": 1}, "data.mirror to be true or false, got 1"),
        ({"task": "draw"}, "data.task to be one of paint, complete, got 'draw'"),
        ({"size": [2]}, r"data.size to be \[height, width\], got \[2\]"),
        ({"size": [2, "a"]}, r"data.size to be \[height, width\], got"),
        ({"size": 2}, r"data.size to be \[height, width\], got 2"),
        ({"task": ["paint"]}, "data.task to be one of"),
    ],
)
def test_values_of_other_types(values: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=f"expected {message}.*; correct it, or leave it out for the default"):
        settings_from(Use, "data", values)


def test_unknown_names() -> None:
    check_names("data", ["share", "kind"], ["kind", *names_of(Use)])
    with pytest.raises(UserError, match=r"unknown setting data\.shara; did you mean 'share'"):
        check_names("data", ["shara"], names_of(Use))
    with pytest.raises(UserError, match="unknown setting zzz; known are share, count, mirror, task, size, names"):
        check_names("", ["zzz"], names_of(Use))
