"""The relations of a self-attention: their tables, and where queries and keys are.

Shapes in comments: B rows, L ids, P positions, S tokens a position, H heads, D width of a head.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from triptych.attention.relation import Relation
from triptych.decode.history import MISSING, History
from triptych.decode.shapes import kinds
from triptych.model.inputs.patches import patches
from triptych.shape.config import Config
from triptych.shape.relations import Layer


class Relations(nn.ParameterDict):
    """A learned table [H, rows, D] by kind, for each relation of `Config.relations` that has rows in the layer."""

    def __init__(self, config: Config, layer: Layer) -> None:
        super().__init__()
        used = {kind: each for kind, each in kinds(config).items() if each.rows(layer)}
        self._causal, self._size = layer.causal, config.input.size
        self._kinds = {kind: (each, each.row(layer)) for kind, each in used.items()}
        self._reads = any(each.reads for each in used.values())
        for kind, each in used.items():
            self[kind] = nn.Parameter(torch.empty(config.heads, each.rows(layer), config.width // config.heads))

    def whole(self, ids: Tensor) -> list[Relation]:
        """The relations of all positions of ids [B, L], of which the encoder's have read their own, the decoder's the
        ones before.
        """
        if not self._reads:
            return self._related()
        read = patches(ids, self._size)  # [B, P, S]
        if self._causal:
            read = functional.pad(read[:, :-1], (0, 0, 1, 0), value=MISSING)
        return self._related(torch.arange(read.size(1), device=ids.device)[None], read)

    def step(self, history: History, slots: int, device: torch.device) -> list[Relation]:
        """The relations of the next position to all slots of a ring, in which position p lies in slot p % slots."""
        if not self._reads:
            return self._related()
        now = history.position
        held = now - (now - np.arange(slots)) % slots  # the latest position of each slot
        read = np.where((held > 0)[:, None], history.ids[:, np.maximum(held - 1, 0)], MISSING)  # [B, slots, S]
        positions, ids = (torch.from_numpy(each).to(device) for each in (held[None], read))
        return self._related(positions, ids, now % slots)

    def _related(
        self, positions: Tensor | None = None, read: Tensor | None = None, now: int | None = None
    ) -> list[Relation]:
        """Of positions [1, P] that have read ids [B, P, S]; now: the one that is a query, where not all are."""
        found = []
        for kind, (settings, row) in self._kinds.items():
            table = self._parameters[kind]  # each step asks for it: the look-up of the dictionary takes longer
            assert table is not None
            query = key = None
            if settings.reads and read is not None:
                both = settings.coordinates(positions, read)
                query, key = (each.expand(read.shape[:2]) for each in both)
                query = query if now is None else query[:, now : now + 1]
            found.append(Relation(table, row, query, key, settings.far))
        return found
