"""The product for piano performances: load or train a pianist; compose, continue, accompany a melody, measure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypedDict, Unpack, get_args

import numpy as np

from triptych.decode.maps import Map
from triptych.errors import UserError, expect, number, whole_number
from triptych.generation.sample import generate
from triptych.generation.sampling import Sampling
from triptych.music.files.reading import MusicReader, read_performance
from triptych.music.likelihood import Likelihood
from triptych.music.performances.codec import (
    END,
    FILE,
    KEYBOARD,
    STEPS,
    TIME_SHIFT,
    VELOCITY,
    Ids,
    PerformanceCodec,
    on_grid,
    onsets,
    shifts,
)
from triptych.music.performances.data import AUGMENTED, PerformanceAugmentation, PerformanceData, Task, held_out_windows
from triptych.music.performances.grammar import PerformanceGrammar
from triptych.music.performances.melody import MelodyCodec, melody_of, melody_of_parts
from triptych.music.performances.presets import shaped
from triptych.music.performances.shards import VALID, Shards
from triptych.music.piece.performance import Performance, from_piece, together
from triptych.music.piece.piece import Note, Piece
from triptych.shape.bounds import one_of
from triptych.train.recipe import Recipe
from triptych.trained import Product, Trained, check_recipe, check_vocabularies

if TYPE_CHECKING:
    from triptych.train.run.folder import RunFolder
    from triptych.train.run.package import Outcome

Music = str | Path | Piece | Performance
LENGTH = 2048  # tokens of a crop, as in Huang et al. 2018: about 50 seconds
USUAL_TOKENS = 4096  # after which music that has not ended by itself is cut
MAX_TOKENS = 1 << 17
DENSEST = 150  # tokens of a second for which there is room: three times the mean of ASAP
AFTERWARDS = 4.0  # seconds that an accompaniment may take after its melody
MILLISECONDS = 1_000 // STEPS  # of a step
PREPARED = "prepared music (Shards)", "music.shards.prepare makes it of MIDI files"  # what is expected; the remedy
_NOTHING: Ids = np.empty(0, np.int64)


class Asked(TypedDict, total=False):
    """What music is asked for: label, one of the codec's; seconds and tokens, after which it is over, whichever is
    first, and without either where the model ends it; sampling, that of the model's card if None; seed, 0 if not given.
    """

    label: str | None
    seconds: float | None
    tokens: int | None
    sampling: Sampling | None
    seed: int


class Pianist(Product):
    """A trained Transformer over performances, and its vocabulary.

    A decoder alone composes and continues; an encoder-decoder, whose source is a melody, accompanies it.

    >>> pianist = Pianist.load("piano")                                        # doctest: +SKIP
    >>> save_music(pianist.compose(label="Chopin", seconds=30, seed=7), "out.mid")    # doctest: +SKIP
    """

    codec_file, kind = FILE, "a model of piano performances"

    def __init__(self, trained: Trained) -> None:
        """Read the codec of a model. Raises UserError unless both count the same vocabulary and the same labels."""
        config, codec = trained.config, PerformanceCodec.from_bytes(trained.files[FILE])
        expected = MelodyCodec.vocabulary if config.encoder_layers else None
        check_vocabularies(config, codec.vocabulary, expected, "events", self.kind)
        if config.positions.kind == "learned":
            raise UserError("expected positions without an end, got learned ones; use sinusoidal, concatenated or none")
        if config.classes != len(codec.labels):
            raise UserError(f"expected classes={len(codec.labels)}, one a label, got {config.classes}; leave it out")
        keyboard = getattr(config.input, "keyboard", None)
        if keyboard not in (None, KEYBOARD):
            raise UserError(f"expected input.keyboard={list(KEYBOARD)} for performances, got {list(keyboard)}")
        self.trained, self.codec = trained, codec

    @classmethod
    def new(
        cls,
        labels: Shards | Sequence[str],
        *,
        task: Task = "compose",
        preset: str = "relative",
        seed: int = 1,
        device: str = "auto",
        threads: int | None = None,
        **changes: Any,
    ) -> Pianist:
        """An untrained pianist with these labels, or those of prepared music. `changes` are fields of `Config`.

        To accompany, an encoder as deep as the decoder, and sinusoids, by which the two find each other, unless
        `changes` say otherwise; half of the preset's distances are related.
        """
        one_of("task", task, get_args(Task))
        codec = PerformanceCodec(labels.labels if isinstance(labels, Shards) else labels)
        config, files = shaped(preset, task, codec, changes), {FILE: codec.to_bytes()}
        return cls(Trained.new(config, files, seed=seed, device=device, threads=threads))

    def with_keyboard(self) -> Pianist:
        """The same pianist with the keys that are down, and for how long, as input: see `Tokens.keyboard`."""
        module = self.module()
        from triptych.model.convert import with_keyboard

        return Pianist(self.trained.changed(with_keyboard(module, KEYBOARD)))

    @property
    def task(self) -> Task:
        """What the model was made for."""
        return "accompany" if self.config.encoder_layers else "compose"

    def fit(
        self,
        shards: Shards,
        *,
        held_out: Shards | None = None,
        recipe: Recipe,
        out: str | Path | RunFolder,
        resume: bool = False,
        length: int = LENGTH,
        augmentation: PerformanceAugmentation = AUGMENTED,
        limit: int | None = None,
        card: Mapping[str, Any] | None = None,
        quiet: bool = False,
    ) -> Outcome:
        """Train on the split "train" and become the checkpoint with the lowest held-out loss.

        `length` is that of the crops in tokens. What counts is the loss over the split "valid" of `held_out`, or
        of the same music without, or over at most `limit` of its pieces, in windows of that length side by side: half
        of the work of `evaluate`, and a little higher.
        """
        expect(shards, Shards, *PREPARED)
        check_recipe(recipe)
        data = PerformanceData(
            shards,
            self.codec,
            task=self.task,
            length=length,
            tokens_per_batch=recipe.tokens_per_batch,
            augmentation=augmentation,
            seed=recipe.seed,
        )
        checked = held_out_windows(
            shards if held_out is None else held_out,
            self.codec,
            task=self.task,
            length=length,
            context=0,
            tokens_per_batch=recipe.tokens_per_batch,
            most=limit,
        )
        facts: dict[str, Any] = {"task": self.task, "pieces": len(data), "crop": length}
        facts |= {"stretch": augmentation.stretch, "semitones": augmentation.semitones, "held_out": limit}
        examples = {"the prepared pieces": shards.digest()}
        if held_out is not None:
            examples["the held-out pieces"] = held_out.digest()
        package = self.trained.package(card, facts, examples, {"unlabelled": augmentation.unlabelled})
        return self.trained.fit(data, checked, recipe, out, package=package, resume=resume, quiet=quiet)

    def evaluate(
        self,
        shards: Shards,
        split: str = VALID,
        *,
        length: int = LENGTH,
        context: int | None = None,
        limit: int | None = None,
    ) -> Likelihood:
        """Negative log-likelihood of a split, or of `limit` of its pieces, evenly: see `held_out_windows`."""
        model = self.trained.measured()
        expect(shards, Shards, *PREPARED)
        from triptych.train.loop import held_out_loss

        windows = held_out_windows(
            shards, self.codec, split, task=self.task, length=length, context=context, most=limit
        )
        return Likelihood(
            nll=held_out_loss(model, windows),
            tokens=sum(window.tokens for window in windows),
            pieces=len(shards.evenly(split, limit)),
        )

    def compose(self, **asked: Unpack[Asked]) -> Piece:
        """Music from nothing, in milliseconds. asked: label, seconds, tokens, sampling, seed, see `Asked`."""
        return self.codec.decode(self._events(_NOTHING, **asked)).to_piece()

    def stream(self, **asked: Unpack[Asked]) -> Iterator[Note]:
        """The notes of `compose` with the same settings, each as soon as its end is known (in milliseconds)."""
        events = self._events(_NOTHING, **asked)
        for start, end, pitch, velocity in self.codec.heard(events):
            yield Note(start * MILLISECONDS, end * MILLISECONDS, pitch, velocity)

    def continue_(self, primer: Music, *, only_new: bool = False, **asked: Unpack[Asked]) -> Piece:
        """The primer and what the model adds, or with `only_new` what it adds alone; seconds and tokens count that.
        asked: as of `compose`.

        The primer's notes come back as they were, on the grid of 10 ms; those that sound up to its very end are held,
        and the model ends them. Of a long primer it reads the last `LENGTH` tokens.
        """
        given = self.codec.encode(_performance(primer))
        given = given[: np.flatnonzero(shifts(given))[-1] + 1]  # without the offs of the last moment
        events = self._events(given, **asked)
        whole = self.codec.decode(chain(given, events))
        return (whole.after(int(shifts(given).sum()) / STEPS) if only_new else whole).to_piece()

    def accompany(
        self, melody: Music, *, label: str | None = None, sampling: Sampling | None = None, seed: int = 0
    ) -> Piece:
        """The melody (`melody_of_parts` of a file) and what the model plays with it.

        Every note of the melody is struck at its time, on the grid of 10 ms; the model chooses how loud it is and
        how long. The music ends where the model ends it, at most `AFTERWARDS` seconds after the melody.
        """
        self._must("accompany", "accompanying")
        tune = _melody(melody)
        events = self._events(_NOTHING, label, tune.seconds + AFTERWARDS, None, sampling, seed, tune)
        played = self.codec.decode(events)
        # Music so dense that there is no room for all of it is cut; the melody is not.
        struck = set(onsets(played))
        rest = [one not in struck for one in onsets(tune)]
        return together([played, Performance(on_grid(tune).notes[rest])]).to_piece()

    def attention(self, ids: Ids, *, label: str | None = None) -> list[Map]:
        """Attention of the layers while the model writes up to `LENGTH` ids [L]: each [1, heads, L, L]. Row i writes
        id i; column j has read id j - 1, column 0 nothing.
        """
        self._must("compose", "looking at attention")
        expect(ids, np.ndarray, "ids as an array", "PerformanceCodec.encode makes them")
        if len(ids) > LENGTH:
            raise UserError(f"expected at most {LENGTH:,} tokens to look at, got {len(ids):,}; cut the piece")
        return self.trained.decoder().attention(ids[None], label=self._class(label)).decoder

    # -- parts --------------------------------------------------------------------------------------------------------

    def _class(self, label: str | None) -> Ids:
        """The class of a label, or that of none: [1]."""
        return np.array([-1 if label is None else self.codec.label(label)])

    def _must(self, task: Task, what: str) -> None:
        if self.task != task:
            kind = "a decoder alone" if task == "compose" else "an encoder-decoder trained with melodies"
            raise UserError(f"expected {kind} for {what}, got a model of the other kind; train one for the task {task}")

    def _events(
        self,
        given: Ids,
        label: str | None = None,
        seconds: float | None = None,
        tokens: int | None = None,
        sampling: Sampling | None = None,
        seed: int = 0,
        melody: Performance | None = None,
    ) -> Iterator[int]:
        """Ids that follow those that are given, up to END or the length that is asked for."""
        if melody is None:
            self._must("compose", "composing and continuing")
        first = _first_read(given)
        read = given[first:]
        end = melody is not None or (seconds is None and tokens is None)
        steps = len(read) + _room(seconds, tokens)
        source = None if melody is None else MelodyCodec().encode(melody)[None]
        decoder = self.trained.decoder()
        columns = generate(
            decoder,
            decoder.start(length=steps, rows=1, source=source, label=self._class(label)),
            steps=steps,
            end=END,
            sampling=sampling or self.trained.usual,
            seed=seed,
            allow=PerformanceGrammar(end=end, melody=melody, before=given[:first]),
            prefix=read[None] if len(read) else None,
        )
        return _until((int(column[0]) for column in islice(columns, len(read), None)), seconds)


def _performance(music: Music) -> Performance:
    """A MIDI file or a piece as it sounds on one piano."""
    if isinstance(music, str | Path):
        music, _ = read_performance(music)
    elif isinstance(music, Piece):
        music, _ = from_piece(music)
    expect(music, Performance, "the path of a file of music, a Piece or a Performance", "give one of these")
    if not len(music):
        raise UserError("expected notes on the 88 keys of a piano, got none; transpose the piece")
    return music


def _melody(music: Music) -> Performance:
    """The melody of it: of a file, by its keys as they were played."""
    if isinstance(music, str | Path):
        with MusicReader() as reader:
            return melody_of_parts(reader.read_parts(music, pedal=False)[0])[0]
    return melody_of(_performance(music))[0]


def _first_read(given: Ids) -> int:
    """The place in the ids from which a model reads on: the first note or, of long ones, a moment as crops have it."""
    moves = np.append(shifts(given) > 0, False)
    begins = np.flatnonzero(moves[:-1] & ~moves[1:]) + 1  # what follows the last shift before something happens
    late = begins[(begins >= len(given) - LENGTH) & (begins < len(given))]
    if len(given) <= LENGTH:
        return int(begins[0]) if len(given) and moves[0] else 0
    return int(late[0]) if len(late) else len(given) - LENGTH


def _room(seconds: float | None, tokens: int | None) -> int:
    """The most ids that music of this length takes."""
    tokens = None if tokens is None else whole_number(tokens, "the number of tokens")
    seconds = None if seconds is None else number(seconds, "seconds")
    if seconds is not None and not 1 / STEPS <= seconds <= MAX_TOKENS / DENSEST:
        raise UserError(f"expected 0.01 to {MAX_TOKENS // DENSEST} seconds, got {seconds:g}; choose another length")
    if tokens is not None and not 1 <= tokens <= MAX_TOKENS:
        raise UserError(f"expected 1 to {MAX_TOKENS:,} tokens, got {tokens:,}; choose another length")
    if seconds is None:
        return USUAL_TOKENS if tokens is None else tokens
    return min(math.ceil(seconds * DENSEST) + LENGTH, MAX_TOKENS if tokens is None else tokens)


def _until(ids: Iterator[int], seconds: float | None) -> Iterator[int]:
    """The ids up to END, or for so many seconds: the shift that would pass them ends there."""
    left = math.inf if seconds is None else round(seconds * STEPS)
    for token in ids:
        if token == END:
            return
        if TIME_SHIFT <= token < VELOCITY:
            shift = token - TIME_SHIFT + 1
            if shift >= left:
                yield TIME_SHIFT + int(left) - 1
                return
            left -= shift
        yield token
