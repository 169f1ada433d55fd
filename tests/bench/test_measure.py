import json
import os
import sys
import time
from functools import partial

import pytest
import torch

from triptych.bench import measure
from triptych.bench.attention import prepared
from triptych.bench.measure import Settings, circumstances, extra_memory, interleaved, lines, quadratic, table
from triptych.errors import UserError


def test_contestants_take_turns_and_the_first_round_warms_up() -> None:
    called: list[str] = []

    def contestant(name: str) -> float:
        called.append(name)
        return 3.0

    watched: list[tuple[str, int]] = []

    def watch(title: str, rounds: range) -> range:
        watched.append((title, len(rounds)))
        return rounds

    rates = interleaved({name: partial(contestant, name) for name in "ab"}, 5, title="t", watch=watch)
    assert called == ["a", "b"] * 6 and watched == [("t", 6)]
    assert {name: len(values) for name, values in rates.items()} == {"a": 5, "b": 5}
    assert all(rate > 3 for values in rates.values() for rate in values)


def test_too_few_repeats() -> None:
    with pytest.raises(UserError, match="expected at least 5 repeats, got 4"):
        interleaved({"a": lambda: 1.0}, 4)
    with pytest.raises(UserError, match="expected at least 5 repeats, got 1"):
        Settings(repeats=1)


def test_a_table_compares_medians_within_a_dtype() -> None:
    rates = {
        ("slow", "float32"): [10.0, 30.0, 20.0],
        ("slow", "bfloat16"): [100.0],
        ("fast", "float32"): [50.0, 40.0, 90.0],
        ("fast", "bfloat16"): [50.0],
    }
    rows = table("t", "tokens/s", rates, "slow", {("fast", "float32"): {"parameters": 7}})["rows"]
    assert [row["ratio"] for row in rows] == [1, 1, 2.5, 0.5]
    assert [row["to_float32"] for row in rows] == [1, 5, 2.5, 2.5]
    told = {"name": "fast", "dtype": "float32", "median": 50, "min": 40, "max": 90}
    assert rows[2] == {**told, "ratio": 2.5, "to_float32": 2.5, "parameters": 7}
    assert "to_float32" not in table("t", "ms", {("slow", "float32"): [1.0]}, "slow")["rows"][0]


def test_milliseconds_are_turned_round_and_ratios_are_not() -> None:
    rates = {("slow", "float32"): [10.0, 20.0, 5.0], ("fast", "float32"): [40.0]}
    slow, fast = table("t", "ms", rates, "slow")["rows"]
    assert (slow["median"], slow["min"], slow["max"]) == (100, 50, 200)
    assert fast["median"] == 25 and fast["ratio"] == 4


def test_lines_tell_everything() -> None:
    row = {"name": "a", "dtype": "float32", "median": 12345.6, "min": 0.5, "max": 2e4, "ratio": 1.0}
    rows = [row, {**row, "name": "b", "backend": "dense", "extrapolated": True}]
    report = {
        "machine": {"threads": 2, "ATEN_CPU_CAPABILITY": None},
        "busy": True,
        "tables": [{"title": "the title", "unit": "MB", "rows": rows}],
    }
    told = "\n".join(lines(report))
    for part in ("threads 2", "busy", "the title", "MB", "12,346", "0.5 - 20,000", "backend", "dense", "yes"):
        assert part in told
    assert "None" not in told


@pytest.mark.parametrize(("load", "own", "busy"), [(0.4, 0.0, False), (0.6, 0.0, True), (0.6, 12.0, False)])
def test_busy_counts_others_only(
    load: float, own: float, busy: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "getloadavg", lambda: (load, 9.0, 9.0))
    monkeypatch.setattr(time, "process_time", lambda: own)
    found = circumstances()
    out, err = capsys.readouterr()
    assert found["busy"] is busy and out == ""
    assert err.startswith("warning: other processes keep this machine busy") if busy else err == ""


def test_a_system_that_tells_no_load_is_not_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "getloadavg", raising=False)
    assert not measure.busy()


def test_machine_tells_what_is_hidden_from_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    found = measure.machine()
    assert found["ATEN_CPU_CAPABILITY"] == "avx2" and found["ONEDNN_MAX_CPU_ISA"] is None
    assert found["threads"] == torch.get_num_threads() and found["torch"] == torch.__version__
    json.dumps(found)


def test_product_rates() -> None:
    told, rates = measure.product_rates(Settings(repeats=5), size=16)
    assert [(row["name"], row["dtype"]) for row in told["rows"]] == [("torch", "float32"), ("torch", "bfloat16")]
    for row in told["rows"]:
        assert rates[row["dtype"]] == pytest.approx(1e9 * row["median"])


def test_memory_that_would_not_fit_is_foretold() -> None:
    measured: list[int] = []

    def weigh(size: int) -> float:
        measured.append(size)
        return 3 * size**2 + 5 * size

    true = float(weigh(800))
    for limit, sizes in ((1e9, [200, 400, 800]), (0.9 * true, [200, 400])):
        measured.clear()
        assert quadratic(weigh, 800, limit) == (true, len(sizes) < 3)
        assert measured == sizes
    assert quadratic(weigh, 800, 1.0) == (16 * weigh(200), True)


linux = pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system does not tell")


@linux
def test_extra_memory_is_that_of_the_call() -> None:
    length = 512
    logits = 8 * length**2 * 4 / 2**20  # MB of one tensor of all pairs
    found = extra_memory(partial(prepared, "naive skew"), length)
    assert 3 * logits < found < 40 * logits


@linux
def test_a_process_that_the_system_ends_is_told_in_one_line() -> None:
    with pytest.raises(UserError, match="expected memory for length 100, got a process that the system ended"):
        extra_memory(os._exit, 100)


def test_a_figure_that_is_not_told() -> None:
    with pytest.raises(UserError, match="expected VmFoo in /proc/self/status, got none; measure memory on Linux"):
        measure._megabytes("/proc/self/status", "VmFoo")
