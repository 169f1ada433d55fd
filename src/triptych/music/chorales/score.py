"""How well a model predicts chorales: negative log-likelihood in nats a token (Huang et al. 2018, table 2).

Every token of whole pieces counts, in full context, rests included; neither a label nor END does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

import torch
from torch import Tensor

from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.music.chorales.codec import HOLE, VOICES, ChoraleCodec
from triptych.music.chorales.every_key import probabilities


@torch.no_grad()
def token_nll(model: Transformer, batch: Batch) -> Tensor:
    """`Transformer.nll` of a batch on any device, without dropout."""
    return model.eval().nll(batch.to(model.device))


def token_nll_in_every_key(model: Transformer, batch: Batch) -> Tensor:
    """The same by the mean of the probabilities that a piece has in twelve keys. One row at a time."""
    found = probabilities(model, batch).gather(1, batch.target.T.to(model.device))
    return -found.log().T.float()


def likelihood(
    model: Transformer, pieces: Iterable[Batch], *, codec: ChoraleCodec | None = None, every_key: bool = False
) -> dict[str, Any]:
    """`nll` (nats a token) over all tokens of all pieces, their number `tokens`, the mean of the pieces' own means
    `nll_per_piece`, and `per_voice`. With sources, only the tokens hidden there count.

    codec: that of the pieces, whose voices may follow each other in another order than soprano, alto, tenor, bass.
    every_key: by the mean of twelve keys; the pieces are then of one row each.
    """
    columns = (codec or ChoraleCodec()).columns
    measure = token_nll_in_every_key if every_key else token_nll
    voices = torch.zeros(4, 2, dtype=torch.float64)  # sum and number of each voice
    means = []
    for batch in pieces:
        nll = measure(model, batch).double().cpu()
        counted = torch.arange(nll.size(1)) < batch.lengths.cpu()[:, None]
        if batch.source is not None:
            counted &= batch.source.cpu() == HOLE
        for place, voice in enumerate(columns):
            mine = counted[:, place::4]
            voices[voice] += torch.stack([nll[:, place::4][mine].sum(), mine.sum().double()])
        means += [float(row[chosen].mean()) for row, chosen in zip(nll, counted, strict=True) if bool(chosen.any())]
    total, number = voices.sum(0).tolist()
    return {
        "nll": total / number if number else math.nan,
        "tokens": int(number),
        "nll_per_piece": sum(means) / len(means) if means else math.nan,
        "per_voice": {name: each / count for name, (each, count) in zip(VOICES, voices.tolist(), strict=True) if count},
    }


def worded(figures: Mapping[str, Any]) -> list[str]:
    """Lines for a person."""
    told = figures.get("with_metre")
    metre = [f"nll       {told['nll']:.4f} where the metre is told, of the pieces whose metre is known"] if told else []
    voices = ", ".join(f"{name} {value:.4f}" for name, value in figures["per_voice"].items())
    return [
        f"nll       {figures['nll']:.4f} nats a token over {figures['tokens']:,} tokens",
        *metre,
        f"a piece   {figures['nll_per_piece']:.4f} (mean of the pieces' means)",
        f"voices    {voices}",
    ]
