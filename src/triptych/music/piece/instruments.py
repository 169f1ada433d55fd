"""The 128 instruments of General MIDI (MIDI Manufacturers Association, "General MIDI System Level 1"), by name."""

from __future__ import annotations

import re
from collections.abc import Sequence

from triptych.errors import UserError, remedy

# Eight of a family follow each other; a program's number is its place, from 0.
LIST = """
acoustic grand piano, bright acoustic piano, electric grand piano, honky-tonk piano, electric piano 1, electric piano
2, harpsichord, clavinet, celesta, glockenspiel, music box, vibraphone, marimba, xylophone, tubular bells, dulcimer,
drawbar organ, percussive organ, rock organ, church organ, reed organ, accordion, harmonica, tango accordion, nylon
guitar, steel guitar, jazz guitar, clean guitar, muted guitar, overdriven guitar, distortion guitar, guitar harmonics,
acoustic bass, fingered bass, picked bass, fretless bass, slap bass 1, slap bass 2, synth bass 1, synth bass 2,
violin, viola, cello, contrabass, tremolo strings, pizzicato strings, orchestral harp, timpani, string ensemble 1,
string ensemble 2, synth strings 1, synth strings 2, choir aahs, voice oohs, synth voice, orchestra hit, trumpet,
trombone, tuba, muted trumpet, french horn, brass section, synth brass 1, synth brass 2, soprano sax, alto sax, tenor
sax, baritone sax, oboe, english horn, bassoon, clarinet, piccolo, flute, recorder, pan flute, blown bottle,
shakuhachi, whistle, ocarina, square lead, sawtooth lead, calliope lead, chiff lead, charang lead, voice lead, fifths
lead, bass and lead, new age pad, warm pad, polysynth pad, choir pad, bowed pad, metallic pad, halo pad, sweep pad,
rain, soundtrack, crystal, atmosphere, brightness, goblins, echoes, sci-fi, sitar, banjo, shamisen, koto, kalimba,
bagpipe, fiddle, shanai, tinkle bell, agogo, steel drums, woodblock, taiko drum, melodic tom, synth drum, reverse
cymbal, guitar fret noise, breath noise, seashore, bird tweet, telephone ring, helicopter, applause, gunshot
"""
NAMES = tuple(re.split(r",\s+", LIST.strip()))


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
    if asked.isdecimal() and int(asked) < len(NAMES):
        return int(asked)
    plain = [name.replace("-", " ") for name in NAMES]
    for program, name in enumerate(plain):
        if asked == name:
            return program
    a_number = re.fullmatch(r"[+-]?[\d.]+", text.strip())
    for program, name in enumerate(plain):
        if asked and not a_number and (name.startswith(asked) or set(asked.split()) <= set(name.split())):
            return program
    hint = remedy(asked, plain, "flute, cello, choir aahs and church organ are some")
    raise UserError(f"expected an instrument of General MIDI, 0 to 127 or its name, got {text!r}; {hint}")
