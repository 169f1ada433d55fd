"""Every field of a configuration has an effect, and the step of one row alone computes it or leaves it to the model."""

from dataclasses import fields

import pytest
import torch
from configurations import FIELDS, PAIRS, batch_of, log_probabilities, model_of

from triptych.model.single.row import SingleRow, fits
from triptych.model.transformer import Transformer
from triptych.shape.config import PATTERNS, Config, Positions
from triptych.shape.parts import HEADS, INPUTS
from triptych.shape.relations import RELATIONS

NAMES = [name for name, *_ in PAIRS]


def test_every_field_of_every_class_is_here() -> None:
    kinds = {Config, Positions, *PATTERNS.values(), *RELATIONS.values(), *INPUTS.values(), *HEADS.values()}
    assert set(FIELDS) == kinds
    for kind, changes in FIELDS.items():
        assert list(changes) == [field.name for field in fields(kind)], kind


def trained(config: Config) -> list[torch.Tensor]:
    """The loss of a batch in training, and all gradients, of a model as it begins."""
    torch.manual_seed(0)
    model = Transformer(config).train()
    loss, _ = model.loss(batch_of(config))
    loss.backward()  # type: ignore[no-untyped-call]
    return [loss.detach(), *(each.grad for each in model.parameters() if each.grad is not None)]


@pytest.mark.parametrize(("name", "first", "second"), PAIRS, ids=NAMES)
def test_a_field_has_an_effect(name: str, first: Config, second: Config) -> None:
    if name == "Full.causal":
        assert first == second
        return
    ours, theirs = trained(first), trained(second)
    assert len(ours) != len(theirs) or any(
        one.shape != other.shape or not torch.equal(one, other) for one, other in zip(ours, theirs, strict=True)
    )


# Of the fields above, those that the step of one row alone leaves to the model.
LEFT = {"Config.encoder_layers", "Config.norm", "Config.activation", "Config.source_vocabulary", "Positions.metre"}
LEFT |= {"Positions.source", *(f"{kind}.{name}" for kind in ("ByPitch", "ByTime") for name in ("size", "far", "unit"))}


@pytest.mark.parametrize(("name", "first", "second"), PAIRS, ids=NAMES)
def test_the_step_of_one_row_computes_a_field_or_leaves_it(name: str, first: Config, second: Config) -> None:
    assert fits(second) == (name not in LEFT), "what fits is one list"
    if not fits(second):
        return
    model, batch = model_of(second), batch_of(second, rows=1)
    want, single = log_probabilities(model, batch), SingleRow(model, torch.float64)
    row = single.start(length=batch.target.size(1), source=batch.source, label=batch.label)
    for at in range(batch.target.size(1)):
        got = single.step(batch.target[:, at - 1] if at else None, row)
        torch.testing.assert_close(got, want[:, at], rtol=1e-4, atol=1e-6)
