"""Examples in padded batches, each batch made when it is asked for."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from triptych.model.batch import Batch

Ids = NDArray[np.int64]


class Indexed(Protocol):
    """Rows [length, ...] by place: a list of them, or what makes them when they are asked for."""

    def __getitem__(self, place: int, /) -> NDArray[Any]:
        """The row of one example."""
        ...


@dataclass(frozen=True, eq=False)
class Examples(Sequence[Batch]):
    """Padded batches of some examples. groups: the places of the examples of each batch. The rest are fields of `Batch`
    by example, None where no batch has them; soft targets are its `wanted`, each as long as its target.
    """

    groups: Sequence[Ids]
    targets: Indexed
    labels: Sequence[int]
    sources: Indexed | None = None
    soft_targets: Indexed | None = None
    metres: Indexed | None = None

    def __len__(self) -> int:
        return len(self.groups)

    @overload
    def __getitem__(self, item: int) -> Batch: ...
    @overload
    def __getitem__(self, item: slice) -> Examples: ...
    def __getitem__(self, item: int | slice) -> Batch | Examples:
        if isinstance(item, slice):
            return replace(self, groups=self.groups[item])
        rows = self.groups[item].tolist()
        target, source, soft, metre = (
            (None, None) if part is None else padded([part[row] for row in rows])
            for part in (self.targets, self.sources, self.soft_targets, self.metres)
        )
        label = np.array([self.labels[row] for row in rows])
        return Batch.of(*target, *source, label, soft[0], metre=metre[0])


def padded(rows: Sequence[NDArray[Any]]) -> tuple[NDArray[Any], Ids]:
    """Rows of one dtype, each [length, ...], filled with 0: [rows, longest, ...]; and their lengths, int64 [rows]."""
    lengths = np.array([len(row) for row in rows])
    found = np.zeros((len(rows), int(lengths.max()), *rows[0].shape[1:]), rows[0].dtype)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found, lengths


def grouped(lengths: Sequence[int], tokens: int, random: np.random.Generator) -> list[Ids]:
    """Examples of like length together, at most `tokens` a batch with their padding; the batches in random order."""
    # Noise before sorting, so that the neighbours change every epoch.
    order = np.argsort(np.array(lengths) * random.uniform(0.9, 1.1, len(lengths)))
    groups: list[list[int]] = []
    longest = 0
    for row in order.tolist():
        longest = max(longest, lengths[row])
        if not groups or (len(groups[-1]) + 1) * longest > tokens:
            groups.append([])
            longest = lengths[row]
        groups[-1].append(row)
    return [np.array(groups[place]) for place in random.permutation(len(groups))]
