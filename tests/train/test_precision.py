import torch

from triptych.model.batch import Batch
from triptych.model.config import Config
from triptych.model.transformer import Transformer
from triptych.train import precision


def test_a_measurement_leaves_no_trace() -> None:
    torch.manual_seed(0)
    model = Transformer(Config(9, width=4, heads=1, feed_forward=4, encoder_layers=0, decoder_layers=1, dropout=0.5))
    state = torch.get_rng_state()
    batch = Batch(torch.ones(2, 3, dtype=torch.int64), torch.tensor([3, 2]))
    dtype, seconds = precision.choose_dtype(model, batch)
    assert torch.equal(torch.get_rng_state(), state)
    assert all(parameter.grad is None for parameter in model.parameters())
    assert seconds.keys() == {"float32", "bfloat16"}
    assert dtype == (torch.float32 if seconds["float32"] <= seconds["bfloat16"] else torch.bfloat16)
