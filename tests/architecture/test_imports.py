"""Imports go down the floors, and no modules import each other in a circle, wherever in their files the imports are."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import pytest

import triptych

SOURCE = Path(triptych.__file__).parent

# The floor of a module by its longest matching prefix. Imports go down, or stay on the floor.
FLOORS = {
    "triptych": -2,
    "triptych.errors": -1,
    "triptych.extras": 0,
    "triptych.fields": 0,
    "triptych.splits": 0,
    "triptych.shape": 0,
    "triptych.decode": 1,
    "triptych.generation": 1,
    "triptych.attention": 1,
    "triptych.picture": 2,
    "triptych.model": 2,
    "triptych.train": 3,
    "triptych.trained": 4,
    "triptych.text": 4,
    "triptych.image": 4,
    "triptych.music": 4,
    "triptych.look": 4,
    "triptych.text.translator": 5,
    "triptych.image.painter": 5,
    "triptych.music.chorales.composer": 5,
    "triptych.music.performances.pianist": 5,
    "triptych.look.notes": 5,
    "triptych.music.files.plain": 5,
    "triptych.studio": 6,
    "triptych.cli": 7,
}
# Rooms of one floor that do not import each other.
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


def name_of(file: Path) -> str:
    parts = file.relative_to(SOURCE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imported(tree: ast.AST, modules: set[str]) -> Iterator[str]:
    """The modules of ours that are imported anywhere below, but for names for the type checker alone."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names if name.name in modules)
        elif isinstance(node, ast.ImportFrom) and node.module is not None:
            assert not node.level, "imports of ours are absolute"
            for name in node.names:
                yield from [one for one in (f"{node.module}.{name.name}", node.module) if one in modules][:1]
        elif not (isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)):
            yield from imported(node, modules)


def in_circles(graph: Mapping[str, set[str]]) -> list[str]:
    """The modules that import themselves by way of others: those from which they can be reached again."""

    def reached(start: str) -> set[str]:
        seen: set[str] = set()
        waiting = [start]
        while waiting:
            new = graph[waiting.pop()] - seen
            seen |= new
            waiting.extend(new)
        return seen

    return sorted(module for module in graph if module in reached(module))


def test_circles_are_found() -> None:
    assert in_circles({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}}) == ["b", "c"]
    assert in_circles({"a": {"b", "c"}, "b": {"c"}, "c": set()}) == []
    code = """
import m.a
from m import b, other
if TYPE_CHECKING:
    from m.c import C
def f():
    from m.d import D
"""
    assert list(imported(ast.parse(code), {"m", "m.a", "m.b", "m.c", "m.d"})) == ["m.a", "m.b", "m", "m.d"]


FILES = {name_of(file): file for file in sorted(SOURCE.rglob("*.py"))}
GRAPH = {name: set(imported(ast.parse(file.read_text("utf-8")), set(FILES))) for name, file in FILES.items()}


def test_no_modules_import_each_other() -> None:
    assert GRAPH["triptych.cli.verbs.sample"] & set(FILES), "imports within functions count"
    assert in_circles(GRAPH) == []


def floor_of(module: str) -> str:
    """The longest name in `FLOORS` that the module is, or is in."""
    name = max((name for name in FLOORS if module == name or module.startswith(name + ".")), key=len)
    assert name != "triptych" or module == "triptych", f"{module} has no floor: name it in FLOORS"
    return name


@pytest.mark.parametrize("module", GRAPH)
def test_imports_go_down(module: str) -> None:
    for other in GRAPH[module]:
        ours, theirs = floor_of(module), floor_of(other)
        assert FLOORS[theirs] <= FLOORS[ours], f"{module} imports {other} from a higher floor"
        assert {ours, theirs} not in STRANGERS, f"{module} imports {other}, its neighbour"


def test_nobody_imports_the_studio() -> None:
    """But for the command, which starts it and records its page."""
    users = {name for name, others in GRAPH.items() if any(other.startswith("triptych.studio") for other in others)}
    assert {name for name in users if not name.startswith("triptych.studio")} == {
        "triptych.cli.gallery",
        "triptych.cli.verbs.demo",
        "triptych.cli.verbs.studio",
    }
