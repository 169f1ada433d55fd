"""Sampling: an iterator of token columns, drawn from what a decoder predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, expect
from triptych.generation.forced import FREE, check_vocabulary, forced_ids
from triptych.generation.protocol import CacheT, DrawModel, Ids, PrefillModel, StepModel
from triptych.generation.sampling import PLAIN, Mask, Numbers, Sampling, draw, masked, not_finite
from triptych.generation.seeds import Words, row_keys, uniforms

Allow = Callable[[Ids], Mask]
AHEAD = 256  # steps whose uniform numbers are computed together: one by one, the calls cost more than the numbers


def generate(
    model: StepModel[CacheT],
    cache: CacheT,
    *,
    steps: int,
    end: int | None = None,
    sampling: Sampling = PLAIN,
    seed: int | Sequence[int] = 0,
    allow: Allow | None = None,
    prefix: NDArray[np.integer] | None = None,
) -> Iterator[Ids]:
    """Yield the next token of every row, int64 [rows], at most `steps` times.

    One seed gives one result: row r of a batch of any size draws from (`derive(seed, r)`, step) alone, one uniform
    number a step put through the inverse of the cumulative distribution in the order of the vocabulary, so rounding in
    the log-probabilities can change a token only where the number falls within that rounding of a boundary.

    Args:
        model: anything with `step`; see `PrefillModel` and `DrawModel` for what it may do besides.
        cache: fresh, at position 0; it is advanced.
        steps: most columns to yield.
        end: a row that has drawn it yields it for ever; the iterator stops when all rows have.
        sampling: temperature, top-k, top-p, min-p.
        seed: one for all rows, or the derived one of each.
        allow: gets the ids so far [rows, t], returns bool [rows, V], true where a token may come next; it acts before
            `sampling`. It is not asked about forced ids and may say anything about rows that have ended.
        prefix: int64 [rows, P] forced ids, -1 where free; takes no draw from the ids after it.

    Raises:
        UserError: bad settings (at once); while iterating: log-probabilities that are NaN or infinite, a mask of the
            wrong shape, a row with nothing allowed.
    """
    expect(sampling, Sampling, "a Sampling", "try Sampling(temperature=0.8)")
    if steps < 0:
        raise UserError(f"expected steps from 0, got {steps}")
    check_fresh(cache.position)
    numbers = _Numbers(row_keys(seed, cache.rows))
    forced = forced_ids(prefix, rows=cache.rows, length=steps, end=end)
    return _columns(model, cache, forced, numbers, end, sampling, allow)


def check_fresh(position: int) -> None:
    """Raise UserError unless a cache is at position 0."""
    if position != 0:
        raise UserError(f"expected a fresh cache, got one at position {position}; start a new one")


def _columns(
    model: StepModel[CacheT],
    cache: CacheT,
    forced: Ids,
    numbers: _Numbers,
    end: int | None,
    sampling: Sampling,
    allow: Allow | None,
) -> Iterator[Ids]:
    """The columns of `generate`, whose forced ids are [rows, steps]."""
    rows, steps = forced.shape
    somewhere_forced = (forced != FREE).any(0).tolist()
    ids, taken = _prefilled(model, cache, forced[:, : _given(forced, end)])
    yield from (column.copy() for column in taken)
    ended = np.zeros(rows, bool)
    itself = sampling == PLAIN and allow is None and end is None and isinstance(model, DrawModel)  # it may draw
    so_far = np.empty((rows, steps), np.int64)
    so_far[:, : len(taken)] = forced[:, : len(taken)]
    for position in range(len(taken), steps):
        # The first step shows how large the vocabulary is.
        if itself and position > len(taken) and not somewhere_forced[position]:
            found = _drawn_by(model, ids, cache, numbers.at(position), position)
            if found is not None:
                ids = found
                yield ids.copy()
                continue
            itself = False
        log_probs = model.step(ids, cache)
        if position == len(taken):
            check_vocabulary(forced, end, log_probs.shape[1])
        free, now = None, forced[:, position]  # None: every row draws
        if somewhere_forced[position] or end is not None:
            free = (now == FREE) & ~ended
        if free is None or free.any():
            allowed = None if allow is None else check_allowed(allow(so_far[:, :position]), log_probs.shape)
            scores = masked(log_probs, allowed, free, position)
            drawn = draw(scores, sampling, numbers.at(position))
            ids = drawn if free is None else np.where(free, drawn, now)
        else:
            ids = now
        if end is not None:
            ids = np.where(ended, end, ids)
            ended = ids == end
        so_far[:, position] = ids
        yield ids.copy()
        if end is not None and ended.all():
            return


class _Numbers:
    """The uniform numbers of every step, of which many are computed together."""

    def __init__(self, keys: Words) -> None:
        self._keys, self._first = keys, 0
        self._steps: Numbers = np.empty((0, len(keys)))

    def at(self, position: int) -> Numbers:
        """Float64 [rows] of a step. Who has asked for one asks for none before it."""
        assert position >= self._first
        if position >= self._first + len(self._steps):
            self._first = position
            self._steps = uniforms(self._keys, range(position, position + AHEAD))
        found: Numbers = self._steps[position - self._first]
        return found


def _given(forced: Ids, end: int | None) -> int:
    """Number of leading columns that are forced in every row, before any row ends."""
    free = (forced == FREE) | (forced == end) if end is not None else forced == FREE
    stops = free.any(0)
    return int(stops.argmax()) if stops.any() else forced.shape[1]


def _prefilled(model: StepModel[CacheT], cache: CacheT, given: Ids) -> tuple[Ids | None, Sequence[Ids]]:
    """Take the steps of given ids [rows, n] at once, as far as the model can: the last ids, and all of them."""
    if given.shape[1] < 2 or not isinstance(model, PrefillModel):  # of one step there is nothing to gain
        return None, ()
    columns = list(model.prefill(given, cache).T)
    return columns[-1] if columns else None, columns


def _drawn_by(model: Any, ids: Ids | None, cache: Any, numbers: Numbers, position: int) -> Ids | None:
    """What a `DrawModel` draws by itself, if it does."""
    try:
        found: Ids | None = model.draw(ids, cache, numbers)
    except FloatingPointError:
        raise not_finite(position, 0 if cache.rows == 1 else None) from None
    return found


def check_allowed(allowed: Mask, shape: tuple[int, ...]) -> Mask:
    """What `allow` returned, of bool and that shape."""
    if allowed.dtype != np.bool_ or allowed.shape != shape:
        raise UserError(f"expected allow to return bool {list(shape)}, got {allowed.dtype} {list(allowed.shape)}")
    return allowed
