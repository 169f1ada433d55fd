"""Combinations of all settings: cached steps, in torch and by a plan, equal the whole pass."""

import pytest
import torch
from configurations import batch_of, combinations, log_probabilities, model_of

from triptych.decode.interpreter import PlanDecoder
from triptych.decode.plan import plan_of
from triptych.model.weights import arrays_of
from triptych.shape.config import Config


@pytest.mark.parametrize("config", combinations(), ids=range(len(combinations())))
def test_steps_equal_the_whole_pass(config: Config) -> None:
    model, batch = model_of(config), batch_of(config)
    want, target = log_probabilities(model, batch), batch.target
    assert bool(want.isfinite().all())
    conditions = {"source": batch.source, "label": batch.label}
    cache = model.start(length=target.size(1), rows=len(target), metre=batch.metre, **conditions)
    for at in range(target.size(1)):
        got = model.step(target[:, at - 1] if at else None, cache)
        torch.testing.assert_close(got.double(), want[:, at], rtol=1e-4, atol=1e-5)
    plan = PlanDecoder(plan_of(config, arrays_of(model)))
    given = {name: None if each is None else each.numpy() for name, each in conditions.items()}
    metre = None if batch.metre is None else batch.metre.numpy()
    rows, ids = plan.start(length=target.size(1), rows=len(target), metre=metre, **given), target.numpy()
    for at in range(target.size(1)):
        found = torch.from_numpy(plan.step(ids[:, at - 1] if at else None, rows))
        torch.testing.assert_close(found.double(), want[:, at], rtol=1e-4, atol=1e-5)
