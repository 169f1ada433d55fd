"""Negative log-likelihood of chorales in nats a token (Huang et al. 2018, table 2).

Every token of whole pieces counts, in full context, rests included; neither a label nor END does. A transposition
ensemble takes the mean of the probabilities of a piece in all twelve keys: a mixture, and so a likelihood too, which is
better than that in one key alone.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from triptych.model.batch import Batch
from triptych.music.chorales.codec import HOLE, REST, VOICES, ChoraleCodec
from triptych.music.chorales.data import MAX_SEMITONES, moved_pitches
from triptych.music.chorales.labels import moved_label
from triptych.music.likelihood import Likelihood

if TYPE_CHECKING:
    from torch import Tensor

    from triptych.model.transformer import Transformer

KEYS = tuple(range(1 - MAX_SEMITONES, MAX_SEMITONES + 1))  # semitones


def token_nll(model: Transformer, batch: Batch) -> Tensor:
    """`Transformer.nll` of a batch on any device, without dropout."""
    import torch

    with torch.no_grad():
        return model.eval().nll(batch.to(model.device))


def ensemble_nll(model: Transformer, batch: Batch) -> Tensor:
    """`token_nll` by the transposition ensemble, one row at a time."""
    found = ensemble_probabilities(model, batch).gather(1, batch.target.T.to(model.device))
    return -found.log().T.float()


def ensemble_probabilities(model: Transformer, batch: Batch, keys: Sequence[int] = KEYS) -> Tensor:
    """Probabilities of every token of one piece, float64 [L, vocabulary], by the mean over keys (in semitones from the
    piece as it is). A source and a label move along.

    A key counts for a token as long as the vocabulary has all pitches before it there (and all known ones of a source),
    and gives nothing to a token that it has no name for: the future stays unknown. So what is given to pitches that the
    piece itself has no name for is missing from the sum.
    """
    import torch

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
    with torch.no_grad():
        found = model.eval()(target, source=source, source_lengths=lengths, label=label).double().softmax(-1)
    total = found.new_zeros(found.shape[1:])
    for key, shift in enumerate(keys):
        total += moved_pitches(found[key], -shift) * alive[key, :, None]
    return total / alive.sum(0)[:, None]


def _moved(ids: Tensor, shifts: Tensor) -> tuple[Tensor, Tensor]:
    """Ids [1, L] moved by semitones [K, 1], and where the vocabulary has no such pitch: both [K, L]."""
    moved = (ids + shifts).where(ids < REST, ids)
    outside = (ids < REST) & ((moved < 0) | (moved >= REST))
    return moved.masked_fill(outside, REST), outside


def likelihood(
    model: Transformer, pieces: Iterable[Batch], *, codec: ChoraleCodec | None = None, ensemble: bool = False
) -> Likelihood:
    """The likelihood of all tokens of all pieces, or with sources of the tokens hidden there.

    codec: that of the pieces, whose voices may follow each other in another order than soprano, alto, tenor, bass.
    ensemble: by the transposition ensemble; the pieces are then of one row each.
    """
    import torch

    columns = (codec or ChoraleCodec()).columns
    measure = ensemble_nll if ensemble else token_nll
    voices = torch.zeros(4, 2, dtype=torch.float64)  # sum and number of each voice
    count, means = 0, []
    for batch in pieces:
        nll = measure(model, batch).double().cpu()
        count += len(batch)
        counted = torch.arange(nll.size(1)) < batch.lengths.cpu()[:, None]
        if batch.source is not None:
            counted &= batch.source.cpu() == HOLE
        for place, voice in enumerate(columns):
            mine = counted[:, place::4]
            voices[voice] += torch.stack([nll[:, place::4][mine].sum(), mine.sum().double()])
        means += [float(row[chosen].mean()) for row, chosen in zip(nll, counted, strict=True) if bool(chosen.any())]
    total, number = voices.sum(0).tolist()
    return Likelihood(
        nll=total / number if number else math.nan,
        tokens=int(number),
        pieces=count,
        nll_per_piece=sum(means) / len(means) if means else math.nan,
        per_voice={name: nats / many for name, (nats, many) in zip(VOICES, voices.tolist(), strict=True) if many},
    )
