"""What one training step sees, a batch of target sequences with their conditions, and how batches are made."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, overload

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError
from triptych.shape.config import Config

if TYPE_CHECKING:
    import torch
    from torch import Tensor

Ids = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Batch:
    """B target sequences, each with its condition. Padding is 0, and only `lengths` mark it. All but `soft_targets`
    are int64.

    target [B, L] ends with END and has no start token: the model shifts it right itself. lengths [B] are the valid
    tokens of each target, END included. source [B, S] with source_lengths [B], and label [B], are there or None.
    soft_targets [B, L, vocabulary], of any floating dtype, are the probabilities to learn instead of the target itself.
    context [B], if there, is how many tokens at the beginning of each target are only read: a part of something longer
    is then seen with what came before it, and none of its tokens counts twice.
    metre [B, P, 2], if there, is the place of each position in its bar, from 1 on, and the length of the bar, in
    positions; 0 and 0 withhold it.
    """

    target: Tensor
    lengths: Tensor
    source: Tensor | None = None
    source_lengths: Tensor | None = None
    label: Tensor | None = None
    soft_targets: Tensor | None = None
    context: Tensor | None = None
    metre: Tensor | None = None

    @classmethod
    def of(cls, *parts: NDArray[Any] | None, **named: NDArray[Any] | None) -> Batch:
        """A batch of arrays, whose memory it shares. The readers of all panels make theirs here, so they need no torch
        to be imported.
        """
        from torch import from_numpy

        tensors: list[Any] = [None if part is None else from_numpy(part) for part in (*parts, *named.values())]
        return cls(*tensors[: len(parts)], **dict(zip(named, tensors[len(parts) :], strict=True)))

    def __len__(self) -> int:
        return self.target.shape[0]

    def counted(self) -> Tensor:
        """Which target tokens count: bool [B, L], those that are neither padding nor context."""
        from torch import arange

        places = arange(self.target.size(1), device=self.target.device)
        counted = places < self.lengths[:, None]
        return counted if self.context is None else counted & (places >= self.context[:, None])

    def check(self, config: Config) -> None:
        """Raise UserError where a model of this configuration needs a source and there is none, or the other way."""
        if (config.encoder_layers > 0) != (self.source is not None):
            raise UserError(
                f"expected {'a' if config.encoder_layers else 'no'} source for a model with "
                f"encoder_layers={config.encoder_layers}, got {'none' if self.source is None else 'one'}"
            )
        if config.aligned and self.source is not None and self.source.size(1) < self.target.size(1):
            raise UserError(
                f"expected a source as long as the target, got {self.source.size(1)} tokens for "
                f"{self.target.size(1)}; position i of an aligned source is about position i of the target"
            )

    @property
    def tokens(self) -> int:
        """How many tokens count."""
        return int(self.counted().sum())

    def to(self, device: torch.device | str) -> Batch:
        """Return the same batch on `device`; from pinned memory the copy does not block."""
        return self._changed(lambda part: part.to(device, non_blocking=True))

    def rows(self, chosen: slice) -> Batch:
        """Return some of the rows, as views, with the padding unchanged."""
        return self._changed(lambda part: part[chosen])

    def _changed(self, change: Callable[[Tensor], Tensor]) -> Batch:
        """A batch of what becomes of each field that is there."""
        parts: list[Any] = [None if part is None else change(part) for part in vars(self).values()]
        return Batch(*parts)


class Batches(Sequence[Batch]):
    """Batches that are made when they are asked for, `make(part)` of each part; so a slice of them costs nothing."""

    def __init__(self, make: Callable[[Any], Batch], parts: Sequence[Any]) -> None:
        self._make, self.parts = make, parts

    def __len__(self) -> int:
        return len(self.parts)

    @overload
    def __getitem__(self, item: int) -> Batch: ...
    @overload
    def __getitem__(self, item: slice) -> Batches: ...
    def __getitem__(self, item: int | slice) -> Batch | Batches:
        return Batches(self._make, self.parts[item]) if isinstance(item, slice) else self._make(self.parts[item])


class Indexed(Protocol):
    """Rows [length, ...] by place: a list of them, or what makes them when they are asked for."""

    def __getitem__(self, place: int, /) -> NDArray[Any]:
        """The row of one example."""
        ...


@dataclass(frozen=True, eq=False)
class Examples:
    """Examples to be joined to batches: fields of `Batch` by example, None where no example has them; soft targets are
    each as long as its target. Widths of targets and sources are rounded up to `multiple`.
    """

    targets: Indexed
    sources: Indexed | None = None
    labels: Sequence[int] | None = None
    soft_targets: Indexed | None = None
    metres: Indexed | None = None
    multiple: int = 1

    def batch(self, places: Ids) -> Batch:
        """The batch of the examples at some places [B]."""
        target, source, soft, metre = (
            (None, None) if part is None else padded([part[place] for place in places.tolist()], self.multiple)
            for part in (self.targets, self.sources, self.soft_targets, self.metres)
        )
        label = None if self.labels is None else np.array([self.labels[place] for place in places.tolist()])
        return Batch.of(*target, *source, label, soft[0], metre=metre[0])


def padded(rows: Sequence[NDArray[Any]], multiple: int = 1) -> tuple[NDArray[Any], Ids]:
    """Rows of one dtype, each [length, ...], filled with 0: [rows, longest, ...], rounded up to a multiple; and their
    lengths, int64 [rows].
    """
    lengths = np.array([len(row) for row in rows])
    longest = -(-int(lengths.max()) // multiple) * multiple
    found = np.zeros((len(rows), longest, *rows[0].shape[1:]), rows[0].dtype)
    for place, row in enumerate(rows):
        found[place, : len(row)] = row
    return found, lengths
