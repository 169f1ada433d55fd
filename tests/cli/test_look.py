import json
from pathlib import Path
from typing import Any

import pytest


def test_attention_numbers_and_picture(run: Any, translator: Any, tmp_path: Path) -> None:
    picture = tmp_path / "new" / "a.png"
    ran = run("look", "attention", "a dog", "--out", picture, "--layer", 2, "--head", 1, "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert told["translation"] == "dog a" and told["layers"] == ["layer 2"] and told["heads"] == ["head 1"]
    assert sum(told["weights"][0][0][0]) == pytest.approx(1, abs=1e-4)
    assert len(told["weights"][0][0]) == len(told["queries"])
    assert picture.read_bytes().startswith(b"\x89PNG")


def test_a_translation_of_ones_own(run: Any, translator: Any, tmp_path: Path) -> None:
    ran = run("look", "attention", "a dog", "--out", tmp_path / "a.svg", "--translation", "Hund", "--kind", "decoder",
              "--mean", "--json")  # fmt: skip
    told = json.loads(ran.out)
    assert told["translation"] == "Hund" and told["keys"][0] == "(start)" and told["heads"] == ["mean of 2 heads"]


def test_mistakes(run: Any, translator: Any, tmp_path: Path) -> None:
    out = tmp_path / "a.png"
    assert "expected a layer from 1 to 2, got 3" in run("look", "attention", "a", "--out", out, "--layer", 3).err
    assert "got both" in run("look", "attention", "a", "--out", out, "--head", 1, "--mean").err
    translator.calls.clear()
    assert "expected a picture named *.png" in run("look", "attention", "a", "--out", tmp_path / "a.gif").err
    assert translator.calls == [], "a wrong suffix is told before the model is loaded"
