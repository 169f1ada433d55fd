"""The notes: pieces as they are composed, continued, harmonized and filled in; and what is known of a piece."""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import lru_cache, partial
from typing import Annotated, Any, Literal

import numpy as np

from triptych.fields import Size
from triptych.look.notes import moments, struck
from triptych.look.similarity import WINDOW, beats_of, repetition, similarity
from triptych.music.chorales.codec import VOICES, from_piece
from triptych.music.chorales.given import Given, given_melody, given_voices
from triptych.music.files.plain import MAX_NOTES, MAX_STEPS, Chorale, Played, read_plain
from triptych.music.files.save import SUFFIXES, music_bytes
from triptych.music.performances.codec import STEPS
from triptych.music.piece.piece import Piece
from triptych.music.voice_leading import marks
from triptych.studio.models import Entry, Models
from triptych.studio.requests import MAX_MAPPED, PIECE, Drawn, Label, Model, Request, Seconds, Steps, map_of
from triptych.studio.work import Job, RefusedError

COMPOSED, CONTINUED = 20.0, 15.0  # seconds of a performance, unless others are asked for
MAX_EVENTS = 512  # of a performance that are read to look at a note
MAX_SOUND = 300.0  # seconds of a .wav


class Compose(Drawn):
    """Compose a piece. steps: sixteenths of a chorale, null where the model ends it. seconds: of a performance."""

    label: Label | None = None
    steps: Annotated[int, Size(16, MAX_STEPS, True)] | None = None
    seconds: Seconds | None = None
    tempo: Annotated[float, Size(20, 400)] = 84.0

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry, product = models.find(self.model, "compose", "play")
        plays = entry.task == "play"
        asked = self.settled(entry, seconds=COMPOSED if plays else None)
        how = {"seconds": asked.seconds} if plays else {"steps": asked.steps, "tempo": asked.tempo}
        options = _length(asked, plays) + ([] if plays else ["--tempo", str(asked.tempo)])
        about = asked.envelope(entry, ["compose", *options], "composed.mid")
        return _written(job, entry, about, partial(product.compose, label=asked.label, **how, **asked.drawing()))


class Continue(Drawn):
    """Continue a piece by so many steps, or seconds."""

    piece: Chorale | Played
    label: Label | None = None
    steps: Steps | None = None
    seconds: Seconds | None = None

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        plays = isinstance(self.piece, Played)
        entry, product = models.find(self.model, "play" if plays else "compose")
        asked = self.settled(entry, seconds=CONTINUED if plays else None)
        options, given = _length(asked, plays), None
        shown: Chorale | Played
        how: dict[str, Any] = {"seconds": asked.seconds}
        if isinstance(self.piece, Played):
            primer: Any = self.piece.performance()
            shown, since = Played.of(primer), round(primer.seconds, 3)
        else:
            primer = replace(self.piece.piece(), length=0)  # as a file has it: without the silence after it
            given, shown, since = given_voices(primer), Chorale.of(primer), primer.length
            how = {"steps": asked.steps and primer.length + asked.steps}
            options += _upbeat(primer)
        about = asked.envelope(entry, ["continue", PIECE, *options], "continued.mid")
        go_on = partial(product.continue_, primer, label=asked.label, **how, **asked.drawing())
        return {**_written(job, entry, about, go_on, shown, given), "from": since}


class Harmonize(Drawn):
    """Give a melody, the soprano of the piece, three lower voices."""

    piece: Chorale
    label: Label | None = None

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry, composer = models.find(self.model, "infill")
        asked, piece = self.settled(entry), self.piece.piece()
        tune = tuple(note for note in piece.notes if note.voice == 0)
        if not tune:
            raise RefusedError("expected a melody in the soprano, got no notes there; write some")
        melody = replace(piece, notes=tune, voices=("melody",), length=0)
        about = asked.envelope(entry, ["harmonize", PIECE, *_upbeat(melody)], "harmonized.mid")
        harmonize = partial(composer.harmonize, melody, label=asked.label, **asked.drawing())
        return _written(job, entry, about, harmonize, Chorale.of(melody), given_melody(melody))


class Infill(Drawn):
    """Write spans [voice, start, end] anew; all else stays as it is."""

    piece: Chorale
    open: Annotated[list[Annotated[list[Annotated[int, Size(0, MAX_STEPS)]], Size(3, 3)]], Size(1, MAX_NOTES, True)]

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry, composer = models.find(self.model, "infill")
        asked, piece = self.settled(entry), self.piece.piece()
        cells = np.zeros((piece.length, 4), bool)
        for span in asked.open:
            voice, start, end = span
            if not (voice < 4 and start < end <= piece.length):
                form = "open spans [voice, start, end] with start < end"
                raise RefusedError(f"expected {form} <= {piece.length} and voice to 3, got {span}; mend it")
            cells[start:end, voice] = True
        about = asked.envelope(entry, _infilled(piece, cells), "filled.mid")
        given = given_voices(piece, begin=int(cells.any(1).argmax()))
        fill = partial(composer.infill_cells, piece, cells, **asked.drawing())
        return {**_written(job, entry, about, fill, Chorale.of(piece), given), "open": asked.open}


def _infilled(piece: Piece, cells: Any) -> list[str] | None:
    """The words of the command, where it can ask for these cells: whole bars of some voices."""
    voices, steps, bars = np.flatnonzero(cells.any(0)), np.flatnonzero(cells.any(1)), piece.bars
    if not piece.notes or steps[0] < piece.notes[0].start or max(note.end for note in piece.notes) < piece.length:
        return None  # a file has no silence at its ends
    first, last = (bars.at(int(step)).number for step in (steps[0], steps[-1]))
    span, whole = bars.ticks(first, last), np.zeros_like(cells)
    whole[span.start : span.stop, voices] = True
    named = [word for voice in voices for word in ("--voice", VOICES[voice])]
    words = ["infill", PIECE, *named, "--from", str(first), "--to", str(last), *_upbeat(piece)]
    return words if (whole == cells).all() else None


def _upbeat(piece: Piece) -> list[str]:
    """The option without which an upbeat is looked for in a file that has none."""
    return [] if piece.pickup else ["--upbeat", "0"]


def _length(asked: Compose | Continue, plays: bool) -> list[str]:
    """The option of how long the new part shall be."""
    if plays:
        return ["--seconds", str(asked.seconds)]
    return [] if asked.steps is None else ["--tokens", str(4 * asked.steps)]


def _written(
    job: Job,
    entry: Entry,
    about: dict[str, Any],
    write: Callable[..., Any],
    shown: Chorale | Played | None = None,
    given: Given | None = None,
) -> dict[str, Any]:
    """Write a piece, while `notes` shows those whose ends are known, but for those that were there: `shown`, as a page
    has it, and `given`, as a composer reads it, which has words about it.
    """
    job.send("start", {**about, "given": None if shown is None else asdict(shown)})
    product, plays, words, sent = entry.load(), entry.task == "play", list[str](), 0
    known = [] if shown is None else shown.notes

    def progress(cache: Any) -> None:
        nonlocal sent
        ids = cache.history.ids[0].reshape(-1)[: cache.history.length].tolist()
        found = _played(product, ids) if plays else _chorale_notes(product, ids, given)
        if new := [note for note in found[sent:] if note not in known]:
            job.send("notes", {"notes": new})
        sent = max(sent, len(found))

    with job.watched(progress):
        piece = write() if given is None else write(report=words.append)
    return {**about, "piece": asdict(Played.of(piece) if plays else Chorale.of(piece)), "words": words}


def _chorale_notes(composer: Any, ids: Sequence[int], given: Given | None) -> list[list[int]]:
    """The notes that have ended in what was written of a grid, at their places in the piece."""
    before, up = (0, 0) if given is None else (given.before, given.semitones if given.back else 0)
    notes = ((max(0, note.start + before), note.end + before, note) for note in composer.codec.heard(ids))
    return [
        [start, end, note.pitch - up, note.voice]
        for start, end, note in notes
        if 0 < end <= (len(ids) - 1) // 4 + before
    ]


def _played(pianist: Any, ids: Sequence[int]) -> list[list[float]]:
    """The notes that have ended in what was written of a performance."""
    notes = list(pianist.codec.heard(ids))
    now = max((end for _, end, _, _ in notes), default=0)  # at which what sounds is cut
    ended = ((start / STEPS, end / STEPS, pitch, velocity) for start, end, pitch, velocity in notes if end < now)
    return [[round(start, 3), pitch, velocity, round(end - start, 3)] for start, end, pitch, velocity in ended]


class ChoraleAttention(Request):
    """Attention of the sixteenth `step` to those before; null: of every one."""

    kind: Literal["chorale"]
    piece: Chorale
    model: Model | None = None
    step: Annotated[int, Size(0, MAX_STEPS)] | None = None

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        (entry, composer), piece = models.find(self.model, "compose", "infill"), self.piece.piece()
        if self.step is None and piece.length > MAX_MAPPED:
            what = f"a step of a piece of more than {MAX_MAPPED} sixteenths"
            raise RefusedError(f"expected {what}, got none; name one", 413)
        steps = list(range(piece.length)) if self.step is None else [self.step]
        found = moments(composer, piece, steps)
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
        (entry, pianist), performance = models.find(self.model, "play"), self.piece.performance()
        count = len(performance)
        note = count - 1 if self.note is None else self.note
        if not 0 <= note < count:
            raise RefusedError(f"expected a note from 0 to {count - 1}, got {note}; choose another")
        attention = partial(_attention, pianist)
        found, other = struck(performance, note, MAX_EVENTS, codec=pianist.codec, attention=attention)
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
            most = f"for sound of at most {MAX_SOUND:.0f} seconds"
            raise RefusedError(f"expected a piece with notes, {most}, got another; change it")
        data = base64.b64encode(music_bytes(piece, suffix)).decode()
        return {"name": self.name + suffix, "type": SUFFIXES[suffix], "data": data}


def read_music(models: Models, data: bytes, kind: str) -> dict[str, Any]:
    """The piece of an uploaded file."""
    return read_plain(data, kind)
