import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from triptych.model.heads import cross_entropy as output
from triptych.model.heads.cross_entropy import cross_entropy


@settings(deadline=None, max_examples=25)
@given(
    positions=st.integers(0, 40),
    vocabulary=st.integers(2, 30),
    smoothing=st.sampled_from([0.0, 0.1, 0.5]),
    chunk=st.sampled_from([1, 7, 64]),
    seed=st.integers(0, 99),
)
def test_equals_torch_forward_and_backward(
    positions: int, vocabulary: int, smoothing: float, chunk: int, seed: int
) -> None:
    generator = torch.Generator().manual_seed(seed)
    hidden = torch.randn(positions, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    weight = torch.randn(vocabulary, 6, generator=generator, dtype=torch.float64, requires_grad=True)
    target = torch.randint(vocabulary, (positions,), generator=generator)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(output, "CHUNK", chunk * vocabulary)
        loss, likelihood = cross_entropy(hidden, weight, target, smoothing)
        got = torch.autograd.grad(loss * 3, (hidden, weight))
    logits = hidden @ weight.T
    want = functional.cross_entropy(logits, target, label_smoothing=smoothing, reduction="sum")
    expected = torch.autograd.grad(want * 3, (hidden, weight))
    torch.testing.assert_close(loss, want, rtol=1e-10, atol=1e-10)
    plain = functional.cross_entropy(logits, target, reduction="sum")
    torch.testing.assert_close(likelihood, plain.detach(), rtol=1e-10, atol=1e-10)
    for one, other in zip(got, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-10, atol=1e-10)


def test_bfloat16_products_stay_close() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(300, 16, requires_grad=True), torch.randn(50, 16, requires_grad=True)
    target = torch.randint(50, (300,))
    exact, _ = cross_entropy(hidden, weight, target, 0.1)
    reference = torch.autograd.grad(exact, (hidden, weight))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, _ = cross_entropy(hidden, weight, target, 0.1)
    got = torch.autograd.grad(rough, (hidden, weight))
    torch.testing.assert_close(rough, exact, rtol=2e-2, atol=0)
    for one, other in zip(got, reference, strict=True):
        assert float((one - other).norm() / other.norm()) < 2e-2


def test_what_is_nearly_certain_keeps_its_gradient_in_bfloat16() -> None:
    """Where p is 0.999, p - 1 must not be what is left of p after its rounding to 8 bits."""
    weight = torch.eye(40)
    hidden = (10.5 * torch.eye(40)).requires_grad_()
    target = torch.arange(40)
    exact, nll = cross_entropy(hidden, weight, target)
    (reference,) = torch.autograd.grad(exact, hidden)
    assert 0.998 < float((-nll / 40).exp()) < 0.9995
    with torch.autocast("cpu", dtype=torch.bfloat16):
        rough, rough_nll = cross_entropy(hidden, weight, target)
    (got,) = torch.autograd.grad(rough, hidden)
    torch.testing.assert_close(rough_nll, nll, rtol=1e-2, atol=0)
    assert float((got - reference).norm() / reference.norm()) < 1e-2


def test_only_the_loss_has_a_gradient() -> None:
    weight = torch.randn(5, 3, requires_grad=True)
    loss, likelihood = cross_entropy(torch.randn(4, 3), weight, torch.tensor([0, 1, 2, 3]), 0.1)
    assert loss.requires_grad and not likelihood.requires_grad


def test_logits_equal_linear() -> None:
    torch.manual_seed(0)
    hidden, weight = torch.randn(7, 16), torch.randn(33, 16)
    with torch.no_grad():
        fast = output.logits(hidden, weight)
    torch.testing.assert_close(fast, functional.linear(hidden, weight), rtol=1e-5, atol=1e-5)
    assert output.logits(hidden.requires_grad_(), weight).requires_grad
    torch.testing.assert_close(output.logits(hidden.double(), weight.double()), hidden.double() @ weight.double().T)
