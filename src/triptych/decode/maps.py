"""Attention probabilities, collected while a model computes."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]  # [B, heads, queries, keys], every row sums to 1


@dataclass
class AttentionMaps:
    """Attention probabilities of one pass over whole sequences: of each kind a map a layer."""

    encoder: list[Map] = field(default_factory=list)
    decoder: list[Map] = field(default_factory=list)
    cross: list[Map] = field(default_factory=list)
