"""The 128 instruments of General MIDI (MIDI Manufacturers Association, "General MIDI System Level 1"), by name."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

from triptych.errors import UserError, remedy


@cache
def names() -> tuple[str, ...]:
    """The names; a program's number is its place, from 0. Eight of a family follow each other."""
    return tuple((files("triptych.music.piece") / "instruments.txt").read_text("utf-8").splitlines())


def read_programs(texts: Sequence[str], voices: Sequence[str], before: Sequence[int] = ()) -> tuple[int, ...]:
    """The program (0 to 127) of each voice as a person names them: "flute" or "73" for all, "bass=cello" for one.

    before: the programs of voices that are not named. Raises UserError for what is no instrument, and no voice.
    """
    found = list(before or [0] * len(voices))
    known = [voice.strip().lower() for voice in voices]
    for text in sorted(texts, key=lambda text: "=" in text):  # that of one voice holds for it
        voice, equals, name = text.rpartition("=")
        program, voice = read_program(name), voice.strip().lower()
        if equals and voice not in known:
            raise UserError(f"expected --program with a voice of {', '.join(known)}, got {text!r}")
        found = [program if not equals or voice == one else old for one, old in zip(known, found, strict=True)]
    return tuple(found)


def read_program(text: str) -> int:
    """The program (0 to 127) of an instrument by its number or name; the beginning of a name or a word of it will do,
    and is the first instrument with it.
    """
    asked = re.sub(r"[\s_-]+", " ", text.strip().lower())
    if asked.isdecimal() and int(asked) < len(names()):
        return int(asked)
    plain = [name.replace("-", " ") for name in names()]
    if asked in plain:
        return plain.index(asked)
    a_number = re.fullmatch(r"[+-]?[\d.]+", text.strip())
    for program, name in enumerate(plain):
        if asked and not a_number and (name.startswith(asked) or set(asked.split()) <= set(name.split())):
            return program
    hint = remedy(asked, plain, "flute, cello, choir aahs and church organ are some")
    raise UserError(f"expected an instrument of General MIDI, 0 to 127 or its name, got {text!r}; {hint}")
