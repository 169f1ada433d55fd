"""Combinations of all settings: cached steps and the step of one row alone equal the whole pass."""

import pytest
import torch
from configurations import batch_of, combinations, log_probabilities, model_of

from triptych.model.single.row import SingleRow, fits
from triptych.shape.config import Config


def test_both_forms_occur() -> None:
    assert 3 <= sum(map(fits, combinations())) < len(combinations()) < 60


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
    if not fits(config):
        return
    single = SingleRow(model, torch.float64)
    alone = {name: None if each is None else each[:1] for name, each in conditions.items()}
    row = single.start(length=target.size(1), **alone)
    for at in range(target.size(1)):
        got = single.step(target[:1, at - 1] if at else None, row)
        torch.testing.assert_close(got.double(), want[:1, at], rtol=1e-4, atol=1e-5)
