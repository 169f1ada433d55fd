"""Beam search: against exhaustive search, against a plain one written out in Python, and everything that is refused."""

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from torch import Tensor

from triptych.errors import UserError
from triptych.generation.beam import Hypothesis, LengthPenalty, beam_search
from triptych.generation.ngrams import no_repeat

END = 1
Table = Callable[[int, tuple[int, ...]], Tensor]


class Rows:
    """A cache that remembers of each row its source and what was fed, and how it was moved."""

    def __init__(self, sources: Sequence[int], beam: int) -> None:
        self.source = [source for source in sources for _ in range(beam)]
        self.ids: list[tuple[int, ...]] = [() for _ in self.source]
        self.position = 0
        self.moves: list[list[int]] = []
        self.rows_at: list[int] = []

    @property
    def rows(self) -> int:
        return len(self.ids)

    def select(self, rows: NDArray[np.int64]) -> None:
        assert rows.size
        self.moves.append(rows.tolist())
        self.source = [self.source[row] for row in rows.tolist()]
        self.ids = [self.ids[row] for row in rows.tolist()]


class Model:
    """Log-probabilities of the logits in a table of (source, ids so far)."""

    def __init__(self, table: Table) -> None:
        self.table = table

    def step(self, ids: NDArray[np.int64] | None, cache: Rows) -> NDArray[Any]:
        assert (ids is None) == (cache.position == 0)
        if ids is not None:
            cache.ids = [(*one, token) for one, token in zip(cache.ids, ids.tolist(), strict=True)]
        cache.position += 1
        cache.rows_at.append(cache.rows)
        logits = torch.stack([self.table(*one) for one in zip(cache.source, cache.ids, strict=True)])
        return logits.log_softmax(1).numpy()


def random_table(vocabulary: int, seed: int, *, levels: float = 0, spread: float = 1.5, ending: float = 0.0) -> Table:
    """Normal logits that depend on the whole prefix; with `levels` they are rounded, so that many are equal.

    `ending` is added to END, without which nothing ends early when there are many ids.
    """
    known: dict[tuple[int, tuple[int, ...]], Tensor] = {}

    def logits(source: int, ids: tuple[int, ...]) -> Tensor:
        if (source, ids) not in known:
            drawn = np.random.default_rng([seed, source, len(ids), *ids]).normal(size=vocabulary) * spread
            drawn[END] += ending
            known[source, ids] = torch.from_numpy(np.round(drawn * levels) / levels if levels else drawn)
        return known[source, ids]

    return logits


def search(table: Table, sources: Sequence[int] = (0,), beam: int = 5, **settings: object) -> list[list[Hypothesis]]:
    return beam_search(Model(table), Rows(sources, beam), end=END, beam=beam, **settings)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Task:
    """One source and what is asked of it, for the two plain searches below."""

    table: Table
    source: int
    longest: int
    shortest: int = 0
    prefix: tuple[int, ...] = ()
    penalty: LengthPenalty = LengthPenalty()  # noqa: RUF009  (frozen)
    once: bool = False  # no id comes twice

    def choices(self, ids: tuple[int, ...]) -> list[tuple[int, float]]:
        """The ids that may follow, with their log-probabilities."""
        log_probs = torch.log_softmax(self.table(self.source, ids), 0).tolist()
        every = list(enumerate(log_probs))
        if len(ids) + 1 == self.longest:
            return [every[END]]
        if len(ids) < len(self.prefix) and self.prefix[len(ids)] >= 0:
            return [every[self.prefix[len(ids)]]]
        if len(ids) + 1 < self.shortest:
            del every[END]
        return [choice for choice in every if choice[0] not in ids] if self.once else every

    def score(self, total: float, length: int) -> float:
        return total / self.penalty.divisor(length)


def exhaustive(task: Task, ids: tuple[int, ...] = (), total: float = 0.0) -> list[tuple[float, tuple[int, ...]]]:
    found = []
    for token, log_prob in task.choices(ids):
        one = (*ids, token)
        if token == END:
            found.append((task.score(total + log_prob, len(one)), one))
        else:
            found += exhaustive(task, one, total + log_prob)
    return sorted(found, reverse=True)


def plain_beam(task: Task, beam: int, nbest: int, first: bool) -> list[tuple[float, tuple[int, ...]]]:
    """The definition, one source, no vectors and no early stop but that of `first`."""
    live: list[tuple[float, tuple[int, ...]]] = [(0.0, ())]
    finished: list[tuple[float, tuple[int, ...]]] = []
    while live:
        every = [
            (total + log_prob, place, (*ids, token))
            for place, (total, ids) in enumerate(live)
            for token, log_prob in task.choices(ids)
        ]
        every.sort(key=lambda one: (-one[0], one[1], one[2][-1]))
        ended = [(task.score(total, len(ids)), ids) for total, _, ids in every[:beam] if ids[-1] == END]
        live = [(total, ids) for total, _, ids in every[: 2 * beam] if ids[-1] != END][:beam]
        finished += ended[: beam - len(finished)] if first else ended
        if first and len(finished) == beam:
            break
    return sorted(finished, key=lambda one: -one[0])[:nbest]


def same(got: list[Hypothesis], expected: list[tuple[float, tuple[int, ...]]]) -> bool:
    return [one.ids for one in got] == [ids for _, ids in expected] and all(
        math.isclose(one.score, score, rel_tol=1e-9, abs_tol=1e-12)
        for one, (score, _) in zip(got, expected, strict=True)
    )


penalties = st.one_of(
    st.builds(LengthPenalty, st.sampled_from(["gnmt", "power", "none"]), st.sampled_from([0.0, 0.6, 1.0, 3.0, -0.7])),
    st.builds(LengthPenalty, st.just("sockeye"), st.sampled_from([0.5, 1.0]), st.sampled_from([0.0, 2.0])),
)


# the result


@settings(max_examples=30, deadline=None)
@given(st.data(), st.integers(0, 10**6), st.integers(2, 4), st.integers(1, 4), penalties)
def test_a_wide_beam_finds_what_exhaustive_search_finds(
    data: st.DataObject, seed: int, vocabulary: int, longest: int, penalty: LengthPenalty
) -> None:
    shortest = data.draw(st.integers(0, longest))
    prefix = tuple(data.draw(st.lists(st.sampled_from([-1, 0]), max_size=longest - 1)))
    nbest = data.draw(st.integers(1, 4))
    # As many as there are hypotheses of all lengths: "first" stops as soon as that many have ended.
    beam = max(nbest, longest * (vocabulary - 1) ** (longest - 1) * vocabulary)
    table = random_table(vocabulary, seed)
    got = search(
        table, (0, 1), beam, nbest=nbest, max_length=longest, min_length=shortest, penalty=penalty,
        prefix=np.array([prefix, prefix], dtype=np.int64).reshape(2, -1),
        stop=data.draw(st.sampled_from(["exact", "first"])),
    )  # fmt: skip
    for source in (0, 1):
        every = exhaustive(Task(table, source, longest, shortest, prefix, penalty))
        assert same(got[source], every[:nbest])


@settings(max_examples=60, deadline=None)
@given(st.data(), st.integers(0, 10**6), st.integers(2, 90), penalties, st.sampled_from(["exact", "first"]))
def test_a_narrow_beam_equals_the_plain_search_for_every_source_of_a_batch(
    data: st.DataObject, seed: int, vocabulary: int, penalty: LengthPenalty, stop: str
) -> None:
    """Ties included: half of the tables are rounded. Each source has its own length and its own ragged prefix."""
    beam = data.draw(st.integers(1, 6))
    nbest = data.draw(st.integers(1, beam))
    limits = data.draw(st.lists(st.integers(4, 9), min_size=1, max_size=4))
    shortest = data.draw(st.integers(0, 4))
    forced = st.integers(-3, vocabulary - 1).map(lambda one: max(one, -1)).filter(lambda one: one != END)
    width = data.draw(st.integers(0, 3))
    prefix = [tuple(data.draw(st.lists(forced, min_size=width, max_size=width))) for _ in limits]
    levels, ending = data.draw(st.sampled_from([0, 2])), data.draw(st.sampled_from([0.0, 2.0, 4.0]))
    table = random_table(vocabulary, seed, levels=levels, spread=2, ending=ending)
    got = search(
        table, range(len(limits)), beam, nbest=nbest, max_length=limits, min_length=shortest, penalty=penalty,
        prefix=np.array(prefix, dtype=np.int64).reshape(len(limits), width), stop=stop,
    )  # fmt: skip
    for source, longest in enumerate(limits):
        task = Task(table, source, longest, shortest, prefix[source], penalty)
        assert same(got[source], plain_beam(task, beam, nbest, stop == "first"))


@pytest.mark.parametrize("convention", ["gnmt", "power", "none"])
def test_beam_one_is_greedy(convention: str) -> None:
    table = random_table(6, 3)
    for source in range(8):
        ids: tuple[int, ...] = ()
        while not ids or ids[-1] != END:
            ids = (*ids, int(table(source, ids).argmax()) if len(ids) < 11 else END)
        assert search(table, (source,), 1, max_length=12, penalty=LengthPenalty(convention))[0][0].ids == ids


def test_a_batch_gives_what_its_sources_give_alone() -> None:
    table = random_table(300, 5)
    limits = [3, 14, 9, 14, 1]
    together = search(table, range(5), 4, nbest=4, max_length=limits)
    alone = [search(table, (source,), 4, nbest=4, max_length=limits[source])[0] for source in range(5)]
    assert together == alone


def test_n_best_is_sorted_and_distinct() -> None:
    for found in search(random_table(40, 8), range(6), 8, nbest=8, max_length=10):
        assert len(found) == 8
        assert [one.score for one in found] == sorted((one.score for one in found), reverse=True)
        assert len({one.ids for one in found}) == 8


@pytest.mark.parametrize("nbest", [1, 3, 8])
def test_of_those_that_look_alike_the_best_is_returned(nbest: int) -> None:
    def text(ids: Sequence[int]) -> tuple[int, ...]:
        return tuple(token // 8 for token in ids)

    table = random_table(40, 8, ending=2.0)
    for source in range(6):
        expected: list[tuple[float, tuple[int, ...]]] = []
        for score, ids in plain_beam(Task(table, source, 6), 8, 10**6, False):
            if text(ids) not in {text(other) for _, other in expected}:
                expected.append((score, ids))
        (found,) = search(table, (source,), 8, nbest=nbest, max_length=6, text=text)
        assert same(found, expected[:nbest]) and len(found) == nbest


def test_what_is_not_allowed_is_never_taken() -> None:
    table = random_table(7, 3, ending=-2.0)
    for source in range(4):
        (found,) = search(table, (source,), 4, nbest=4, max_length=6, allow=no_repeat(1, 7))
        assert same(found, plain_beam(Task(table, source, 6, once=True), 4, 4, False))
    with pytest.raises(UserError, match=r"expected allow to return bool \[4, 7\]"):
        search(table, (0,), 4, max_length=6, allow=no_repeat(1, 8))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
def test_other_floating_types_over_several_blocks_of_vocabulary(dtype: torch.dtype) -> None:
    """In bfloat16 many logits are equal; the order of equals must still be the documented one."""
    exact = random_table(700, 21)
    table = lambda source, ids: exact(source, ids).to(dtype).float()  # noqa: E731
    for source in range(4):
        got = search(table, (source,), 3, nbest=3, max_length=8)[0]
        assert [one.ids for one in got] == [ids for _, ids in plain_beam(Task(table, source, 8), 3, 3, False)]


def test_equal_logits_take_the_lower_ids() -> None:
    found = search(lambda source, ids: torch.zeros(100), (0, 1), 3, nbest=3, max_length=2)
    assert [[one.ids for one in each] for each in found] == [[(END,), (0, END), (2, END)]] * 2


def test_what_a_hypothesis_holds() -> None:
    table = random_table(9, 13)
    for one in search(table, (4,), 5, nbest=5, max_length=9, penalty=LengthPenalty("gnmt", 0.8))[0]:
        assert one.ids[-1] == END
        assert END not in one.ids[:-1]
        expected = [
            float(torch.log_softmax(table(4, one.ids[:place]), 0)[token]) for place, token in enumerate(one.ids)
        ]
        assert one.log_probs == pytest.approx(expected, abs=1e-12)
        assert one.score == pytest.approx(sum(expected) / ((5 + len(expected)) / 6) ** 0.8)


@pytest.mark.parametrize(
    ("penalty", "length", "divisor"),
    [
        (LengthPenalty(), 7, 2.0**0.6),
        (LengthPenalty("gnmt", 1.0), 1, 1.0),
        (LengthPenalty("power", 2.0), 3, 9.0),
        (LengthPenalty("power", 1.0), 10, 10.0),
        (LengthPenalty("sockeye", 1.0), 4, 4.0),
        (LengthPenalty("sockeye", 2.0, 3.0), 5, 4.0),
        (LengthPenalty("none", 5.0), 9, 1.0),
    ],
)
def test_divisors(penalty: LengthPenalty, length: int, divisor: float) -> None:
    assert penalty.divisor(length) == pytest.approx(divisor)


# lengths and prefixes


def test_end_is_forced_at_the_greatest_length_and_held_back_before_the_least() -> None:
    table = random_table(5, 2)
    for shortest, longest in itertools.combinations_with_replacement(range(1, 6), 2):
        found = search(table, (0,), 4, nbest=4, max_length=longest, min_length=shortest)[0]
        assert found
        assert all(shortest <= len(one.ids) <= longest for one in found)


def test_a_forced_prefix_begins_every_hypothesis_and_counts_in_the_score() -> None:
    table = random_table(8, 4)
    prefix = np.array([[5, 3, -1], [-1, 2, 6], [7, -1, -1]])
    for source, found in enumerate(search(table, range(3), 4, nbest=4, max_length=7, prefix=prefix)):
        assert len(found) == 4
        for one in found:
            forced = [(place, token) for place, token in enumerate(prefix[source].tolist()) if token >= 0]
            assert all(one.ids[place] == token for place, token in forced)
            assert one.log_probs[0] == pytest.approx(float(torch.log_softmax(table(source, ()), 0)[one.ids[0]]))


def test_a_forced_end_is_the_end() -> None:
    found = search(random_table(8, 4), range(2), 3, nbest=3, max_length=7, prefix=np.array([[5, END], [END, -1]]))
    assert [[one.ids for one in each] for each in found] == [[(5, END)], [(END,)]]


# the work done


def test_the_cache_is_moved_only_when_the_order_changes_and_shrinks_as_sources_finish() -> None:
    def table(source: int, ids: tuple[int, ...]) -> Tensor:
        """Beam 0 says 2, beam 1 says 3, for ever, in this order; source s ends after 3 + 2 s ids."""
        logits = torch.full((5,), -50.0)
        if len(ids) >= 3 + 2 * source:
            logits[END] = 0.0
        elif ids:
            logits[ids[-1]] = 0.0
        else:
            logits[2], logits[3] = 0.0, -1.0
        return logits

    cache = Rows((0, 1, 2), 2)
    found = beam_search(Model(table), cache, end=END, beam=2, nbest=2, max_length=20)
    assert [[len(one.ids) for one in each] for each in found] == [[4, 4], [6, 6], [8, 8]]
    assert cache.moves == [[0, 0, 2, 2, 4, 4], [2, 3, 4, 5], [2, 3]]
    assert cache.rows_at == [6, 6, 6, 6, 4, 4, 2, 2]


def test_a_prefix_from_the_start_does_not_move_the_cache() -> None:
    cache = Rows((0, 1), 4)
    prefix = np.array([[3, 4, 5], [6, 2, 0]])
    beam_search(Model(random_table(9, 1)), cache, end=END, beam=4, max_length=4, prefix=prefix)
    assert cache.moves == []


def test_exact_stops_as_soon_as_nothing_can_change() -> None:
    """Without a penalty the best finished hypothesis stands once it beats every live one; n best wait for the n-th."""
    table = [{END: 0.5, 2: 0.3, 3: 0.2}, {END: 0.9, 2: 0.06, 3: 0.04}]

    def logits(source: int, ids: tuple[int, ...]) -> Tensor:
        return torch.tensor([table[min(len(ids), 1)].get(token, 0.0) for token in range(4)]).log()

    for nbest, steps in [(1, 1), (2, 2), (3, 2)]:
        cache = Rows((0,), 3)
        found = beam_search(
            Model(logits), cache, end=END, beam=3, nbest=nbest, max_length=50, penalty=LengthPenalty("none")
        )
        assert len(cache.rows_at) == steps
        assert [one.ids for one in found[0]] == [(END,), (2, END), (3, END)][:nbest]


def test_exact_holds_for_a_penalty_that_favours_the_short() -> None:
    """alpha -1 multiplies by the length: the most favourable length for what still lives is the next, not the last."""

    def logits(source: int, ids: tuple[int, ...]) -> Tensor:
        return torch.tensor([0.0, 1.0, 0.0] if ids else [0.0, 0.2, 0.8]).log()

    found = search(logits, (0,), 2, nbest=1, max_length=50, penalty=LengthPenalty("power", -1.0))[0][0]
    assert found.ids == (2, END)
    assert found.score == pytest.approx(2 * math.log(0.8))


# what is refused


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"beam": 0}, "expected a beam that divides"),
        ({"beam": 4}, "expected a beam that divides"),
        ({"nbest": 0}, "nbest"),
        ({"nbest": 4}, "nbest"),
        ({"max_length": 0}, "max_length"),
        ({"max_length": [5]}, "each of 2 sources, got 1"),
        ({"max_length": [5, 0]}, "max_length"),
        ({"max_length": 3, "min_length": 4}, "min_length"),
        ({"stop": "early"}, "expected stop exact"),
        ({"prefix": np.zeros((6, 1), np.int64)}, "expected a prefix int64"),
        ({"prefix": np.array([[2], [-3]])}, "-3"),
        ({"prefix": np.array([[2, 2, 2, 2, 2], [0, 0, 0, 0, -1]])}, "a place for END after the prefix of source 0"),
        ({"prefix": np.zeros((2, 6), np.int64)}, "at most 5 ids, got 6"),
        ({"prefix": np.array([[END, 2], [2, 2]])}, "after END"),
        ({"prefix": np.array([[2], [7]])}, "vocabulary size 7"),
        ({"end": 7}, "expected end to be an id"),
        ({"end": -1}, "expected end to be an id"),
    ],
)
def test_bad_calls(bad: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says) as error:
        beam_search(
            Model(random_table(7, 0)), Rows((0, 1), 3), **{"end": END, "beam": 3, "max_length": 5, **bad}  # type: ignore[arg-type]
        )  # fmt: skip
    assert "\n" not in str(error.value)


def test_a_used_or_empty_cache_is_refused() -> None:
    used = Rows((0,), 2)
    used.position = 4
    with pytest.raises(UserError, match="position 4"):
        beam_search(Model(random_table(7, 0)), used, end=END, beam=2, max_length=5)
    with pytest.raises(UserError, match="without rows"):
        beam_search(Model(random_table(7, 0)), Rows((), 2), end=END, beam=2, max_length=5)


@pytest.mark.parametrize(
    ("convention", "alpha", "beta"),
    [("wu", 0.6, 0.0), ("gnmt", math.nan, 0.0), ("power", math.inf, 0.0), ("gnmt", 0.6, 1.0), ("sockeye", 1.0, -1.0)],
)
def test_bad_penalties(convention: str, alpha: float, beta: float) -> None:
    with pytest.raises(UserError, match="length penalty"):
        LengthPenalty(convention, alpha, beta)  # type: ignore[arg-type]


@pytest.mark.parametrize("value", [math.nan, math.inf, -math.inf])
@pytest.mark.parametrize("vocabulary", [4, 200])
def test_broken_logits_are_named(value: float, vocabulary: int) -> None:
    """One NaN or +inf anywhere, or a row of nothing but -inf, in the second of two sources."""

    def table(source: int, ids: tuple[int, ...]) -> Tensor:
        logits = torch.zeros(vocabulary)
        logits[END] = -9.0
        if source == 1 and len(ids) == 2:
            logits[slice(None) if value == -math.inf else vocabulary - 1] = value
        return logits

    with pytest.raises(UserError, match="NaN or infinite at position 2, source 1"):
        search(table, (0, 1), 3, max_length=6)


def test_a_source_for_which_nothing_can_end_is_named() -> None:
    logits = torch.zeros(4)
    logits[END] = -math.inf
    with pytest.raises(UserError, match="ends within max_length for source 0, got nothing"):
        search(lambda source, ids: logits, (0,), 2, max_length=3)
