"""The resume state: one file that carries all of a run, and shows every damage."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from triptych.errors import UserError
from triptych.train.recipe import Recipe
from triptych.train.run.state import FILE, Progress, State, check_recipe, read_state

RECIPE = Recipe(epochs=2, seed=7).to_dict()


def state() -> State:
    progress = Progress(updates=9, update=4, batch=2, seconds=1.5, best=-2.25, last_checkpoint="checkpoints/last-4")
    tensors = {"model.a": torch.randn(3, 4), "optimizer.AdamW.step.a": torch.tensor(4.0), "average.a": torch.ones(2)}
    settings, inputs, log = {"length": 64}, {"--data": {"a.txt": "0f"}}, {"bytes": 10, "sha256": "ab"}
    return State(progress, RECIPE, settings, inputs, log, tensors)


def test_it_comes_back_as_it_was(tmp_path: Path) -> None:
    saved = state()
    (tmp_path / FILE).write_bytes(saved.to_bytes())
    back = read_state(tmp_path)
    assert replace(back, tensors={}) == replace(saved, tensors={})
    assert back.tensors.keys() == saved.tensors.keys()
    assert all(torch.equal(back.tensors[name], saved.tensors[name]) for name in saved.tensors)
    assert all(back.tensors[name].dtype == saved.tensors[name].dtype for name in saved.tensors)


def test_tensors_of_any_layout_are_saved() -> None:
    saved = replace(state(), tensors={"model.a": torch.randn(4, 3).T})
    assert torch.equal(State.from_bytes(saved.to_bytes()).tensors["model.a"], saved.tensors["model.a"])


@pytest.mark.parametrize("place", [0, 9, 200, -1])
def test_a_changed_byte_is_found(place: int, tmp_path: Path) -> None:
    data = bytearray(state().to_bytes())
    data[place] ^= 1
    (tmp_path / FILE).write_bytes(data)
    with pytest.raises(UserError, match=r"is damaged .*--from") as caught:
        read_state(tmp_path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("data", [b"", b"\xff" * 40, b"\x02\0\0\0\0\0\0\0{}"])
def test_what_is_no_state_is_damaged(data: bytes) -> None:
    with pytest.raises(ValueError):
        State.from_bytes(data)


def test_no_state(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="found none; train without --resume"):
        read_state(tmp_path)
    (tmp_path / "other").write_bytes(state().to_bytes())
    (tmp_path / FILE).symlink_to(tmp_path / "other")
    with pytest.raises(UserError, match="found none"):
        read_state(tmp_path)


def test_a_resumed_run_keeps_its_recipe() -> None:
    check_recipe(RECIPE, {**RECIPE, "save_every": 3.0})  # which changes nothing but what is lost in a crash
    with pytest.raises(UserError, match="seed was 7, got 8; leave it as it was"):
        check_recipe(RECIPE, {**RECIPE, "seed": 8})
    with pytest.raises(UserError, match="later was None, got 1"):
        check_recipe(RECIPE, {**RECIPE, "later": 1})
