"""The configuration of a Transformer: one frozen dataclass, three presets, and its JSON form."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Annotated, Any, Literal

from triptych.errors import UserError
from triptych.fields import Checked, Size
from triptych.shape.parts import (
    HEADS,
    INPUTS,
    HeadSettings,
    InputSettings,
    Tied,
    Tokens,
    check_part,
    part_from,
    part_to,
)
from triptych.shape.pattern import Full, Local1D, Local2D, Pattern, block_size
from triptych.shape.relations import RELATIONS, RelationSettings, check_relations
from triptych.shape.settings import check_names, names_of, preset_of

CAUSAL = Full(causal=True)
PATTERNS: dict[str, type[Any]] = {"full": Full, "local_1d": Local1D, "local_2d": Local2D}
MAX_PAIRS = 2**24  # of the table of who looks at whom
PARTS: dict[str, dict[str, type[Any]]] = {"pattern": PATTERNS, "input": INPUTS, "head": HEADS}


@dataclass(frozen=True)
class Positions(Checked):
    """Positional information: `kind`, and the digits of the position in a grid.

    kind: "sinusoidal" is added (Vaswani et al. 2017, section 3.5); "concatenated" is the same beside the embedding,
    both projected to the width (Huang et al. 2018, section 4.1); "learned" reaches `length` positions and no further;
    "sinusoidal_2d" gives half of the width to the row and half to the column of a picture (Parmar et al. 2018, section
    3.1), `length` positions a row, in the order of the pattern.
    grid: position p has the digits p % grid[0], p // grid[0] % grid[1], ..., each with a learned vector; (4, 16) are
    the voice and the sixteenth in the bar of a chorale, (3, 32, 32) the channel, column and row of a picture. Positions
    are those of the attention: of an input with several tokens at a position, patches and not tokens.
    length: of "learned" (1,024 unless given) and of "sinusoidal_2d"; the other kinds have none.
    metre: of music: each position is joined by its place in the bar and by the length of the bar, in positions, where
    bars are no longer than this; both may be withheld (`Batch.metre`). 0: it reads neither.
    source: the same of the source, where it is not as the target is: a small picture for a large one.
    """

    CALLED = "positions.{name}"

    kind: Literal["sinusoidal", "concatenated", "learned", "sinusoidal_2d", "none"] = "sinusoidal"
    length: Annotated[int, Size(1, 2**24)] | None = None
    grid: Annotated[tuple[Annotated[int, Size(1, 2**16)], ...], Size(0, 8)] = ()
    metre: Annotated[int, Size(0, 2**12)] = 0
    source: Positions | None = None

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.kind == "learned" and self.length is None:
            object.__setattr__(self, "length", 1024)
        if self.kind == "sinusoidal_2d" and self.length is None:
            raise UserError("expected positions.length with sinusoidal_2d positions, got none; it is that of a row")
        if self.kind not in ("learned", "sinusoidal_2d") and self.length is not None:
            raise UserError(f"expected no positions.length with {self.kind} positions, got {self.length}; leave it out")
        if math.prod(self.grid) > 2**20:
            raise UserError(f"expected a grid of at most 2**20 places, got {self.grid}; give the finer sizes only")
        if self.source is not None and self.source.metre:
            raise UserError("expected no metre in positions.source, got one; the target has it")
        if self.source is not None and self.source.source is not None:
            raise UserError("expected no positions.source in positions.source, got one; leave it out")


@dataclass(frozen=True)
class Config(Checked):
    """The shape of a Transformer (Vaswani et al. 2017). The defaults are the paper's base model.

    `encoder_layers=0` gives a decoder-only model. `source_vocabulary=None` shares one vocabulary, and one matrix,
    between source, target and output layer (section 3.4 of the paper). `classes` labels are vectors added at every
    target position. `relations` are terms of the attention logits, such as by distance between positions, one of
    each kind. `input` and `head` come from the panel: how the tokens at a position are read, on both sides, and
    how they are predicted.

    aligned: position i of the source is about position i of the target, as in a piece with holes: the encoder's output
    there is added to the decoder's input, and there is no attention to the source.
    """

    # The bounds keep a mistyped or hostile configuration from being built for hours.
    vocabulary: Annotated[int, Size(1, 2**24)]
    source_vocabulary: Annotated[int, Size(1, 2**24)] | None = None
    width: Annotated[int, Size(1, 2**16)] = 512
    heads: Annotated[int, Size(1, 2**16)] = 8
    feed_forward: Annotated[int, Size(1, 2**20)] = 2048
    encoder_layers: Annotated[int, Size(0, 1000)] = 6
    decoder_layers: Annotated[int, Size(1, 1000)] = 6
    dropout: Annotated[float, Size(0, 1, below=True)] = 0.1
    norm: Literal["post", "pre"] = "post"
    activation: Literal["relu", "gelu", "swiglu"] = "relu"
    positions: Positions = field(default_factory=Positions)
    classes: Annotated[int, Size(0, 2**24)] = 0
    pattern: Annotated[Pattern, "a table with its kind"] = CAUSAL
    relations: tuple[RelationSettings, ...] = ()
    aligned: bool = False
    input: Annotated[InputSettings, "a table with its kind"] = field(default_factory=Tokens)
    head: Annotated[HeadSettings, "a table with its kind"] = field(default_factory=Tied)

    def __post_init__(self) -> None:
        super().__post_init__()
        for name, known in PARTS.items():
            check_part(getattr(self, name), known, name)
        _check_pattern(self.pattern)
        if self.width % self.heads:
            raise UserError(f"expected a width divisible by heads={self.heads}, got {self.width}; change one of them")
        for positions in (self.positions, self.positions.source or self.positions):
            parts = {"sinusoidal": 2, "concatenated": 2, "sinusoidal_2d": 4}.get(positions.kind, 1)
            if self.width % parts:
                raise UserError(
                    f"expected a width divisible by {parts} for {positions.kind} positions, got {self.width}"
                )
        if self.aligned and not self.encoder_layers:
            raise UserError("expected encoder_layers from 1 with aligned, got 0; there is no source without an encoder")
        if isinstance(self.pattern, Full) and not self.pattern.causal:
            raise UserError("expected a causal pattern for the decoder, got Full(causal=False); use Full(causal=True)")
        self._check_effect()
        self.input.check(self)
        self.head.check(self)
        check_relations(self.relations, self)

    def _check_effect(self) -> None:
        """Raise UserError for settings that would change nothing."""
        if self.source_vocabulary is not None and not self.encoder_layers:
            raise UserError("expected no source_vocabulary without an encoder, got one; leave it out")
        if self.positions.source is not None and not self.encoder_layers:
            raise UserError("expected encoder_layers from 1 with positions.source, got 0; leave positions.source out")

    @classmethod
    def preset(cls, name: str, vocabulary: int, **changes: Any) -> Config:
        """The preset `base`, `small` or `tiny` with the given vocabulary, and any field changed."""
        return cls.from_dict({"vocabulary": vocabulary, **preset_of("triptych.shape", name), **changes})

    def to_dict(self) -> dict[str, Any]:
        """A dictionary of plain values, as `config.json` holds it."""
        plain = dataclasses.asdict(self)
        plain |= {name: part_to(getattr(self, name), known) for name, known in PARTS.items()}
        plain["relations"] = {each.pop("kind"): each for each in (part_to(r, RELATIONS) for r in self.relations)}
        return plain

    @classmethod
    def from_dict(cls, plain: Mapping[str, Any]) -> Config:
        """The inverse of `to_dict`. An unknown key is a `UserError` that names the nearest field.

        `positions` may also be the name of a kind alone.
        """
        values = dict(plain)
        check_names("model", values, names_of(cls))
        try:
            if values.get("pattern") in ("full", {"kind": "full"}):
                values["pattern"] = CAUSAL
            if isinstance(values.get("positions"), str):
                values["positions"] = {"kind": values["positions"]}
            if isinstance(values.get("relations"), Mapping):
                values["relations"] = tuple(_relation(kind, each) for kind, each in values["relations"].items())
            for name, known_parts in PARTS.items():
                if isinstance(values.get(name), Mapping | str):
                    values[name] = part_from(values[name], known_parts, name)
            return cls(**values)
        except (KeyError, TypeError) as error:
            raise UserError(f"expected a complete model configuration, got {dict(plain)}: {error}") from None


def _relation(kind: str, settings: object) -> RelationSettings:
    """The relation of a kind with its settings, as `to_dict` writes them."""
    if not isinstance(settings, Mapping):
        raise UserError(f"expected relations.{kind} to be a table of its settings, got {settings!r}")
    found: RelationSettings = part_from({**settings, "kind": kind}, RELATIONS, "relations")
    return found


def _check_pattern(pattern: Pattern) -> None:
    """Raise UserError for sizes whose tables of positions would not fit into memory."""
    if isinstance(pattern, Local2D):
        memory = (pattern.memory_rows + pattern.query_rows) * (2 * pattern.memory_columns + pattern.query_columns)
        blocks = -(-pattern.height * pattern.width // block_size(pattern))
        if pattern.height * pattern.width > 2**20 or memory * blocks > MAX_PAIRS:
            raise UserError(
                f"expected a picture and a memory with at most {MAX_PAIRS:,} pairs of a block and a position in its "
                f"sight, got {pattern}; make the memory smaller or the blocks larger"
            )
