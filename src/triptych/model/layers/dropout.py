"""Dropout whose random numbers are drawn in bulk: on a CPU, drawing them one by one costs more than the model."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional

MIN_POOL = 2**16  # decisions in a pool, so that small tensors do not meet the same ones again and again


class Dropout:
    """Dropout of one pass through a model (Srivastava et al. 2014): zeroes with `probability`, the rest scaled up.

    On a CPU each mask is a window, beginning anywhere, of one pool of at least twice its size; eight decisions come
    from each 64-bit draw. So the probability is rounded to a 256th (0.1 becomes 0.1016, 0.3 becomes 0.3008) and the
    scale follows the rounded value: the mean is exact, in bfloat16 to 0.4 %, to which that rounds the scale. Other
    devices use torch's own. The random state is torch's default one.
    """

    def __init__(self, probability: float) -> None:
        self.probability = probability
        self.threshold = min(255, round(probability * 256))  # a byte below it drops its element
        self.pool: Tensor | None = None

    def __call__(self, values: Tensor) -> Tensor:
        """Values of any shape, some of them zeroed."""
        if values.device.type != "cpu":
            return functional.dropout(values, self.probability)
        return values * self._mask(values)

    def add(self, hidden: Tensor, update: Tensor) -> Tensor:
        """The sum of `hidden` and of `update`, some of it zeroed, in one pass; both of one shape."""
        if update.device.type != "cpu":
            return hidden + functional.dropout(update, self.probability)
        return torch.addcmul(hidden, update, self._mask(update))

    def _mask(self, values: Tensor) -> Tensor:
        """Factors for `values`: 0 or the scale, in their dtype."""
        count = values.numel()
        if self.pool is None or self.pool.dtype != values.dtype or len(self.pool) < 2 * count:
            size = max(MIN_POOL, 2 * count)
            bits = torch.empty((size + 7) // 8, dtype=torch.int64).random_(-(2**63), None).view(torch.uint8)
            self.pool = (bits >= self.threshold).to(values.dtype).mul_(256 / (256 - self.threshold))
        first = int(torch.randint(len(self.pool) - count + 1, ()))
        return self.pool[first : first + count].view(values.shape)
