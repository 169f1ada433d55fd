"""What every head offers, and the categorical distribution that two of them give."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional

from triptych.decode.history import History
from triptych.errors import UserError
from triptych.model.batch import Batch
from triptych.model.heads.cross_entropy import cross_entropy, logits
from triptych.model.layers.dropout import Dropout

SMOOTHED = (
    "expected label_smoothing=0 with teachers, whose probabilities are learned as they are; leave one of both out"
)


class Distribution(Protocol):
    """What a head predicts of the targets of a batch, [B, L] tokens of V."""

    def logits(self) -> Tensor:
        """Unnormalised log-probabilities [B, L, V]."""
        ...

    def nll(self) -> Tensor:
        """Negative log-likelihood of every target token in nats: float32 [B, L]; that of padding means nothing."""
        ...

    def loss(self, smoothing: float) -> tuple[Tensor, Tensor]:
        """Label-smoothed loss and plain negative log-likelihood in nats, both summed over the tokens that count."""
        ...


class Head(nn.Module):
    """Predicts tokens from the decoder's output."""

    def whole(self, hidden: Tensor, batch: Batch, drop: Dropout | None) -> Distribution:
        """The distribution of all targets of a batch, from the decoder's output at every position [B, P, W]."""
        raise NotImplementedError

    def begin(self, hidden: Tensor, history: History) -> Tensor:
        """What the steps of the next position share: [rows, ...], from the decoder's output there [rows, 1, W]."""
        return hidden[:, 0]

    def step(self, begun: Tensor, history: History) -> Tensor:
        """Log-probabilities [rows, V] of the next token."""
        raise NotImplementedError


class Categorical:
    """A softmax over the vocabulary at every token: of hidden [B, L, W] and the output matrix [V, W]."""

    def __init__(self, hidden: Tensor, weight: Tensor, batch: Batch) -> None:
        self.hidden, self.weight, self.batch = hidden, weight, batch

    def logits(self) -> Tensor:
        """[B, L, V]."""
        return logits(self.hidden, self.weight)

    def nll(self) -> Tensor:
        """Float32 [B, L]."""
        scores = self.logits().float().transpose(1, 2)
        return functional.cross_entropy(scores, self.batch.target, reduction="none")

    def loss(self, smoothing: float) -> tuple[Tensor, Tensor]:
        """Padding and context are dropped before the output layer. With soft targets the loss is the cross-entropy with
        these probabilities, and takes no smoothing.
        """
        batch = self.batch
        chosen = batch.counted().flatten().nonzero()[:, 0]
        hidden = self.hidden.flatten(0, 1)[chosen]
        if batch.soft_targets is None:
            return cross_entropy(hidden, self.weight, batch.target.flatten()[chosen], smoothing)
        if smoothing:
            raise UserError(SMOOTHED)
        found = logits(hidden, self.weight).float().log_softmax(-1)
        nll = -found.detach().gather(1, batch.target.flatten()[chosen, None]).sum()
        return -(batch.soft_targets.flatten(0, 1)[chosen] * found).sum(), nll
