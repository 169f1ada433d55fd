"""Settings that would change nothing are refused, and a default is one default, whoever calls."""

from typing import Any

import pytest
import torch
from copies import Copies, make, recipe

from triptych.errors import UserError
from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.shape.config import Config
from triptych.train.loop import fit, held_out_loss
from triptych.train.recipe import Recipe
from triptych.train.run.package import card_of_run


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"matrix_learning_rate": 0.02}, "expected optimizer=muon with matrix_learning_rate, got adamw"),
        ({"average_last": 1}, "expected average_last from 2 checkpoints, or 0, got 1"),
        ({"save_every": 0}, "expected save_every > 0, got 0"),
        ({"label_smoothing": 1}, r"expected label_smoothing of 0 to below 1"),
    ],
)
def test_settings_of_a_recipe(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(UserError, match=message):
        Recipe.from_mapping({"epochs": 1, **settings})


def test_the_card_cannot_have_what_the_run_writes() -> None:
    assert card_of_run({"data": "old", "task": "paint"}, {"license": "mine"}, {"task": "paint"}) == {
        "license": "mine",
        "task": "paint",
    }
    for key in ("task", "training", "sha256", "name", "digest", "from"):
        with pytest.raises(UserError, match=f"expected no {key} in the table card"):
            card_of_run({}, {key: "x"}, {"task": "paint"})


def test_no_smoothing_of_soft_targets(tmp_path: Any) -> None:
    class Soft(Copies):
        def epoch(self, number: int) -> list[Batch]:
            targets = torch.full((8, 6, 12), 1 / 12)
            return [
                Batch(batch.target, batch.lengths, batch.source, batch.source_lengths, soft_targets=targets)
                for batch in super().epoch(number)
            ]

    fit(make(), Soft(), Copies().epoch(9), recipe(epochs=1), tmp_path / "plain", quiet=True)
    with pytest.raises(UserError, match="expected label_smoothing=0 with teachers"):
        fit(make(), Soft(), Copies().epoch(9), recipe(label_smoothing=0.1), tmp_path / "run", quiet=True)


def test_looking_at_held_out_data_makes_no_gradients(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even those of the output layer, which a backward pass of its own makes with the loss."""
    model = Transformer(Config(3000, width=16, heads=2, feed_forward=16, encoder_layers=0, decoder_layers=1))
    target = torch.randint(3000, (4, 50))
    batch = Batch(target, torch.full((4,), 50))
    model.eval()
    whole, kept = model.loss(batch), []
    monkeypatch.setattr(torch.autograd.function.FunctionCtx, "save_for_backward", lambda _, *given: kept.extend(given))
    made = torch.zeros_like
    shapes: list[torch.Size] = []

    def counted(shape: Any, **options: Any) -> torch.Tensor:
        shapes.append(torch.Size(shape))
        return made(torch.empty(shape, **options))

    monkeypatch.setattr(torch, "zeros", counted)
    loss = held_out_loss(model, [batch])
    assert loss == pytest.approx(float(whole[1].detach()) / 200, rel=1e-6)
    assert not kept and model.input.embedding.weight.shape not in shapes
