"""The documents: links lead somewhere, and files and names that they mention exist."""

import ast
import re
from pathlib import Path

import pytest

HOUSE = Path(__file__).parent.parent
DOCS = [HOUSE / "README.md", HOUSE / "CONTRIBUTING.md", *sorted((HOUSE / "docs").rglob("*.md"))]
PLACES = (HOUSE / "src" / "triptych", HOUSE)


def name_of(path: Path) -> str:
    return str(path.relative_to(HOUSE))


def headings(text: str) -> set[str]:
    """The anchors of a page's headings."""
    found = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in found}


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_links_lead_somewhere(path: Path) -> None:
    for link in re.findall(r"\]\(([^)\s]+)\)", path.read_text("utf-8")):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = (path.parent / file) if file else path
        assert target.is_file(), link
        assert not anchor or anchor in headings(target.read_text("utf-8")), link


@pytest.mark.parametrize("path", DOCS, ids=name_of)
def test_files_that_are_mentioned_exist(path: Path) -> None:
    mentioned = set(re.findall(r"`((?:[\w-]+/)+[\w-]+\.(?:py|toml|json|jsonl))`", path.read_text("utf-8")))
    written = {file for file in mentioned if file.startswith(("runs/", "out/", "prepared/"))}
    missing = {file for file in mentioned - written if not any((place / file).is_file() for place in PLACES)}
    assert not missing


def defined(file: Path) -> set[str]:
    """The names of a module: classes, functions, and what is assigned at its top."""
    body = ast.parse(file.read_text("utf-8")).body
    assigned = [
        target
        for node in body
        if isinstance(node, ast.Assign | ast.AnnAssign)
        for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
    ]
    names = {node.name for node in body if isinstance(node, ast.ClassDef | ast.FunctionDef)}
    return names | {target.id for target in assigned if isinstance(target, ast.Name)}


def test_the_lecture_names_what_exists() -> None:
    rows = 0
    for line in (HOUSE / "docs" / "lecture.md").read_text("utf-8").splitlines():
        cells = [cell.strip() for cell in line.split("|")[1:-1]]
        if len(cells) != 4 or not cells[2].startswith("`"):
            continue
        files = [place / name for name in re.findall(r"`([^`]+)`", cells[2]) for place in PLACES]
        known = {name for file in files if file.is_file() for name in defined(file)}
        assert set(re.findall(r"`(\w+)`", cells[3])) <= known, line
        rows += 1
    assert rows > 25


def test_the_readme_is_short() -> None:
    assert len((HOUSE / "README.md").read_text("utf-8")) < 9_000
