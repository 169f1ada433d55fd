"""How large files, functions, rooms and the whole package may be, and how plain the Transformer stays."""

import ast
import io
import re
import tokenize
from pathlib import Path

import pytest

import triptych
from triptych.shape.config import Config

SOURCE = Path(triptych.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))
ROOMS = sorted({file.parent for file in FILES})

FILE_LINES = 450
FUNCTION_LINES = 60  # with the signature
VERB_LINES = 90  # the parameters of a verb are its table of options
ROOM_FILES = 12  # with __init__.py
TYPE_IGNORES = 12
CODE_LINES = 17_953  # to be 17,431; without `decode` and `studio`, which came later
DECODE_LINES = 1_855
STUDIO_LINES = 1_401  # of its Python, all that `wc -l` counts; to be 1,200
PAGE_LINES = 3_607  # of its modules and style sheets, counted so too; to be 3,500


def name_of(path: Path) -> str:
    return path.relative_to(SOURCE).as_posix()


def code_lines(text: str) -> int:
    """Lines with code: no blanks, comments and docstrings."""
    docstrings: set[int] = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef) and node.body:
            first = node.body[0]
            if (
                isinstance(first, ast.Expr)
                and isinstance(first.value, ast.Constant)
                and isinstance(first.value.value, str)
            ):
                docstrings |= set(range(first.lineno, (first.end_lineno or 0) + 1))
    lines: set[int] = set()
    layout = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    for token in tokenize.generate_tokens(io.StringIO(text).readline):
        if token.type not in layout:
            lines |= set(range(token.start[0], token.end[0] + 1))
    return len(lines - docstrings)


def test_code_lines_are_counted() -> None:
    text = '''"""A module.

Of two paragraphs.
"""

x = 1  # one


# a comment
def f():
    """It."""
'''
    assert code_lines(text) == 2


def test_the_package_is_small() -> None:
    lines = {file: code_lines(file.read_text("utf-8")) for file in FILES}
    decode, studio = (
        sum(count for file, count in lines.items() if name_of(file).startswith(room)) for room in ("decode/", "studio/")
    )
    assert decode <= DECODE_LINES
    assert sum(lines.values()) - decode - studio <= CODE_LINES


STUDIO = sorted((SOURCE / "studio").glob("*.py"))
PAGE = sorted(file for ending in ("js", "css") for file in (SOURCE / "studio" / "page").glob(f"*.{ending}"))


@pytest.mark.parametrize(("files", "most"), [(STUDIO, STUDIO_LINES), (PAGE, PAGE_LINES)], ids=["Python", "page"])
def test_the_studio_is_small(files: list[Path], most: int) -> None:
    assert files and sum(len(file.read_text("utf-8").splitlines()) for file in files) <= most


@pytest.mark.parametrize("file", PAGE, ids=name_of)
def test_a_part_of_the_page_is_plain(file: Path) -> None:
    """Its first line says what it is, and no line is too long to read."""
    lines = file.read_text("utf-8").splitlines()
    assert re.match(r"(// |/\* )[A-Z]", lines[0])
    assert len(lines) <= FILE_LINES and max(map(len, lines)) <= 120


def test_types_are_seldom_ignored() -> None:
    assert sum(file.read_text("utf-8").count("# type: ignore") for file in FILES) <= TYPE_IGNORES


@pytest.mark.parametrize("file", FILES, ids=name_of)
def test_a_file_is_short(file: Path) -> None:
    text = file.read_text("utf-8")
    assert len(text.splitlines()) <= FILE_LINES
    most = VERB_LINES if file.parent.name == "verbs" else FUNCTION_LINES
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or 0) - node.lineno + 1
            assert lines <= most, f"{node.name} has {lines} lines"


@pytest.mark.parametrize("room", ROOMS, ids=name_of)
def test_a_room_has_few_files(room: Path) -> None:
    assert len(list(room.glob("*.py"))) <= ROOM_FILES


def test_no_grab_bags() -> None:
    bags = {"utils", "util", "helpers", "helper", "common", "misc"}
    assert not [file for file in FILES if file.stem.strip("_") in bags]


def test_a_configuration_has_few_fields() -> None:
    assert len(Config.__dataclass_fields__) <= 17


def test_the_transformer_is_plain() -> None:
    """It is read from top to bottom, and nothing in it is of one panel."""
    text = (SOURCE / "model" / "transformer.py").read_text("utf-8")
    nodes = list(ast.walk(ast.parse(text)))
    assert len(text.splitlines()) <= 280
    assert sum(isinstance(node, ast.If | ast.IfExp) for node in nodes) <= 25
    assert "isinstance" not in text
    for word in ("keyboard", "pixel", "mixture", "pitch", "piece"):
        assert word not in text.lower(), word
    lengths = {n.name: (n.end_lineno or 0) - n.lineno + 1 for n in nodes if isinstance(n, ast.FunctionDef)}
    assert lengths["run"] <= 20 and lengths["step"] <= 15
