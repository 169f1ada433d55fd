"""The name and shape of every parameter of a model, from its configuration alone."""

from __future__ import annotations

from collections.abc import Iterator

from triptych.decode.parameters import Shapes, linear_shapes, network_shapes, norm_shapes
from triptych.decode.steps.heads import HEADS
from triptych.decode.steps.inputs import STEPS, Table
from triptych.decode.steps.tables import source_config
from triptych.shape.config import Config, Positions
from triptych.shape.relations import RELATIONS, RelationSettings
from triptych.shape.relations import Layer as RelationLayer


def shapes(config: Config) -> Shapes:
    """The shape of every parameter of a model, by its name."""
    width, found = config.width, dict[str, tuple[int, ...]]()
    found |= _tables("input.", config)
    found |= dict(_of_positions("position.", config.positions, width))
    if config.classes:
        found["condition.label.weight"] = (config.classes, width)
    if config.encoder_layers:
        if config.source_vocabulary is not None:
            found |= _tables("condition.source.", source_config(config))
        if config.positions.source is not None:
            found |= dict(_of_positions("condition.position.", config.positions.source, width))
        if config.norm == "pre":
            found |= norm_shapes("condition.norm", width)
    if config.positions.metre:
        for table in ("place", "bar"):
            found[f"condition.metre.{table}.weight"] = (config.positions.metre + 1, width)
    for number in range(config.encoder_layers):
        found |= _layer(f"condition.encoder.{number}.", config, encoder=True, first=False)
    for number in range(config.decoder_layers):
        found |= _layer(f"decoder.{number}.", config, encoder=False, first=number == 0)
    if config.norm == "pre":
        found |= norm_shapes("decoder_norm", width)
    return found | {f"head.{name}": shape for name, shape in HEADS[type(config.head)].shapes(config).items()}


def kinds(config: Config) -> dict[str, RelationSettings]:
    """The relations by the names of their kinds."""
    names = {settings: kind for kind, settings in RELATIONS.items()}
    return {names[type(each)]: each for each in config.relations}


def _tables(prefix: str, config: Config) -> Shapes:
    """The tables of an input."""
    tables: dict[str, Table] = STEPS[type(config.input)].tables(config)
    return {prefix + each.parameter: (each.rows, config.width) for each in tables.values()}


def _of_positions(prefix: str, positions: Positions, width: int) -> Iterator[tuple[str, tuple[int, ...]]]:
    if positions.kind == "learned":
        yield f"{prefix}learned.weight", (positions.length or 0, width)
    if positions.kind == "concatenated":
        yield f"{prefix}projection.weight", (width, 2 * width)
        yield f"{prefix}projection.bias", (width,)
    for number, size in enumerate(positions.grid):
        yield f"{prefix}digits.{number}.weight", (size, width)


def _layer(name: str, config: Config, *, encoder: bool, first: bool) -> Shapes:
    width = config.width
    found = norm_shapes(f"{name}around_attention.norm", width)
    found |= linear_shapes(f"{name}attention.query_key_value", 3 * width, width)
    found |= linear_shapes(f"{name}attention.output", width, width)
    layer = RelationLayer(causal=not encoder, first=first)
    for kind, settings in kinds(config).items():
        if rows := settings.rows(layer):
            found[f"{name}attention.relations.{kind}"] = (config.heads, rows, width // config.heads)
    if config.encoder_layers and not config.aligned and not encoder:
        found |= norm_shapes(f"{name}around_cross.norm", width)
        found |= linear_shapes(f"{name}cross.query", width, width) | linear_shapes(
            f"{name}cross.key_value", 2 * width, width
        )
        found |= linear_shapes(f"{name}cross.output", width, width)
    return found | network_shapes(f"{name}feed_forward", f"{name}around_feed_forward.norm", config, config.feed_forward)
