"""Learning from trained composers: what they say of every note in every key, beside what the note was.

Distillation (Hinton, Vinyals and Dean 2015) into a model of the same size ("born-again networks", Furlanello et al.
2018): the mean over twelve keys, or over several teachers, is better than any of its terms, and a pupil learns it as
one model in one key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.music.chorales.codec import END, HOLE, VOICES, ChoraleCodec, Grid
from triptych.music.chorales.data import Lessons, Mask, Said, draw_holes, whole_quarters
from triptych.music.chorales.every_key import probabilities
from triptych.music.chorales.labels import label_of
from triptych.music.piece.key import key_of
from triptych.train.precision import autocast

SPANS, OTHERS = 2, 3  # of a piece, masks about which the teachers of a filling model are asked
SHORTEST, LONGEST = 1 / 6, 2 / 3  # of a piece are hidden by a span: the middle third and what lies around it
MASKS = 1 + SPANS + OTHERS


def lessons(
    teachers: Sequence[Transformer],
    grids: Sequence[Grid],
    composed: Sequence[Grid],
    *,
    share: float,
    codec: ChoraleCodec | None = None,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Lessons:
    """Ask the teachers about every piece, without label, with its mode and with its key.

    codec: that of the teachers and of who learns: what is said of a voice depends on the voices before it in a moment.
    dtype: of the teachers' matrix products. progress: told how many pieces are done, and of how many.
    """
    codec, total = codec or ChoraleCodec(), len(grids) + len(composed)
    said: list[Sequence[Said]] = []
    for grid in map(whole_quarters, (*grids, *composed)):
        ids, key = np.append(codec.encode(grid), END), key_of(grid)
        labels = (-1, label_of(key, mode_only=True), label_of(key))
        said.append([_mean([_asked(teacher, ids, label, dtype) for teacher in teachers]).numpy() for label in labels])
        progress(len(said), total)
    return Lessons(said[: len(grids)], [whole_quarters(grid) for grid in composed], said[len(grids) :], share)


def filling_lessons(
    teachers: Sequence[Transformer],
    grids: Sequence[Grid],
    *,
    share: float,
    codec: ChoraleCodec | None = None,
    seed: int = 1,
    dtype: torch.dtype = torch.float32,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Lessons:
    """Ask teachers about every piece: with the three lower voices hidden, with spans of all voices, with random holes.

    Those that compose say what they do without a source; who is named twice is asked once and counts twice. What is
    learned of known notes is the notes.
    """
    codec, random = codec or ChoraleCodec(), np.random.default_rng(seed)
    said: list[list[Said]] = []
    holes: list[Sequence[Mask]] = []
    for grid in map(whole_quarters, grids):
        masks, ids = _masks(len(grid), random), codec.encode(grid)
        told = {one: _endless(_asked(one, ids, -1, dtype)) for one in set(teachers) if not one.config.encoder_layers}
        said.append([])
        for mask in masks:
            hidden = codec.ordered(mask)
            source = np.where(hidden, HOLE, ids)
            told |= {one: _asked(one, ids, -1, dtype, source) for one in set(teachers) if one.config.encoder_layers}
            found = _mean([told[one] for one in teachers])
            found[~hidden] = functional.one_hot(torch.from_numpy(ids[~hidden]), found.size(-1)).to(found)
            said[-1].append(found.numpy())
        holes.append(masks)
        progress(len(said), len(grids))
    return Lessons(said, (), (), share, holes)


def _masks(steps: int, random: np.random.Generator) -> list[Mask]:
    """All that is asked about one piece: the three lower voices, spans of all voices, and what training draws."""
    harmonizing = np.zeros((steps, len(VOICES)), bool)
    harmonizing[:, 1:] = True
    spans = np.zeros((SPANS, steps, len(VOICES)), bool)
    for span in spans:
        length = int(random.integers(math.ceil(SHORTEST * steps), math.ceil(LONGEST * steps) + 1))
        start = int(random.integers(steps - length + 1))
        span[start : start + length] = True
    return [harmonizing, *spans, *(draw_holes(steps, random) for _ in range(OTHERS))]


def _asked(
    teacher: Transformer,
    ids: NDArray[np.int64],
    label: int,
    dtype: torch.dtype,
    source: NDArray[np.int64] | None = None,
) -> Tensor:
    """What a teacher says in every key of ids [L]: probabilities [L, vocabulary] on the CPU."""
    length = torch.tensor([len(ids)])
    known = None if source is None else torch.from_numpy(source)[None]
    source_length = None if source is None else length
    piece = Batch(torch.from_numpy(ids)[None], length, known, source_length, torch.tensor([label]))
    with autocast(teacher.device, dtype):
        return probabilities(teacher, piece).cpu()


def _endless(said: Tensor) -> Tensor:
    """The same without END: a piece with holes is as long as it is."""
    said[:, END] = 0
    return said / said.sum(-1, keepdim=True)


def _mean(said: Sequence[Tensor]) -> Tensor:
    """The mean of what several said, which sums to 1, in float16."""
    mean = torch.stack(list(said)).sum(0)
    return (mean / mean.sum(-1, keepdim=True)).to(torch.float16)
