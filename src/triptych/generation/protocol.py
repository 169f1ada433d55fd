"""What generation asks of a decoder: one step at a time on arrays, and a cache whose rows can be reordered."""

from typing import Any, Protocol, TypeVar, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Ids = NDArray[np.int64]
LogProbs = NDArray[np.floating[Any]]


class RowCache(Protocol):
    """What a decoder remembers of the rows it is generating."""

    @property
    def rows(self) -> int:
        """Number of sequences that grow side by side."""
        ...

    @property
    def position(self) -> int:
        """Number of steps already made, the same for all rows."""
        ...

    def select(self, rows: Ids, /) -> None:
        """Let new row r continue old row `rows[r]` (int64 [new rows]); rows that are not named are dropped."""
        ...


CacheT = TypeVar("CacheT", bound=RowCache)
_Cache_contra = TypeVar("_Cache_contra", bound=RowCache, contravariant=True)


class StepModel(Protocol[_Cache_contra]):
    """A decoder that predicts the next token of every row."""

    def step(self, ids: Ids | None, cache: _Cache_contra, /) -> LogProbs:
        """Advance `cache` by one position and return the log-probabilities [rows, V] of the token that comes there.

        `ids` int64 [rows] are the tokens chosen at the step before, None at the first step. The caller may write into
        the result.
        """
        ...


@runtime_checkable
class PrefillModel(Protocol):
    """A decoder that can also take its first steps all at once, where their outcome is given."""

    def prefill(self, ids: Ids, cache: Any, /) -> Ids:
        """Advance a fresh `cache` over the first of ids int64 [rows, n], and return them.

        As many as it can take at once: it is then as if `step` had been called so often, and had been given all of them
        but the last, which the next step is given.
        """
        ...


@runtime_checkable
class DrawModel(Protocol):
    """A decoder that may draw by itself: a whole distribution can cost more to write than one place of it to find."""

    def draw(
        self,
        ids: Ids | None,
        cache: Any,
        uniforms: NDArray[np.float64],
        allowed: NDArray[np.bool_] | None = None,
        /,
        **sampling: float,
    ) -> Ids | None:
        """Do what `step` does for some steps, but return the next ids int64 [steps, rows] themselves, at least one.

        They are where `uniforms` float64 [steps, rows] fall in the cumulative distributions, in the order of the
        vocabulary. allowed: bool [rows, V], where there is one step. sampling:
        fields of a `Sampling` that restrict.

        None: it leaves this and all later draws to `step`, which has made the first in any case, and nothing has
        changed. Raises FloatingPointError where a distribution is NaN or infinite, and LookupError where nothing in
        it is allowed.
        """
        ...


@runtime_checkable
class RankingModel(Protocol):
    """A decoder that can also rank what its steps return."""

    def largest(
        self, scores: LogProbs, offset: NDArray[np.float64], count: int, /
    ) -> tuple[NDArray[np.float64], Ids, Ids]:
        """What `top.largest` finds."""
        ...
