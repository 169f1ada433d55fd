"""Names and sentences are those of the field: what `words.txt` lists is not used."""

import re
from pathlib import Path

import pytest

import triptych

SOURCE = Path(triptych.__file__).parent
ROOT = SOURCE.parent.parent
FILES = [*sorted(SOURCE.rglob("*.py")), ROOT / "README.md", *sorted((ROOT / "docs").rglob("*.md"))]
LINES = (Path(__file__).parent / "words.txt").read_text("utf-8").splitlines()
WORDS = dict(line.split(" -> ") for line in LINES if line and not line.startswith("#"))


def found(words: str, text: str) -> list[str]:
    """All occurrences of a regular expression of whole words; of a lower-case one, whatever their case."""
    plain = words.replace("\\w", "")
    return re.findall(rf"\b(?:{words})\b", text, re.IGNORECASE if plain == plain.lower() else 0)


def test_words_are_found() -> None:
    assert found("lessons?", "Lessons of a lesson, lessoned") == ["Lessons", "lesson"]
    assert found(r"MOST_\w+", "MOST_ROWS of most_rows") == ["MOST_ROWS"]
    assert len(WORDS) > 5


@pytest.mark.parametrize("words", WORDS)
def test_nobody_uses(words: str) -> None:
    for file in FILES:
        for word in found(words, file.read_text("utf-8")):
            raise AssertionError(f"{file.relative_to(ROOT)} has {word!r}; say {WORDS[words]}")
