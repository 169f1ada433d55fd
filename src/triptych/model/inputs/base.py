"""What every input offers."""

from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn
from torch.nn import functional


class Input(nn.Module):
    """Reads ids [B, L] of `size` tokens a position, so that there are P = L / size positions, rounded up."""

    size: int = 1

    def read(self, ids: Tensor) -> Tensor:
        """Each position's own tokens: [B, P, W] of ids [B, L], as a source is read."""
        raise NotImplementedError

    def whole(self, ids: Tensor) -> Tensor:
        """What every position of a target reads: [B, P, W] of ids [B, L], of tokens before its own."""
        return shifted(self.read(ids))

    def tables(self) -> Mapping[str, tuple[Tensor, float]]:
        """The tables whose rows a step sums up, each [rows, W], by the names that `decode.steps.inputs` gives them; and
        the scale of each.
        """
        raise NotImplementedError


def shifted(read: Tensor) -> Tensor:
    """A position later: [B, P, W], with zeros at the first."""
    return functional.pad(read[:, :-1], (0, 0, 1, 0))
