"""Every field of a configuration has an effect, and a plan computes it."""

from dataclasses import fields

import numpy as np
import pytest
import torch
from configurations import FIELDS, PAIRS, batch_of, log_probabilities, model_of

from triptych.decode.interpreter import PlanDecoder
from triptych.decode.plan import plan_of
from triptych.model.transformer import Transformer
from triptych.model.weights import arrays_of
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


@pytest.mark.parametrize(("name", "first", "second"), PAIRS, ids=NAMES)
def test_a_plan_computes_a_field(name: str, first: Config, second: Config) -> None:
    model, batch = model_of(second), batch_of(second, rows=1)
    want, plan = log_probabilities(model, batch).numpy(), PlanDecoder(plan_of(second, arrays_of(model)))
    given = {key: None if each is None else each.numpy() for key, each in vars(batch).items()}
    conditions = {key: given[key] for key in ("source", "label", "metre")}
    ids = given["target"]
    cache = plan.start(length=ids.shape[1], rows=1, **conditions)
    for at in range(ids.shape[1]):
        got = plan.step(ids[:, at - 1] if at else None, cache)
        np.testing.assert_allclose(got, want[:, at], rtol=1e-4, atol=1e-5)
