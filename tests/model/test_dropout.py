import pytest
import torch

from triptych.model.dropout import dropout


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.5])
def test_share_and_mean(probability: float) -> None:
    torch.manual_seed(0)
    values = torch.ones(200_001, requires_grad=True)
    dropped = dropout(values, probability, training=True)
    shares = dropped.detach()
    assert abs(float((shares == 0).float().mean()) - probability) < 0.005
    assert abs(float(shares.mean()) - 1) < 0.01
    dropped.sum().backward()
    # the gradient passes where the value passed, with the same scale
    torch.testing.assert_close(values.grad, shares)


def test_neighbours_are_independent() -> None:
    torch.manual_seed(1)
    kept = (dropout(torch.ones(400_000), 0.5, training=True) > 0).float() - 0.5
    for distance in (1, 2, 7, 8, 64):
        assert abs(float((kept[:-distance] * kept[distance:]).mean())) < 0.002


def test_one_seed_one_mask() -> None:
    values = torch.ones(77)
    masks = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        masks.append(dropout(values, 0.3, training=True))
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])


def test_does_nothing_outside_training() -> None:
    values = torch.randn(5)
    assert dropout(values, 0.5, training=False) is values
    assert dropout(values, 0.0, training=True) is values


def test_keeps_dtype_and_shape() -> None:
    values = torch.ones(3, 5, 7, dtype=torch.bfloat16)
    dropped = dropout(values, 0.3, training=True)
    assert dropped.dtype == torch.bfloat16 and dropped.shape == values.shape
