import pytest
import torch

from triptych.model.layers.dropout import MIN_POOL, Dropout


@pytest.mark.parametrize("probability", [0.1, 0.3, 0.5, 0.999])
def test_share_and_mean(probability: float) -> None:
    torch.manual_seed(0)
    values = torch.ones(200_001, requires_grad=True)
    dropped = Dropout(probability)(values)
    kept = dropped.detach()
    assert abs(float((kept == 0).float().mean()) - probability) < 0.005
    assert abs(float(kept.mean()) - 1) < (0.2 if probability > 0.9 else 0.01)
    dropped.sum().backward()
    # the gradient passes where the value passed, with the same scale
    torch.testing.assert_close(values.grad, kept)


def test_the_mean_in_bfloat16_is_right_to_its_rounding() -> None:
    torch.manual_seed(0)
    for probability in (0.1, 0.2, 0.3):
        dropped = Dropout(probability)(torch.ones(400_000, dtype=torch.bfloat16))
        assert abs(float(dropped.float().mean()) - 1) < 0.007


def test_adding_equals_dropping_and_adding() -> None:
    hidden, update = torch.randn(5, 7, 8, requires_grad=True), torch.randn(5, 7, 8, requires_grad=True)
    torch.manual_seed(3)
    fast = Dropout(0.3).add(hidden, update)
    torch.manual_seed(3)
    slow = hidden + Dropout(0.3)(update)
    torch.testing.assert_close(fast, slow)
    gradient = torch.randn(5, 7, 8)
    for one, other in zip(*(torch.autograd.grad(x, (hidden, update), gradient) for x in (fast, slow)), strict=True):
        torch.testing.assert_close(one, other)


def test_neighbours_are_independent() -> None:
    torch.manual_seed(1)
    kept = (Dropout(0.5)(torch.ones(400_000)) > 0).float() - 0.5
    for distance in (1, 2, 7, 8, 64):
        assert abs(float((kept[:-distance] * kept[distance:]).mean())) < 0.002


def test_masks_of_one_pass_are_independent() -> None:
    torch.manual_seed(2)
    drop = Dropout(0.5)
    kept = torch.stack([(drop(torch.ones(20_000)) > 0).double() for _ in range(12)])
    apart = torch.corrcoef(kept) - torch.eye(12)
    assert float(apart.abs().max()) < 0.05


def test_a_larger_tensor_gets_a_larger_pool() -> None:
    drop = Dropout(0.5)
    first = torch.ones(MIN_POOL // 2, requires_grad=True)
    dropped = drop(first)
    one, other = drop(torch.ones(MIN_POOL)), drop(torch.ones(MIN_POOL))
    assert not torch.equal(one, other)  # as many decisions as the first pool has: it would have had one window
    assert abs(float(drop(torch.ones(300_000)).mean()) - 1) < 0.02
    dropped.sum().backward()  # its mask is of the pool that was replaced
    torch.testing.assert_close(first.grad, dropped.detach())


def test_one_seed_one_mask() -> None:
    values = torch.ones(77)
    masks = []
    for seed in (3, 3, 4):
        torch.manual_seed(seed)
        masks.append(Dropout(0.3)(values))
    assert torch.equal(masks[0], masks[1]) and not torch.equal(masks[0], masks[2])


def test_keeps_dtype_and_shape() -> None:
    for dtype in (torch.bfloat16, torch.float64):
        values = torch.ones(3, 5, 7, dtype=dtype)
        dropped = Dropout(0.3)(values)
        assert dropped.dtype == dtype and dropped.shape == values.shape
        assert Dropout(0.3).add(values, values).dtype == dtype
