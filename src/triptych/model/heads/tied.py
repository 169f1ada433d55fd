"""The output layer of one matrix with the embedding (Press and Wolf 2017; Vaswani et al. 2017, section 3.4)."""

from __future__ import annotations

from torch import Tensor

from triptych.decode.history import History
from triptych.model.batch import Batch
from triptych.model.heads.base import Categorical, Head
from triptych.model.heads.cross_entropy import log_probabilities
from triptych.model.inputs.base import Input
from triptych.model.inputs.tokens import TokenInput
from triptych.model.layers.dropout import Dropout
from triptych.shape.config import Config
from triptych.shape.parts import Tied


class TiedHead(Head):
    """Products with the embeddings."""

    def __init__(self, settings: Tied, config: Config, source: Input) -> None:
        super().__init__()
        assert isinstance(source, TokenInput)
        self._input = (source,)  # in a tuple: the input's parameters are its own and not also the head's

    @property
    def weight(self) -> Tensor:
        """The matrix [V, W]."""
        return self._input[0].embedding.weight

    def whole(self, hidden: Tensor, batch: Batch, drop: Dropout | None) -> Categorical:
        """The distribution at every position of hidden [B, L, W]."""
        return Categorical(hidden, self.weight, batch)

    def step(self, begun: Tensor, history: History) -> Tensor:
        """Log-probabilities [rows, V] of begun [rows, W]."""
        return log_probabilities(begun, self.weight)
