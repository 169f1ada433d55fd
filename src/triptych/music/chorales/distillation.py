"""Distillation of trained composers: their probabilities of every note, by a transposition ensemble, as soft targets.

Distillation (Hinton, Vinyals and Dean 2015) into a model of the same size ("born-again networks", Furlanello et al.
2018): the mean over twelve keys, or over several teachers, is better than any of its terms, and the pupil learns it as
one model in one key.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from triptych.model.batch import Batch
from triptych.music.chorales.codec import END, HOLE, VOICES, ChoraleCodec, Grid
from triptych.music.chorales.data import Distillation, Mask, Probabilities, draw_holes, whole_quarters
from triptych.music.chorales.labels import label_of
from triptych.music.chorales.score import ensemble_probabilities
from triptych.music.piece.key import key_of

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from triptych.model.transformer import Transformer

SPANS, OTHERS = 2, 3  # of a piece, masks that the teachers of a filling model are given
MIN_SPAN, MAX_SPAN = 1 / 6, 2 / 3  # of a piece are hidden by a span: the middle third and what lies around it


def distilled(
    teachers: Sequence[Transformer],
    grids: Sequence[Grid],
    composed: Sequence[Grid],
    *,
    share: float,
    codec: ChoraleCodec | None = None,
    dtype: torch.dtype | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Distillation:
    """The teachers' probabilities of every piece, without label, with its mode and with its key.

    codec: that of the teachers and of the pupil: probabilities of a voice depend on the voices before it in a moment.
    dtype: of the teachers' matrix products, float32 if None. progress: gets the number of pieces done, and of all.
    """
    codec, total = codec or ChoraleCodec(), len(grids) + len(composed)
    found: list[Sequence[Probabilities]] = []
    for grid in map(whole_quarters, (*grids, *composed)):
        ids, key = np.append(codec.encode(grid), END), key_of(grid)
        labels = (-1, label_of(key, mode_only=True), label_of(key))
        found.append([_mean([_asked(teacher, ids, label, dtype) for teacher in teachers]) for label in labels])
        progress(len(found), total)
    made = [whole_quarters(grid) for grid in composed]
    return Distillation(found[: len(grids)], made, found[len(grids) :], share)


def distilled_to_infill(
    teachers: Sequence[Transformer],
    grids: Sequence[Grid],
    *,
    share: float,
    codec: ChoraleCodec | None = None,
    seed: int = 1,
    dtype: torch.dtype | None = None,
    progress: Callable[[int, int], None] = lambda done, total: None,
) -> Distillation:
    """The teachers' probabilities of every piece with the three lower voices hidden, with spans of all voices hidden,
    and with random holes.

    Those that compose read no source; one that is named twice is asked once and counts twice. The targets of known
    notes are the notes.
    """
    codec, random = codec or ChoraleCodec(), np.random.default_rng(seed)
    found: list[list[Probabilities]] = []
    masks: list[Sequence[Mask]] = []
    for grid in map(whole_quarters, grids):
        masks.append(_masks(len(grid), random))
        ids = codec.encode(grid)
        asked = {one: _endless(_asked(one, ids, -1, dtype)) for one in set(teachers) if not one.config.encoder_layers}
        found.append([])
        for mask in masks[-1]:
            hidden = codec.ordered(mask)
            source = np.where(hidden, HOLE, ids)
            asked |= {one: _asked(one, ids, -1, dtype, source) for one in set(teachers) if one.config.encoder_layers}
            mean = _mean([asked[one] for one in teachers])
            mean[~hidden] = np.eye(mean.shape[1])[ids[~hidden]]
            found[-1].append(mean)
        progress(len(found), len(grids))
    return Distillation(found, (), (), share, masks)


def _masks(steps: int, random: np.random.Generator) -> list[Mask]:
    """The masks of one piece: the three lower voices, spans of all voices, and what training draws."""
    harmonizing = np.zeros((steps, len(VOICES)), bool)
    harmonizing[:, 1:] = True
    spans = np.zeros((SPANS, steps, len(VOICES)), bool)
    for span in spans:
        length = int(random.integers(math.ceil(MIN_SPAN * steps), math.ceil(MAX_SPAN * steps) + 1))
        start = int(random.integers(steps - length + 1))
        span[start : start + length] = True
    return [harmonizing, *spans, *(draw_holes(steps, random) for _ in range(OTHERS))]


def _asked(
    teacher: Transformer,
    ids: NDArray[np.int64],
    label: int,
    dtype: torch.dtype | None,
    source: NDArray[np.int64] | None = None,
) -> Tensor:
    """A teacher's probabilities of ids [L] by the transposition ensemble: [L, vocabulary] on the CPU."""
    import torch

    from triptych.train.precision import autocast

    length = np.array([len(ids)])
    known, known_length = (None, None) if source is None else (source[None], length)
    piece = Batch.of(ids[None], length, known, known_length, np.array([label]))
    with autocast(teacher.device, dtype or torch.float32):
        return ensemble_probabilities(teacher, piece).cpu()


def _endless(probabilities: Tensor) -> Tensor:
    """The same without END, which a piece with holes does not need."""
    probabilities[:, END] = 0
    return probabilities / probabilities.sum(-1, keepdim=True)


def _mean(several: Sequence[Tensor]) -> Probabilities:
    """The mean of the teachers' probabilities, which sums to 1, in float16."""
    import torch

    mean = torch.stack(list(several)).sum(0)
    return (mean / mean.sum(-1, keepdim=True)).to(torch.float16).numpy()
