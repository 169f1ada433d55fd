"""The product of the music panel: load or train a composer; compose, continue, harmonize, fill in, measure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from triptych.attention.pattern import Pattern
from triptych.errors import UserError
from triptych.generation.forced import FREE
from triptych.generation.sample import Sampling, generate
from triptych.model.config import Config
from triptych.model.device import use_device
from triptych.model.layers import AttentionMaps
from triptych.model.single import started
from triptych.model.store import load_for, save_pretrained
from triptych.model.transformer import Transformer
from triptych.music.bars import BAR, in_sixteenths
from triptych.music.codec import (
    END,
    FILE,
    HOLE,
    LOWEST,
    RANGES,
    REST,
    SILENT,
    STEPS_PER_QUARTER,
    TEMPO,
    UNKNOWN,
    VOICES,
    ChoraleCodec,
    Grid,
    from_piece,
    melody_of,
    onsets,
    to_piece,
    upbeat,
)
from triptych.music.data import AUGMENTED, HELD_OUT, LABELS, Augmentation, ChoraleData, Lessons, held_out, label_of
from triptych.music.key import Key
from triptych.music.piece import Note, Piece
from triptych.music.reading import read_piece
from triptych.music.score import likelihood
from triptych.train.folder import RunFolder
from triptych.train.inputs import digest_of
from triptych.train.loop import fit
from triptych.train.package import Outcome, Package, inherited, take_best, unmeasured
from triptych.train.recipe import Recipe

Task = Literal["compose", "infill"]
PLAIN = Sampling()
MOST_STEPS = 4096  # of a piece that is composed, about 12 minutes
MOST_LOOKED_AT = 512  # steps of a piece whose attention is kept whole
COMPOSED_TOGETHER = 128  # pieces side by side, of many
USUAL_STEPS = 640  # after which a piece that has not ended by itself is cut: longer than any of Bach's
_NOTHING: Grid = np.empty((0, 4), np.int64)

# A decoder alone whose positions are sixteenths, four voices each; relative attention over all of them.
SMALL: dict[str, Any] = {
    "width": 256,
    "heads": 4,
    "feed_forward": 1024,
    "encoder_layers": 0,
    "decoder_layers": 6,
    "dropout": 0.1,
    "norm": "pre",
    "activation": "gelu",
    "positions": {"kind": "none", "grid": (4, 4)},  # the sixteenth in the quarter, the quarter in the bar
    "relation": {"distances": 256},
    "patch": {"size": 4, "layers": 3, "feed_forward": 512, "recall": 16},
}
# A position a note, as in Huang et al. 2018, with relations and without.
RELATIVE: dict[str, Any] = {
    **SMALL,
    "heads": 8,
    "decoder_layers": 5,
    "positions": {"kind": "none", "grid": (4, 4, 4)},
    "relation": {"distances": 512},
    "patch": None,
}


def _absolute(preset: dict[str, Any]) -> dict[str, Any]:
    """The same without relations, and with sinusoids instead."""
    return {**preset, "relation": None, "positions": {**preset["positions"], "kind": "sinusoidal"}}


PRESETS: dict[str, dict[str, Any]] = {
    "small": SMALL,
    "small-absolute": _absolute(SMALL),
    "relative": RELATIVE,
    "absolute": _absolute(RELATIVE),
    "tiny": {
        **SMALL,
        "width": 64,
        "feed_forward": 128,
        "decoder_layers": 2,
        "relation": {"distances": 64},
        "patch": {"size": 4, "layers": 1, "feed_forward": 128, "recall": 16},
    },
}


class Composer:
    """A Transformer over chorales, its vocabulary and its card.

    A decoder alone composes and continues; an encoder-decoder, whose source is a piece with holes, harmonizes and fills
    in.

    >>> composer = Composer.load("chorales")                      # doctest: +SKIP
    >>> composer.compose(label="minor", seed=7).save("out.mid")   # doctest: +SKIP
    """

    def __init__(
        self, model: Transformer, codec: ChoraleCodec, card: Mapping[str, Any] | None = None, *, exact: bool = False
    ) -> None:
        """Join a model to its codec; both count the same vocabulary. A model has all labels or none.

        exact: one piece alone too is composed in the model's own number format, not with matrices in float16.
        """
        config = model.config
        wanted = codec.source_vocabulary if config.encoder_layers else None
        if config.vocabulary != codec.vocabulary or config.source_vocabulary != wanted:
            raise UserError(
                f"expected a model of {codec.vocabulary} notes (source: {wanted}), got {config.vocabulary} "
                f"(source: {config.source_vocabulary}); load a model of chorales"
            )
        if config.positions.kind == "learned":
            raise UserError("expected positions without an end, got learned ones; use sinusoidal, concatenated or none")
        if config.classes not in (0, LABELS):
            raise UserError(
                f"expected classes={LABELS} (major, minor, 24 keys) or 0, got {config.classes}; leave it out"
            )
        self.model, self.codec, self.card = model, codec, dict(card or {})
        self._exact = exact

    @classmethod
    def load(
        cls, name: str | Path, *, device: str = "auto", threads: int | None = None, dtype: str = "auto"
    ) -> Composer:
        """Load a shipped name, a model folder, a run's best checkpoint, or `hf:owner/name`."""
        stored = load_for(name, FILE, "a model of chorales", device=device, threads=threads, dtype=dtype)
        codec = ChoraleCodec.from_bytes(stored.files[FILE])
        # Who asks for a number format gets no other.
        return cls(stored.model, codec, stored.card, exact=dtype != "auto")

    @classmethod
    def new(
        cls,
        *,
        task: Task = "compose",
        preset: str = "small",
        seed: int = 1,
        device: str = "auto",
        threads: int | None = None,
        **changes: Any,
    ) -> Composer:
        """An untrained composer. `changes` are fields of `Config`, by name; for infilling, an encoder as deep as the
        decoder unless they say otherwise.
        """
        if preset not in list(PRESETS):  # a list asks for no hash, which what a file names need not have
            raise UserError(f"expected a preset of {', '.join(PRESETS)}, got {preset!r}")
        for name in ("vocabulary", "source_vocabulary"):
            if name in changes:
                raise UserError(f"expected no {name}, got {changes[name]!r}; that of chorales is given, leave it out")
        where, _ = use_device(device, threads, "float32")
        shape = {"vocabulary": ChoraleCodec.vocabulary, "classes": LABELS, **PRESETS[preset]}
        if task == "infill":
            shape["source_vocabulary"] = ChoraleCodec.source_vocabulary
            shape["encoder_layers"] = changes.get("decoder_layers", shape["decoder_layers"])
            shape["aligned"] = True
        shape |= changes
        if (shape["encoder_layers"] != 0) != (task == "infill"):
            wanted = "from 1" if task == "infill" else "0"
            raise UserError(f"expected encoder_layers {wanted} for the task {task}, got {shape['encoder_layers']}")
        config = Config.from_dict(shape)
        torch.manual_seed(seed)
        return cls(Transformer(config).to(where), ChoraleCodec())

    def with_dropout(self, probability: float | None = None, forget: float | None = None) -> Composer:
        """The same composer with another dropout, or another `patch.forget`, for further training."""
        return Composer(self.model.with_dropout(probability, forget), self.codec, self.card, exact=self._exact)

    def with_pattern(self, pattern: Pattern | Mapping[str, Any]) -> Composer:
        """The same composer with another pattern: a local one keeps to the distances that crops have taught."""
        return Composer(self.model.with_pattern(pattern), self.codec, unmeasured(self.card), exact=self._exact)

    def with_encoder(self, layers: int, *, seed: int = 1) -> Composer:
        """This composer and an untrained encoder of so many layers, drawn by `seed`: what is to be trained to harmonize
        and to fill in. UserError where there is one already.
        """
        torch.manual_seed(seed)
        model = self.model.with_encoder(self.codec.source_vocabulary, layers)
        return Composer(model, self.codec, {**unmeasured(self.card), "task": "infill"}, exact=self._exact)

    @property
    def task(self) -> Task:
        """What the model was made for."""
        return "infill" if self.model.config.encoder_layers else "compose"

    def save(self, folder: str | Path, *, dtype: str = "float32", **card: Any) -> None:
        """Write the model folder; `card` entries are added to the card. float16 halves the file."""
        _, number = use_device("cpu", None, dtype)
        save_pretrained(folder, self.model, self._files(), {**self.card, **card}, number)

    def fit(
        self,
        grids: Sequence[Grid],
        *,
        held_out_grids: Sequence[Grid] | None = None,
        recipe: Recipe,
        out: str | Path | RunFolder,
        resume: bool = False,
        length: int = 1024,
        augmentation: Augmentation = AUGMENTED,
        lessons: Lessons | None = None,
        card: Mapping[str, Any] | None = None,
        quiet: bool = False,
    ) -> Outcome:
        """Train on chorales and become the checkpoint with the lowest held-out loss.

        `length` is that of the crops in tokens. Without `held_out_grids`, every tenth piece is held out. What counts is
        the negative log-likelihood of whole held-out pieces as `evaluate` takes it, but for infilling that of all four
        voices. lessons: what `music.lessons` collected from trained composers for this task.
        """
        if held_out_grids is None:
            held_out_grids = grids[HELD_OUT - 1 :: HELD_OUT]
            grids = [grid for number, grid in enumerate(grids, 1) if number % HELD_OUT]
        data = ChoraleData(
            grids,
            self.codec,
            task=self.task,
            tokens_per_batch=recipe.tokens_per_batch,
            length=length,
            augmentation=augmentation,
            lessons=lessons,
            seed=recipe.seed,
        )
        checked = held_out(held_out_grids, self.codec, self.task)
        described = {**inherited(self.card), **(card or {}), "task": self.task, "pieces": len(data), "crop": length}
        described |= {"transposed": augmentation.transpose, "labelled": augmentation.label}
        examples = {"the training pieces": digest_of(grids), "the held-out pieces": digest_of(held_out_grids)}
        settings = {} if lessons is None else {"share": lessons.share, "composed": len(lessons.composed)}
        outcome = fit(
            self.model,
            data,
            checked,
            recipe,
            out,
            package=Package(self._files(), described, examples, settings),
            resume=resume,
            quiet=quiet,
        )
        self.card = take_best(self.model, outcome.folder)
        return outcome

    def composed(self, count: int, *, seed: int = 1) -> list[Grid]:
        """Grids of so many different pieces, to train another model with."""
        batches = [(first, min(COMPOSED_TOGETHER, count - first)) for first in range(0, count, COMPOSED_TOGETHER)]
        pieces = [piece for first, rows in batches for piece in self.compose_many(rows, seed=seed + first)]
        return [from_piece(piece)[0] for piece in pieces]

    def evaluate(self, grids: Sequence[Grid], *, every_key: bool = False) -> dict[str, Any]:
        """Negative log-likelihood as `likelihood` counts it; for an infilling model, of three voices given the fourth
        (the soprano). every_key: by the mean of the probabilities in twelve keys, which takes twelve times as long.
        """
        return likelihood(self.model, held_out(grids, self.codec, self.task), every_key=every_key)

    def compose(
        self,
        *,
        label: str | None = None,
        steps: int | None = None,
        sampling: Sampling = PLAIN,
        seed: int = 0,
        tempo: float = TEMPO,
    ) -> Piece:
        """A piece from nothing. label: "major", "minor", or a key such as "G minor". steps: sixteenths; without, the
        piece ends where the model ends it.
        """
        (piece,) = self.compose_many(1, label=label, steps=steps, sampling=sampling, seed=seed, tempo=tempo)
        return piece

    def compose_many(
        self,
        count: int,
        *,
        label: str | None = None,
        steps: int | None = None,
        sampling: Sampling = PLAIN,
        seed: int = 0,
        tempo: float = TEMPO,
    ) -> list[Piece]:
        """`count` different pieces, side by side; the first is that of `compose` with the same settings, unless the
        rounding of half precision there makes a draw fall to another note.
        """
        if count < 1:
            raise UserError(f"expected at least 1 piece, got {count}")
        columns = list(self._columns(_NOTHING, label, steps, sampling, seed, count))
        return [to_piece(self.codec.decode(ids), tempo) for ids in torch.stack(columns, 1).tolist()]

    def continue_(
        self,
        primer: str | Path | Piece,
        *,
        label: str | None = None,
        steps: int | None = None,
        sampling: Sampling = PLAIN,
        seed: int = 0,
    ) -> Piece:
        """The primer, a MIDI file or a piece of up to four voices, and what the model adds: a sixteenth or more.

        steps: sixteenths of the whole; without, the piece ends where the model ends it.
        """
        piece = read_piece(primer)[0] if not isinstance(primer, Piece) else primer
        given, _ = from_piece(piece)
        grid = self.codec.decode(int(column[0]) for column in self._columns(given, label, steps, sampling, seed))
        struck = np.zeros(grid.shape, bool)
        struck[: len(given)] = onsets(piece, given)
        return to_piece(grid, piece.tempo, pickup=_pickup(piece), struck=struck)

    def stream(
        self,
        *,
        label: str | None = None,
        steps: int | None = None,
        sampling: Sampling = PLAIN,
        seed: int = 0,
    ) -> Iterator[Note]:
        """The notes of `compose` with the same settings, each as soon as its end is known (in sixteenths)."""
        sounding: list[tuple[int, int] | None] = [None] * 4  # start and pitch
        step = -1
        for number, column in enumerate(self._columns(_NOTHING, label, steps, sampling, seed)):
            token = int(column[0])
            if token == END:
                break
            step, voice = divmod(number, 4)
            pitch = token + LOWEST if token < REST else SILENT
            before = sounding[voice]
            if before is not None and before[1] != pitch:
                yield Note(before[0], step, before[1], voice=voice)
            if before is None or before[1] != pitch:
                sounding[voice] = (step, pitch) if pitch >= 0 else None
        for voice, held in enumerate(sounding):
            if held is not None:
                yield Note(held[0], step + 1, held[1], voice=voice)

    def harmonize(self, melody: str | Path | Piece, *, sampling: Sampling = PLAIN, seed: int = 0) -> Piece:
        """The melody (the highest notes of a MIDI file or piece) as a soprano over three voices."""
        piece = read_piece(melody)[0] if not isinstance(melody, Piece) else melody
        grid, _ = melody_of(piece)
        return self._filled(piece, grid, onsets(piece, grid, melody=True), sampling, seed)

    def infill(
        self,
        piece: str | Path | Piece,
        voices: Sequence[str],
        *,
        first: int | None = None,
        last: int | None = None,
        sampling: Sampling = PLAIN,
        seed: int = 0,
    ) -> Piece:
        """The piece with some voices written anew from bar `first` to bar `last`, both included.

        Bars are counted from 1 as in a score: an upbeat is bar 0. Every other note comes back as it was, on the grid.
        """
        piece = read_piece(piece)[0] if not isinstance(piece, Piece) else piece
        grid, _ = from_piece(piece)
        for voice in voices:
            if voice not in VOICES:
                raise UserError(f"expected a voice of {', '.join(VOICES)}, got {voice!r}")
        pickup = _pickup(piece) or upbeat(len(grid))
        lowest, highest = int(not pickup), -(-(len(grid) - pickup) // BAR)
        start, stop = lowest if first is None else first, highest if last is None else last
        if not lowest <= start <= stop <= highest:
            raise UserError(f"expected bars from {lowest} to {highest}, first to last, got {start} to {stop}")
        begin, end = max(0, pickup + (start - 1) * BAR), pickup + stop * BAR
        grid[begin:end, [VOICES.index(voice) for voice in voices]] = UNKNOWN
        return self._filled(piece, grid, onsets(piece, grid), sampling, seed)

    def fill(self, grid: Grid, *, sampling: Sampling = PLAIN, seed: int = 0) -> Grid:
        """The grid [steps, 4] with its unknown notes (-2) found, given all the others, which stay as they are."""
        self._must("infill", "harmonizing and filling in", "chorales-infill")
        source = torch.from_numpy(self.codec.encode(grid, holes=True))[None]
        if len(grid) > MOST_STEPS:
            raise UserError(f"expected a piece of at most {MOST_STEPS:,} sixteenths, got {len(grid):,}; cut it")
        length = source.size(1)
        columns = generate(
            *started(self.model.eval(), length=length, source=source.to(self._device), exact=self._exact),
            steps=length,
            sampling=sampling,
            seed=seed,
            allow=_allowed(self._device, end=None),
            prefix=source.masked_fill(source == HOLE, FREE),
        )
        return self.codec.decode([int(column[0]) for column in columns])

    @torch.no_grad()
    def attention(self, grid: Grid) -> list[Tensor]:
        """Attention of the decoder's layers while it writes a grid [steps, 4]: each [1, heads, positions, positions].

        A position is a sixteenth of all voices, or a note for models without `Config.patch`. Row i writes position i;
        column j has read position j - 1, column 0 nothing. An infilling model knows all notes.
        """
        if len(grid) > MOST_LOOKED_AT:
            raise UserError(
                f"expected at most {MOST_LOOKED_AT} sixteenths to look at, got {len(grid):,}; cut the piece"
            )
        ids = torch.from_numpy(self.codec.encode(grid))[None].to(self._device)
        maps = AttentionMaps()
        self.model.eval()(ids, source=ids if self.task == "infill" else None, maps=maps)
        return maps.decoder

    # -- parts --------------------------------------------------------------------------------------------------------

    @property
    def _device(self) -> torch.device:
        return self.model.embedding.weight.device

    def _files(self) -> dict[str, bytes]:
        return {FILE: self.codec.to_bytes()}

    def _filled(self, piece: Piece, grid: Grid, struck: NDArray[np.bool_], sampling: Sampling, seed: int) -> Piece:
        """The piece with the unknown notes of its grid found; `struck` is where known ones begin."""
        found = self.fill(grid, sampling=sampling, seed=seed)
        return to_piece(found, piece.tempo, pickup=_pickup(piece) or upbeat(len(grid)), struck=struck)

    def _must(self, task: Task, what: str, shipped: str) -> None:
        if self.task != task:
            kind = "a decoder alone" if task == "compose" else "an encoder-decoder trained on pieces with holes"
            raise UserError(f"expected {kind} for {what}, got a model of the other kind; use --model {shipped}")

    def _columns(
        self, primer: Grid, label: str | None, steps: int | None, sampling: Sampling, seed: int, rows: int = 1
    ) -> Iterator[Tensor]:
        """Tokens [rows] of one position after another, those of the primer first."""
        self._must("compose", "composing and continuing", "chorales")
        if len(primer) >= MOST_STEPS:
            raise UserError(f"expected a primer of less than {MOST_STEPS:,} sixteenths, got {len(primer):,}; cut it")
        wanted = steps if steps is not None else min(MOST_STEPS, max(USUAL_STEPS, 2 * len(primer)))
        if not len(primer) < wanted <= MOST_STEPS:
            raise UserError(
                f"expected {len(primer) + 1:,} to {MOST_STEPS:,} sixteenths, got {wanted:,}; choose another length"
            )
        classes = torch.full((rows,), -1 if label is None else self._class(label), device=self._device)
        forced = torch.from_numpy(self.codec.encode(primer)).expand(rows, -1) if len(primer) else None
        return generate(
            *started(self.model.eval(), length=4 * wanted, rows=rows, label=classes, exact=self._exact),
            steps=4 * wanted,
            end=END if steps is None else None,
            sampling=sampling,
            seed=seed,
            allow=_allowed(self._device, end=4 * len(primer) if steps is None else None),
            prefix=forced,
        )

    def _class(self, label: str) -> int:
        if not self.model.config.classes or self.card.get("labelled") is False:
            raise UserError(f"expected a model with labels for --label {label}, got one without; leave the label out")
        wanted = label.strip().lower()
        if wanted in ("major", "minor"):
            return int(wanted == "minor")
        keys = [Key(tonic, minor) for minor in (False, True) for tonic in range(12)]
        for key in keys:
            if key.name.lower() == wanted:
                return label_of(key)
        raise UserError(f"expected a label of major, minor, {', '.join(key.name for key in keys)}, got {label!r}")


def _pickup(piece: Piece) -> int:
    """Sixteenths before the first bar line, as far as the piece knows it: one that was read from MIDI does not."""
    return (in_sixteenths(piece).pickup or 0) % BAR


def _allowed(device: torch.device, *, end: int | None) -> Any:
    """The grammar: each voice in its range or silent; END only after whole quarter notes and more than `end` ids."""
    masks = torch.zeros(4, ChoraleCodec.vocabulary, dtype=torch.bool)
    for voice, (low, high) in enumerate(RANGES):
        masks[voice, low - LOWEST : high - LOWEST + 1] = True
        masks[voice, REST] = True
    ending = masks[0].clone()
    ending[END] = True
    masks, ending = masks.to(device), ending.to(device)
    quarter = 4 * STEPS_PER_QUARTER

    def allow(ids: Tensor) -> Tensor:
        rows, position = ids.shape
        may_end = end is not None and position > end and position % quarter == 0
        return (ending if may_end else masks[position % 4]).expand(rows, -1)

    return allow
