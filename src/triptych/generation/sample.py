"""Sampling: an iterator of token columns, drawn from what a decoder predicts."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, expect
from triptych.generation.forced import FREE, check_vocabulary, forced_ids
from triptych.generation.protocol import CacheT, DrawModel, Ids, PrefillModel, StepModel
from triptych.generation.sampling import PLAIN, Mask, Numbers, Sampling, draw, masked, not_finite, nothing_allowed
from triptych.generation.seeds import Words, row_keys, uniforms

Allow = Callable[[Ids], Mask]
TOGETHER = 32  # steps that a model may take at once
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
    somewhere_forced = (forced != FREE).any(0)
    ids, taken = _prefilled(model, cache, forced[:, : _given(forced, end)])
    yield from (column.copy() for column in taken)
    ended = np.zeros(rows, bool)
    chooser = _Chooser(model, cache, numbers, sampling, allow)
    so_far = np.empty((rows, steps), np.int64)
    so_far[:, : len(taken)] = forced[:, : len(taken)]
    position = len(taken)
    while position < steps:
        free, now = None, forced[:, position]  # None: every row draws
        if somewhere_forced[position] or end is not None:
            free = (now == FREE) & ~ended
        together = 1
        if free is None and allow is None and position > len(taken):  # nothing before them can change these steps
            ahead = somewhere_forced[position : position + TOGETHER]
            together = int(ahead.argmax()) if ahead.any() else len(ahead)
        columns = chooser.next(ids, so_far[:, :position], free, together)
        if position == len(taken):  # the first step shows how large the vocabulary is
            check_vocabulary(forced, end, chooser.vocabulary)
        for column in columns:
            ids = column if free is None else np.where(free, column, now)
            if end is not None:
                ids = np.where(ended, end, ids)
                ended = ids == end
            so_far[:, position] = ids
            position += 1
            yield ids.copy()
        if end is not None and ended.all():
            return


class _Chooser:
    """Draws the next ids of rows: by itself from log-probabilities, or by asking a `DrawModel`."""

    def __init__(
        self, model: StepModel[CacheT], cache: CacheT, numbers: _Numbers, sampling: Sampling, allow: Allow | None
    ) -> None:
        self.model: Any = model
        self.cache, self.numbers, self.sampling, self.allow = cache, numbers, sampling, allow
        self.restricted = {name: value for name, value in asdict(sampling).items() if value != getattr(PLAIN, name)}
        self.draws = isinstance(model, DrawModel)  # while it draws
        self.vocabulary = 0  # of the steps that were seen

    def next(self, ids: Ids | None, so_far: Ids, free: Mask | None, steps: int) -> Ids:
        """The ids [n, rows] of the next steps, at least of one, after those so far [rows, t]; those of rows that are
        not `free` [rows] are not used.
        """
        if free is not None and not free.any():
            self.vocabulary = self.model.step(ids, self.cache).shape[1]
            return np.zeros((1, len(so_far)), np.int64)
        position, allowed = so_far.shape[1], None
        if self.allow is not None and self.vocabulary:
            allowed = check_allowed(self.allow(so_far), (len(so_far), self.vocabulary))
        if self.draws and self.vocabulary:
            found = self._drawn(ids, position, steps, allowed, free)
            if found is not None:
                return found
            self.draws = False
        log_probs = self.model.step(ids, self.cache)
        if self.allow is not None and allowed is None:
            allowed = check_allowed(self.allow(so_far), log_probs.shape)
        self.vocabulary = log_probs.shape[1]
        scores = masked(log_probs, allowed, free, position)
        return draw(scores, self.sampling, self.numbers.some(position, 1)[0])[None]

    def _drawn(self, ids: Ids | None, position: int, steps: int, allowed: Mask | None, free: Mask | None) -> Ids | None:
        """What the model draws by itself, if it does."""
        if allowed is not None and free is not None:
            allowed = allowed | ~free[:, None]
        uniforms = self.numbers.some(position, steps)
        try:
            found: Ids | None = self.model.draw(ids, self.cache, uniforms, allowed, **self.restricted)
        except LookupError:
            assert allowed is not None
            raise nothing_allowed(position, int((~allowed.any(1)).argmax())) from None
        except FloatingPointError:
            raise not_finite(position, 0 if self.cache.rows == 1 else None) from None
        return found


class _Numbers:
    """The uniform numbers of every step, of which many are computed together."""

    def __init__(self, keys: Words) -> None:
        self._keys, self._first = keys, 0
        self._steps: Numbers = np.empty((0, len(keys)))

    def some(self, position: int, count: int) -> Numbers:
        """Float64 [n, rows] of up to so many steps. Who has asked for one asks for none before it."""
        assert position >= self._first
        if position >= self._first + len(self._steps):
            self._first = position
            self._steps = uniforms(self._keys, range(position, position + AHEAD))
        first = position - self._first
        found: Numbers = self._steps[first : first + count]
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


def check_allowed(allowed: Mask, shape: tuple[int, ...]) -> Mask:
    """What `allow` returned, of bool and that shape."""
    if allowed.dtype != np.bool_ or allowed.shape != shape:
        raise UserError(f"expected allow to return bool {list(shape)}, got {allowed.dtype} {list(allowed.shape)}")
    return allowed
