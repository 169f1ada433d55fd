"""What a model says of a piece in all twelve keys: the mean of the probabilities, a mixture and so a likelihood too.

It is better than in one key alone, and what one model is taught by others (Hinton, Vinyals and Dean 2015).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.music.chorales.codec import REST
from triptych.music.chorales.data import FURTHEST, moved_pitches
from triptych.music.chorales.labels import moved_label

KEYS = tuple(range(1 - FURTHEST, FURTHEST + 1))  # semitones


@torch.no_grad()
def probabilities(model: Transformer, batch: Batch, keys: Sequence[int] = KEYS) -> Tensor:
    """Probabilities of every token of one piece, float64 [L, vocabulary], by the mean over keys (in semitones from the
    piece as it is). A source and a label move along.

    A key counts for a token as long as the vocabulary has all pitches before it there (and all known ones of a source),
    and gives nothing to a token that it has no name for: nothing is known of the future. So what is given to pitches
    that the piece itself has no name for is missing from the sum.
    """
    assert len(batch) == 1
    batch = batch.to(model.device)
    shifts = torch.tensor(keys, device=batch.target.device)[:, None]
    target, outside = _moved(batch.target, shifts)
    alive = torch.zeros_like(outside)  # whether the key has all tokens before this one
    alive[:, 1:] = outside.cumsum(1)[:, :-1] > 0
    alive = ~alive
    source, lengths, label = None, None, None
    if batch.source is not None:
        source, unknown = _moved(batch.source, shifts)
        alive &= ~unknown.any(1, keepdim=True)
        lengths = batch.lengths.expand(len(shifts))
    if batch.label is not None:
        label = torch.tensor([moved_label(int(batch.label), shift) for shift in keys], device=shifts.device)
    model.eval()
    found = model(target, source=source, source_lengths=lengths, label=label).double().softmax(-1)
    total = found.new_zeros(found.shape[1:])
    for key, shift in enumerate(keys):
        total += moved_pitches(found[key], -shift) * alive[key, :, None]
    return total / alive.sum(0)[:, None]  # type: ignore[no-any-return]


def _moved(ids: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
    """Ids [1, L] moved by semitones [K, 1], and where the vocabulary has no such pitch: both [K, L]."""
    moved = torch.where(ids < REST, ids + shifts, ids)
    outside = (ids < REST) & ((moved < 0) | (moved >= REST))
    return moved.masked_fill(outside, REST), outside
