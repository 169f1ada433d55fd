"""What is known of a piece: repetition, voice leading, what a note looked at, files; and the sinusoids of positions."""

from __future__ import annotations

import base64
import re
from functools import lru_cache, partial
from typing import Any

import numpy as np

from triptych.decode.steps.positions import sinusoids
from triptych.look.notes import moments, struck
from triptych.look.similarity import WINDOW, beats_of, repetition
from triptych.look.similarity import similarity as compared
from triptych.music.chorales.codec import VOICES, from_piece
from triptych.music.files.plain import Played, read_plain
from triptych.music.files.save import SUFFIXES, music_bytes
from triptych.music.voice_leading import marks
from triptych.shape.plain import packed
from triptych.studio.answers import map_of
from triptych.studio.models import Models
from triptych.studio.requests import (
    MAX_MAPPED,
    ChoraleAttention,
    Export,
    PlayedAttention,
    Positions,
    Similarity,
    VoiceLeading,
)  # fmt: skip
from triptych.studio.work import Job, RefusedError

MAX_EVENTS = 512  # of a performance that are read to look at a note
MAX_SOUND = 300.0  # seconds of a .wav


def chorale_attention(models: Models, asked: ChoraleAttention, job: Job) -> dict[str, Any]:
    """What a sixteenth, or each of them, looked at."""
    entry, piece = models.find(asked.model, "compose", "infill"), asked.piece.piece()
    if asked.step is None and piece.length > MAX_MAPPED:
        raise RefusedError(f"expected a step of a piece of more than {MAX_MAPPED} sixteenths, got none; name one", 413)
    steps = list(range(piece.length)) if asked.step is None else [asked.step]
    found = moments(entry.load(), piece, steps)
    shape = {"layers": found.shape[1], "heads": found.shape[2], "steps": piece.length, "steps_asked": steps}
    pattern = entry.config.to_dict()["pattern"]
    return {"model": entry.name, "kind": "chorale", **shape, "pattern": pattern, "weights": map_of(found)}


def played_attention(models: Models, asked: PlayedAttention, job: Job) -> dict[str, Any]:
    """What a note of a performance looked at."""
    entry, performance = models.find(asked.model, "play"), asked.piece.performance()
    count = len(performance)
    note = count - 1 if asked.note is None else asked.note
    if not 0 <= note < count:
        raise RefusedError(f"expected a note from 0 to {count - 1}, got {note}; choose another")
    pianist = entry.load()
    found, other = struck(performance, note, MAX_EVENTS, codec=pianist.codec, attention=partial(_attention, pianist))
    first = int(found.any((0, 1)).argmax()) if found.any() else note
    shape = {"layers": found.shape[0], "heads": found.shape[1], "note": note, "notes": count, "first": first}
    shares = {"weights": map_of(found[None]), "other": other.round(4).tolist()}
    return {"model": entry.name, "kind": "performance", **shape, **shares}


def _attention(pianist: Any, ids: Any) -> Any:
    """The attention of a pianist while it writes ids; that of neighbouring notes is the same."""
    return _known(pianist, ids.tobytes())


@lru_cache(2)
def _known(pianist: Any, ids: bytes) -> Any:
    return pianist.attention(np.frombuffer(ids, np.int64))


def similarity(models: Models, asked: Similarity, job: Job) -> dict[str, Any]:
    """Every beat of a piece compared with every other."""
    piece, plays = asked.piece.piece(), isinstance(asked.piece, Played)
    beats, matrix = beats_of(piece), compared(piece)
    scale = 1_000 if plays else 1  # ticks of a performance are milliseconds
    return {
        "beats": len(matrix),
        "matrix": map_of(matrix),
        "begins": [tick / scale for tick in beats],
        "ends": piece.length / scale,
        "bars": ["" if plays else name for name in beats.values()],
        "repetition": repetition(matrix) if len(matrix) >= 2 * WINDOW else None,
    }


def voice_leading(models: Models, asked: VoiceLeading, job: Job) -> dict[str, Any]:
    """Parallels, crossed voices and notes out of range, each where it is."""
    found = []
    for kind, voices, step in marks(from_piece(asked.piece.piece())[0]):
        text = f"{kind}: {' and '.join(VOICES[voice] for voice in voices)}"
        found.append({"kind": kind, "voices": list(voices), "step": step, "text": text})
    return {"marks": found}


def positions(models: Models, asked: Positions, job: Job) -> dict[str, Any]:
    """The sinusoids of positions, a byte each."""
    if asked.width % 2:
        raise RefusedError(f"expected an even width, got {asked.width}: sines and cosines are pairs")
    values = np.rint(sinusoids(np.arange(asked.length), asked.width) * 127.5 + 127.5)
    size = {"length": asked.length, "width": asked.width}
    return {**size, "scale": 1 / 127.5, "zero": 127.5, "data": packed(values)}


def export(models: Models, asked: Export, job: Job) -> dict[str, Any]:
    """A piece as a file."""
    if re.fullmatch(r"[\w-]+", asked.name, re.ASCII) is None:
        raise RefusedError(f"expected a name of letters, digits, - and _, got {asked.name!r}; choose another")
    piece, suffix = asked.piece.piece(), f".{asked.format}"
    if not piece.notes or (asked.format == "wav" and piece.seconds > MAX_SOUND):
        raise RefusedError(f"expected a piece with notes, for sound of at most {MAX_SOUND:.0f} seconds, got another")
    data = base64.b64encode(music_bytes(piece, suffix)).decode()
    return {"name": asked.name + suffix, "type": SUFFIXES[suffix], "data": data}


def read_music(models: Models, data: bytes, kind: str) -> dict[str, Any]:
    """The piece of an uploaded file."""
    return read_plain(data, kind)
