"""Sampling: an iterator of token columns, drawn from what the model predicts after temperature, top-k, top-p, min-p."""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from triptych.errors import UserError, expect, shown
from triptych.generation import single
from triptych.generation.draw import Words, row_keys, uniforms
from triptych.generation.forced import FREE, check_vocabulary, forced_ids
from triptych.generation.protocol import CacheT, DrawModel, PrefillModel, StepModel
from triptych.generation.top import largest

Allow = Callable[[Tensor], Tensor]
AHEAD = 256  # steps whose uniform numbers are computed together: one by one, the calls cost more than the numbers


@dataclass(frozen=True)
class Sampling:
    """How a token is drawn; each restriction works on what the one before it left, in the order of the fields.

    Attributes:
        temperature: logits are divided by it; 0 takes the most probable token, of equals the lowest id.
        top_k: keep the k most probable tokens (ties: lower ids first); 0 keeps all.
        top_p: keep the smallest set of most probable tokens that holds at least this share of what top-k left
            (Holtzman et al. 2020); 1 keeps all.
        min_p: keep tokens at least this fraction as probable as the best one (Nguyen et al. 2024); 0 keeps all.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in ("temperature", "top_k", "top_p", "min_p"):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float):
                raise UserError(f"{name} must be a number; got {shown(value)}.")
        if not 0 <= self.temperature < math.inf:
            raise UserError(f"temperature must be 0 (greedy) or a positive number; got {self.temperature}.")
        if self.top_k < 0 or self.top_k != int(self.top_k):
            raise UserError(f"top_k must be a whole number, 0 for no limit; got {self.top_k}.")
        if not 0 < self.top_p <= 1:
            raise UserError(f"top_p must be above 0 and at most 1 (no limit); got {self.top_p}.")
        if not 0 <= self.min_p <= 1:
            raise UserError(f"min_p must be between 0 (no limit) and 1; got {self.min_p}.")


_PLAIN = Sampling()


def generate(
    model: StepModel[CacheT],
    cache: CacheT,
    *,
    steps: int,
    end: int | None = None,
    sampling: Sampling = _PLAIN,
    seed: int | Sequence[int] = 0,
    allow: Allow | None = None,
    prefix: Tensor | None = None,
) -> Iterator[Tensor]:
    """Yield the next token of every row, int64 [rows], at most `steps` times.

    One seed gives one result: row r of a batch of any size draws from (seed, r, step) alone, one uniform number a step
    put through the inverse of the cumulative distribution in the order of the vocabulary, so rounding in the logits
    can change a token only where the number falls within that rounding of a boundary.

    Args:
        model: anything with `step`; see `PrefillModel` and `DrawModel` for what it may do besides.
        cache: fresh, at position 0; it is advanced.
        steps: most columns to yield.
        end: a row that has drawn it yields it for ever; the iterator stops when all rows have.
        sampling: temperature, top-k, top-p, min-p.
        seed: one for all rows, or one for each (row r is then what it would be alone with seed[r]).
        allow: gets the ids so far [rows, t], returns bool [rows, V], true where a token may come next; it acts before
            `sampling`. It is not asked about forced ids and may say anything about rows that have ended.
        prefix: int64 [rows, P] forced ids, -1 where free; takes no draw from the ids after it.

    Raises:
        UserError: bad settings (at once); while iterating: logits that are NaN or infinite, a mask of the wrong
            shape, a row with nothing allowed.
    """
    _check_start(steps, cache.position, sampling)
    numbers = _Numbers(row_keys(seed, cache.rows))
    forced = forced_ids(prefix, rows=cache.rows, length=steps, end=end)
    somewhere_forced = (forced != FREE).any(0).tolist()  # of a step by itself, nothing is asked of tensors

    def columns() -> Iterator[Tensor]:
        # no_grad is left before every yield: a generator must not switch its caller's gradients off
        with torch.no_grad():
            ids, history = _prefilled(model, cache, forced[:, : _given(forced, end)])
        yield from (column.clone() for column in history)
        ended = torch.zeros(cache.rows, dtype=torch.bool)
        itself = sampling == _PLAIN and allow is None and end is None and isinstance(model, DrawModel)  # it may draw
        for position in range(len(history), steps):
            # The first step shows where the model computes, and how large its vocabulary is.
            if itself and position > len(history) and not somewhere_forced[position]:
                found = _drawn_by(model, ids, cache, numbers.at(position, ended.device), position)
                if found is not None:
                    ids = found
                    yield ids.clone()
                    continue
                itself = False
            with torch.no_grad():
                logits = model.step(ids, cache)
                if position == len(history):
                    check_vocabulary(forced, end, logits.shape[1])
                    if allow is not None:
                        before = torch.empty(logits.shape[0], steps, dtype=torch.int64, device=logits.device)
                        before[:, :position] = forced[:, :position]
                    ended = ended.to(logits.device)
                free, now = None, forced[:, position]  # None: every row draws
                if somewhere_forced[position] or end is not None:
                    now = now.to(logits.device)
                    free = (now == FREE) & ~ended
                if free is None or bool(free.any()):
                    allowed = None if allow is None else _mask(allow(before[:, :position]), logits)
                    drawn = _draw(logits, sampling, allowed, free, numbers.at(position, ended.device), position)
                    ids = drawn if free is None else torch.where(free, drawn, now)
                else:
                    ids = now
                if end is not None:
                    ids = ids.masked_fill(ended, end)
                    ended = ids == end
                if allow is not None:
                    before[:, position] = ids
            yield ids.clone()
            if end is not None and bool(ended.all()):
                return

    return columns()


def _check_start(steps: int, position: int, sampling: object) -> None:
    expect(sampling, Sampling, "a Sampling", "try Sampling(temperature=0.8)")
    if steps < 0:
        raise UserError(f"steps must be 0 or more; got {steps}.")
    if position != 0:
        raise UserError(f"generation needs a fresh cache; this one is at position {position}: start a new one.")


class _Numbers:
    """The uniform numbers of every step, of which many are computed together."""

    def __init__(self, keys: Words) -> None:
        self._keys, self._first = keys, 0
        self._steps: Sequence[Tensor] = ()

    def at(self, position: int, device: torch.device) -> Tensor:
        """Float64 [rows] of a step. Who has asked for one asks for none before it."""
        assert position >= self._first
        if position >= self._first + len(self._steps):
            self._first = position
            self._steps = uniforms(self._keys, range(position, position + AHEAD)).to(device).unbind()
        return self._steps[position - self._first]


def _given(forced: Tensor, end: int | None) -> int:
    """Number of leading columns that are forced in every row, before any row ends."""
    free = (forced == FREE) | (forced == end) if end is not None else forced == FREE
    stops = free.any(0).nonzero()
    return int(stops[0]) if len(stops) else forced.shape[1]


def _prefilled(model: StepModel[CacheT], cache: CacheT, given: Tensor) -> tuple[Tensor | None, list[Tensor]]:
    """Take the steps of given ids [rows, n] at once, as far as the model can: the last ids, and all of them."""
    if given.shape[1] < 2 or not isinstance(model, PrefillModel):  # of one step there is nothing to gain
        return None, []
    taken = model.prefill(given, cache)
    columns = list(taken.unbind(1))
    return columns[-1] if columns else None, columns


def probabilities(logits: Tensor, sampling: Sampling = _PLAIN, allowed: Tensor | None = None) -> Tensor:
    """Return the distribution that `generate` draws from: float64 [rows, V], every row sums to 1.

    Args:
        logits: [rows, V], any floating type.
        sampling: the restrictions.
        allowed: bool [rows, V], or None for everything.

    Raises:
        UserError: NaN or infinite logits, or a row with nothing allowed.
    """
    return _weights(_masked(logits, allowed, None, 0), sampling)


def _draw(
    logits: Tensor, sampling: Sampling, allowed: Tensor | None, free: Tensor | None, uniform: Tensor, position: int
) -> Tensor:
    """Draw one id a row, int64 [rows]; rows that are not `free` (None: all are) get some id."""
    if single.fits(logits):
        drawn = single.draw(logits, sampling, allowed, float(uniform))
        if drawn is not None:  # else below it is said what is wrong
            return torch.from_numpy(drawn)
    scores = _masked(logits, allowed, free, position)
    if sampling.temperature == 0:
        return scores.argmax(1)
    cumulative = _weights(scores, sampling).cumsum(1)
    total = cumulative[:, -1:]
    # a uniform number is at most 1 - 2**-53, so the mark stays below the total after rounding too: it cannot reach past
    # the last token that has any probability
    mark = uniform[:, None] * total
    return torch.searchsorted(cumulative, mark, right=True).squeeze(1)


@torch.no_grad()
def _drawn_by(model: Any, ids: Tensor | None, cache: Any, uniforms: Tensor, position: int) -> Tensor | None:
    """What a `DrawModel` draws by itself, if it does."""
    try:
        found: Tensor | None = model.draw(ids, cache, uniforms)
    except FloatingPointError:
        raise _not_finite(position, 0 if cache.rows == 1 else None) from None
    return found


def _not_finite(position: int, row: int | None = None) -> UserError:
    where = f"position {position}" + ("" if row is None else f", row {row}")
    return UserError(
        f"the model gave logits that are NaN or infinite at {where}; "
        "check that its weights are finite, or compute in float32."
    )


def _masked(logits: Tensor, allowed: Tensor | None, free: Tensor | None, position: int) -> Tensor:
    """Return float64 logits with -inf where a free row may not go; every row has a finite maximum."""
    scores = logits.double()
    finite = scores.amax(1).isfinite()
    if not bool(finite.all()):
        raise _not_finite(position, int((~finite).nonzero()[0]))
    if allowed is None:
        return scores
    scores = scores.masked_fill(~allowed if free is None else ~allowed & free[:, None], -torch.inf)
    bad = scores.amax(1) == -torch.inf
    if bool(bad.any()):
        row = int(bad.nonzero()[0])
        raise UserError(
            f"allow permits no token that the model gives any probability at position {position}, row {row}; "
            "the mask must leave at least one."
        )
    return scores


def _mask(allowed: Tensor, logits: Tensor) -> Tensor:
    """Check what the hook returned."""
    if allowed.dtype != torch.bool or allowed.shape != logits.shape:
        raise UserError(f"allow must return bool {list(logits.shape)}; got {allowed.dtype} {list(allowed.shape)}.")
    return allowed.to(logits.device)


def _weights(scores: Tensor, sampling: Sampling) -> Tensor:
    """Turn float64 scores [rows, V] into probabilities after all restrictions."""
    rows, vocabulary = scores.shape
    if sampling.temperature == 0:
        best = scores.argmax(1, keepdim=True)
        return torch.zeros_like(scores).scatter_(1, best, 1.0)
    # the maximum is taken off before dividing: a tiny temperature then gives exp(-inf) = 0, never inf - inf
    scores = (scores - scores.amax(1, keepdim=True)) / sampling.temperature
    if not sampling.top_k and sampling.top_p == 1 and not sampling.min_p:
        return torch.softmax(scores, 1)
    weights = scores.exp()  # sums of equal ones are exact, as top-p needs them
    count = min(sampling.top_k or vocabulary, vocabulary)
    if count < vocabulary or sampling.top_p < 1:
        if count < vocabulary:
            kept, _, ids = largest(weights[:, None], weights.new_zeros(rows, 1), count)
        else:
            kept, ids = torch.sort(weights, dim=1, descending=True, stable=True)
        if sampling.top_p < 1:
            before = kept.cumsum(1) - kept
            kept = kept.masked_fill(before >= sampling.top_p * kept.sum(1, keepdim=True), 0.0)
        weights = torch.zeros_like(weights).scatter_(1, ids, kept)
    if sampling.min_p > 0:
        weights = weights.masked_fill(weights < sampling.min_p * weights.amax(1, keepdim=True), 0.0)
    return weights / weights.sum(1, keepdim=True)
