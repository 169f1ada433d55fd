"""Settings of [model] that would change nothing beside the others: refused, because whoever gives them expects more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.errors import UserError


def refuse_idle(model: Mapping[str, Any]) -> None:
    """Raise UserError for the first setting that has no effect; a wrong type is left to be found by the model."""
    if model.get("source_vocabulary") is not None and model.get("encoder_layers") == 0:
        raise UserError("expected no model.source_vocabulary without an encoder, got one; leave it out")
