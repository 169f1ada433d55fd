"""The notes: pieces as they are composed, continued, harmonized and filled in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Any

import numpy as np

from triptych.music.chorales.codec import VOICES
from triptych.music.chorales.given import Given, given_melody, given_voices
from triptych.music.files.plain import Chorale, Played
from triptych.music.performances.codec import STEPS
from triptych.music.piece.piece import Piece
from triptych.studio.answers import draw_options, envelope, settled
from triptych.studio.models import Models
from triptych.studio.requests import Compose, Continue, Drawn, Harmonize, Infill
from triptych.studio.work import Job, RefusedError

GIVEN = "piece.mid"  # the file that the command names
COMPOSED, CONTINUED = 20.0, 15.0  # seconds of a performance, unless others are asked for


def compose(models: Models, asked: Compose, job: Job) -> dict[str, Any]:
    """A piece from nothing: a chorale or a performance."""
    entry = models.find(asked.model, "compose", "play")
    plays = entry.task == "play"
    asked, product = settled(asked, entry, **({"seconds": COMPOSED} if plays else {})), entry.load()
    if plays:
        how, length = {"seconds": asked.seconds}, ["--seconds", str(asked.seconds)]
    else:
        how, length = {"steps": asked.steps, "tempo": asked.tempo}, [*_tokens(asked.steps), "--tempo", str(asked.tempo)]
    about = envelope("compose", asked, entry, ["compose", *length, *draw_options(asked), "--out", "composed.mid"])
    job.send("start", {**about, "given": None})
    with job.watched(_heard(job, product)):
        piece = product.compose(label=asked.label, **_draw(asked), **how)
    return {**about, "piece": asdict(Played.of(piece) if plays else Chorale.of(piece)), "words": []}


def continue_(models: Models, asked: Continue, job: Job) -> dict[str, Any]:
    """A piece and what comes after it."""
    plays, given, words = isinstance(asked.piece, Played), None, list[str]()
    entry = models.find(asked.model, "play" if plays else "compose")
    asked, product = settled(asked, entry, **({"seconds": CONTINUED} if plays else {})), entry.load()
    primer: Any
    shown: Chorale | Played
    how: dict[str, Any]
    if isinstance(asked.piece, Played):
        primer = asked.piece.performance()
        shown, since = Played.of(primer), round(primer.seconds, 3)
        how, length = {"seconds": asked.seconds}, ["--seconds", str(asked.seconds)]
    else:
        primer = replace(asked.piece.piece(), length=0)  # as a file has it: without the silence after it
        given, shown, since = given_voices(primer), Chorale.of(primer), primer.length
        how = {"steps": None if asked.steps is None else primer.length + asked.steps, "report": words.append}
        length = [*_tokens(asked.steps), *_upbeat(primer)]
    command = ["continue", GIVEN, *length, *draw_options(asked), "--out", "continued.mid"]
    about = envelope("continue", asked, entry, command, GIVEN)
    job.send("start", {**about, "given": asdict(shown)})
    with job.watched(_heard(job, product, given, shown.notes)):
        piece = product.continue_(primer, label=asked.label, **_draw(asked), **how)
    found = Played.of(piece) if plays else Chorale.of(piece)
    return {**about, "piece": asdict(found), "words": words, "from": since}


def harmonize(models: Models, asked: Harmonize, job: Job) -> dict[str, Any]:
    """Three voices to a melody."""
    entry = models.find(asked.model, "infill")
    asked, composer, words = settled(asked, entry), entry.load(), list[str]()
    piece = asked.piece.piece()
    tune = tuple(note for note in piece.notes if note.voice == 0)
    if not tune:
        raise RefusedError("expected a melody in the soprano, got no notes there; write some")
    melody = replace(piece, notes=tune, voices=("melody",), length=0)
    shown = Chorale.of(melody)
    command = ["harmonize", GIVEN, *_upbeat(melody), *draw_options(asked), "--out", "harmonized.mid"]
    about = envelope("harmonize", asked, entry, command, GIVEN)
    job.send("start", {**about, "given": asdict(shown)})
    with job.watched(_heard(job, composer, given_melody(melody), shown.notes)):
        found = composer.harmonize(melody, label=asked.label, report=words.append, **_draw(asked))
    return {**about, "piece": asdict(Chorale.of(found)), "words": words}


def infill(models: Models, asked: Infill, job: Job) -> dict[str, Any]:
    """Some cells of a piece written anew; all others stay as they are."""
    entry = models.find(asked.model, "infill")
    asked, composer, words = settled(asked, entry), entry.load(), list[str]()
    piece = asked.piece.piece()
    cells = np.zeros((piece.length, 4), bool)
    for span in asked.open:
        voice, start, end = span
        if not (voice < 4 and start < end <= piece.length):
            form = "open spans [voice, start, end] with start < end"
            raise RefusedError(f"expected {form} <= {piece.length} and voice to 3, got {span}; mend it")
        cells[start:end, voice] = True
    shown = Chorale.of(piece)
    about = envelope("infill", asked, entry, _infill_command(piece, cells, asked), GIVEN)
    job.send("start", {**about, "given": asdict(shown)})
    given = given_voices(piece, begin=int(cells.any(1).argmax()))
    with job.watched(_heard(job, composer, given, shown.notes)):
        found = composer.infill_cells(piece, cells, report=words.append, **_draw(asked))
    return {**about, "piece": asdict(Chorale.of(found)), "words": words, "open": asked.open}


def _infill_command(piece: Piece, cells: Any, asked: Infill) -> list[str] | None:
    """The words of the command, where it can ask for these cells: whole bars of some voices."""
    voices, steps, bars = np.flatnonzero(cells.any(0)), np.flatnonzero(cells.any(1)), piece.bars
    if not piece.notes or steps[0] < piece.notes[0].start or max(note.end for note in piece.notes) < piece.length:
        return None  # a file has no silence at its ends
    first, last = (bars.at(int(step)).number for step in (steps[0], steps[-1]))
    span, whole = bars.ticks(first, last), np.zeros_like(cells)
    whole[span.start : span.stop, voices] = True
    named = [word for voice in voices for word in ("--voice", VOICES[voice])]
    where = ["--from", str(first), "--to", str(last), *_upbeat(piece)]
    words = ["infill", GIVEN, *named, *where, *draw_options(asked), "--out", "filled.mid"]
    return words if (whole == cells).all() else None


def _draw(asked: Drawn) -> dict[str, Any]:
    return {"sampling": asked.sampling(), "seed": asked.seed}


def _upbeat(piece: Piece) -> list[str]:
    """The option without which an upbeat is looked for in a file that has none."""
    return [] if piece.pickup else ["--upbeat", "0"]


def _tokens(steps: int | None) -> list[str]:
    return [] if steps is None else ["--tokens", str(4 * steps)]


def _heard(job: Job, product: Any, given: Given | None = None, known: Sequence[Any] = ()) -> Callable[[Any], None]:
    """Progress that shows the notes whose ends are known, but for those that were given."""
    sent = 0

    def progress(cache: Any) -> None:
        nonlocal sent
        ids = cache.history.ids[0].reshape(-1)[: cache.history.length].tolist()
        found = _chorale_notes(product, ids, given) if product.codec_file == "chorale.json" else _played(product, ids)
        if new := [note for note in found[sent:] if note not in known]:
            job.send("notes", {"notes": new})
        sent = max(sent, len(found))

    return progress


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
