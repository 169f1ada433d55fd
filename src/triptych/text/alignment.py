"""Which piece of the source each piece of a translation attends to."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from triptych.model.layers import AttentionMaps
from triptych.model.transformer import Transformer


def alignment(model: Transformer, source: Sequence[int], target: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return for each target piece the source piece with the most attention, over the heads of the upper layers.

    `source` and `target` are ids that end with END, which is aligned to nothing.
    """
    maps = AttentionMaps(_Dropped(), _Dropped(), _OverHeads())  # all the maps of a long line would take half a gigabyte
    look(model, source, target, maps)
    upper = torch.stack(maps.cross[len(maps.cross) // 2 :]).mean(0)  # [L, S]
    return tuple((at, int(best)) for at, best in enumerate(upper[:-1, :-1].argmax(-1))) if upper.size(1) > 1 else ()


@torch.no_grad()
def look(model: Transformer, source: Sequence[int], target: Sequence[int], maps: AttentionMaps) -> None:
    """Collect the attention probabilities while `target` is written into `maps`."""
    model.eval()
    device = model.device
    ids = (torch.tensor([list(one)], device=device) for one in (target, source))
    model(next(ids), source=next(ids), maps=maps)


class _Dropped(list[Tensor]):
    """A list that keeps nothing."""

    def append(self, item: Tensor, /) -> None:
        """Forget the item."""


class _OverHeads(list[Tensor]):
    """A list of attention probabilities [1, H, L, S] that keeps their mean over the heads: [L, S] each."""

    def append(self, item: Tensor, /) -> None:
        """Keep the mean."""
        super().append(item.mean((0, 1)))
