"""The kinds of relative self-attention (Shaw et al. 2018; Huang et al. 2018): what each adds to the logits of a query.

A relation gives every query and key a row of a learned table, and adds the product of the query with that row. To add a
kind: a class here and its line in `RELATIONS`. Its functions use the operators that numpy and torch share, so that one
definition serves training and generation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from triptych.errors import UserError
from triptych.fields import Checked, Size
from triptych.shape.parts import check_part

if TYPE_CHECKING:
    from triptych.shape.config import Config

Far = Literal["zero", "clip"]
Array = Any  # int64, of numpy or torch
Row = Callable[[Array, Array], Array]  # (coordinates of queries, of keys) -> rows of the table; the two broadcast

# Pitches of a query and of a key that have none: their difference from each other and from any pitch is in no table.
NO_PITCH = (2**20, -(2**20))


@dataclass(frozen=True)
class Difference:
    """The row of a query and a key is the difference of their coordinates; `offset` is the row of difference 0."""

    offset: int = 0

    def __call__(self, query: Array, key: Array) -> Array:
        """Rows, of which those outside the table are far."""
        return query - key + self.offset


@dataclass(frozen=True)
class Layer:
    """The layer of a self-attention: of the encoder, which sees all, or of the decoder, which is causal."""

    causal: bool
    first: bool  # of the decoder


@dataclass(frozen=True)
class RelationSettings(Checked):
    """A kind of relation; `size` is the reach of its table."""

    CALLED = "{name} of {kind}"

    reads: ClassVar[bool] = False  # whether its coordinates are `coordinates`, and not the positions themselves
    size: Annotated[int, Size(1, 2**24)]

    @property
    def far(self) -> Far:
        """A row outside the table adds nothing ("zero"), or is taken as the nearest one ("clip")."""
        return "zero"

    def check(self, config: Config) -> None:
        """Raise UserError where the rest of the configuration does not go with it."""

    def rows(self, layer: Layer) -> int:
        """The rows of its table in a layer; 0 where the layer is without it."""
        raise NotImplementedError

    def row(self, layer: Layer) -> Row:
        """The row of the table for a query and a key."""
        return Difference(self.size - 1)

    def coordinates(self, positions: Array, read: Array) -> tuple[Array, Array]:
        """Coordinates [B or 1, P], as queries and as keys, of positions [1, P] that have read ids [B, P, tokens a
        position], `MISSING` where they have read none.
        """
        return positions, positions


@dataclass(frozen=True)
class ByDistance(RelationSettings):
    """By the distance between two positions, in every layer, up to `size` (Huang et al. 2018, section 3.4)."""

    far: Far = "clip"

    def rows(self, layer: Layer) -> int:
        """In the encoder also those of negative distances."""
        return self.size if layer.causal else 2 * self.size - 1

    def row(self, layer: Layer) -> Row:
        """The distance."""
        return Difference(0 if layer.causal else self.size - 1)


class _ByCoordinate(RelationSettings):
    """In the decoder's first layer, of a token a position (Huang et al. 2018, section 4.1)."""

    reads = True

    def check(self, config: Config) -> None:
        """Raise UserError where a position has several tokens."""
        if config.input.size > 1:
            raise UserError(
                f"expected no relation {type(self).__name__} with several tokens a position, got one; leave it out"
            )

    def rows(self, layer: Layer) -> int:
        """Differences to both sides."""
        return 2 * self.size - 1 if layer.causal and layer.first else 0


@dataclass(frozen=True)
class ByPitch(_ByCoordinate):
    """By the difference of the ids that two positions have read, pitches in semitones below `size`."""

    size: Annotated[int, Size(1, 2**16)]  # a table that `NO_PITCH` is not in

    def coordinates(self, positions: Array, read: Array) -> tuple[Array, Array]:
        """Pitches; what is none is far from all."""
        ids = read[..., 0]
        known = (ids >= 0) & (ids < self.size)
        query, key = (ids * known + none * ~known for none in NO_PITCH)
        return query, key


@dataclass(frozen=True)
class ByTime(_ByCoordinate):
    """By the difference of times of `unit` positions: of the token that a query predicts, and of that which a key has
    read, the one before it.
    """

    far: Far = "clip"
    unit: Annotated[int, Size(1, 2**16)] = 1

    def coordinates(self, positions: Array, read: Array) -> tuple[Array, Array]:
        """Times."""
        return positions // self.unit, (positions - 1) // self.unit


RELATIONS: dict[str, type[RelationSettings]] = {"distance": ByDistance, "pitch": ByPitch, "time": ByTime}


def check_relations(relations: Sequence[RelationSettings], config: Config) -> None:
    """Raise UserError unless these are registered, one of a kind, and go with a configuration."""
    for relation in relations:
        check_part(relation, RELATIONS, "each of the relations")
        relation.check(config)
    if len({type(relation) for relation in relations}) < len(relations):
        raise UserError("expected one relation of a kind, got several; leave some out")
