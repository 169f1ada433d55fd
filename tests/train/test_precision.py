import pytest
import torch

from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.shape.config import Config
from triptych.train import precision


def examples() -> tuple[Transformer, Batch]:
    torch.manual_seed(0)
    model = Transformer(Config(9, width=4, heads=1, feed_forward=4, encoder_layers=0, decoder_layers=1, dropout=0.5))
    return model, Batch(torch.ones(2, 3, dtype=torch.int64), torch.tensor([3, 2]))


def test_a_measurement_leaves_no_trace() -> None:
    model, batch = examples()
    state = torch.get_rng_state()
    dtype, seconds = precision.choose_dtype(model, batch, 0.1, cost=precision.SLOWER)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert seconds.keys() == {"float32", "bfloat16"}
    assert dtype == (torch.float32 if seconds["float32"] <= seconds["bfloat16"] else torch.bfloat16)


def test_where_bfloat16_is_hopeless_no_step_is_spent_on_it() -> None:
    dtype, seconds = precision.choose_dtype(*examples(), 0.0, cost=1.1 * precision.SLOWER)
    assert dtype is torch.float32 and seconds.keys() == {"float32"}


def test_the_cost_is_that_of_products(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    assert precision.measure_product(cpu, torch.float32) > 0
    seconds = {torch.float32: 2.0, torch.bfloat16: 3.0}
    monkeypatch.setattr(precision, "measure_product", lambda device, dtype: seconds[dtype])
    assert precision.cost_of_bfloat16(cpu) == 1.5
    assert precision.fast_dtype(1.5) == torch.float32 and precision.fast_dtype(0.5) == torch.bfloat16
