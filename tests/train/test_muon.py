import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from triptych.train.muon import Muon, orthogonal

SHAPES = [(6, 4), (4, 6), (6, 4), (5, 5)]


def matrices(seed: int) -> list[torch.nn.Parameter]:
    torch.manual_seed(seed)
    return [torch.nn.Parameter(torch.randn(shape)) for shape in SHAPES]


@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.bfloat16, 2e-3), (torch.float32, 2e-2)])
def test_ten_updates_are_those_of_torch(dtype: torch.dtype, tolerance: float) -> None:
    """Torch's own, one matrix at a time in bfloat16, is the slow twin; float32 differs by what bfloat16 rounds."""
    ours, theirs = matrices(0), matrices(0)
    fast = Muon(ours, learning_rate=0.01, weight_decay=0.1, dtype=dtype)
    slow = torch.optim.Muon(theirs, lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
    for _ in range(10):
        for one, other in zip(ours, theirs, strict=True):
            one.grad = torch.randn_like(one)
            other.grad = one.grad.clone()
        fast.step()
        slow.step()
    for one, other, start in zip(ours, theirs, matrices(0), strict=True):
        moved = float((other - start).detach().abs().max())
        assert (one - other).detach().abs().max() < tolerance * max(1.0, moved)


def test_a_matrix_without_a_gradient_stays() -> None:
    ours = matrices(0)
    ours[0].grad = torch.ones_like(ours[0])
    Muon(ours, learning_rate=0.01, weight_decay=0.1, dtype=torch.float32).step()
    changed = [not torch.equal(one, start) for one, start in zip(ours, matrices(0), strict=True)]
    assert changed == [True, False, False, False]


@settings(deadline=None)
@given(
    rows=st.integers(1, 12),
    columns=st.integers(1, 12),
    seed=st.integers(0, 1000),
    scale=st.sampled_from([1e-3, 1, 1e3]),
)
def test_singular_values_come_near_one(rows: int, columns: int, seed: int, scale: float) -> None:
    torch.manual_seed(seed)
    left, _ = torch.linalg.qr(torch.randn(2, rows, min(rows, columns), dtype=torch.float64))
    right, _ = torch.linalg.qr(torch.randn(2, columns, min(rows, columns), dtype=torch.float64))
    sizes = torch.rand(2, 1, min(rows, columns), dtype=torch.float64) * 0.9 + 0.1
    found = orthogonal(scale * (left * sizes) @ right.mT, torch.float64)
    assert found.shape == (2, rows, columns)
    values = torch.linalg.svdvals(found)
    assert values.min() > 0.5 and values.max() < 1.3
    # the directions stay: only their sizes change
    assert torch.allclose(left.mT @ found @ right, torch.diag_embed((left.mT @ found @ right).diagonal(dim1=1, dim2=2)))


def test_nothing_stays_nothing() -> None:
    assert not orthogonal(torch.zeros(1, 3, 2), torch.float32).any()
