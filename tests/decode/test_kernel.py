"""The kernel: one row equals many to the bit, threads, draws, beams by index, and which library is taken."""

from __future__ import annotations

import multiprocessing
import threading
from typing import Any

import children
import numpy as np
import pytest
from children import decoders

from triptych.decode.interpreter import PlanDecoder
from triptych.decode.kernel import VARIABLE, KernelDecoder, _opened, decoder_of, library
from triptych.decode.plan import plan_of
from triptych.errors import UserError
from triptych.generation.sample import generate
from triptych.generation.sampling import Sampling
from triptych.shape.config import Config
from triptych.shape.parts import Mixture
from triptych.shape.store import read_model

pytestmark = pytest.mark.skipif(library() is None, reason="no kernel was compiled, or it is switched off")

NAMES = ("chorales", "piano", "fashion", "emoji-upscale", "captions-en-de")


def given(config: Config, rows: int, length: int) -> dict[str, Any]:
    """What a model is given: the same for every row."""
    asked: dict[str, Any] = {"length": length, "rows": rows}
    if config.encoder_layers:
        source = np.random.default_rng(5).integers(4, 200, (1, length if config.aligned else 9))
        asked["source"] = source.repeat(rows, 0)
    if config.classes:
        asked["label"] = np.zeros(rows, np.int64)
    return asked


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("threads", [1, 3])
def test_one_row_is_every_row_of_many_to_the_bit(name: str, threads: int) -> None:
    one, many = decoders(name)[0], decoders(name, threads)[0]
    rows, length = 19, 24
    alone, together = one.start(**given(one.plan.config, 1, length)), many.start(**given(one.plan.config, rows, length))
    if one.plan.config.encoder_layers and not one.plan.config.aligned:
        assert together.cross is not None  # encoded in numpy, whose products of many rows are rounded in another way
        together.cross[:] = alone.cross
    if one.plan.config.aligned:
        together.added = alone.added
    ids = np.random.default_rng(1).integers(4, 40, length)
    for step in range(length):
        last = None if step == 0 else ids[step - 1 : step]
        expected = one.step(last, alone)
        found = many.step(None if last is None else last.repeat(rows), together)
        assert (together.hidden == alone.hidden).all()
        if one.plan.config.head.__class__ is not Mixture:  # whose probabilities, but not its draws, are made in numpy
            assert (found == expected).all()


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("rows", [1, 5])
def test_draws_are_those_of_numpy(name: str, rows: int) -> None:
    kernel, plan = decoders(name, threads=2)
    length = 60
    found, expected = (
        np.stack(list(generate(one, one.start(**given(plan.plan.config, rows, length)), steps=length, seed=3)))
        for one in (kernel, plan)
    )
    assert np.array_equal(found, expected)  # no draw of these lies within rounding of a boundary


@pytest.mark.parametrize(
    "sampling",
    [
        Sampling(temperature=0),
        Sampling(temperature=0.7, top_k=5),
        Sampling(top_p=0.6),
        Sampling(min_p=0.1),
        Sampling(temperature=1.3, top_k=9, top_p=0.9, min_p=0.05),
    ],
)
@pytest.mark.parametrize("masked", [False, True])
def test_restricted_draws_are_those_of_numpy(sampling: Sampling, masked: bool) -> None:
    kernel, plan = decoders("chorales")
    length, vocabulary = 120, plan.plan.config.vocabulary
    masks = np.random.default_rng(2).random((length, vocabulary)) < 0.7

    def allow(ids: np.ndarray) -> np.ndarray:
        return masks[ids.shape[1]][None].repeat(len(ids), 0)

    found, expected = (
        np.stack(
            list(
                generate(
                    one,
                    one.start(length=length, rows=3),
                    steps=length,
                    seed=4,
                    sampling=sampling,
                    allow=allow if masked else None,
                )
            )
        )
        for one in (kernel, plan)
    )
    assert np.array_equal(found, expected)


def test_log_probabilities_are_the_callers() -> None:
    kernel, _ = decoders("chorales")
    cache = kernel.start(length=8, rows=1)
    first = kernel.step(None, cache)
    kept = first.copy()
    kernel.step(np.array([3]), cache)
    assert np.array_equal(first, kept)


def test_log_probabilities_that_are_held_in_part_stay() -> None:
    kernel, _ = decoders("chorales")
    cache = kernel.start(length=8, rows=1)
    part = kernel.step(None, cache)[:, 2:]
    kept = part.copy()
    kernel.step(np.array([3]), cache)
    assert np.array_equal(part, kept)


def test_memory_that_nobody_holds_is_used_again() -> None:
    kernel, _ = decoders("chorales")
    cache = kernel.start(length=8, rows=1)
    where = kernel.step(None, cache).ctypes.data
    assert kernel.step(np.array([3]), cache).ctypes.data == where


def test_a_library_of_another_revision_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    assert _opened("portable") is not None
    monkeypatch.setattr("triptych.decode.kernel.REVISION", 1)
    assert _opened("portable") is None


def test_equal_weights_are_kept_by_their_ids() -> None:
    """Of equals the lower ids are kept, as numpy keeps them."""
    stored = read_model("chorales")
    weights = dict(stored.weights)
    weights["head.output.weight"] = np.zeros_like(weights["head.output.weight"])
    plan = plan_of(stored.config, weights)
    for one in (decoder_of(plan, weights, 1), PlanDecoder(plan)):
        found = generate(one, one.start(length=200, rows=1), steps=200, seed=1, sampling=Sampling(top_k=3))
        assert {int(column[0]) for column in found} - {0, 1, 2} == set()


def test_a_mask_that_leaves_nothing_is_one_line() -> None:
    kernel, _ = decoders("chorales")

    def allow(ids: np.ndarray) -> np.ndarray:
        return np.full((2, 48), ids.shape[1] < 5)

    with pytest.raises(UserError, match="none at position 5, row 0"):
        list(generate(kernel, kernel.start(length=9, rows=2), steps=9, allow=allow))


def test_several_callers_do_not_disturb_each_other() -> None:
    kernel, _ = decoders("fashion", threads=2)
    found: dict[int, np.ndarray] = {}

    def work(seed: int) -> None:
        cache = kernel.start(length=80, rows=2, label=np.array([1, 2]))
        found[seed] = np.stack(list(generate(kernel, cache, steps=80, seed=seed)))

    for seed in range(4):
        work(seed)
    alone, found = found, {}
    threads = [threading.Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all(np.array_equal(alone[seed], found[seed]) for seed in range(4))


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_child_process_has_threads_of_its_own(method: str) -> None:
    kernel, _ = decoders("chorales", threads=2)
    expected = [int(column[0]) for column in generate(kernel, kernel.start(length=16, rows=1), steps=16, seed=1)]
    context = multiprocessing.get_context(method)
    answer = context.Queue()
    child = context.Process(target=children.compose, args=(answer,))
    child.start()
    assert answer.get(timeout=60) == expected
    child.join(60)


def test_the_environment_chooses(monkeypatch: pytest.MonkeyPatch) -> None:
    stored = read_model("fashion")
    plan = plan_of(stored.config, stored.weights)
    try:
        for value in ("off", "portable", "nonsense"):
            monkeypatch.setenv(VARIABLE, value)
            library.cache_clear()
            if value == "nonsense":
                with pytest.raises(UserError, match=f"expected {VARIABLE} to be on, off"):
                    library()
            else:
                assert isinstance(decoder_of(plan, stored.weights, 1), KernelDecoder) == (value == "portable")
    finally:
        library.cache_clear()


def test_threads_of_changing_number_do_each_work_once() -> None:
    """A thread that a call does not need may be late: it must not take a later call's work twice. It once did, and the
    next caller waited for ever.
    """
    context = multiprocessing.get_context("spawn")
    answer = context.Queue()
    child = context.Process(target=children.with_changing_threads, args=(answer,))
    child.start()
    try:
        assert answer.get(timeout=120)
    finally:
        child.kill()


@pytest.mark.parametrize("name", ["chorales", "piano"])
@pytest.mark.parametrize("kind", [0, 1])
def test_more_steps_than_there_is_room_for_are_one_line(name: str, kind: int) -> None:
    one = decoders(name)[kind]
    cache = one.start(length=8, rows=2)
    with pytest.raises(UserError, match="at most 8 steps"):
        for _ in generate(one, cache, steps=12, seed=1):
            pass
    cache = one.start(length=8, rows=2)
    with pytest.raises(UserError, match="at most 8 steps"):
        for step in range(9):
            one.step(None if step == 0 else np.array([1, 2]), cache)


@pytest.mark.parametrize("odd", [-1, -(10**9), 48, 10**12])
@pytest.mark.parametrize("kind", [0, 1])
def test_ids_that_are_none_are_one_line(odd: int, kind: int) -> None:
    one = decoders("chorales")[kind]
    cache = one.start(length=8, rows=2)
    one.step(None, cache)
    with pytest.raises(UserError, match="ids from 0 to 47"):
        one.step(np.array([1, odd]), cache)


def test_rows_do_not_become_more() -> None:
    kernel, _ = decoders("chorales")
    cache = kernel.start(length=8, rows=3)
    kernel.step(None, cache)
    cache.select(np.array([2]))
    kernel.step(np.array([1]), cache)
    with pytest.raises(UserError, match="at most 1 row"):
        cache.select(np.array([0, 0]))


def test_a_cache_may_be_older_than_the_number_of_threads() -> None:
    kernel, _ = decoders("chorales", threads=4)
    with kernel.one_thread_each():
        cache = kernel.start(length=24, rows=8)
        kernel.step(None, cache)
        with kernel.one_thread_each():
            assert kernel.threads == 1
        assert kernel.threads == 1
    assert kernel.threads == 4
    alone = decoders("chorales")[0]
    other, ids = alone.start(length=24, rows=8), np.arange(8)
    alone.step(None, other)
    for _ in range(23):
        assert (kernel.step(ids, cache) == alone.step(ids, other)).all()


def test_rows_that_changed_places_are_filled_at_once() -> None:
    found = []
    for one in decoders("chorales"):
        cache = one.start(length=24, rows=3)
        cache.select(np.array([1, 0]))
        ids = np.random.default_rng(1).integers(4, 40, (2, 12))
        one.prefill(ids, cache)
        found.append(one.step(ids[:, -1], cache).copy())
    np.testing.assert_allclose(found[0], found[1], atol=1e-4)


def test_a_source_all_of_padding_is_not_finite() -> None:
    for one in decoders("captions-en-de"):
        cache = one.start(length=4, source=np.full((2, 3), 5), source_lengths=np.array([0, 3]))
        log_probs = one.step(None, cache)
        assert np.isnan(log_probs[0]).all()
        assert np.isfinite(log_probs[1]).all()


@pytest.mark.parametrize("kind", [0, 1])
@pytest.mark.parametrize("rows", [2, 3])
def test_metres_of_other_rows_are_one_line(kind: int, rows: int) -> None:
    one = decoders("chorales")[kind]
    with pytest.raises(UserError, match="a metre of 1 or 5 rows"):
        one.start(length=8, rows=5, metre=np.ones((rows, 2, 2), np.int64))


@pytest.mark.parametrize("length", [3, 96, 3 * 400])
def test_a_picture_and_its_source_may_differ_in_length(length: int) -> None:
    """What the source lacks is not known; what it has more is not read."""
    found = []
    source = np.random.default_rng(1).integers(0, 256, (2, length))
    for one in decoders("emoji-upscale"):
        cache = one.start(length=24, rows=2, source=source)
        found.append(np.stack([one.step(np.array([100, 20]) if at else None, cache).copy() for at in range(24)]))
    likely = found[1] > np.log(1e-6)
    np.testing.assert_allclose(found[0][likely], found[1][likely], atol=1e-3)
    columns = [
        np.stack(list(generate(one, one.start(length=24, rows=2, source=source), steps=24, seed=1)))
        for one in decoders("emoji-upscale")
    ]
    assert np.array_equal(*columns)
