"""The output layer's loss: label-smoothed cross-entropy in chunks, its gradient made in the same pass."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.nn import functional

# Logits held at once: 256 rows of 10,000, in float32 10 MB. Small enough to be reused from cache, large enough for the
# matrix products to run at speed; of a small vocabulary, many rows.
CHUNK = 256 * 10_000
MIN_PROBABILITY = torch.finfo(torch.float32).tiny  # of a probability whose logarithm is taken


class _SmoothedCrossEntropy(torch.autograd.Function):
    """Sum over positions of the smoothed loss, and of the plain negative log-likelihood (not differentiable).

    With smoothing e the target distribution is (1 - e) one-hot + e / V. The uniform part is of rank one: it enters the
    loss through the mean row of the matrix, and the gradients through sums, so no pass over the logits is spent on it.
    """

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, target: Tensor, smoothing: float, train: bool
    ) -> tuple[Tensor, Tensor]:
        dtype = product_dtype(hidden)
        rows, matrix = hidden.to(dtype), weight.to(dtype)
        exact = torch.float64 if hidden.dtype == torch.float64 else torch.float32
        mean_row = weight.to(exact).mean(0)
        loss, likelihood = (torch.zeros((), dtype=exact, device=hidden.device) for _ in range(2))
        grad_hidden = torch.empty(hidden.shape, dtype=exact, device=hidden.device) if train else hidden
        grad_weight = torch.zeros(weight.shape, dtype=exact, device=weight.device) if train else weight
        count = max(1, CHUNK // len(weight))
        for at in range(0, len(hidden), count):
            part, labels = rows[at : at + count], target[at : at + count, None]
            nll, difference = _difference(part @ matrix.T, labels, 1 - smoothing if train else None)
            likelihood += nll.sum()
            if smoothing:
                # mean over the vocabulary of -log p = logsumexp - mean logit, where one row gives the logsumexp
                logits = (part.to(exact) * matrix[labels[:, 0]].to(exact)).sum(-1)
                uniform = (logits + nll[:, 0] - part.to(exact) @ mean_row).sum()
                loss += (1 - smoothing) * nll.sum() + smoothing * uniform
            else:
                loss += nll.sum()
            if difference is not None:
                grad_hidden[at : at + count] = difference @ matrix
                grad_weight += difference.T @ part
        if train and smoothing:
            grad_hidden -= smoothing * mean_row
            grad_weight -= smoothing / len(weight) * hidden.to(exact).sum(0)
        if train:
            ctx.save_for_backward(grad_hidden, grad_weight)
        ctx.mark_non_differentiable(likelihood)
        ctx.dtypes = hidden.dtype, weight.dtype
        return loss, likelihood

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, Tensor, None, None, None]:
        grad_hidden, grad_weight = ctx.saved_tensors
        hidden_dtype, weight_dtype = ctx.dtypes
        scale = gradients[0]
        return (grad_hidden * scale).to(hidden_dtype), (grad_weight * scale).to(weight_dtype), None, None, None


def _difference(logits: Tensor, labels: Tensor, share: float | None) -> tuple[Tensor, Tensor | None]:
    """-log p [rows, 1] of the `labels` [rows, 1], and the probabilities less `share` at the labels, in the dtype of the
    logits [rows, vocabulary]; with None only the first.

    In bfloat16 one pass over the logits makes both, and what it rounds is small: a probability near 1, and what is left
    of it after the subtraction, come from the sum of all others, each of which is right to 2**-9 of itself.
    """
    if logits.dtype != torch.bfloat16:
        log_probabilities = logits.to(torch.promote_types(logits.dtype, torch.float32)).log_softmax(-1)
        nll = -log_probabilities.gather(1, labels)
        if share is None:
            return nll, None
        difference = log_probabilities.exp_().scatter_add_(1, labels, torch.full_like(nll, -share))
        return nll, difference.to(logits.dtype)
    difference = logits.softmax(-1)
    likely = difference.gather(1, labels).float()
    difference.scatter_(1, labels, 0.0)
    others = difference.sum(-1, keepdim=True, dtype=torch.float32)
    confident = likely > 0.5
    nll = torch.where(confident, torch.log1p(-others), likely.clamp_min(MIN_PROBABILITY).log()).neg_()
    if share is None:
        return nll, None
    left = torch.where(confident, 1 - share - others, likely - share)
    return nll, difference.scatter_(1, labels, left.to(difference.dtype))


def cross_entropy(hidden: Tensor, weight: Tensor, target: Tensor, smoothing: float = 0.0) -> tuple[Tensor, Tensor]:
    """Label-smoothed cross-entropy of a tied or plain output layer (Vaswani et al. 2017, section 5.4), summed.

    Args:
        hidden: [positions, width], the last layer's output.
        weight: [vocabulary, width], the output matrix.
        target: [positions] int64.
        smoothing: the share of probability spread evenly over the whole vocabulary.

    Returns:
        The smoothed loss and the plain negative log-likelihood, both sums over positions in nats, shape []. Only the
        first carries a gradient. No tensor of [positions, vocabulary] is held. The matrix products run in the autocast
        dtype where autocast is on. Second derivatives are not defined.
    """
    # Inside of the function gradients are always off, and what it is given asks for them even where they are off.
    train = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    result: tuple[Tensor, Tensor] = _SmoothedCrossEntropy.apply(hidden, weight, target, smoothing, train)  # type: ignore[no-untyped-call]
    return result


def logits(hidden: Tensor, weight: Tensor) -> Tensor:
    """The output layer [..., vocabulary] of hidden [..., width] and weight [vocabulary, width].

    Without gradients and in float32 on a CPU it goes through oneDNN, which is twice as fast there as the BLAS behind
    `linear` on a matrix so narrow (160 x 128 x 10,000 on 2 cores of a Zen 4).
    """
    plain = torch.is_grad_enabled() or hidden.dtype != torch.float32 or hidden.device.type != "cpu"
    if plain or not hasattr(torch.ops.mkldnn, "_linear_pointwise"):
        return functional.linear(hidden, weight)
    product: Tensor = torch.ops.mkldnn._linear_pointwise(hidden, weight, None, "none", [], "")
    return product


def log_probabilities(hidden: Tensor, weight: Tensor) -> Tensor:
    """Log-softmax [..., vocabulary] of `logits`, in float32 at least."""
    scores = logits(hidden, weight)
    return scores.to(torch.promote_types(scores.dtype, torch.float32)).log_softmax(-1)


def product_dtype(values: Tensor) -> torch.dtype:
    """The dtype in which a matrix product of `values` runs: autocast's where it is on, else their own."""
    device = values.device.type
    casts = torch.is_autocast_enabled(device) and values.dtype != torch.float64  # which autocast leaves alone
    return torch.get_autocast_dtype(device) if casts else values.dtype
