"""Chorales from files, and in batches: what training and measuring the music models read.

Files: the JSON of the JSB chorales (`{"train": [piece, ...], "valid": ...}`, a piece a list of steps of four pitches),
or a folder or zip of MIDI files, of which every tenth by name is the validation split.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, shown
from triptych.model.batch import Batch, Batches, Examples
from triptych.music.batches import Ids, grouped
from triptych.music.chorales.augmentation import AUGMENTED, Augmentation
from triptych.music.chorales.codec import (
    END,
    HIGHEST,
    HOLE,
    LOWEST,
    REST,
    SILENT,
    STEPS_PER_QUARTER,
    ChoraleCodec,
    Grid,
    check_grid,
    from_piece,
)
from triptych.music.chorales.labels import label_of
from triptych.music.files.folder import HELD_OUT, MusicFiles
from triptych.music.files.reading import read_many
from triptych.music.piece.bars import BAR
from triptych.music.piece.key import Key, key_of
from triptych.music.piece.metre_table import known_places

if TYPE_CHECKING:
    from torch import Tensor

MAX_JSON_BYTES = 200_000_000
WITHHELD = 0.25  # share of the crops in training whose metre is withheld
KINDS = (0.4, 0.3, 0.3)  # of the pieces in training: without a label, labelled by their mode, by their key
BAR_TOKENS = 4 * BAR
MAX_SEMITONES = 6  # semitones of transposition

Probabilities = NDArray[np.float16]  # [tokens, vocabulary]
Mask = NDArray[np.bool_]  # [steps, 4]


def read_chorales(path: str | Path, split: str = "train") -> tuple[list[Grid], list[str]]:
    """The chorales of a split as grids [steps, 4], and a word about each file that was left out or changed.

    Raises UserError where nothing can be read, or the split is empty.
    """
    path = Path(path)
    if not path.exists():
        raise UserError(f"expected a folder, a zip or a JSON file of chorales, got {path}, which is not there")
    if path.is_dir() or path.suffix.lower() == ".zip":
        grids, words = _from_midi(path, split)
    else:
        grids, words = _from_json(path, split), []
    if not grids:
        reason = f"; first: {words[0]}" if words else f"; of MIDI files, every {HELD_OUT}th by name is 'valid'"
        raise UserError(f"expected chorales in the split {split!r} of {path}, got none{reason}")
    return grids, words


def _from_json(path: Path, split: str) -> list[Grid]:
    if path.stat().st_size > MAX_JSON_BYTES:
        raise UserError(f"expected a JSON file of at most {MAX_JSON_BYTES:,} bytes, got more in {path}; split it")
    try:
        splits = json.loads(path.read_text("utf-8"))
    except (ValueError, RecursionError):
        splits = None
    if not isinstance(splits, dict):
        raise UserError(
            f"expected a folder, a zip, or JSON of splits, pieces and steps of four pitches, got other things in {path}"
        )
    pieces = splits.get(split)
    if not isinstance(pieces, list):
        known = ", ".join(repr(name[:20]) for name in list(splits)[:10])
        raise UserError(f"expected one of the splits of {path}, a list of pieces, got {split!r}; its names: {known}")
    grids = []
    for number, piece in enumerate(pieces, 1):
        try:
            grids.append(check_grid(np.array(piece)))
        except (ValueError, TypeError, OverflowError) as error:
            uneven = "expected integers [steps, 4], got lists of different lengths or depths"
            reason = error if isinstance(error, UserError) else uneven
            raise UserError(f"piece {number} of the split {split!r} in {path}: {reason}") from None
    return grids


def _from_midi(path: Path, split: str) -> tuple[list[Grid], list[str]]:
    grids, words = [], []
    with MusicFiles(path) as files:
        if split not in ("train", "valid"):
            raise UserError(f"expected the split 'train' or 'valid' of a folder or zip, got {split!r}")
        names = [name for place, name in enumerate(files.names, 1) if (place % HELD_OUT == 0) == (split == "valid")]
        for name, found in read_many(names, lambda reader, name: reader.read_piece(files.source(name), name=name)):
            if isinstance(found, UserError):  # which names the file
                words.append(str(found))
                continue
            try:
                grid, notices = from_piece(found[0])
            except UserError as error:
                words.append(f"{name!r}: {error}")
            else:
                grids.append(grid)
                words.extend(f"{name!r}: {word}" for word in found[1] + notices)
    return grids, words


def whole_quarters(grid: Grid) -> Grid:
    """The grid with rests to the end of its last quarter note, where alone a piece of a composer can end."""
    return np.pad(grid, ((0, -len(grid) % STEPS_PER_QUARTER), (0, 0)), constant_values=SILENT)


def transpositions(grid: Grid) -> list[int]:
    """Semitones by which the piece can be moved, from five down to six up, while the vocabulary has all its pitches.

    Twelve keys of a piece are worth more than voices that stay in their ranges: these a model learns all the same.
    """
    pitches = grid[grid >= 0]
    if not pitches.size:
        return [0]
    down, up = LOWEST - int(pitches.min()), HIGHEST - int(pitches.max())
    return list(range(max(1 - MAX_SEMITONES, down), min(MAX_SEMITONES, up) + 1))


def transposed(grid: Grid, semitones: int) -> Grid:
    """The grid moved by semitones; rests stay."""
    return np.where(grid >= 0, grid + semitones, grid)


@dataclass(frozen=True, eq=False)
class Distillation:
    """Probabilities that teachers give to the pieces of a training set, and to others that they composed: what a model
    learns beside the notes (`distillation` makes it).

    soft_targets: by piece and kind of label (none, mode, key), probabilities [tokens, vocabulary], to compose with END.
    composed: pieces that are no data, of which the probabilities `composed_targets` alone are learned.
    share: the weight of the probabilities against the notes of the data, from 0 to 1.
    masks: to fill in, by piece the masks [steps, 4] that teachers were given; `soft_targets` is by mask instead.
    """

    soft_targets: Sequence[Sequence[Probabilities]]
    composed: Sequence[Grid]
    composed_targets: Sequence[Sequence[Probabilities]]
    share: float
    masks: Sequence[Sequence[Mask]] = ()


@dataclass(frozen=True, eq=False)
class _Piece:
    """A piece to train on, with the places of its steps in their bars, and its soft targets (see `Distillation`)."""

    grid: Grid
    places: Ids | None
    soft_targets: Sequence[Probabilities] = ()
    share: float = 0.0
    masks: Sequence[Mask] = ()

    @cached_property
    def key(self) -> Key:
        return key_of(self.grid)

    @cached_property
    def shifts(self) -> list[int]:
        return transpositions(self.grid)


class ChoraleData:
    """Chorales in batches of about `tokens_per_batch` target tokens, by epoch.

    task: "compose" trains a decoder on whole pieces with END, or on crops of at most `length` tokens that begin after
    whole bars, as many of a piece as cover it, its beginning and its end among them; "infill" gives as source the same
    tokens with holes, and needs no END.
    distillation: soft targets beside the notes; of the pieces that teachers composed, at most half as many as there
    are data are drawn for an epoch.
    metre: that of `Positions.metre`; if it is not 0, most crops have the metres of their pieces (`known_places`).
    Everything random is a function of (seed, epoch).
    """

    def __init__(
        self,
        grids: Sequence[Grid],
        codec: ChoraleCodec,
        *,
        task: Literal["compose", "infill"] = "compose",
        tokens_per_batch: int = 8192,
        length: int = 1024,
        augmentation: Augmentation = AUGMENTED,
        distillation: Distillation | None = None,
        metre: int = 0,
        seed: int = 1,
    ) -> None:
        if length < BAR_TOKENS or length % BAR_TOKENS:
            raise UserError(f"expected data.length in whole bars ({BAR_TOKENS} tokens each), got {length}")
        self.grids, self.codec, self.task = [whole_quarters(check_grid(grid)) for grid in grids], codec, task
        self.length, self.tokens_per_batch = length, max(tokens_per_batch, length + 1)
        self.augmentation, self.metre, self.seed = augmentation, metre, seed
        self._pieces = [_Piece(grid, known_places(grid, metre) if metre else None) for grid in self.grids]
        self._composed: list[_Piece] = []
        if distillation is not None:
            share, masks = distillation.share, distillation.masks or [()] * len(self.grids)
            self._pieces = [
                replace(piece, soft_targets=targets, share=share, masks=its)
                for piece, targets, its in zip(self._pieces, distillation.soft_targets, masks, strict=True)
            ]
            composed = zip(distillation.composed, distillation.composed_targets, strict=True)
            self._composed = [_Piece(grid, None, targets, 1.0) for grid, targets in composed]

    def __len__(self) -> int:
        """The number of pieces."""
        return len(self.grids)

    def epoch(self, number: int) -> Batches:
        """The batches of epoch `number`, counted from 0."""
        random = np.random.default_rng([self.seed, number])
        targets: list[Ids] = []
        sources: list[Ids] = []
        labels: list[int] = []
        soft_targets: list[NDArray[np.float32]] = []
        metres: list[Ids] = []
        drawn = random.permutation(len(self._composed))[: len(self._pieces) // 2].tolist()
        for piece in [*self._pieces, *(self._composed[place] for place in drawn)]:
            shift = int(random.choice(piece.shifts)) if self.augmentation.transpose else 0
            changed = self.augmentation.changed(piece.grid, random)
            grid, empty = (piece.grid, np.zeros(piece.grid.shape, bool)) if changed is None else changed
            moved, key = transposed(grid, shift), piece.key.transposed(shift)
            for start in self._starts(4 * len(moved), random):
                crop = self.codec.encode(moved[start // 4 : (start + self.length) // 4])
                whole = start + self.length >= 4 * len(moved) and self.task == "compose"
                targets.append(np.append(crop, END) if whole else crop)
                kind = self._kind(random)
                labels.append((-1, label_of(key, mode_only=True), label_of(key))[kind])
                if self.task == "infill":
                    if piece.masks and changed is None:  # teachers were given these alone, without a label
                        kind, labels[-1] = int(random.integers(len(piece.masks))), -1
                        hidden = self.codec.ordered(piece.masks[kind])[start : start + len(crop)]
                    else:
                        holes = draw_holes(len(crop) // 4, random)
                        hidden = self.codec.ordered(holes & ~empty[start // 4 : (start + len(crop)) // 4])
                    sources.append(np.where(hidden, HOLE, crop))
                if self.metre:
                    known = piece.places is not None and random.random() >= WITHHELD
                    first = start // 4 - len(grid) + len(piece.grid)  # steps come and go at the beginning alone
                    metres.append(_crop(piece.places if known else None, first, -(-len(targets[-1]) // 4)))
                if piece.soft_targets and changed is None:
                    part = piece.soft_targets[kind][start : start + len(targets[-1])]
                    soft_targets.append(interpolated(part, targets[-1], shift, piece.share))
                elif piece.soft_targets:  # no teacher was given what the piece has become
                    soft_targets.append(np.eye(self.codec.vocabulary, dtype=np.float32)[targets[-1]])
        groups = grouped([len(target) for target in targets], self.tokens_per_batch, random)
        return Batches(Examples(targets, sources or None, labels, soft_targets or None, metres or None).batch, groups)

    def _starts(self, tokens: int, random: np.random.Generator) -> list[int]:
        """First tokens of the crops of a piece, as many as cover it: its beginning, its end, and others at random.

        All after whole bars, so that a token has the same place in the bar as in the whole piece.
        """
        if tokens <= self.length:
            return [0]
        last = -(-(tokens - self.length) // BAR_TOKENS)
        more = -(-tokens // self.length) - 2
        return [0, *(BAR_TOKENS * random.integers(1, last + 1, more)).tolist(), BAR_TOKENS * last]

    def _kind(self, random: np.random.Generator) -> int:
        """Which kind of label a crop gets: none, mode, key."""
        drawn = random.random()  # drawn even where no label is given, so that all else stays the same
        return int(np.searchsorted(np.cumsum(KINDS)[:-1], drawn, "right")) if self.augmentation.label else 0


def _crop(places: Ids | None, first: int, steps: int) -> Ids:
    """The places of some steps, [steps, 2]; where there are none, before the first and past the last, withheld."""
    found = np.zeros((steps, 2), np.int64)
    if places is not None:
        part = places[max(0, first) : max(0, first + steps)]
        found[max(0, -first) : max(0, -first) + len(part)] = part
    return found


def interpolated(probabilities: Probabilities, ids: Ids, semitones: int, share: float) -> NDArray[np.float32]:
    """Soft targets [L, vocabulary]: `share` times the probabilities of a piece before it was moved up by semitones, and
    1 - `share` times the ids [L] themselves.
    """
    import torch  # whose order of summing the recorded runs have

    found = moved_pitches(torch.from_numpy(probabilities.astype(np.float32)), semitones)
    found *= share / found.sum(-1, keepdim=True).clamp(min=1e-6)
    found[torch.arange(len(ids)), torch.from_numpy(ids)] += 1 - share
    return found.numpy()


def moved_pitches(values: Tensor, semitones: int) -> Tensor:
    """Values [..., vocabulary] of a piece for the piece moved up by semitones; what falls out is gone."""
    low, high = max(0, semitones), min(REST, REST + semitones)
    found = values.new_zeros(values.shape)
    found[..., low:high] = values[..., low - semitones : high - semitones]
    found[..., REST:] = values[..., REST:]
    return found


def listed(grids: object) -> list[Grid]:
    """Return a list of grids [steps, 4] of any iterable of them. UserError for one grid alone, or a file's name."""
    alone = isinstance(grids, str | bytes) or (isinstance(grids, np.ndarray) and grids.ndim < 3)
    if alone or not isinstance(grids, Iterable):
        raise UserError(f"expected pieces as a list of grids, got {shown(grids)}; read_chorales reads a file of them")
    return list(grids)


def held_out_pieces(
    grids: Sequence[Grid], codec: ChoraleCodec, task: Literal["compose", "infill"] = "compose", *, metre: int = 0
) -> list[Batch]:
    """Whole pieces as they are, a piece a batch, without label and END: 4 tokens a step, each counted.

    For infilling, the three lower voices are hidden. metre: that of `Positions.metre`, if the metre is known.
    """
    found = []
    for grid in listed(grids):
        ids = codec.encode(grid)
        hidden = np.zeros_like(grid, dtype=bool)
        hidden[:, 1:] = True
        sources = [np.where(codec.ordered(hidden), HOLE, ids)] if task == "infill" else None
        metres = [known_places(grid, metre)] if metre else []
        found.append(Examples([ids], sources, [-1], metres=metres or None).batch(np.array([0])))
    return found


def draw_holes(steps: int, random: np.random.Generator) -> NDArray[np.bool_]:
    """A random mask of what is to be found, bool [steps, 4]: voices, a span, both, or single notes.

    A third each: one to all voices throughout; some or all voices within a span; every quarter note of every voice
    by itself, as often as a number that is drawn first.
    """
    hidden = np.zeros((steps, 4), bool)
    kind = random.integers(3)
    if kind == 2:
        quarters = random.random((-(-steps // STEPS_PER_QUARTER), 4)) < random.random()
        return np.repeat(quarters, STEPS_PER_QUARTER, 0)[:steps]
    voices = random.permutation(4)[: random.integers(1, 5)]
    start, stop = (0, steps) if kind == 0 else sorted(random.integers(0, steps + 1, 2).tolist())
    hidden[start:stop, voices] = True
    return hidden
