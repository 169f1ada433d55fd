"""A Transformer of stored weights, and the stored weights of a Transformer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.overrides import TorchFunctionMode

from triptych.model.transformer import Transformer
from triptych.shape.store import Stored, misfit, write_model
from triptych.shape.weights import Array, as_float32


def transformer_of(stored: Stored) -> Transformer:
    """The Transformer of a model folder, in float32, for use. No memory is taken for a shape that the weights do not
    have. Raises UserError where they do not fit the configuration.
    """
    try:
        with _Shapes():
            model = Transformer(stored.config)
        model.load_state_dict(tensors_of(stored), assign=True)
    except (RuntimeError, TypeError) as error:
        raise misfit(stored.folder, error) from None
    return model.eval()


def tensors_of(stored: Stored) -> dict[str, torch.Tensor]:
    """The weights of a model folder by name, in float32."""
    return {name: torch.from_numpy(as_float32(array)).clone() for name, array in stored.weights.items()}


def arrays_of(model: nn.Module, dtype: str = "float32") -> dict[str, Array]:
    """The weights of a Transformer by name, in a number format; see `triptych.shape.weights`."""
    tensors = {name: tensor.detach().to("cpu", getattr(torch, dtype)) for name, tensor in model.state_dict().items()}
    if dtype == "bfloat16":
        return {name: tensor.contiguous().view(torch.int16).numpy().view(np.uint16) for name, tensor in tensors.items()}
    return {name: tensor.numpy() for name, tensor in tensors.items()}


def save_transformer(
    folder: str | Path,
    model: Transformer,
    files: Mapping[str, bytes],
    card: Mapping[str, Any],
    dtype: str = "float32",
    mark: str | None = None,
) -> None:
    """Write the folder of a model, its codec's files and its card: see `write_model`. float16 halves the weights."""
    write_model(folder, model.config, arrays_of(model, dtype), files, card, mark)


class _Shapes(TorchFunctionMode):
    """Modules that are made within have parameters without memory, and what would fill these does nothing.

    `torch.device("meta")` would do the same, but to fill what has no memory torch imports its compiler: a second.
    """

    def __torch_function__(
        self, function: Any, types: Any, arguments: Sequence[Any] = (), settings: Mapping[str, Any] | None = None
    ) -> Any:
        settings = dict(settings or {})
        if function is torch.empty:
            return function(*arguments, **{**settings, "device": "meta"})
        name = getattr(function, "__name__", "")
        if name.endswith("_") and not name.endswith("__"):  # in place
            return arguments[0] if arguments else settings["tensor"]
        return function(*arguments, **settings)
