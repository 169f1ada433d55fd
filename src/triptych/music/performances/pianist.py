"""The product for piano performances: load or train a pianist; compose, continue, accompany a melody, measure."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import chain, islice
from pathlib import Path
from typing import Any, get_args

import numpy as np
import torch

from triptych.decode.maps import Map
from triptych.errors import UserError, expect, number, whole_number
from triptych.generation.sample import generate
from triptych.generation.sampling import PLAIN, Sampling
from triptych.model import convert
from triptych.model.decoder import TorchDecoder
from triptych.model.device import use_device
from triptych.model.transformer import Transformer
from triptych.model.weights import load_for, save_transformer
from triptych.music.files.reading import MusicReader, read_performance
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
from triptych.music.performances.data import (
    AUGMENTED,
    PerformanceAugmentation,
    PerformanceData,
    Task,
    held_out_windows,
)
from triptych.music.performances.grammar import PerformanceGrammar
from triptych.music.performances.melody import MelodyCodec, melody_of, melody_of_parts
from triptych.music.performances.shards import VALID, Shards
from triptych.music.piece.performance import Performance, from_piece, together
from triptych.music.piece.piece import Note, Piece
from triptych.shape.config import Config
from triptych.shape.pattern import Pattern
from triptych.train.folder import RunFolder
from triptych.train.loop import fit, held_out_loss
from triptych.train.package import Outcome, Package, card_of_run, take_best, unmeasured
from triptych.train.recipe import Recipe

Music = str | Path | Piece | Performance
LENGTH = 2048  # tokens of a crop, as in Huang et al. 2018: about 50 seconds
USUAL_TOKENS = 4096  # after which music that has not ended by itself is cut
MOST_TOKENS = 1 << 17
DENSEST = 150  # tokens of a second for which there is room: three times the mean of ASAP
AFTERWARDS = 4.0  # seconds that an accompaniment may take after its melody
MILLISECONDS = 1_000 // STEPS  # of a step
PREPARED = "prepared music (Shards)", "music.shards.prepare makes it of MIDI files"  # what is expected; the remedy
_NOTHING: Ids = np.empty(0, np.int64)

# A decoder alone with relative attention over all of a crop, and no absolute positions.
RELATIVE: dict[str, Any] = {
    "width": 256,
    "heads": 4,
    "feed_forward": 1024,
    "encoder_layers": 0,
    "decoder_layers": 5,
    "dropout": 0.1,
    "norm": "pre",
    "activation": "gelu",
    "positions": {"kind": "none"},
    "relations": {"distance": {"size": LENGTH}},
}
PRESETS: dict[str, dict[str, Any]] = {
    "relative": RELATIVE,
    # Blocks of 512 that see the block before, as in the paper: no distance is beyond the table.
    "relative-local": {
        **RELATIVE,
        "pattern": {"kind": "local_1d", "query": 512, "memory": 512},
        "relations": {"distance": {"size": 1024}},
    },
    "absolute": {**RELATIVE, "positions": {"kind": "sinusoidal"}, "relations": {}},
    "tiny": {
        **RELATIVE,
        "width": 64,
        "feed_forward": 128,
        "decoder_layers": 2,
        "relations": {"distance": {"size": 64}},
    },
}


class Pianist:
    """A Transformer over performances, its vocabulary and its card.

    A decoder alone composes and continues; an encoder-decoder, whose source is a melody, accompanies it.

    >>> pianist = Pianist.load("piano")                                        # doctest: +SKIP
    >>> save_music(pianist.compose(label="Chopin", seconds=30, seed=7), "out.mid")    # doctest: +SKIP
    """

    def __init__(
        self, model: Transformer, codec: PerformanceCodec, card: Mapping[str, Any] | None = None, *, exact: bool = False
    ) -> None:
        """Join a model to its codec; both count the same vocabulary and the same labels.

        exact: one piece alone too is composed in the model's own number format, not with matrices in float16.
        """
        config = model.config
        wanted = MelodyCodec.vocabulary if config.encoder_layers else None
        if config.vocabulary != codec.vocabulary or config.source_vocabulary != wanted:
            raise UserError(
                f"expected a model of {codec.vocabulary} events (source: {wanted}), got {config.vocabulary} "
                f"(source: {config.source_vocabulary}); load a model of performances"
            )
        if config.positions.kind == "learned":
            raise UserError("expected positions without an end, got learned ones; use sinusoidal, concatenated or none")
        if config.classes != len(codec.labels):
            raise UserError(f"expected classes={len(codec.labels)}, one a label, got {config.classes}; leave it out")
        keyboard = getattr(config.input, "keyboard", None)
        if keyboard not in (None, KEYBOARD):
            raise UserError(f"expected input.keyboard={list(KEYBOARD)} for performances, got {list(keyboard)}")
        self.model, self.codec, self.card = model, codec, dict(card or {})
        self._exact = exact

    @classmethod
    def load(
        cls, name: str | Path, *, device: str = "auto", threads: int | None = None, dtype: str = "auto"
    ) -> Pianist:
        """Load a shipped name, a model folder, a run's best checkpoint, or `hf:owner/name`."""
        model, stored = load_for(
            name, FILE, "a model of piano performances", device=device, threads=threads, dtype=dtype
        )
        codec = PerformanceCodec.from_bytes(stored.files[FILE])
        # Who asks for a number format gets no other.
        return cls(model, codec, stored.card, exact=dtype != "auto")

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
        if preset not in list(PRESETS):  # a list asks for no hash, which what a file names need not have
            raise UserError(f"expected a preset of {', '.join(PRESETS)}, got {preset!r}")
        if task not in list(get_args(Task)):
            raise UserError(f"expected a task of {', '.join(get_args(Task))}, got {task!r}")
        for name in ("vocabulary", "source_vocabulary", "classes"):
            if name in changes:
                raise UserError(f"expected no {name}, got {changes[name]!r}; that of performances is given")
        where, _ = use_device(device, threads, "float32")
        codec = PerformanceCodec(labels.labels if isinstance(labels, Shards) else labels)
        shape = {"vocabulary": codec.vocabulary, "classes": len(codec.labels), **PRESETS[preset]}
        if task == "accompany":
            shape["source_vocabulary"] = MelodyCodec.vocabulary
            shape["encoder_layers"] = changes.get("decoder_layers", shape["decoder_layers"])
            shape["positions"] = "sinusoidal"

            shape["relations"] = {kind: {"size": each["size"] // 2} for kind, each in shape["relations"].items()}
        shape |= changes
        if (shape["encoder_layers"] != 0) != (task == "accompany"):
            wanted = "from 1" if task == "accompany" else "0"
            raise UserError(f"expected encoder_layers {wanted} for the task {task}, got {shape['encoder_layers']}")
        config = Config.from_dict(shape)
        torch.manual_seed(seed)
        return cls(Transformer(config).to(where), codec)

    def with_dropout(self, probability: float | None = None) -> Pianist:
        """The same pianist with another dropout, for further training."""
        return Pianist(convert.with_dropout(self.model, probability), self.codec, self.card, exact=self._exact)

    def with_pattern(self, pattern: Pattern | Mapping[str, Any]) -> Pianist:
        """The same pianist with another pattern: a local one keeps to the distances that crops have taught."""
        return Pianist(convert.with_pattern(self.model, pattern), self.codec, unmeasured(self.card), exact=self._exact)

    def with_keyboard(self) -> Pianist:
        """The same pianist, to be told from now on which keys are down and for how long: see `Tokens.keyboard`."""
        return Pianist(convert.with_keyboard(self.model, KEYBOARD), self.codec, self.card, exact=self._exact)

    @property
    def task(self) -> Task:
        """What the model was made for."""
        return "accompany" if self.model.config.encoder_layers else "compose"

    def save(self, folder: str | Path, *, dtype: str = "float32", **card: Any) -> None:
        """Write the model folder; `card` entries are added to the card. float16 halves the file."""
        use_device("cpu", None, dtype)
        save_transformer(folder, self.model, self._files(), {**self.card, **card}, dtype)

    def fit(
        self,
        shards: Shards,
        *,
        recipe: Recipe,
        out: str | Path | RunFolder,
        resume: bool = False,
        length: int = LENGTH,
        augmentation: PerformanceAugmentation = AUGMENTED,
        held_out: int | None = None,
        card: Mapping[str, Any] | None = None,
        quiet: bool = False,
    ) -> Outcome:
        """Train on the split "train" and become the checkpoint with the lowest held-out loss.

        `length` is that of the crops in tokens. What counts is the loss over the split "valid", or over `held_out` of
        its pieces, in windows of that length side by side: half of the work of `evaluate`, and a little higher.
        """
        expect(shards, Shards, *PREPARED)
        expect(recipe, Recipe, "a Recipe", "try Recipe(epochs=1)")
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
            shards,
            self.codec,
            task=self.task,
            length=length,
            context=0,
            tokens_per_batch=recipe.tokens_per_batch,
            most=held_out,
        )
        facts: dict[str, Any] = {"task": self.task, "pieces": len(data), "crop": length}
        facts |= {"stretch": augmentation.stretch, "semitones": augmentation.semitones, "held_out": held_out}
        described = card_of_run(self.card, card or {}, facts)
        examples = {"the prepared pieces": shards.digest()}
        outcome = fit(
            self.model,
            data,
            checked,
            recipe,
            out,
            package=Package(self._files(), described, examples, {"unlabelled": augmentation.unlabelled}),
            resume=resume,
            quiet=quiet,
        )
        self.card = take_best(self.model, outcome.folder)
        return outcome

    def evaluate(
        self,
        shards: Shards,
        split: str = VALID,
        *,
        length: int = LENGTH,
        context: int | None = None,
        pieces: int | None = None,
    ) -> dict[str, Any]:
        """`nll` (nats a token), its `tokens` and `pieces`: see `held_out_windows`, where `pieces` is `most`."""
        expect(shards, Shards, *PREPARED)
        windows = held_out_windows(
            shards, self.codec, split, task=self.task, length=length, context=context, most=pieces
        )
        count = len(shards.of_split(split))
        return {
            "nll": held_out_loss(self.model, windows),
            "tokens": sum(window.tokens for window in windows),
            "pieces": count if pieces is None else min(pieces, count),
        }

    def compose(
        self,
        *,
        label: str | None = None,
        seconds: float | None = None,
        tokens: int | None = None,
        sampling: Sampling = PLAIN,
        seed: int = 0,
    ) -> Piece:
        """Music from nothing, in milliseconds. label: one of the codec's. It is over after so many seconds or tokens,
        whichever is first; without either, where the model ends it.
        """
        events = self._events(_NOTHING, label, seconds, tokens, sampling, seed)
        return self.codec.decode(events).to_piece()

    def stream(
        self,
        *,
        label: str | None = None,
        seconds: float | None = None,
        tokens: int | None = None,
        sampling: Sampling = PLAIN,
        seed: int = 0,
    ) -> Iterator[Note]:
        """The notes of `compose` with the same settings, each as soon as its end is known (in milliseconds)."""
        events = self._events(_NOTHING, label, seconds, tokens, sampling, seed)
        for start, end, pitch, velocity in self.codec.heard(events):
            yield Note(start * MILLISECONDS, end * MILLISECONDS, pitch, velocity)

    def continue_(
        self,
        primer: Music,
        *,
        label: str | None = None,
        seconds: float | None = None,
        tokens: int | None = None,
        only_new: bool = False,
        sampling: Sampling = PLAIN,
        seed: int = 0,
    ) -> Piece:
        """The primer and what the model adds, or with `only_new` what it adds alone; seconds and tokens count that.

        The primer's notes come back as they were, on the grid of 10 ms; those that sound up to its very end are held,
        and the model ends them. Of a long primer it reads the last `LENGTH` tokens.
        """
        given = self.codec.encode(_performance(primer))
        given = given[: np.flatnonzero(shifts(given))[-1] + 1]  # without the offs of the last moment
        events = self._events(given, label, seconds, tokens, sampling, seed)
        whole = self.codec.decode(chain(given, events))
        return (whole.after(int(shifts(given).sum()) / STEPS) if only_new else whole).to_piece()

    def accompany(
        self,
        melody: Music,
        *,
        label: str | None = None,
        sampling: Sampling = PLAIN,
        seed: int = 0,
    ) -> Piece:
        """The melody (`melody_of_parts` of a file) and what the model plays with it.

        Every note of the melody is struck at its time, on the grid of 10 ms; how loud it is, and how long, says the
        model. The music ends where the model ends it, at most `AFTERWARDS` seconds after the melody.
        """
        self._must("accompany", "accompanying")
        tune = _melody(melody)
        columns = self._columns(
            _NOTHING,
            label,
            _room(tune.seconds + AFTERWARDS, None),
            sampling,
            seed,
            PerformanceGrammar(melody=tune),
            tune,
        )
        played = self.codec.decode(_until(columns, tune.seconds + AFTERWARDS))
        # Music so dense that there is no room for all of it is cut; the melody is not.
        told = set(onsets(played))
        rest = [one not in told for one in onsets(tune)]
        return together([played, Performance(on_grid(tune).notes[rest])]).to_piece()

    def attention(self, ids: Ids, *, label: str | None = None) -> list[Map]:
        """Attention of the layers while the model writes up to `LENGTH` ids [L]: each [1, heads, L, L]. Row i writes
        id i; column j has read id j - 1, column 0 nothing.
        """
        self._must("compose", "looking at attention")
        expect(ids, np.ndarray, "ids as an array", "PerformanceCodec.encode makes them")
        if len(ids) > LENGTH:
            raise UserError(f"expected at most {LENGTH:,} tokens to look at, got {len(ids):,}; cut the piece")
        return TorchDecoder(self.model).attention(ids[None], label=self._class(label)).decoder

    # -- parts --------------------------------------------------------------------------------------------------------

    def _files(self) -> dict[str, bytes]:
        return {FILE: self.codec.to_bytes()}

    def _class(self, label: str | None) -> Ids:
        """The class of a label, or that of none: [1]."""
        return np.array([-1 if label is None else self.codec.label(label)])

    def _must(self, task: Task, what: str) -> None:
        if self.task != task:
            kind = "a decoder alone" if task == "compose" else "an encoder-decoder trained with melodies"
            raise UserError(f"expected {kind} for {what}, got a model of the other kind; train one for the task {task}")

    def _events(
        self, given: Ids, label: str | None, seconds: float | None, tokens: int | None, sampling: Sampling, seed: int
    ) -> Iterator[int]:
        """Ids that follow those that are given, up to END or the length that is asked for."""
        self._must("compose", "composing and continuing")
        first = _first_read(given)
        grammar = PerformanceGrammar(end=seconds is None and tokens is None, before=given[:first])
        columns = self._columns(given[first:], label, _room(seconds, tokens), sampling, seed, grammar)
        return _until(columns, seconds)

    def _columns(
        self,
        read: Ids,
        label: str | None,
        room: int,
        sampling: Sampling,
        seed: int,
        grammar: PerformanceGrammar,
        melody: Performance | None = None,
    ) -> Iterator[int]:
        """At most `room` ids that follow those that are read."""
        steps = len(read) + room
        source = None if melody is None else MelodyCodec().encode(melody)[None]
        decoder = TorchDecoder(self.model, exact=self._exact)
        columns = generate(
            decoder,
            decoder.start(length=steps, rows=1, source=source, label=self._class(label)),
            steps=steps,
            end=END,
            sampling=sampling,
            seed=seed,
            allow=grammar,
            prefix=read[None] if len(read) else None,
        )
        return (int(column[0]) for column in islice(columns, len(read), None))


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
    if seconds is not None and not 1 / STEPS <= seconds <= MOST_TOKENS / DENSEST:
        raise UserError(f"expected 0.01 to {MOST_TOKENS // DENSEST} seconds, got {seconds:g}; choose another length")
    if tokens is not None and not 1 <= tokens <= MOST_TOKENS:
        raise UserError(f"expected 1 to {MOST_TOKENS:,} tokens, got {tokens:,}; choose another length")
    if seconds is None:
        return USUAL_TOKENS if tokens is None else tokens
    return min(math.ceil(seconds * DENSEST) + LENGTH, MOST_TOKENS if tokens is None else tokens)


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
