import sys
from functools import partial

import pytest
import torch
from speed import attention, naive, peers
from speed.attention import (
    LOCAL_SHAPES,
    OURS,
    PAIRS,
    RELATIVE,
    RELATIVE_SHAPES,
    SKEW,
    TOLERANCE,
    WEIGHED,
    Form,
    local_forms,
    prepared,
)
from speed.tables import Settings

from triptych.look.measure import extra_memory
from triptych.shape.pattern import Full, Local1D

# local-attention uses what torch is about to drop.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")

FORMS = {**WEIGHED, **local_forms(8, peers.installed())}


@pytest.mark.parametrize("dtype", ["float64", "float32", "bfloat16"])
@pytest.mark.parametrize("name", FORMS)
def test_every_form_keeps_its_name(name: str, dtype: str) -> None:
    assert attention.difference(FORMS[name], (2, 2, 20, 4), getattr(torch, dtype)) < TOLERANCE[dtype]


def test_a_wrong_form_is_found_and_not_timed() -> None:
    wrong = Form(partial(naive.relative_by_mask), Local1D(2, 2), related=True)
    assert attention.difference(wrong, (1, 2, 20, 4), torch.float64) > 1e-3
    forms = {"right": RELATIVE["naive skew"], "wrong": wrong}
    found = attention.compare("t", forms, (1, 2, 20, 4), {"float32": 1.0}, Settings(("float32",), 5))
    assert [row["name"] for row in found["rows"]] == ["right"]
    (told,) = found["left_out"]
    assert told.startswith("wrong in float32, which differs from the definition by")


@pytest.mark.parametrize(
    ("form", "pairs", "products"),
    [
        (Form(), 5 * 6 / 2, 2),
        (Form(related=True), 5 * 6 / 2, 3),
        (Form(pattern=Local1D(2, 2)), 1 + 2 + 3 + 4 + 3, 2),
    ],
)
def test_operations_are_those_of_the_visible_pairs(form: Form, pairs: float, products: int) -> None:
    forward = products * 2 * 7 * pairs  # a product of two vectors of width 7 is 7 multiplications and 7 additions
    assert attention.operations(form, (2, 3, 5, 7)) == 2 * 3 * 3 * forward


def test_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "product_rates", lambda settings: ({"title": "products"}, {"float32": 1e9}))
    settings = Settings(("float32",), 5)
    products, *tables = attention.tables(settings, length=10, memory_length=0)
    assert products == {"title": "products"}
    assert len(tables) == 3, "the two shapes of local attention are one at one length"
    for table, ours in zip(tables, ("triptych relative", "triptych relative", "triptych local"), strict=True):
        rows = {row["name"]: row for row in table["rows"]}
        assert table["unit"] == "ms" and rows[table["reference"]]["ratio"] == 1
        assert rows[ours]["backend"] in ("dense", "blockwise")
        assert all(row["limit"] > 0 and row["difference"] < 1e-4 for row in rows.values())
    assert not any(row["name"] == "local-attention" for row in tables[-1]["rows"]), "asked for no peers"


def test_memory_is_measured_and_may_be_foretold(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attention, "extra_memory", lambda prepare, size: float(size))
    monkeypatch.setattr(attention, "quadratic", lambda measure, size: (10 * measure(size), True))
    naive_row, ours = attention.memory(64, Settings())["rows"]
    assert (naive_row["median"], naive_row["extrapolated"]) == (640, True)
    assert (ours["median"], ours["extrapolated"], ours["ratio"]) == (64, False, 0.1)
    pairs, skew, _ = attention.memory(2048, Settings(), (PAIRS, SKEW, OURS))["rows"]
    assert (pairs["rows"], skew["rows"]) == (8192, 4), "8.5 GB and 4.2 MB in the paper, of 1,000 bytes a kB"


def test_the_sizes_that_are_measured() -> None:
    assert RELATIVE_SHAPES == ((1, 8, 2048, 64), (8, 8, 512, 32))
    assert LOCAL_SHAPES == ((1, 8, 3072, 32), (1, 8, 12_288, 32))
    assert local_forms(256, ())["triptych local"].pattern == Local1D(256, 256)
    assert all(form.pattern == Full(causal=True) for form in RELATIVE.values())


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system does not tell")
def test_extra_memory_is_that_of_the_call() -> None:
    length = 512
    logits = 8 * length**2 * 4 / 2**20  # MB of one tensor of all pairs
    found = extra_memory(partial(prepared, "naive skew"), length)
    assert 3 * logits < found < 40 * logits
