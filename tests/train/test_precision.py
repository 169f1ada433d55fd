import pytest
import torch

from triptych.model.batch import Batch
from triptych.model.config import Config
from triptych.model.transformer import Transformer
from triptych.train import precision


def examples() -> tuple[Transformer, Batch]:
    torch.manual_seed(0)
    model = Transformer(Config(9, width=4, heads=1, feed_forward=4, encoder_layers=0, decoder_layers=1, dropout=0.5))
    return model, Batch(torch.ones(2, 3, dtype=torch.int64), torch.tensor([3, 2]))


def test_a_measurement_leaves_no_trace() -> None:
    model, batch = examples()
    state = torch.get_rng_state()
    dtype, seconds = precision.choose_dtype(model, batch, torch.bfloat16)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert seconds.keys() == {"float32", "bfloat16"}
    assert dtype == (torch.float32 if seconds["float32"] <= seconds["bfloat16"] else torch.bfloat16)


def test_where_bfloat16_is_hopeless_no_step_is_spent_on_it() -> None:
    dtype, seconds = precision.choose_dtype(*examples(), torch.float32)
    assert dtype is torch.float32 and seconds.keys() == {"float32"}


@pytest.mark.parametrize(("times", "worthy"), [(0.1, True), (2.0, True), (1.5 * precision.SLOWER, False)])
def test_a_product_says_whether_bfloat16_is_worth_trying(
    monkeypatch: pytest.MonkeyPatch, times: float, worthy: bool
) -> None:
    cpu = torch.device("cpu")
    assert precision.measure_product(cpu, torch.float32) > 0
    seconds = {torch.float32: 1.0, torch.bfloat16: times}
    monkeypatch.setattr(precision, "measure_product", lambda device, dtype: seconds[dtype])
    assert precision.multiplies_bfloat16(cpu) is worthy
