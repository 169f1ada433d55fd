"""What is known of a piece: repetition, voice leading, what a note looked at, files; and the sinusoids of positions."""

from __future__ import annotations

import base64
import re
from functools import lru_cache, partial
from typing import Annotated, Any, Literal

import numpy as np

from triptych.decode.steps.positions import sinusoids
from triptych.fields import Size
from triptych.look.notes import moments, struck
from triptych.look.similarity import WINDOW, beats_of, repetition, similarity
from triptych.music.chorales.codec import VOICES, from_piece
from triptych.music.files.plain import MAX_NOTES, MAX_STEPS, Chorale, Played, read_plain
from triptych.music.files.save import SUFFIXES, music_bytes
from triptych.music.voice_leading import marks
from triptych.shape.plain import packed
from triptych.studio.models import Models
from triptych.studio.requests import MAX_MAPPED, Model, Request, map_of
from triptych.studio.work import Job, RefusedError

MAX_EVENTS = 512  # of a performance that are read to look at a note
MAX_SOUND = 300.0  # seconds of a .wav


class ChoraleAttention(Request):
    """Attention of the sixteenth `step` to those before; null: of every one."""

    kind: Literal["chorale"]
    piece: Chorale
    model: Model | None = None
    step: Annotated[int, Size(0, MAX_STEPS)] | None = None

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry, piece = models.find(self.model, "compose", "infill"), self.piece.piece()
        if self.step is None and piece.length > MAX_MAPPED:
            raise RefusedError(
                f"expected a step of a piece of more than {MAX_MAPPED} sixteenths, got none; name one", 413
            )
        steps = list(range(piece.length)) if self.step is None else [self.step]
        found = moments(entry.load(), piece, steps)
        shape = {"layers": found.shape[1], "heads": found.shape[2], "steps": piece.length, "steps_asked": steps}
        pattern = entry.config.to_dict()["pattern"]
        return {"model": entry.name, "kind": "chorale", **shape, "pattern": pattern, "weights": map_of(found)}


class PlayedAttention(Request):
    """Attention of a note, counted from 0, when it was struck; null: of the last one."""

    kind: Literal["performance"]
    piece: Played
    model: Model | None = None
    note: Annotated[int, Size(0, MAX_NOTES)] | None = None

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry, performance = models.find(self.model, "play"), self.piece.performance()
        count = len(performance)
        note = count - 1 if self.note is None else self.note
        if not 0 <= note < count:
            raise RefusedError(f"expected a note from 0 to {count - 1}, got {note}; choose another")
        pianist = entry.load()
        found, other = struck(
            performance, note, MAX_EVENTS, codec=pianist.codec, attention=partial(_attention, pianist)
        )
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


class Similarity(Request):
    """Compare every beat of a piece with every other."""

    piece: Chorale | Played

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        piece, plays = self.piece.piece(), isinstance(self.piece, Played)
        beats, matrix = beats_of(piece), similarity(piece)
        scale = 1_000 if plays else 1  # ticks of a performance are milliseconds
        return {
            "beats": len(matrix),
            "matrix": map_of(matrix),
            "begins": [tick / scale for tick in beats],
            "ends": piece.length / scale,
            "bars": ["" if plays else name for name in beats.values()],
            "repetition": repetition(matrix) if len(matrix) >= 2 * WINDOW else None,
        }


class VoiceLeading(Request):
    """Find parallel fifths and octaves, crossed voices and notes out of range, each where it is."""

    piece: Chorale

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        found = []
        for kind, voices, step in marks(from_piece(self.piece.piece())[0]):
            text = f"{kind}: {' and '.join(VOICES[voice] for voice in voices)}"
            found.append({"kind": kind, "voices": list(voices), "step": step, "text": text})
        return {"marks": found}


class Positions(Request):
    """The sinusoids of positions, a byte each."""

    length: Annotated[int, Size(1, 512, True)] = 64
    width: Annotated[int, Size(2, 1_024, True)] = 128

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        if self.width % 2:
            raise RefusedError(f"expected an even width, got {self.width}: sines and cosines are pairs")
        values = np.rint(sinusoids(np.arange(self.length), self.width) * 127.5 + 127.5)
        size = {"length": self.length, "width": self.width}
        return {**size, "scale": 1 / 127.5, "zero": 127.5, "data": packed(values)}


class Export(Request):
    """A piece as a file."""

    piece: Chorale | Played
    format: Literal["mid", "musicxml", "wav", "svg"]
    name: Annotated[str, Size(1, 60)] = "piece"

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        if re.fullmatch(r"[\w-]+", self.name, re.ASCII) is None:
            raise RefusedError(f"expected a name of letters, digits, - and _, got {self.name!r}; choose another")
        piece, suffix = self.piece.piece(), f".{self.format}"
        if not piece.notes or (self.format == "wav" and piece.seconds > MAX_SOUND):
            raise RefusedError(
                f"expected a piece with notes, for sound of at most {MAX_SOUND:.0f} seconds, got another"
            )
        data = base64.b64encode(music_bytes(piece, suffix)).decode()
        return {"name": self.name + suffix, "type": SUFFIXES[suffix], "data": data}


def read_music(models: Models, data: bytes, kind: str) -> dict[str, Any]:
    """The piece of an uploaded file."""
    return read_plain(data, kind)
