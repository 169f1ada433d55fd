"""Sentences with numbers in words, English and German, made by a rule: a small free set to learn to translate from.

German has the units before the tens, in one word (twenty-one, einundzwanzig), so there is something to look at. The
pairs are CC0: they contain no one else's text.
"""

from __future__ import annotations

import random
import tomllib
from functools import cache
from importlib import resources
from itertools import islice
from typing import Any

SEED = 2017
COUNTS = {"train": 6000, "valid": 300, "test": 300}  # pairs
LARGEST = 999


@cache
def _words() -> dict[str, dict[str, Any]]:
    """The words of both languages, and the parts of a sentence, each a pair of both."""
    return tomllib.loads((resources.files("triptych.text") / "numbers.toml").read_text("utf-8"))


def english(number: int) -> str:
    """The number, 2 to 999, in English words: 342 is three hundred and forty-two."""
    hundreds, ten, one = _parts("english", number)
    small = "-".join(filter(None, (ten, one)))
    return " and ".join(filter(None, (hundreds and f"{hundreds} hundred", small)))


def german(number: int) -> str:
    """The number, 2 to 999, in one German word: 342 is dreihundertzweiundvierzig."""
    hundreds, ten, one = _parts("german", number)
    return (hundreds and f"{hundreds}hundert") + "und".join(filter(None, (one, ten)))


def _parts(language: str, number: int) -> tuple[str, str, str]:
    """The words for the hundreds of a number, for its tens from 20 on, and for the rest; "" for what it has not."""
    ones, tens = (["", *_words()[language][kind]] for kind in ("ones", "tens"))
    hundreds, rest = divmod(number, 100)
    ten, one = divmod(rest, 10) if rest >= 20 else (1, rest)
    return ones[hundreds], tens[ten - 1], ones[one]


def pairs() -> dict[str, list[tuple[str, str]]]:
    """Sentence pairs (English, German) by split, always the same; no pair is in two splits or twice in one."""
    draw = random.Random(SEED)  # of which `random` alone draws the same numbers in every version of Python
    # Behind "eins" the German noun is in the singular: such numbers are left out.
    numbers = [number for number in range(2, LARGEST + 1) if number % 100 != 1]
    found: dict[tuple[str, str], None] = {}
    while len(found) < sum(COUNTS.values()):
        number = numbers[int(draw.random() * len(numbers))]
        subject, adjective, noun = (words[int(draw.random() * len(words))] for words in _words()["sentence"].values())
        found[
            f"{subject[0]} {english(number)} {adjective[0]} {noun[0]}.",
            f"{subject[1]} {german(number)} {adjective[1]} {noun[1]}.",
        ] = None
    made = iter(found)
    return {split: list(islice(made, count)) for split, count in COUNTS.items()}


def files() -> dict[str, bytes]:
    """The contents of train.en, train.de, valid.en, ... by name: one sentence a line."""
    return {
        f"{split}.{language}": "".join(f"{pair[side]}\n" for pair in found).encode()
        for split, found in pairs().items()
        for side, language in enumerate(("en", "de"))
    }
