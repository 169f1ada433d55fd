import json
import os
import sys
import time
from functools import partial

import pytest
import torch

from triptych.errors import UserError
from triptych.look import measure
from triptych.look.measure import circumstances, extra_memory, interleaved


def test_contestants_take_turns_and_the_first_round_warms_up() -> None:
    called: list[str] = []

    def contestant(name: str) -> float:
        called.append(name)
        return 3.0

    watched: list[int] = []

    def watch(rounds: range) -> range:
        watched.append(len(rounds))
        return rounds

    rates = interleaved({name: partial(contestant, name) for name in "ab"}, 5, watch)
    assert called == ["a", "b"] * 6 and watched == [6]
    assert {name: len(values) for name, values in rates.items()} == {"a": 5, "b": 5}
    assert all(rate > 3 for values in rates.values() for rate in values)


def test_too_few_repeats() -> None:
    with pytest.raises(UserError, match="expected at least 5 repeats, got 4"):
        interleaved({"a": lambda: 1.0}, 4)


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


def test_a_system_without_a_load_is_not_busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(os, "getloadavg", raising=False)
    assert not measure.busy()


def test_machine_names_what_is_hidden_from_torch(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ATEN_CPU_CAPABILITY", "avx2")
    monkeypatch.delenv("ONEDNN_MAX_CPU_ISA", raising=False)
    found = measure.machine()
    assert found["ATEN_CPU_CAPABILITY"] == "avx2" and found["ONEDNN_MAX_CPU_ISA"] is None
    assert found["threads"] == torch.get_num_threads() and found["torch"] == torch.__version__
    json.dumps(found)


def test_a_missing_figure() -> None:
    with pytest.raises(UserError, match="expected VmFoo in /proc/self/status, got none; measure memory on Linux"):
        measure.megabytes_of("/proc/self/status", "VmFoo")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="the system gives no peak of memory")
def test_a_process_that_the_system_ends_is_one_line() -> None:
    with pytest.raises(UserError, match="expected memory for length 100, got a process that the system ended"):
        extra_memory(os._exit, 100)
