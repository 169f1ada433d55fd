import torch

from triptych.model.transformer import Transformer
from triptych.shape.config import Config
from triptych.train.averaging import MovingAverage, mean, swapped, weights


def model() -> Transformer:
    torch.manual_seed(0)
    return Transformer(Config(9, width=4, heads=1, feed_forward=4, encoder_layers=0, decoder_layers=1))


def test_moving_average() -> None:
    ours = model()
    average = MovingAverage(ours, 0.9)
    start = {name: value.clone() for name, value in weights(ours).items()}
    with torch.no_grad():
        for parameter in ours.parameters():
            parameter.add_(1)
    average.update(ours, 1_000)
    for name, value in average.average.items():
        torch.testing.assert_close(value, start[name] + 0.1)
    average.update(ours, 1)  # early, the average follows closely: decay 2 / 11
    for name, value in average.average.items():
        torch.testing.assert_close(value, start[name] + 1 - 0.9 * 2 / 11)


def test_swapped_gives_back() -> None:
    ours = model()
    before = {name: value.clone() for name, value in weights(ours).items()}
    zeros = {name: torch.zeros_like(value) for name, value in before.items()}
    with swapped(ours, zeros):
        assert all(not value.any() for value in weights(ours).values())
    assert all(torch.equal(value, before[name]) for name, value in weights(ours).items())


def test_mean() -> None:
    one, two = {"a": torch.tensor([1.0, 2.0])}, {"a": torch.tensor([3.0, 6.0])}
    assert torch.equal(mean([one, two])["a"], torch.tensor([2.0, 4.0]))
