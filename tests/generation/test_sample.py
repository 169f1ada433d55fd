"""Sampling: the distribution, exact supports, seeds, the hook, forced prefixes, END, and everything that is refused."""

import itertools
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

import triptych.generation.sample as module
from triptych.errors import UserError
from triptych.generation.sample import generate
from triptych.generation.sampling import Sampling, probabilities
from triptych.generation.seeds import derive, row_keys, uniforms

TABLE = np.log([0.25, 0.4, 0.05, 0.3])


class Rows:
    """A cache that only remembers what was fed."""

    def __init__(self, rows: int) -> None:
        self.rows = rows
        self.position = 0
        self.ids: list[list[int]] = [[] for _ in range(rows)]

    def select(self, rows: NDArray[Any]) -> None:
        raise AssertionError("sampling never moves rows")


class Model:
    """Logits that depend on all ids of the row: `logits(ids)`."""

    def __init__(self, logits: Callable[[tuple[int, ...]], NDArray[Any]]) -> None:
        self.logits = logits

    def step(self, ids: NDArray[Any] | None, cache: Rows) -> NDArray[Any]:
        assert (ids is None) == (cache.position == 0)
        for row, token in enumerate([] if ids is None else ids.tolist()):
            cache.ids[row].append(token)
        cache.position += 1
        return np.stack([self.logits(tuple(one)) for one in cache.ids])


def random_logits(ids: tuple[int, ...]) -> NDArray[Any]:
    return np.random.default_rng([len(ids), *ids]).normal(size=7) * 1.5


def log(probabilities: Any) -> NDArray[Any]:
    with np.errstate(divide="ignore"):
        return np.log(probabilities)  # type: ignore[no-any-return]


Logits = Callable[[tuple[int, ...]], NDArray[Any]]


def columns(rows: int, logits: Logits = random_logits, **settings: object) -> list[list[int]]:
    found = list(generate(Model(logits), Rows(rows), **settings))  # type: ignore[arg-type]
    return np.stack(found, 1).tolist() if found else []


# the distribution


def test_frequencies_are_the_probabilities() -> None:
    draws = 4000
    column = next(generate(Model(lambda ids: TABLE), Rows(draws), steps=1, seed=3))
    counts = np.bincount(column, minlength=4) / draws
    expected = np.exp(TABLE)
    assert (np.abs(counts - expected) < 4 * np.sqrt(expected * (1 - expected) / draws)).all()


def test_frequencies_over_steps_are_the_probabilities() -> None:
    counts = Counter(columns(1, lambda ids: TABLE, steps=3000, seed=11)[0])
    for token, share in enumerate(np.exp(TABLE).tolist()):
        assert abs(counts[token] / 3000 - share) < 4 * math.sqrt(share * (1 - share) / 3000)


def test_temperature_sharpens() -> None:
    sharper = np.exp(TABLE) ** 2 / (np.exp(TABLE) ** 2).sum()
    assert np.allclose(probabilities(TABLE[None], Sampling(temperature=0.5))[0], sharper)
    assert probabilities(TABLE[None], Sampling(temperature=1e-300))[0].tolist() == [0, 1, 0, 0]


@settings(max_examples=60, deadline=None)
@given(
    st.integers(0, 10**6), st.integers(2, 200), st.integers(0, 12), st.sampled_from([1.0, 0.9, 0.5, 0.01]),
    st.sampled_from([0.0, 0.05, 0.5, 1.0]), st.sampled_from([0.3, 1.0, 2.0]), st.booleans(),
)  # fmt: skip
def test_restrictions_keep_exactly_what_they_say_in_the_documented_order(
    seed: int, vocabulary: int, top_k: int, top_p: float, min_p: float, temperature: float, masked: bool
) -> None:
    rng = np.random.default_rng(seed)
    logits = rng.normal(size=vocabulary) * 2
    allowed = rng.random(vocabulary) < 0.6 if masked else np.ones(vocabulary, bool)
    allowed[0] = True
    weights = np.where(allowed, np.exp(logits / temperature), 0.0)
    left = [int(token) for token in np.argsort(-weights, kind="stable") if weights[token] > 0]
    if top_k:
        left = left[:top_k]
    if top_p < 1:
        mass = weights[left].sum()
        left = [token for place, token in enumerate(left) if weights[left[:place]].sum() < top_p * mass]
    left = [token for token in left if weights[token] >= min_p * weights[left[0]]]
    expected = np.zeros(vocabulary)
    expected[left] = weights[left] / weights[left].sum()
    got = probabilities((logits)[None], Sampling(temperature, top_k, top_p, min_p), (allowed)[None])[0]
    assert np.allclose(got, expected, atol=1e-12)
    assert np.flatnonzero(got > 0).tolist() == sorted(left)


def test_ties_at_the_edge_keep_the_lower_ids() -> None:
    flat = np.zeros((1, 150))
    assert np.flatnonzero(probabilities(flat, Sampling(top_k=3))[0] > 0).tolist() == [0, 1, 2]
    assert np.flatnonzero(probabilities(flat[:, :8], Sampling(top_p=0.25))[0] > 0).tolist() == [0, 1]
    assert columns(1, lambda ids: np.zeros(4), steps=1, sampling=Sampling(temperature=0)) == [[0]]


@pytest.mark.parametrize(("top_p", "words"), [(0.2, {4}), (0.575, {4, 5})])
def test_fairseq_top_p_table(top_p: float, words: set[int]) -> None:
    """The figures of fairseq's TestTopPSamplingSearch: w1 = 4 has 0.4, w2 = 5 has 0.35, END = 2 has 0.25."""
    table = [
        np.array([0, 0, 0, 0, 1.0, 0]),
        np.array([0, 0, 0.25, 0, 0.4, 0.35]),
        np.array([0, 0, 1.0, 0, 0, 0]),
    ]
    rows = columns(60, lambda ids: log(table[len(ids)]), steps=9, end=2, sampling=Sampling(top_p=top_p))
    assert {row[1] for row in rows} == words
    assert all([row[0], *row[2:]] == [4, 2] for row in rows)


def test_no_token_outside_the_support_is_ever_drawn() -> None:
    column = next(generate(Model(lambda ids: TABLE), Rows(500), steps=1, sampling=Sampling(top_k=2)))
    assert set(column.tolist()) == {1, 3}


def test_greedy_is_the_argmax_and_needs_no_seed() -> None:
    ids: list[int] = []
    for _ in range(6):
        ids.append(int(random_logits(tuple(ids)).argmax()))
    greedy = Sampling(temperature=0, top_k=3, top_p=0.5)
    assert columns(3, steps=6, seed=1, sampling=greedy) == columns(3, steps=6, seed=2, sampling=greedy) == [ids] * 3


@pytest.mark.parametrize(("uniform", "token"), [(0.0, 1), (1 - 2.0**-53, 2), (0.49, 1), (0.51, 2)])
def test_the_ends_of_the_distribution(monkeypatch: pytest.MonkeyPatch, uniform: float, token: int) -> None:
    monkeypatch.setattr(module, "uniforms", lambda keys, steps: np.full((len(steps), len(keys)), uniform))
    logits = log([0.0, 0.5, 0.5, 0.0, 0.0])
    assert columns(2, lambda ids: logits, steps=1) == [[token], [token]]


class Prefilling(Model):
    """Takes all of a given beginning at once."""

    def prefill(self, ids: NDArray[Any], cache: Rows) -> NDArray[Any]:
        for row, tokens in enumerate(ids[:, :-1].tolist()):
            cache.ids[row].extend(tokens)
        cache.position = ids.shape[1]
        return ids

    def step(self, ids: NDArray[Any] | None, cache: Rows) -> NDArray[Any]:
        cache.position += 1
        return np.tile(TABLE, (cache.rows, 1))


@pytest.mark.parametrize("given", [0, module.AHEAD - 1, module.AHEAD, module.AHEAD + 44])
def test_numbers_drawn_ahead_are_those_of_each_step(given: int) -> None:
    steps, keys = 2 * module.AHEAD + 3, row_keys(5, 2)
    prefix = np.zeros((2, given), dtype=np.int64)
    found = np.stack(list(generate(Prefilling(lambda ids: TABLE), Rows(2), steps=steps, seed=5, prefix=prefix)), 1)
    bounds = np.exp(TABLE).cumsum()
    for step in range(given, steps):
        (numbers,) = uniforms(keys, range(step, step + 1))
        assert np.array_equal(found[:, step], bounds.searchsorted(numbers, side="right"))


class Drawing(Model):
    """A model that draws by itself, and counts how often."""

    drawn = 0

    def draw(self, ids: NDArray[Any] | None, cache: Rows, uniforms: NDArray[Any]) -> NDArray[Any] | None:
        self.drawn += 1
        cumulative = probabilities(self.step(ids, cache)).cumsum(1)
        return (cumulative <= uniforms[:, None]).sum(1)


class Reluctant(Model):
    """A model that could draw by itself and leaves it to `step`."""

    asked = 0

    def draw(self, ids: NDArray[Any] | None, cache: Rows, uniforms: NDArray[Any]) -> NDArray[Any] | None:
        self.asked += 1
        return None


@pytest.mark.parametrize("rows", [1, 3])
def test_a_model_that_draws_by_itself_draws_the_same(rows: int) -> None:
    prefix = np.full((rows, 300), -1)
    prefix[:, [0, 1, 20]] = 4
    model = Drawing(random_logits)
    found = np.stack(list(generate(model, Rows(rows), steps=300, seed=5, prefix=prefix)), 1)
    assert found.tolist() == columns(rows, steps=300, seed=5, prefix=prefix)
    assert model.drawn == 300 - 3  # those that are forced, the first among them
    reluctant = Reluctant(random_logits)
    found = np.stack(list(generate(reluctant, Rows(rows), steps=300, seed=5, prefix=prefix)), 1)
    assert found.tolist() == columns(rows, steps=300, seed=5, prefix=prefix)
    assert reluctant.asked == 1


def test_some_rows_are_forced_between_draws_of_the_model_and_long_stretches() -> None:
    prefix = np.full((2, 700), -1)
    prefix[0, 5], prefix[1, 6], prefix[:, 20:600] = 3, 2, 1
    found = np.stack(list(generate(Drawing(random_logits), Rows(2), steps=700, seed=1, prefix=prefix)), 1)
    assert found.tolist() == columns(2, steps=700, seed=1, prefix=prefix)


def test_a_model_that_draws_by_itself_shows_its_vocabulary_first() -> None:
    with pytest.raises(UserError, match="vocabulary"):
        list(generate(Drawing(random_logits), Rows(1), steps=2, prefix=np.array([[-1, 7]])))


@pytest.mark.parametrize(
    "settings",
    [
        {"sampling": Sampling(temperature=0.5)},
        {"sampling": Sampling(top_k=3)},
        {"allow": lambda ids: np.ones((len(ids), 7), bool)},
        {"end": 3},
    ],
)
def test_a_model_draws_by_itself_only_from_all_that_it_predicts(settings: dict[str, Any]) -> None:
    model = Drawing(random_logits)
    found = np.stack(list(generate(model, Rows(2), steps=9, **settings)), 1)
    assert found.tolist() == columns(2, steps=9, **settings)
    assert model.drawn == 0


def test_a_model_that_draws_by_itself_is_as_clear_about_broken_numbers() -> None:
    def broken(ids: tuple[int, ...]) -> NDArray[Any]:
        return np.full((3,), math.nan) if len(ids) == 2 else np.zeros(3)

    class Broken(Drawing):
        def draw(self, ids: NDArray[Any] | None, cache: Rows, uniforms: NDArray[Any]) -> NDArray[Any] | None:
            if not np.isfinite(self.step(ids, cache)).all():
                raise FloatingPointError
            return np.zeros(1, np.int64)

    with pytest.raises(UserError, match="NaN or infinite at position 2, row 0;"):
        list(generate(Broken(broken), Rows(1), steps=5))


@pytest.mark.parametrize("dtype", [np.float16, np.float32])
def test_any_floating_type(dtype: type) -> None:
    assert columns(2, lambda ids: TABLE.astype(dtype), steps=4, seed=5) == columns(
        2, lambda ids: TABLE, steps=4, seed=5
    )


# seeds


def test_one_seed_is_one_result_whatever_the_number_of_rows_and_steps() -> None:
    many = columns(5, steps=8, seed=42)
    assert columns(2, steps=8, seed=42) == many[:2]
    assert [row[:3] for row in many] == columns(5, steps=3, seed=42)
    assert columns(5, steps=8, seed=43) != many
    assert len({tuple(row) for row in many}) == 5


def test_a_seed_for_each_row_is_that_row_alone() -> None:
    seeds = [derive(4, 0), derive(8, 0), derive(4, 0)]
    assert columns(3, steps=6, seed=seeds) == [columns(1, steps=6, seed=seed)[0] for seed in (4, 8, 4)]
    assert columns(2, steps=6, seed=[derive(4, 1), derive(4, 0)]) == columns(2, steps=6, seed=4)[::-1]


def test_forced_ids_do_not_move_the_draws_after_them() -> None:
    free = columns(1, lambda ids: TABLE, steps=9, seed=6)[0]
    forced = columns(1, lambda ids: TABLE, steps=9, seed=6, prefix=np.array([[0, 0, 0]]))[0]
    assert forced == [0, 0, 0, *free[3:]]


# prefix, end, allow


def test_prefix_is_obeyed_where_it_is_not_free_and_fed_to_the_model() -> None:
    cache = Rows(3)
    prefix = np.array([[3, -1, 5], [-1, -1, -1], [2, 2, -1]])
    got = np.stack(list(generate(Model(random_logits), cache, steps=5, prefix=prefix, seed=1)), 1)
    assert ((got[:, :3] == prefix) | (prefix == -1)).all()
    assert cache.ids == got[:, :4].tolist()
    assert got[1].tolist() == columns(2, steps=5, seed=1)[1]


def test_after_end_a_row_gives_end_and_all_ended_stops() -> None:
    rows = columns(6, steps=200, seed=2, end=3)
    longest = max(row.index(3) + 1 for row in rows)
    assert longest < 200
    for row in rows:
        first = row.index(3)
        assert len(row) == longest
        assert row[first:] == [3] * (longest - first)
    assert {row.index(3) for row in rows} != {longest - 1}


def test_a_forced_end_ends() -> None:
    assert columns(2, steps=9, end=1, prefix=np.array([[4, 1], [1, -1]])) == [[4, 1], [1, 1]]


def test_steps_bounds_the_columns() -> None:
    assert len(columns(2, steps=3)[0]) == 3
    assert columns(2, steps=0) == []


def test_allow_sees_the_ids_so_far_and_rules_what_comes() -> None:
    seen: list[list[list[int]]] = []

    def ascending(ids: NDArray[Any]) -> NDArray[Any]:
        seen.append(ids.tolist())
        last = ids[:, -1:] if ids.shape[1] else np.full((2, 1), -1)
        return np.arange(7)[None] > last

    found = list(generate(Model(random_logits), Rows(2), steps=9, end=6, allow=ascending, seed=4))
    rows = np.stack(found, 1).tolist()
    for row in rows:
        body = row[: row.index(6) + 1]
        assert body == sorted(set(body))
    assert seen == [[row[:t] for row in rows] for t in range(len(found))]


def test_allow_is_not_asked_about_forced_ids() -> None:
    def never(ids: NDArray[Any]) -> NDArray[Any]:
        return np.zeros((1, 7), bool)

    assert columns(1, steps=2, allow=never, prefix=np.array([[1, 2]])) == [[1, 2]]


def test_allow_may_leave_nothing_to_a_row_that_has_ended() -> None:
    def after_end_nothing(ids: NDArray[Any]) -> NDArray[Any]:
        return np.tile(~(ids == 1).any(1)[:, None], 7)

    rows = columns(2, steps=40, end=1, allow=after_end_nothing, seed=3)
    assert rows[0].index(1) != rows[1].index(1)


def test_a_column_is_the_callers_own() -> None:
    plain = columns(2, steps=4, seed=9)
    for place, column in enumerate(generate(Model(random_logits), Rows(2), steps=4, seed=9)):
        assert column.tolist() == [row[place] for row in plain]
        column[:] = 0


# what is refused


@pytest.mark.parametrize(
    "bad",
    [
        {"temperature": -0.1}, {"temperature": math.inf}, {"temperature": math.nan}, {"top_k": -1}, {"top_k": 1.5},
        {"top_p": 0.0}, {"top_p": 1.01}, {"top_p": math.nan}, {"min_p": -0.1}, {"min_p": 1.1}, {"min_p": math.nan},
    ],
)  # fmt: skip
def test_bad_settings(bad: dict[str, float]) -> None:
    with pytest.raises(UserError, match=next(iter(bad))) as error:
        Sampling(**bad)  # type: ignore[arg-type]
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        ({"steps": -1}, "steps"),
        ({"prefix": np.zeros((3, 2), dtype=np.int64)}, "expected a prefix int64"),
        ({"prefix": np.zeros(2, dtype=np.int64)}, "expected a prefix int64"),
        ({"prefix": np.zeros((2, 2))}, "expected a prefix int64"),
        ({"prefix": np.full((2, 2), -2)}, "-2"),
        ({"prefix": np.zeros((2, 9), dtype=np.int64)}, "at most 5 ids, got 9"),
        ({"prefix": np.array([[1, 4], [4, 4]]), "end": 1}, "after END"),
        ({"seed": -1}, "seed"),
        ({"seed": [1]}, "seed"),
    ],
)
def test_bad_calls_are_refused_at_once(bad: dict[str, object], says: str) -> None:
    with pytest.raises(UserError, match=says):
        generate(Model(random_logits), Rows(2), **{"steps": 5, **bad})  # type: ignore[arg-type]


def test_a_used_cache_is_refused() -> None:
    cache = Rows(2)
    cache.position = 3
    with pytest.raises(UserError, match="position 3"):
        generate(Model(random_logits), cache, steps=5)


@pytest.mark.parametrize("bad", [{"prefix": np.array([[7]])}, {"end": 7}, {"end": -1}])
def test_ids_outside_the_vocabulary_are_refused_at_the_first_step(bad: dict[str, object]) -> None:
    with pytest.raises(UserError, match="vocabulary"):
        columns(1, steps=2, **bad)


@pytest.mark.parametrize("value", [math.nan, math.inf])
@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_broken_logits_are_named(value: float, temperature: float) -> None:
    def broken(ids: tuple[int, ...]) -> NDArray[Any]:
        return np.array([0.0, value, 0.0]) if len(ids) == 2 else np.zeros(3)

    with pytest.raises(UserError, match="NaN or infinite at position 2, row 0"):
        columns(2, broken, steps=5, sampling=Sampling(temperature=temperature))


def test_logits_that_allow_nothing_are_named() -> None:
    with pytest.raises(UserError, match="position 0, row 0"):
        columns(1, lambda ids: np.full((3,), -np.inf), steps=1)


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_a_row_with_nothing_allowed_is_named(temperature: float) -> None:
    mask = np.array([[True] * 7, [False] * 7])
    with pytest.raises(UserError, match=r"allow permits no token .* position 0, row 1"):
        columns(2, steps=2, allow=lambda ids: mask, sampling=Sampling(temperature=temperature))


def test_allowing_only_what_has_no_probability_is_nothing() -> None:
    with pytest.raises(UserError, match="allow permits no token"):
        probabilities(np.array([[0.0, -np.inf]]), allowed=np.array([[False, True]]))


@pytest.mark.parametrize("mask", [np.ones((2, 6), bool), np.ones((2, 7)), np.ones(7, bool)])
def test_a_mask_of_the_wrong_form_is_refused(mask: NDArray[Any]) -> None:
    with pytest.raises(UserError, match=r"bool \[2, 7\]"):
        columns(2, steps=2, allow=lambda ids: mask)


def test_it_is_an_iterator_that_computes_as_it_goes() -> None:
    cache = Rows(1)
    endless = generate(Model(random_logits), cache, steps=10**6, seed=1)
    assert len(list(itertools.islice(endless, 3))) == 3
    assert cache.position == 3
