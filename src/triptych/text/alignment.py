"""Alignment: the piece of the source that each piece of a translation attends to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from triptych.decode.maps import AttentionMaps, Map

if TYPE_CHECKING:
    from triptych.decode.decoder import Decoder


def alignment(decoder: Decoder, source: Sequence[int], target: Sequence[int]) -> tuple[tuple[int, int], ...]:
    """Return, for each target piece, the place of the source piece with the most attention, over the heads of the upper
    layers, and its own place, both from 0.

    `source` and `target` are ids that end with END, which is aligned to nothing.
    """
    maps = AttentionMaps(_Dropped(), _Dropped(), _OverHeads())  # all the maps of a long line would take half a gigabyte
    decoder.attention(np.array([target]), source=np.array([source]), maps=maps)
    upper = np.mean(maps.cross[len(maps.cross) // 2 :], 0)  # [L, S]
    return tuple((int(best), at) for at, best in enumerate(upper[:-1, :-1].argmax(-1))) if len(source) > 1 else ()


class _Dropped(list[Map]):
    """A list that keeps nothing."""

    def append(self, item: Map, /) -> None:
        """Drop the item."""


class _OverHeads(list[Map]):
    """A list of maps [1, H, L, S] that keeps their mean over the heads: [L, S] each."""

    def append(self, item: Map, /) -> None:
        """Keep the mean."""
        super().append(item.mean((0, 1)))
