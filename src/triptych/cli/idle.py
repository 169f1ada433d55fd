"""Settings of [model] that would change nothing beside the others: refused, because whoever gives them expects more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from triptych.errors import UserError

WITH_LENGTH = ("learned", "sinusoidal_2d")  # kinds of positions that know a length


def refuse_idle(model: Mapping[str, Any]) -> None:
    """Raise UserError for the first setting that has no effect; a wrong type is left to be found by the model."""
    positions, relation, patch = (_table(model.get(name)) for name in ("positions", "relation", "patch"))
    kind = positions.get("kind", "sinusoidal")
    if "length" in positions and kind not in WITH_LENGTH:
        raise UserError(
            f"expected no model.positions.length with {kind} positions, got {positions['length']!r}; leave it out"
        )
    if "far" in relation and not relation.get("distances"):
        raise UserError(f"expected model.relation.distances with far={relation['far']!r}, got none; leave far out")
    for name in ("layers", "feed_forward"):
        if patch.get("logistics") and name in patch:
            raise UserError(
                f"expected no model.patch.{name} with logistics, which need none, got {patch[name]!r}; leave it out"
            )
    if model.get("source_vocabulary") is not None and model.get("encoder_layers") == 0:
        raise UserError("expected no model.source_vocabulary without an encoder, got one; leave it out")
    if "source" in positions and model.get("encoder_layers") == 0:
        raise UserError("expected no model.positions.source without an encoder, got one; leave it out")


def _table(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
