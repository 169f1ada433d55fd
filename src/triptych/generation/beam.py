"""Beam search over a batch of sources: n-best, length penalty by convention, forced prefix, exact early stopping.

Each step takes the 2 * beam most probable extensions of a source's live hypotheses. Those that end and are among the
first `beam` of them are finished; the first `beam` that do not end live on. (Beam 1 is therefore greedy decoding.
tensor2tensor finishes any END among the 2 * beam.) Ties go to the better-ranked hypothesis, then to the lower id, and
among finished hypotheses to the earlier one; a batch gives what its sources give alone.

A source is done, and leaves the batch, when no live hypothesis can enter its n best: a live log-probability can only
fall, so with the most favourable divisor of any length it may still reach it is a bound. "exact" stops there and
nowhere else: the result is that of a search to `max_length`. The bound is tight for none and small alpha, and loose for
power with alpha 1, where a search may go on close to `max_length`. "first" also stops at `beam` finished hypotheses and
ignores what the others would have become, as fairseq and CTranslate2 do.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from triptych.errors import UserError, expect
from triptych.generation.forced import FREE, check_vocabulary, forced_ids
from triptych.generation.protocol import CacheT, Ids, LogProbs, RankingModel, StepModel
from triptych.generation.sample import Allow, check_allowed, check_fresh
from triptych.generation.sampling import Mask, not_finite
from triptych.generation.top import Numbers, largest

Search = Callable[[LogProbs, Numbers, int], tuple[Numbers, Ids, Ids]]
Stop = Literal["exact", "first"]

_STEEPEST = 20.0  # an alpha with which no length overflows


@dataclass(frozen=True)
class LengthPenalty:
    """What a hypothesis' summed log-probability is divided by; a length counts END.

    Conventions, for a length n:
        gnmt: ((5 + n) / 6) ** alpha (Wu et al. 2016, section 7; tensor2tensor, joeynmt, OpenNMT "wu").
        power: n ** alpha (fairseq, CTranslate2; alpha 1 is the mean log-probability).
        sockeye: ((beta + n) / (beta + 1)) ** alpha.
        none: 1, the log-probability itself; alpha does nothing.
    """

    convention: Literal["gnmt", "power", "sockeye", "none"] = "gnmt"
    alpha: float = 0.6
    beta: float = 0.0

    def __post_init__(self) -> None:
        """Check the convention and its numbers."""
        if self.convention not in ("gnmt", "power", "sockeye", "none"):
            raise UserError(f"expected a length penalty gnmt, power, sockeye or none, got {self.convention!r}")
        if not -_STEEPEST <= self.alpha <= _STEEPEST:
            raise UserError(f"expected a length penalty alpha within {_STEEPEST} of 0, got {self.alpha}; 0.6 is usual")
        if self.beta and self.convention != "sockeye":
            raise UserError(f"expected no length penalty beta with {self.convention}, got {self.beta}; leave it out")
        if not -1 < self.beta < math.inf:
            raise UserError(f"expected a length penalty beta above -1, got {self.beta}; 0 is usual")

    def divisor(self, length: int) -> float:
        """Return the divisor of a hypothesis of `length` >= 1 ids, END included."""
        if self.convention == "gnmt":
            return float(((5 + length) / 6) ** self.alpha)
        if self.convention == "power":
            return float(length**self.alpha)
        if self.convention == "sockeye":
            return float(((self.beta + length) / (self.beta + 1)) ** self.alpha)
        return 1.0


@dataclass(frozen=True)
class Hypothesis:
    """A finished sequence.

    Attributes:
        ids: its tokens, END last.
        score: sum of `log_probs` over the length penalty's divisor; higher is better.
        log_probs: natural log-probability of every id given those before it.
    """

    ids: tuple[int, ...]
    score: float
    log_probs: tuple[float, ...]


_GNMT = LengthPenalty()


def beam_search(  # noqa: PLR0913  # the settings of a search are many
    model: StepModel[CacheT],
    cache: CacheT,
    *,
    end: int,
    max_length: int | Sequence[int],
    beam: int = 5,
    nbest: int = 1,
    min_length: int = 0,
    penalty: LengthPenalty = _GNMT,
    prefix: NDArray[np.integer] | None = None,
    stop: Stop = "exact",
    allow: Allow | None = None,
    text: Callable[[tuple[int, ...]], object] = tuple,
) -> list[list[Hypothesis]]:
    """Return the `nbest` best hypotheses of every source, best first.

    Args:
        model: anything with `step`; see `RankingModel`.
        cache: fresh, with `beam` rows a source; it is advanced, reordered and shrunk.
        end: the id of END.
        max_length: most ids of a hypothesis, END included, for all sources or for each; END is forced there
            (fairseq's `max_len_b` does not count END: it is this less 1).
        beam: live hypotheses a source.
        nbest: hypotheses to return, at most `beam`; fewer come back where fewer exist.
        min_length: least ids of a hypothesis, END included; a forced END is not held back.
        penalty: the length penalty.
        prefix: int64 [sources, P] forced ids, -1 where free.
        stop: "exact" or "first".
        allow: gets the ids so far [rows, t], returns bool [rows, V], true where an id may come next; what is forced
            comes in any case.
        text: what a person sees of the ids of a hypothesis; of those that look alike the best one is returned.

    Raises:
        UserError: bad settings, NaN or infinite log-probabilities, a source for which nothing can end in time.
    """
    expect(penalty, LengthPenalty, "a LengthPenalty", "try LengthPenalty(alpha=0.6)")
    limits = _limits(max_length, min_length, beam, nbest, cache.rows)
    check_fresh(cache.position)
    if stop not in ("exact", "first"):
        raise UserError(f"expected stop exact or first, got {stop!r}")
    forced = _forced(prefix, limits, end)
    search = model.largest if isinstance(model, RankingModel) else largest
    log_probs = model.step(None, cache)
    check_vocabulary(forced, end, log_probs.shape[1])
    live = _Live.start(forced, beam)
    ledger = _Ledger(nbest, penalty, limits, beam if stop == "first" else None, text)
    position = 0
    while True:
        allowed = None if allow is None else check_allowed(allow(live.ids), log_probs.shape)
        found = _extend(log_probs, live, position, end, allowed, search, end_allowed=position + 1 >= min_length)
        ledger.finish(found, live, position, end)
        rows = _advance(found, live, ledger, position, end)
        if not live.source.size:
            return ledger.result()
        if rows is not None:
            cache.select(rows)
        position += 1
        del log_probs  # whose memory the model may use again
        log_probs = model.step(live.ids[:, -1], cache)


@dataclass
class _Live:
    """The hypotheses that grow: S sources still in the batch, B beams each; row s * B + b is beam b of source s."""

    source: Ids  # [S], the source's number in the whole batch
    total: Numbers  # [S, B], summed log-probability; -inf: this beam holds nothing
    ids: Ids  # [S * B, t]
    log_probs: Numbers  # [S * B, t]
    forced: Ids  # [S, max_length], -1 where free
    any_forced: list[bool]  # [max_length] of the whole batch

    @classmethod
    def start(cls, forced: Ids, beam: int) -> _Live:
        """Begin with one empty hypothesis a source; the other beams hold nothing yet."""
        sources = len(forced)
        total = np.full((sources, beam), -np.inf)
        total[:, 0] = 0.0
        return cls(
            source=np.arange(sources),
            total=total,
            ids=np.empty((sources * beam, 0), np.int64),
            log_probs=np.empty((sources * beam, 0)),
            forced=forced,
            any_forced=(forced != FREE).any(0).tolist(),
        )


@dataclass(frozen=True)
class _Found:
    """The best extensions of every source, best first, each [S, K]; total -inf: there is none."""

    total: Numbers
    beam: Ids
    ids: Ids


def _extend(
    log_probs: LogProbs,
    live: _Live,
    position: int,
    end: int,
    allowed: Mask | None,
    search: Search,
    *,
    end_allowed: bool,
) -> _Found:
    """Rank the extensions of the live hypotheses, of log-probabilities [S * B, V], into which it writes, where they are
    `allowed` [S * B, V].
    """
    sources, beam = live.total.shape
    vocabulary = log_probs.shape[1]
    log_probs = log_probs.reshape(sources, beam, vocabulary)
    forced = live.forced[:, position]
    forced_total = None
    if live.any_forced[position]:
        known = np.maximum(forced, 0)[:, None, None]
        forced_total = live.total + np.take_along_axis(log_probs, known, 2)[:, :, 0]  # [S, B]
    if allowed is not None:
        log_probs[~allowed.reshape(log_probs.shape)] = -np.inf
    if not end_allowed:
        log_probs[:, :, end] = -np.inf
    try:
        total, origin, ids = search(log_probs, live.total, min(2 * beam, beam * vocabulary))
    except FloatingPointError as error:
        raise not_finite(position, source=int(live.source[error.args[0]])) from None
    if forced_total is None:
        return _Found(total, origin, ids)
    order = (-forced_total).argsort(1, kind="stable")
    is_forced = (forced != FREE)[:, None]
    spare = ((0, 0), (0, total.shape[1] - beam))
    one = np.pad(np.take_along_axis(forced_total, order, 1), spare, constant_values=-np.inf)
    total = np.where(is_forced, one, total)
    origin = np.where(is_forced, np.pad(order, spare), origin)
    return _Found(total, origin, np.where(is_forced, forced[:, None], ids))


def _advance(found: _Found, live: _Live, ledger: _Ledger, position: int, end: int) -> Ids | None:
    """Keep the best extensions that have not ended, drop sources that are done; return the cache's new rows.

    None when every row continues itself, so that the cache need not move.
    """
    sources, beam = live.total.shape
    gone = (found.ids == end) | (found.total == -np.inf)
    chosen = gone.argsort(1, kind="stable")[:, :beam]
    total, origin, ids, gone = (
        np.take_along_axis(each, chosen, 1) for each in (found.total, found.beam, found.ids, gone)
    )
    total[gone] = -np.inf
    with np.errstate(invalid="ignore"):  # of beams that hold nothing, -inf - -inf: nobody reads it
        step = (total - np.take_along_axis(live.total, origin, 1)).ravel()
    rows = (np.arange(sources)[:, None] * beam + origin).ravel()

    keep = ~ledger.done(live.source, total, position)
    moved = bool((origin != np.arange(beam)).any())
    if not keep.all():
        moved = True
        kept = keep.repeat(beam)
        rows, step, ids, total = rows[kept], step[kept], ids[keep], total[keep]
        live.source, live.forced = live.source[keep], live.forced[keep]
    live.total = total
    old_ids, old_log_probs = live.ids, live.log_probs
    if moved:
        old_ids, old_log_probs = old_ids[rows], old_log_probs[rows]
    live.ids = np.concatenate([old_ids, ids.reshape(-1, 1)], 1)
    live.log_probs = np.concatenate([old_log_probs, step[:, None]], 1)
    return rows if moved else None


class _Ledger:
    """The finished hypotheses of all sources, and who is done."""

    def __init__(
        self,
        nbest: int,
        penalty: LengthPenalty,
        limits: list[int],
        stop_at: int | None,
        text: Callable[[tuple[int, ...]], object],
    ) -> None:
        self._divisors = [math.nan] + [penalty.divisor(length) for length in range(1, max(limits) + 1)]
        self._last = np.array([self._divisors[limit] for limit in limits])
        self._nbest, self._stop_at, self._text = nbest, stop_at, text
        self._best: list[dict[object, Hypothesis]] = [{} for _ in limits]  # by text, best first
        self._count = np.zeros(len(limits), np.int64)
        # the score to beat: that of the n-th best, -inf until there are n
        self._bar = np.full(len(limits), -np.inf)

    def finish(self, found: _Found, live: _Live, position: int, end: int) -> None:
        """Enter the extensions that end and are among the first `beam`."""
        beam = live.total.shape[1]
        ended = (found.ids[:, :beam] == end) & (found.total[:, :beam] > -np.inf)
        if not ended.any():
            return
        if self._stop_at is not None:
            room = (self._stop_at - self._count[live.source])[:, None]
            ended &= ended.cumsum(1) <= room
        self._count[live.source] += ended.sum(1)
        score = found.total[:, :beam] / self._divisors[position + 1]
        group, rank = (ended & (score > self._bar[live.source][:, None])).nonzero()
        origin = found.beam[group, rank]
        row = group * beam + origin
        last = found.total[group, rank] - live.total[group, origin]
        sources = live.source[group].tolist()
        ids = live.ids[row].tolist()
        log_probs = np.concatenate([live.log_probs[row], last[:, None]], 1).tolist()
        for source, one, one_score, one_probs in zip(sources, ids, score[group, rank].tolist(), log_probs, strict=True):
            best, new = self._best[source], Hypothesis((*one, end), one_score, tuple(one_probs))
            text = self._text(new.ids)
            if text in best and best[text].score >= new.score:
                continue
            best[text] = new
            # stable: of equals the one found first stays first
            ranked = sorted(best.items(), key=lambda item: -item[1].score)[: self._nbest]
            self._best[source] = dict(ranked)
            if len(ranked) == self._nbest:
                self._bar[source] = ranked[-1][1].score

    def done(self, source: Ids, total: Numbers, position: int) -> NDArray[np.bool_]:
        """Say, bool [S], for which sources no live hypothesis [S, B] can enter the n best any more."""
        # what lives after `position` ends with position + 2 ids at the earliest; every convention is monotone in the
        # length, so the most favourable divisor within reach is the nearest one or the last one
        nearest = self._divisors[min(position + 2, len(self._divisors) - 1)]
        done: NDArray[np.bool_] = total.max(1) / np.maximum(self._last[source], nearest) <= self._bar[source]
        if self._stop_at is not None:
            done |= self._count[source] >= self._stop_at
        return done

    def result(self) -> list[list[Hypothesis]]:
        """Return the n best of every source."""
        for source, best in enumerate(self._best):
            if not best:
                raise UserError(
                    f"expected something that ends within max_length for source {source}, got nothing, for what the "
                    "prefix and the length force has probability zero; allow more length or change the prefix"
                )
        return [list(best.values()) for best in self._best]


def _limits(max_length: int | Sequence[int], min_length: int, beam: int, nbest: int, rows: int) -> list[int]:
    """Check the sizes and return the most ids of each source."""
    if beam < 1 or rows % beam:
        raise UserError(f"expected a beam that divides the cache's {rows} rows, got {beam}; start it with beams={beam}")
    if not 1 <= nbest <= beam:
        raise UserError(f"expected nbest from 1 to the beam ({beam}), got {nbest}; raise the beam")
    sources = rows // beam
    limits = [max_length] * sources if isinstance(max_length, int) else [int(one) for one in max_length]
    if len(limits) != sources:
        raise UserError(f"expected one max_length, or one for each of {sources} sources, got {len(limits)}")
    if not limits:
        raise UserError("expected at least one source, got a cache without rows; start it with some")
    if min(limits) < max(1, min_length):
        raise UserError(
            f"expected max_length from 1 and from min_length ({min_length}), END included, got {min(limits)}; raise it"
        )
    return limits


def _forced(prefix: NDArray[np.integer] | None, limits: list[int], end: int) -> Ids:
    """Return the forced ids int64 [sources, longest]: the prefix, and END at each source's last place."""
    forced = forced_ids(prefix, rows=len(limits), length=max(limits), end=end)
    last = np.array(limits)[:, None] - 1
    late = ((forced != FREE) & (forced != end) & (np.arange(max(limits)) >= last)).any(1)
    if late.any():
        source = int(late.argmax())
        raise UserError(
            f"expected a place for END after the prefix of source {source}, got none within max_length "
            f"{limits[source]}; allow more length"
        )
    np.put_along_axis(forced, last, end, 1)
    return forced
