import json
from pathlib import Path
from typing import Any

import pytest

from triptych.cli.train import read_settings
from triptych.errors import UserError


@pytest.fixture
def pairs(tmp_path: Path) -> list[str]:
    (tmp_path / "s").write_text("a b\nc d\n", "utf-8")
    (tmp_path / "t").write_text("x y\nz w\n", "utf-8")
    return ["--source", str(tmp_path / "s"), "--target", str(tmp_path / "t")]


def test_settings_of_a_file_and_of_the_command(tmp_path: Path) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text('[model]\npreset = "tiny"\nvocabulary = 4000\n[training]\nepochs = 3\n', "utf-8")
    tables = read_settings(recipe, ["epochs=5", "optimizer=adam", "model.vocabulary=8000", "data.sampling=0.3"])
    assert tables == {
        "card": {},
        "model": {"preset": "tiny", "vocabulary": 8000},
        "data": {"sampling": 0.3},
        "training": {"epochs": 5, "optimizer": "adam"},
    }


@pytest.mark.parametrize(
    ("content", "assignments", "told"),
    [
        ("[training\n", [], "expected TOML"),
        ("[trainning]\nepochs=1\n", [], "'trainning'"),
        ("epochs = 1\n", [], "'epochs'"),
        ("", ["epochs"], "expected --set key=value, got 'epochs'"),
        ("", ["modle.width=3"], "'modle'"),
    ],
)
def test_bad_settings(tmp_path: Path, content: str, assignments: list[str], told: str) -> None:
    recipe = tmp_path / "r.toml"
    recipe.write_text(content, "utf-8")
    with pytest.raises(UserError, match=told):
        read_settings(recipe, assignments)


def test_a_new_model(run: Any, translator: Any, pairs: list[str], tmp_path: Path) -> None:
    held_out = ["--held-out-source", pairs[1], "--held-out-target", pairs[3]]
    ran = run("train", "text", *pairs, *held_out, "--set", "epochs=2", "--out", tmp_path / "run", "--json")
    assert ran.code == 0, ran.err
    told = json.loads(ran.out)
    assert (told["folder"], told["score"], told["updates"]) == (str(tmp_path / "run"), 2.5, 3)
    assert "2 sentence pairs" in ran.err
    assert [name for name, _ in translator.calls] == ["new", "fit"]
    asked = translator.calls[1][1]
    assert asked["recipe"].epochs == 2.0 and len(asked["held_out"]) == 2 and asked["resume"] is False


def test_from_another_model(run: Any, translator: Any, pairs: list[str]) -> None:
    assert run("train", "text", *pairs, "--set", "epochs=2", "--from", "captions-en-de", "--resume").code == 0
    assert [name for name, _ in translator.calls] == ["load", "fit"]


def test_mistakes(run: Any, translator: Any, pairs: list[str]) -> None:
    assert "--source" in run("train", "text").err
    assert "did you mean 'epochs'" in run("train", "text", *pairs, "--set", "epoch=2").err
    assert "did you mean 'width'" in run("train", "text", *pairs, "--set", "epochs=1", "--set", "model.wdth=8").err
    assert "setting data.pairs" in run("train", "text", *pairs, "--set", "epochs=1", "--set", "data.pairs=8").err
    assert (
        "data.sampling from 0 to 1, got 'x'"
        in run("train", "text", *pairs, "--set", "epochs=1", "--set", "data.sampling=x").err
    )
    assert (
        "number of pieces, got 1.5"
        in run("train", "text", *pairs, "--set", "epochs=1", "--set", "model.vocabulary=1.5").err
    )
    assert "float64" in run("train", "text", *pairs, "--set", "epochs=1", "--dtype", "float64").err
    shaped = ["--set", "epochs=1", "--set", "model.preset=tiny", "--from", "captions-en-de"]
    assert "no [model] setting but dropout with --from, got preset" in run("train", "text", *pairs, *shaped).err
    assert "--held-out-source" in run("train", "text", *pairs, "--held-out-target", pairs[1], "--set", "epochs=1").err
    assert translator.calls == []
