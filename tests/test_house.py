"""The rules of the house: who may import whom, how large things may be, what an import may do."""

import ast
import dataclasses
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import triptych

SOURCE = Path(triptych.__file__).parent

# The floor of a module by its longest matching prefix. Imports go down, or stay on the floor.
FLOORS = {
    "triptych": -2,
    "triptych.errors": -1,
    "triptych.shape": 0,
    "triptych.decode": 1,
    "triptych.generation": 1,
    "triptych.attention": 1,
    "triptych.picture": 2,
    "triptych.model": 2,
    "triptych.train": 3,
    "triptych.text": 4,
    "triptych.image": 4,
    "triptych.music": 4,
    "triptych.look": 4,
    "triptych.text.translator": 5,
    "triptych.image.painter": 5,
    "triptych.music.chorales.composer": 5,
    "triptych.music.performances.pianist": 5,
    "triptych.look.notes": 5,
    "triptych.cli": 6,
}
# Rooms of one floor that know nothing of each other.
STRANGERS = [
    {"triptych.generation", "triptych.attention"},
    {"triptych.generation", "triptych.decode"},
    {"triptych.attention", "triptych.decode"},
    {"triptych.text", "triptych.look"},
    {"triptych.text", "triptych.music"},
    {"triptych.text", "triptych.image"},
    {"triptych.image", "triptych.music"},
    {"triptych.image", "triptych.look"},
]

FILES = sorted(SOURCE.rglob("*.py"))


def module_of(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    room = max((name for name in FLOORS if module == name or module.startswith(name + ".")), key=len)
    assert room != "triptych" or module == "triptych", f"{module} stands on no floor: name it in FLOORS"
    return room


def is_typing_only(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def imports(tree: ast.AST, package: str) -> Iterator[str]:
    """Every module of ours that is imported anywhere in the file; names for the type checker alone do not count."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name.split(".")[0] == "triptych")
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                base = ".".join(
                    [*package.split(".")[: len(package.split(".")) - node.level + 1], *filter(None, [base])]
                )
            if base.split(".")[0] == "triptych":
                for name in node.names:
                    inner = SOURCE.parent.joinpath(*base.split("."), name.name)
                    yield f"{base}.{name.name}" if inner.is_dir() or inner.with_suffix(".py").is_file() else base
        elif not is_typing_only(node):
            yield from imports(node, package)


def test_imports_are_found_wherever_they_stand() -> None:
    code = """
import triptych.errors
from triptych.cli import main
from triptych import __version__
if TYPE_CHECKING:
    from triptych.text import data
def f():
    from .codec import TextCodec
    import torch
"""
    found = list(imports(ast.parse(code), "triptych.text"))
    assert found == ["triptych.errors", "triptych.cli.main", "triptych", "triptych.text.codec"]


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_imports_go_down(file: Path) -> None:
    module = module_of(file)
    package = module if file.name == "__init__.py" else module.rpartition(".")[0]
    for imported in imports(ast.parse(file.read_text("utf-8")), package):
        assert FLOORS[room_of(imported)] <= FLOORS[room_of(module)], f"{module} imports {imported} from a higher floor"
        rooms = {room_of(module), room_of(imported)}
        assert rooms not in STRANGERS, f"{module} imports {imported}, its neighbour"


@pytest.mark.parametrize("file", FILES, ids=module_of)
def test_a_file_is_one_room(file: Path) -> None:
    text = file.read_text("utf-8")
    assert len(text.splitlines()) <= 500
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            # The parameters of a verb are its table of options, so a verb is measured from its first statement.
            first = node.body[0].lineno if "cli" in file.parts else node.lineno
            lines = (node.end_lineno or 0) - first + 1
            # A docstring is the contract, not the work.
            lines -= len((ast.get_docstring(node, clean=False) or "").splitlines())
            assert lines <= 60, f"{node.name} has {lines} lines"


def test_no_grab_bags() -> None:
    assert not [
        file for file in FILES if file.stem.strip("_") in {"utils", "util", "helpers", "helper", "common", "misc"}
    ]


def test_config_stays_small() -> None:
    from triptych.shape.config import Config

    assert len(dataclasses.fields(Config)) <= 17


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
    changes = (SOURCE.parent.parent / "CHANGELOG.md").read_text("utf-8")
    assert "## [Unreleased]" in changes or f"## [{triptych.__version__}]" in changes


def test_the_architecture_names_every_file() -> None:
    architecture = (Path(__file__).parent.parent / "docs" / "architecture.md").read_text("utf-8")
    tree = architecture.split("```")[3]
    assert not [file.name for file in FILES if file.name != "__init__.py" and f" {file.name}" not in tree]
