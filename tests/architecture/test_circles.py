"""No modules import each other in a circle, wherever in their files the imports are."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path

import triptych

SOURCE = Path(triptych.__file__).parent


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


def test_no_modules_import_each_other() -> None:
    files = {name_of(file): file for file in SOURCE.rglob("*.py")}
    graph = {name: set(imported(ast.parse(file.read_text("utf-8")), set(files))) for name, file in files.items()}
    assert graph["triptych.cli.verbs.sample"] & set(files), "imports within functions count"
    assert in_circles(graph) == []
