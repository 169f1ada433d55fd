import sys
import tomllib
from pathlib import Path

import pytest

from triptych.errors import UserError
from triptych.extras import EXTRAS, require

PROJECT = tomllib.loads((Path(__file__).parent.parent / "pyproject.toml").read_text("utf-8"))["project"]


def test_a_package_that_is_there_is_no_mistake() -> None:
    require("numpy", "this")


@pytest.mark.parametrize("package", EXTRAS)
def test_the_extra_installs_it(package: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, package, None)
    extra = EXTRAS[package]
    assert any(each.startswith(package) for each in PROJECT["optional-dependencies"][extra])
    with pytest.raises(UserError) as caught:
        require(package, "this work")
    assert str(caught.value) == f'expected {package} for this work, got none; pip install "triptych[{extra}]"'


def test_another_extra_may_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "torch", None)
    with pytest.raises(UserError, match=r'"triptych\[eval\]"$'):
        require("torch", "measuring", "eval")
    assert "triptych[train]" in PROJECT["optional-dependencies"]["eval"]
