"""What the relations of a self-attention add to its logits, without torch; see `shape.relations`.

Shapes in comments: B rows, P positions, S tokens a position, H heads, D width of a head.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from triptych.decode.arithmetic import Floats
from triptych.decode.history import MISSING, History, Ids
from triptych.shape.relations import Difference, RelationSettings, Row


@dataclass(frozen=True)
class Term:
    """query . table[row], where the row follows from the coordinates of query and key [B or 1, P]; past the table [H,
    rows, D] that of the nearest row, or nothing.
    """

    settings: RelationSettings
    table: Floats
    row: Row
    query: Ids
    key: Ids

    def of(self, query: Floats, queries: slice, keys: slice) -> Floats:
        """[B, H, queries, keys] of some queries [B, H, queries, D] and keys."""
        row = self.row(self.query[:, queries, None], self.key[:, None, keys])  # [B or 1, queries, keys]
        inside = np.clip(row, 0, self.table.shape[1] - 1)
        low, high = int(inside.min()), int(inside.max())
        products = np.matmul(query, self.table[:, low : high + 1].transpose(0, 2, 1))  # [B, H, queries, rows]
        shape = *query.shape[:3], row.shape[2]
        found = np.take_along_axis(products, np.broadcast_to((inside - low)[:, None], shape), -1)
        return found if self.settings.far == "clip" else np.where((row == inside)[:, None], found, np.float32(0))


class Relation:
    """A relation in one layer, with its table [H, rows, D]."""

    def __init__(self, settings: RelationSettings, row: Row, table: Floats) -> None:
        self.settings, self.row, self.table = settings, row, table
        # By distance the keys of a step follow each other, and so do their rows: [H, D, rows], the last row first.
        self.turned = np.ascontiguousarray(table[:, ::-1].transpose(0, 2, 1)) if self._in_order() else None

    def _in_order(self) -> bool:
        return not self.settings.reads and isinstance(self.row, Difference)

    def term(self, positions: Ids, read: Ids) -> Term:
        """The term of positions [P] that have read ids [B, P, S], `MISSING` for none."""
        query, key = self.settings.coordinates(positions[None], read)
        return Term(self.settings, self.table, self.row, query, key)

    def add(self, scores: Floats, query: Floats, history: History, seen: Ids | None, start: int) -> None:
        """Add the term to scores [B, H, 1, keys] of the next position, whose query is [B, H, 1, D].

        The keys are those at positions `seen`, or without these at start, start + 1, ..., the query's own last.
        """
        keys = scores.shape[3]
        if seen is None and self.turned is not None:
            assert isinstance(self.row, Difference)
            rows = self.turned.shape[2]
            end = rows - self.row.offset  # behind distance 0
            known = min(keys, end)  # the last keys; those before are past the table
            term = np.matmul(query, self.turned[..., end - known : end])
            scores[..., keys - known :] += term
            if keys > known and self.settings.far == "clip":
                scores[..., : keys - known] += term[..., :1]
            return
        places, now = np.arange(start, start + keys) if seen is None else seen, history.position
        both = np.append(places, now)  # the last is the query's
        read = np.where((both > 0)[:, None], history.ids[:, np.maximum(both - 1, 0)], MISSING)  # [B, keys + 1, S]
        scores += self.term(both, read).of(query, slice(keys, None), slice(0, keys))
