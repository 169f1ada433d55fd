"""Names and shapes of the parameters of a norm, a matrix product and a feed-forward network."""

from __future__ import annotations

from triptych.shape.config import Config

Shapes = dict[str, tuple[int, ...]]


def norm_shapes(name: str, width: int) -> Shapes:
    """The gain and bias of a norm."""
    return {f"{name}.weight": (width,), f"{name}.bias": (width,)}


def linear_shapes(name: str, out: int, read: int) -> Shapes:
    """The matrix and bias of a product."""
    return {f"{name}.weight": (out, read), f"{name}.bias": (out,)}


def network_shapes(name: str, around: str, config: Config, feed_forward: int) -> Shapes:
    """A feed-forward network and the norm around it."""
    gates = 2 if config.activation == "swiglu" else 1
    inner = linear_shapes(f"{name}.inner", gates * feed_forward, config.width)
    return inner | linear_shapes(f"{name}.outer", config.width, feed_forward) | norm_shapes(around, config.width)
