"""What an import of the package gives, and does not load; the documents that come with it."""

import subprocess
import sys
from pathlib import Path

import pytest

import triptych

SOURCE = Path(triptych.__file__).parent
ROOT = SOURCE.parent.parent


def test_exported_names_are_those_that_can_be_imported() -> None:
    assert triptych.__all__ == sorted(triptych.__all__, key=lambda name: (name[0].islower(), name))
    assert set(triptych._HOME) == set(triptych.__all__)
    for name in triptych.__all__:
        assert getattr(triptych, name).__name__ == name
    assert set(triptych.__all__) <= set(dir(triptych))


def test_an_unknown_name_is_an_attribute_error() -> None:
    with pytest.raises(AttributeError, match="no attribute 'Painterr'"):
        triptych.Painterr  # noqa: B018


HEAVY = ("torch", "numpy", "matplotlib", "sentencepiece", "PIL")


@pytest.mark.parametrize(
    "code",
    ["import triptych", "from triptych.cli.main import main; assert main(['--help']) == 0"],
    ids=["import triptych", "triptych --help"],
)
def test_starting_is_light(code: str) -> None:
    check = f"import sys; print([name for name in {HEAVY} if name in sys.modules], file=sys.stderr)"
    done = subprocess.run([sys.executable, "-c", f"{code}\n{check}"], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[]"


def test_typed_and_versioned() -> None:
    assert (SOURCE / "py.typed").is_file()
    changes = (ROOT / "CHANGELOG.md").read_text("utf-8")
    assert "## [Unreleased]" in changes or f"## [{triptych.__version__}]" in changes


def test_the_architecture_names_every_file() -> None:
    tree = (ROOT / "docs" / "architecture.md").read_text("utf-8").split("```")[3]
    files = [file.name for file in SOURCE.rglob("*.py") if file.name != "__init__.py"]
    assert not [name for name in files if f" {name}" not in tree]
