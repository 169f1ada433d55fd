"""A model as arrays and a list of layers, ready to be computed without torch.

A plan is read-only: several threads may step it, each with a cache of its own. A setting without a form here is
refused, never computed in another way.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from triptych.decode.arithmetic import ACTIVATIONS, Floats, layer_norm
from triptych.decode.shapes import kinds, shapes
from triptych.decode.steps.heads import HEADS, HeadSteps
from triptych.decode.steps.inputs import STEPS, Table
from triptych.decode.steps.positions import PositionVectors
from triptych.decode.steps.relations import Relation
from triptych.decode.steps.tables import InputTables, source_config
from triptych.errors import UserError
from triptych.shape.config import Config, Positions
from triptych.shape.pattern import Full, Local1D, Local2D
from triptych.shape.relations import Layer as RelationLayer
from triptych.shape.weights import as_float32


@dataclass(frozen=True)
class Linear:
    """x W^T + b."""

    weight: Floats  # [out, in]
    bias: Floats  # [out]

    def __call__(self, hidden: Floats) -> Floats:
        """Hidden [..., in] -> [..., out]."""
        rows = np.dot(hidden.reshape(-1, hidden.shape[-1]), self.weight.T)  # one product: of more axes it would be many
        rows += self.bias
        found: Floats = rows.reshape(*hidden.shape[:-1], -1)
        return found


@dataclass(frozen=True)
class Norm:
    """Layer normalisation with its gain and bias [W]."""

    gain: Floats
    bias: Floats

    def __call__(self, hidden: Floats) -> Floats:
        """Hidden [..., W], normalised."""
        return layer_norm(hidden, self.gain, self.bias)


@dataclass(frozen=True)
class Network:
    """The position-wise feed-forward network and the norm around it."""

    norm: Norm
    inner: Linear
    outer: Linear
    activation: str
    pre: bool

    def __call__(self, hidden: Floats) -> Floats:
        """Hidden [..., W] after it."""
        inner = ACTIVATIONS[self.activation](self.inner(self.norm(hidden) if self.pre else hidden))
        hidden = hidden + self.outer(inner)
        return hidden if self.pre else self.norm(hidden)


@dataclass(frozen=True)
class SelfAttention:
    """Self-attention, the norm around it, and its relations."""

    norm: Norm
    query_key_value: Linear
    output: Linear
    relations: tuple[Relation, ...]


@dataclass(frozen=True)
class CrossAttention:
    """Attention to the encoded source and the norm around it."""

    norm: Norm
    query: Linear
    key_value: Linear
    output: Linear


@dataclass(frozen=True)
class Layer:
    """One layer; `cross` in a decoder that attends to a source."""

    attention: SelfAttention
    cross: CrossAttention | None
    network: Network


class Plan:
    """A model's layers, tables and head; see `plan_of`."""

    def __init__(self, config: Config, weights: dict[str, Floats]) -> None:
        """weights: checked, in float32."""
        self.config, self.pre = config, config.norm == "pre"
        self._weights = weights
        self.input = InputTables(self._scaled(config, "input."), config.width)
        shared = config.source_vocabulary is None
        self.source = self.input
        if config.encoder_layers and not shared:
            self.source = InputTables(self._scaled(source_config(config), "condition.source."), config.width)
        self.positions = self._positions(config.positions, "position.", config.pattern)
        self.source_positions = self.positions
        if config.positions.source is not None:
            self.source_positions = self._positions(config.positions.source, "condition.position.", Full())
        self.label = self._of("condition.label.weight")
        self.metre = self._of("condition.metre.place.weight"), self._of("condition.metre.bar.weight")
        self.encoder = [self._layer(f"condition.encoder.{n}.", encoder=True) for n in range(config.encoder_layers)]
        self.decoder = [self._layer(f"decoder.{n}.", first=n == 0) for n in range(config.decoder_layers)]
        self.encoder_norm = self._norm("condition.norm") if self.pre and config.encoder_layers else None
        self.decoder_norm = self._norm("decoder_norm") if self.pre else None
        self.head: HeadSteps = HEADS[type(config.head)](self)

    # -- parts by their names -----------------------------------------------------------------------------------------

    def array(self, name: str) -> Floats:
        """The parameter of a name."""
        return self._weights[name]

    def network(self, name: str, around: str, activation: str | None = None) -> Network:
        """The feed-forward network of a name and the norm around it."""
        inner, outer = self._linear(f"{name}.inner"), self._linear(f"{name}.outer")
        return Network(self._norm(around), inner, outer, activation or self.config.activation, self.pre)

    def norm(self, name: str) -> Norm | None:
        """The norm of a name; None in a post-norm model, whose stacks end with none."""
        return self._norm(name) if self.pre else None

    def _of(self, name: str) -> Floats | None:
        return self._weights.get(name)

    def _linear(self, name: str) -> Linear:
        return Linear(self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _norm(self, name: str) -> Norm:
        return Norm(self._weights[f"{name}.weight"], self._weights[f"{name}.bias"])

    def _layer(self, name: str, *, encoder: bool = False, first: bool = False) -> Layer:
        where = RelationLayer(causal=not encoder, first=first)
        relations = tuple(
            Relation(settings, settings.row(where), self._weights[f"{name}attention.relations.{kind}"])
            for kind, settings in kinds(self.config).items()
            if settings.rows(where)
        )
        attention = SelfAttention(
            self._norm(f"{name}around_attention.norm"),
            self._linear(f"{name}attention.query_key_value"),
            self._linear(f"{name}attention.output"),
            relations,
        )
        cross = None
        if self.config.encoder_layers and not self.config.aligned and not encoder:
            parts = (self._linear(f"{name}cross.{part}") for part in ("query", "key_value", "output"))
            cross = CrossAttention(self._norm(f"{name}around_cross.norm"), *parts)
        return Layer(attention, cross, self.network(f"{name}feed_forward", f"{name}around_feed_forward.norm"))

    def _positions(self, positions: Positions, prefix: str, pattern: Full | Local1D | Local2D) -> PositionVectors:
        named = {key.removeprefix(prefix): array for key, array in self._weights.items() if key.startswith(prefix)}
        return PositionVectors(positions, self.config.width, pattern, named)

    def _scaled(self, config: Config, prefix: str) -> dict[str, Floats]:
        tables: dict[str, Table] = STEPS[type(config.input)].tables(config)
        return {name: self._weights[prefix + each.parameter] * np.float32(each.scale) for name, each in tables.items()}


@np.errstate(over="ignore")  # of weights that are scaled
def plan_of(config: Config, weights: Mapping[str, NDArray[Any]]) -> Plan:
    """The plan of a configuration and its stored weights, of which a float32 copy is made. Raises as `check_plan`."""
    check_plan(config, weights)
    return Plan(config, {name: np.ascontiguousarray(as_float32(array)) for name, array in weights.items()})


def check_plan(config: Config, weights: Mapping[str, NDArray[Any]]) -> None:
    """Raise UserError where the plan has no form for a setting, and ValueError where the weights are not those of the
    configuration. Nothing is computed or copied.
    """
    check_known(config)
    expected = shapes(config)
    if odd := sorted(set(expected) ^ set(weights)):
        raise ValueError(f"{odd[0]} is {'missing' if odd[0] in expected else 'not one of its parameters'}")
    for name, shape in expected.items():
        if weights[name].shape != shape:
            raise ValueError(f"{name} has the shape {list(weights[name].shape)}, its configuration {list(shape)}")


KNOWN: dict[str, tuple[Any, ...]] = {
    "norm": ("pre", "post"),
    "activation": tuple(ACTIVATIONS),
    "pattern": (Full, Local1D, Local2D),
    "positions": ("sinusoidal", "concatenated", "learned", "sinusoidal_2d", "none"),
    "far": ("zero", "clip"),
}


def check_known(config: Config) -> None:
    """Raise UserError where a setting has no form here: a list of what is known, so that what is new is refused."""
    positions = [config.positions] + ([config.positions.source] if config.positions.source else [])
    known = {
        "norm": config.norm in KNOWN["norm"],
        "activation": config.activation in KNOWN["activation"],
        "pattern": type(config.pattern) in KNOWN["pattern"],
        "positions": all(each.kind in KNOWN["positions"] for each in positions),
        "relations": all(each.far in KNOWN["far"] for each in config.relations),
        "input": hasattr(STEPS.get(type(config.input)), "tables"),
        "head": type(config.head) in HEADS,
    }
    for name, holds in known.items():
        if not holds:
            remedy = "ask for --dtype float32, which computes with torch"
            raise UserError(f"expected a setting {name} that generation without torch computes, got another; {remedy}")
