import math
from itertools import pairwise

import pytest
import torch

from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.shape.config import Config
from triptych.shape.settings import presets
from triptych.train.optimizer import (
    lr_scale,
    measure_optimizers,
    optimizer_tensors,
    optimizers,
    restore_optimizers,
    set_lr_scale,
)
from triptych.train.precision import autocast
from triptych.train.recipe import Recipe


def test_inverse_square_root_is_the_papers() -> None:
    recipe = Recipe(epochs=1, schedule="inverse_square_root", warmup=4000)
    for update in (1, 100, 3999, 4000, 4001, 100_000):
        # section 5.3 of the paper, divided by its peak
        paper = min(update**-0.5, update * 4000**-1.5) / 4000**-0.5
        assert lr_scale(recipe, update, 0) == pytest.approx(paper)


def test_cosine_rises_then_falls_to_zero() -> None:
    recipe = Recipe(epochs=1, warmup=10)
    found = [lr_scale(recipe, update, 110) for update in range(1, 111)]
    assert found[4] == pytest.approx(0.5) and found[9] == pytest.approx(1) and found[59] == pytest.approx(0.5)
    assert found[-1] == pytest.approx(0, abs=1e-12) and all(a >= b for a, b in pairwise(found[9:]))
    assert lr_scale(Recipe(epochs=1, schedule="constant", warmup=0), 5, 10) == 1


def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(Config(20, width=8, heads=2, feed_forward=8, encoder_layers=1, decoder_layers=1))


@pytest.mark.parametrize("kind", ["adam", "adamw", "muon"])
def test_every_parameter_has_one_optimizer_and_embeddings_never_decay(kind: str) -> None:
    ours = model()
    recipe = Recipe.from_mapping({"epochs": 1, "optimizer": kind, "weight_decay": 0.1})
    groups = [group for optimizer in optimizers(ours, recipe) for group in optimizer.param_groups]
    owned = [id(parameter) for group in groups for parameter in group["params"]]
    assert sorted(owned) == sorted(id(parameter) for parameter in ours.parameters())
    for group in groups:
        for parameter in group["params"]:
            is_matrix = parameter.ndim == 2 and parameter is not ours.input.embedding.weight
            assert (group["weight_decay"] == 0.1) == is_matrix


@pytest.mark.parametrize("kind", ["adam", "adamw", "muon"])
def test_a_measurement_changes_nothing(kind: str) -> None:
    ours = model()
    assert measure_optimizers(ours, Recipe.from_mapping({"epochs": 1, "optimizer": kind}), torch.float32) > 0
    for found, before in zip(ours.parameters(), model().parameters(), strict=True):
        assert torch.equal(found, before) and found.grad is None


@pytest.mark.parametrize("kind", ["adam", "adamw", "muon"])
def test_restored_state_goes_on_to_the_bit(kind: str) -> None:
    recipe = Recipe.from_mapping({"epochs": 1, "optimizer": kind})
    one, other = model(), model()
    first, second = optimizers(one, recipe), optimizers(other, recipe)

    def step(ours: Transformer, stack: list[torch.optim.Optimizer], number: int) -> None:
        torch.manual_seed(number)
        for parameter in ours.parameters():
            parameter.grad = torch.randn_like(parameter)
        set_lr_scale(stack, 1 / number)
        for optimizer in stack:
            optimizer.step()

    for number in range(1, 4):
        step(one, first, number)
    tensors = {name: value.clone() for name, value in optimizer_tensors(one, first).items()}
    other.load_state_dict({name: value.clone() for name, value in one.state_dict().items()})
    restore_optimizers(other, second, tensors)
    for number in range(4, 7):
        step(one, first, number)
        step(other, second, number)
    for name, value in one.state_dict().items():
        assert torch.equal(value, other.state_dict()[name]), name
    assert math.isclose(first[0].param_groups[0]["lr"], second[0].param_groups[0]["lr"])


@pytest.mark.parametrize(
    ("preset", "dtype"), [*((name, torch.float32) for name in presets("triptych.shape")), ("tiny", torch.bfloat16)]
)
def test_thirty_updates_of_every_preset_learn_to_copy(preset: str, dtype: torch.dtype) -> None:
    torch.manual_seed(0)
    ours = Transformer(Config.preset(preset, 12, dropout=0.1))
    # base is post-norm and 44 M parameters deep: it wants a smaller rate than the others
    learning_rate = 2e-4 if preset == "base" else 1e-3
    recipe = Recipe(epochs=1, schedule="constant", warmup=10, learning_rate=learning_rate)
    stack = optimizers(ours, recipe)
    losses = []
    for update in range(1, 31):
        target = torch.randint(2, 12, (6, 5))
        with autocast(target.device, dtype):
            loss, likelihood = ours.loss(Batch(target, torch.full((6,), 5), target, torch.full((6,), 5)), 0.1)
        (loss / 30).backward()
        set_lr_scale(stack, lr_scale(recipe, update, 30))
        for optimizer in stack:
            optimizer.step()
            optimizer.zero_grad()
        losses.append(float(likelihood) / 30)
    assert sum(losses[-5:]) < 0.9 * sum(losses[:5])
