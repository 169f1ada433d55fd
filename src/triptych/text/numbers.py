"""Sentences with numbers in words, English and German, made by a rule: a small free set to learn to translate from.

German has the units before the tens, in one word (twenty-one, einundzwanzig), so there is something to look at. The
pairs are CC0: they contain no one else's text.
"""

from __future__ import annotations

import random

SEED = 2017
COUNTS = {"train": 6000, "valid": 300, "test": 300}  # pairs
LARGEST = 999

ONES = (
    "one",
    "two",
    "three",
    "four",
    "five",
    "six",
    "seven",
    "eight",
    "nine",
    "ten",
    "eleven",
    "twelve",
    "thirteen",
    "fourteen",
    "fifteen",
    "sixteen",
    "seventeen",
    "eighteen",
    "nineteen",
)
TENS = ("twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety")
EINER = (
    "ein",
    "zwei",
    "drei",
    "vier",
    "fünf",
    "sechs",
    "sieben",
    "acht",
    "neun",
    "zehn",
    "elf",
    "zwölf",
    "dreizehn",
    "vierzehn",
    "fünfzehn",
    "sechzehn",
    "siebzehn",
    "achtzehn",
    "neunzehn",
)
ZEHNER = ("zwanzig", "dreißig", "vierzig", "fünfzig", "sechzig", "siebzig", "achtzig", "neunzig")

SUBJECTS = (
    ("I see", "Ich sehe"),
    ("We have", "Wir haben"),
    ("The children draw", "Die Kinder zeichnen"),
    ("She buys", "Sie kauft"),
    ("He counts", "Er zählt"),
    ("My aunt paints", "Meine Tante malt"),
    ("The farmer sells", "Der Bauer verkauft"),
    ("They are looking for", "Sie suchen"),
)
ADJECTIVES = (
    ("small", "kleine"),
    ("big", "große"),
    ("red", "rote"),
    ("green", "grüne"),
    ("old", "alte"),
    ("new", "neue"),
    ("beautiful", "schöne"),
    ("black", "schwarze"),
    ("white", "weiße"),
    ("round", "runde"),
)
NOUNS = (
    ("dogs", "Hunde"),
    ("cats", "Katzen"),
    ("horses", "Pferde"),
    ("birds", "Vögel"),
    ("fish", "Fische"),
    ("apples", "Äpfel"),
    ("flowers", "Blumen"),
    ("trees", "Bäume"),
    ("houses", "Häuser"),
    ("boats", "Boote"),
    ("bicycles", "Fahrräder"),
    ("books", "Bücher"),
    ("chairs", "Stühle"),
    ("tables", "Tische"),
    ("bottles", "Flaschen"),
    ("balls", "Bälle"),
    ("stones", "Steine"),
    ("letters", "Briefe"),
    ("hats", "Hüte"),
    ("shoes", "Schuhe"),
)


def english(number: int) -> str:
    """The number, 2 to 999, in English words: 342 is three hundred and forty-two."""
    hundreds, rest = divmod(number, 100)
    tens, one = divmod(rest, 10)
    small = ONES[rest - 1] if rest < 20 else "-".join([TENS[tens - 2], *ONES[one - 1 : one]])
    if not hundreds:
        return small
    return f"{ONES[hundreds - 1]} hundred" + (f" and {small}" if rest else "")


def german(number: int) -> str:
    """The number, 2 to 999, in one German word: 342 is dreihundertzweiundvierzig."""
    hundreds, rest = divmod(number, 100)
    tens, one = divmod(rest, 10)
    small = EINER[rest - 1] if rest < 20 else "und".join([*EINER[one - 1 : one], ZEHNER[tens - 2]])
    return (f"{EINER[hundreds - 1]}hundert" if hundreds else "") + (small if rest else "")


def pairs() -> dict[str, list[tuple[str, str]]]:
    """Sentence pairs (English, German) by split, always the same; no pair is in two splits or twice in one."""
    draw = random.Random(SEED)  # of which `random` alone draws the same numbers in every version of Python
    # Behind "eins" the German noun is in the singular: such numbers are left out.
    numbers = [number for number in range(2, LARGEST + 1) if number % 100 != 1]
    found: dict[tuple[str, str], None] = {}
    while len(found) < sum(COUNTS.values()):
        number = numbers[int(draw.random() * len(numbers))]
        subject, adjective, noun = (words[int(draw.random() * len(words))] for words in (SUBJECTS, ADJECTIVES, NOUNS))
        found[
            f"{subject[0]} {english(number)} {adjective[0]} {noun[0]}.",
            f"{subject[1]} {german(number)} {adjective[1]} {noun[1]}.",
        ] = None
    made, splits, first = list(found), {}, 0
    for split, count in COUNTS.items():
        splits[split] = made[first : first + count]
        first += count
    return splits


def files() -> dict[str, bytes]:
    """The contents of train.en, train.de, valid.en, ... by name: one sentence a line."""
    return {
        f"{split}.{language}": "".join(f"{pair[side]}\n" for pair in found).encode()
        for split, found in pairs().items()
        for side, language in enumerate(("en", "de"))
    }
