from dataclasses import dataclass

import pytest

from triptych.errors import UserError
from triptych.shape.settings import check_names, names_of


@dataclass(frozen=True)
class Use:
    share: float = 0.5
    count: int | None = None


def test_unknown_names() -> None:
    check_names("data", ["share", "kind"], ["kind", *names_of(Use)])
    with pytest.raises(UserError, match=r"unknown setting data\.shara; did you mean 'share'"):
        check_names("data", ["shara"], names_of(Use))
    with pytest.raises(UserError, match="unknown setting zzz; known are share, count"):
        check_names("", ["zzz"], names_of(Use))
