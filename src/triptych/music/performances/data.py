"""Prepared performances -> batches: random crops, stretched and transposed, to train on; windows to measure with."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Literal

import numpy as np

from triptych.errors import UserError
from triptych.fields import Checked, Share, Size
from triptych.model.batch import Batch, Batches, padded
from triptych.music.batches import Ids, grouped
from triptych.music.performances.codec import END, STEPS, PerformanceCodec, moment, shifts
from triptych.music.performances.melody import REST, MelodyCodec
from triptych.music.performances.melody import STEPS as MELODY_STEPS
from triptych.music.performances.shards import TRAIN, VALID, Entry, Shards
from triptych.music.piece.performance import MAX_SEMITONES, Performance, stretched, transposed, transpositions

Task = Literal["compose", "accompany"]
MELODY = MelodyCodec()


@dataclass(frozen=True)
class PerformanceAugmentation(Checked):
    """What is drawn anew for every crop.

    stretch: all times are multiplied by a factor from 1 - stretch to 1 + stretch. semitones: the furthest
    transposition, up or down. unlabelled: the share of crops whose label is hidden.
    """

    CALLED = "data.{name}"

    stretch: Annotated[float, Size(0, 1, below=True)] = 0.05
    semitones: Annotated[int, Size(0)] = MAX_SEMITONES
    unlabelled: Share = 0.1


AUGMENTED = PerformanceAugmentation()


class PerformanceData:
    """Crops of `length` tokens in batches of about `tokens_per_batch`, by epoch.

    Of every piece come as many crops as it has lengths: one from its beginning, one up to its END, the others from the
    moment of a random note. They are cut from the events of the whole piece, so keys may be released that went down
    before. A label is the codec's class of that name. Everything random is a function of (seed, epoch).

    task: "accompany" gives as source the melody of the seconds that a crop takes, stretched and transposed with it.
    """

    def __init__(
        self,
        shards: Shards,
        codec: PerformanceCodec,
        *,
        task: Task = "compose",
        length: int = 2048,
        tokens_per_batch: int = 8192,
        augmentation: PerformanceAugmentation = AUGMENTED,
        seed: int = 1,
    ) -> None:
        if length < 2:
            raise UserError(f"expected data.length from 2 tokens, got {length}; the paper's is 2048")
        self.shards, self.codec, self.entries, self.task = shards, codec, shards.of_split(TRAIN), task
        if task == "accompany":
            for entry in self.entries:  # before the training and not in its middle
                shards.melody(entry)
        self.length, self.tokens_per_batch = length, max(tokens_per_batch, length)
        self.augmentation, self.seed = augmentation, seed

    def __len__(self) -> int:
        """The number of pieces."""
        return len(self.entries)

    def epoch(self, number: int) -> Batches:
        """The batches of epoch `number`, counted from 0."""
        random = np.random.default_rng([self.seed, number])
        tokens = np.array([entry.tokens + 1 for entry in self.entries])  # with END
        counts = -(-tokens // self.length)
        piece = np.repeat(np.arange(len(counts)), counts)
        place = random.random(len(piece))
        last = counts.cumsum() - 1
        several = counts > 1
        place[last[several]] = 1.0
        place[(last - counts + 1)[several]] = 0.0
        spread = self.augmentation.stretch
        factor = random.uniform(1 - spread, 1 + spread, len(piece))
        key = random.random(len(piece))
        labels = np.array([self._label(entry) for entry in self.entries])[piece]
        labels[random.random(len(piece)) < self.augmentation.unlabelled] = -1
        lengths = np.minimum(tokens, self.length)[piece].tolist()

        def batch(crops: Ids) -> Batch:
            drawn = zip(*(column[crops].tolist() for column in (piece, place, factor, key)), strict=True)
            return _batch([self._crop(*one) for one in drawn], label=labels[crops])

        return Batches(batch, grouped(lengths, self.tokens_per_batch, random))

    def _label(self, entry: Entry) -> int:
        return self.codec.labels.index(entry.label) if entry.label in self.codec.labels else -1

    def _crop(self, piece: int, place: float, factor: float, key: float) -> tuple[Ids, Ids | None]:
        """The ids of a crop, and those of its melody.

        piece: an entry of the data. place: from 0, at its beginning, to 1, as far as its END. factor: its stretch. key:
        its transposition, as a share of those that there are.
        """
        entry = self.entries[piece]
        whole = self.shards.performance(entry)
        offered = transpositions(whole, self.augmentation.semitones)
        semitones = offered[int(key * len(offered))]
        played = stretched(transposed(whole, semitones), factor)
        latest = max(0, entry.notes - self.length * entry.notes // entry.tokens)  # about a length before the end
        first = int(place * (latest + 1))
        if place == 1:  # a note has two ids, but for one within a step, so these are a length, or a little less
            first = max(0, entry.notes - self.length // 2)
        begin, ids = moment(played, first), np.append(self.codec.encode(played), END)
        ids = ids[int(np.searchsorted(shifts(ids).cumsum(), begin)) + 1 if begin else 0 :]
        early = max(0, len(ids) - self.length) if place == 1 else 0
        crop = ids[early : early + self.length]
        if self.task == "compose":
            return crop, None
        melody = stretched(transposed(self.shards.melody(entry), semitones), factor)
        return crop, melody_ids(melody, begin + int(shifts(ids[:early]).sum()), int(shifts(crop).sum()))


def _batch(rows: Sequence[tuple[Ids, Ids | None]], **named: Ids) -> Batch:
    """A batch of ids, each with those of its melody or without, and of other fields of `Batch`."""
    melodies = [melody for _, melody in rows if melody is not None]
    source = padded(melodies) if melodies else (None, None)
    return Batch.of(*padded([ids for ids, _ in rows]), *source, **named)


def melody_ids(melody: Performance, begin: int, steps: int) -> Ids:
    """Ids of the notes of a melody that begin within some steps of a performance, rests up to the last of these.

    There is at least one id, as a source must have.
    """
    first = np.floor(STEPS * melody.notes["start"] + 0.5) - begin
    notes = melody.notes[(first >= 0) & (first < steps)]
    notes["start"] = np.maximum(notes["start"] - begin / STEPS, 0)
    notes["end"] = np.minimum(notes["end"] - begin / STEPS, steps / STEPS)
    found = np.full(max(1, -(-steps * MELODY_STEPS // STEPS)), REST)
    ids = MELODY.encode(Performance(notes))[: len(found)]
    found[: len(ids)] = ids
    return found


def held_out_windows(
    shards: Shards,
    codec: PerformanceCodec,
    split: str = VALID,
    *,
    task: Task = "compose",
    length: int = 2048,
    context: int | None = None,
    tokens_per_batch: int = 8192,
    most: int | None = None,
) -> list[Batch]:
    """Pieces as they are, without label and END, in windows of `length` tokens, so that each token counts once.

    Every token but the first ones of a piece is predicted from at least `context` tokens before it, half a window if
    None; a window begins with so many that only are read (`Batch.context`). With 0 the windows lie side by side,
    which takes half of the time, and is how Magenta measures. most: so many pieces at most, evenly from all.
    task: "accompany" gives as source the melody of the seconds that a window takes.
    """
    context = length // 2 if context is None else context
    if not 0 <= context < length:
        raise UserError(f"expected a context from 0 to below the length {length}, got {context}; half of it is usual")
    windows: list[tuple[Ids, Ids | None]] = []
    read: list[int] = []
    for entry in shards.evenly(split, most):
        ids = codec.encode(shards.performance(entry))
        now = np.append(0, shifts(ids).cumsum())
        melody = shards.melody(entry) if task == "accompany" else None
        for at in [0, *range(length - context, len(ids) - context, length - context)]:
            last = min(at + length, len(ids))
            source = None if melody is None else melody_ids(melody, int(now[at]), int(now[last] - now[at]))
            windows.append((ids[at:last], source))
            read.append(context if at else 0)
    rows = max(1, tokens_per_batch // length)
    parts = (slice(first, first + rows) for first in range(0, len(windows), rows))
    label = np.full(len(windows), -1)
    return [_batch(windows[part], label=label[part], context=np.array(read[part])) for part in parts]
