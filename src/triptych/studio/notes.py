"""The notes: pieces as they are composed, continued, harmonized and filled in."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from typing import Annotated, Any

import numpy as np

from triptych.fields import Size
from triptych.music.chorales.codec import VOICES
from triptych.music.chorales.given import Given, given_melody, given_voices
from triptych.music.files.plain import MAX_NOTES, MAX_STEPS, Chorale, Played
from triptych.music.performances.codec import STEPS
from triptych.music.piece.piece import Piece
from triptych.studio.models import Entry, Models
from triptych.studio.requests import Drawn, Label, Seconds, Steps
from triptych.studio.work import Job, RefusedError

GIVEN = "piece.mid"  # the file that the command names
COMPOSED, CONTINUED = 20.0, 15.0  # seconds of a performance, unless others are asked for


class Compose(Drawn):
    """Compose a piece. steps: sixteenths of a chorale, null where the model ends it. seconds: of a performance."""

    label: Label | None = None
    steps: Annotated[int, Size(16, MAX_STEPS, True)] | None = None
    seconds: Seconds | None = None
    tempo: Annotated[float, Size(20, 400)] = 84.0

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry = models.find(self.model, "compose", "play")
        plays = entry.task == "play"
        asked, product = self.settled(entry, **({"seconds": COMPOSED} if plays else {})), entry.load()
        how: dict[str, Any] = {"seconds": asked.seconds} if plays else {"steps": asked.steps, "tempo": asked.tempo}
        length = _length(asked, plays) + ([] if plays else ["--tempo", str(asked.tempo)])
        about = asked.envelope(entry, ["compose", *length, *asked.options(entry), "--out", "composed.mid"])
        job.send("start", {**about, "given": None})
        with job.watched(_heard(job, product)):
            piece = product.compose(label=asked.label, **asked.drawing(), **how)
        return {**about, "piece": asdict(Played.of(piece) if plays else Chorale.of(piece)), "words": []}


class Continue(Drawn):
    """Continue a piece by so many steps, or seconds."""

    piece: Chorale | Played
    label: Label | None = None
    steps: Steps | None = None
    seconds: Seconds | None = None

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        plays, given, words = isinstance(self.piece, Played), None, list[str]()
        entry = models.find(self.model, "play" if plays else "compose")
        asked, product = self.settled(entry, **({"seconds": CONTINUED} if plays else {})), entry.load()
        primer: Any
        shown: Chorale | Played
        how: dict[str, Any] = {"seconds": asked.seconds}
        length = _length(asked, plays)
        if isinstance(asked.piece, Played):
            primer = asked.piece.performance()
            shown, since = Played.of(primer), round(primer.seconds, 3)
        else:
            primer = replace(asked.piece.piece(), length=0)  # as a file has it: without the silence after it
            given, shown, since = given_voices(primer), Chorale.of(primer), primer.length
            how = {"steps": None if asked.steps is None else primer.length + asked.steps, "report": words.append}
            length += _upbeat(primer)
        command = ["continue", GIVEN, *length, *asked.options(entry), "--out", "continued.mid"]
        about = asked.envelope(entry, command, GIVEN)
        job.send("start", {**about, "given": asdict(shown)})
        with job.watched(_heard(job, product, given, shown.notes)):
            piece = product.continue_(primer, label=asked.label, **asked.drawing(), **how)
        found = Played.of(piece) if plays else Chorale.of(piece)
        return {**about, "piece": asdict(found), "words": words, "from": since}


class Harmonize(Drawn):
    """Give a melody, the soprano of the piece, three lower voices."""

    piece: Chorale
    label: Label | None = None

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry = models.find(self.model, "infill")
        asked, composer, words = self.settled(entry), entry.load(), list[str]()
        piece = asked.piece.piece()
        tune = tuple(note for note in piece.notes if note.voice == 0)
        if not tune:
            raise RefusedError("expected a melody in the soprano, got no notes there; write some")
        melody = replace(piece, notes=tune, voices=("melody",), length=0)
        shown = Chorale.of(melody)
        command = ["harmonize", GIVEN, *_upbeat(melody), *asked.options(entry), "--out", "harmonized.mid"]
        about = asked.envelope(entry, command, GIVEN)
        job.send("start", {**about, "given": asdict(shown)})
        with job.watched(_heard(job, composer, given_melody(melody), shown.notes)):
            found = composer.harmonize(melody, label=asked.label, report=words.append, **asked.drawing())
        return {**about, "piece": asdict(Chorale.of(found)), "words": words}


class Infill(Drawn):
    """Write spans [voice, start, end] anew; all else stays as it is."""

    piece: Chorale
    open: Annotated[list[Annotated[list[Annotated[int, Size(0, MAX_STEPS)]], Size(3, 3)]], Size(1, MAX_NOTES, True)]

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        entry = models.find(self.model, "infill")
        asked, composer, words = self.settled(entry), entry.load(), list[str]()
        piece = asked.piece.piece()
        cells = np.zeros((piece.length, 4), bool)
        for span in asked.open:
            voice, start, end = span
            if not (voice < 4 and start < end <= piece.length):
                form = "open spans [voice, start, end] with start < end"
                raise RefusedError(f"expected {form} <= {piece.length} and voice to 3, got {span}; mend it")
            cells[start:end, voice] = True
        shown = Chorale.of(piece)
        about = asked.envelope(entry, asked._command(entry, piece, cells), GIVEN)
        job.send("start", {**about, "given": asdict(shown)})
        given = given_voices(piece, begin=int(cells.any(1).argmax()))
        with job.watched(_heard(job, composer, given, shown.notes)):
            found = composer.infill_cells(piece, cells, report=words.append, **asked.drawing())
        return {**about, "piece": asdict(Chorale.of(found)), "words": words, "open": asked.open}

    def _command(self, entry: Entry, piece: Piece, cells: Any) -> list[str] | None:
        """The words of the command, where it can ask for these cells: whole bars of some voices."""
        voices, steps, bars = np.flatnonzero(cells.any(0)), np.flatnonzero(cells.any(1)), piece.bars
        if not piece.notes or steps[0] < piece.notes[0].start or max(note.end for note in piece.notes) < piece.length:
            return None  # a file has no silence at its ends
        first, last = (bars.at(int(step)).number for step in (steps[0], steps[-1]))
        span, whole = bars.ticks(first, last), np.zeros_like(cells)
        whole[span.start : span.stop, voices] = True
        named = [word for voice in voices for word in ("--voice", VOICES[voice])]
        where = ["--from", str(first), "--to", str(last), *_upbeat(piece)]
        words = ["infill", GIVEN, *named, *where, *self.options(entry), "--out", "filled.mid"]
        return words if (whole == cells).all() else None


def _upbeat(piece: Piece) -> list[str]:
    """The option without which an upbeat is looked for in a file that has none."""
    return [] if piece.pickup else ["--upbeat", "0"]


def _length(asked: Compose | Continue, plays: bool) -> list[str]:
    """The option of how long the new part shall be."""
    if plays:
        return ["--seconds", str(asked.seconds)]
    return [] if asked.steps is None else ["--tokens", str(4 * asked.steps)]


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
