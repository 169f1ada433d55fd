import json
from functools import partial
from typing import Any

import pytest

from triptych.bench import attention, measure, peers, train
from triptych.shape.config import Config

FRAME = {"bench", "machine", "busy", "keeps_memory", "peers", "absent", "tables"}
ROW = {"name", "dtype", "median", "min", "max", "ratio"}


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sizes that take no time, and a machine without peers."""
    monkeypatch.setattr(attention, "product_rates", partial(measure.product_rates, size=16))
    shape = Config(20, width=16, heads=2, feed_forward=16, encoder_layers=0, decoder_layers=1)
    monkeypatch.setattr(
        train, "CASES", {"relative": (partial(train.relative, config=shape, rows=2, length=10),), "text": ()}
    )
    monkeypatch.setattr(peers, "installed", lambda: ())


def test_attention(run: Any) -> None:
    ran = run("bench", "attention", "--length", 10, "--memory-length", 0, "--repeats", 5, "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert set(told) == FRAME and told["bench"] == "attention"
    assert told["absent"] == ["x-transformers", "transformers", "local-attention"] and told["peers"] == []
    assert "not installed and left out: x-transformers" in ran.err and "pip install 'triptych[bench]'" in ran.err
    assert {"threads", "capability", "ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA"} <= set(told["machine"])
    products, relative, *_ = told["tables"]
    assert products["unit"] == "GFLOP/s"
    assert {row["dtype"] for row in relative["rows"]} == {"float32", "bfloat16"}
    assert all({*ROW, "limit", "difference"} <= set(row) for row in relative["rows"])
    assert f"measuring {relative['title']}" in ran.err


def test_train_for_a_person(run: Any) -> None:
    ran = run("bench", "train", "--case", "relative", "--repeats", 5, "--dtype", "bfloat16", "--no-peers")
    assert ran.code == 0, ran.err
    assert "not installed" not in ran.err, "who wants no peers is told of none"
    assert "relative: 2 x 10 tokens" in ran.out and "triptych relative" in ran.out and "tokens/s" in ran.out
    assert "bfloat16" in ran.out and "float32" not in ran.out


def test_train_of_all_cases_at_a_length(run: Any) -> None:
    ran = run("bench", "train", "--repeats", 5, "--dtype", "float32", "--length", 6, "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert set(told) == FRAME and [table["title"][:24] for table in told["tables"]] == ["relative: 2 x 6 tokens, "]
    assert all({*ROW, "parameters"} == set(row) for row in told["tables"][0]["rows"])


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["attention", "--repeats", "1"], "expected at least 5 repeats, got 1"),
        (["train", "--case", "music"], "'music' is not one of 'text', 'relative', 'pixels', 'all'"),
        (["train", "--dtype", "float16"], "'float16' is not one of 'float32', 'bfloat16', 'both'"),
        (["train", "--case", "text", "--length", "9"], "expected --length with the case relative, pixels or all"),
        (["attention", "--length", "0"], "--length"),
        (["attention", "--memory-length", "-1"], "--memory-length"),
        (["train", "--threads", "0"], "--threads"),
        (["speed"], "speed"),
    ],
)
def test_mistakes(run: Any, arguments: list[str], told: str) -> None:
    ran = run("bench", *arguments)
    assert ran.code == 2 and ran.out == ""
    assert told in ran.err and ran.err.count("\n") == 1 and ran.err.startswith("error: ")


def test_help_names_it(run: Any) -> None:
    assert "bench" in run("--help").out
    assert "attention" in run("bench", "--help").out
