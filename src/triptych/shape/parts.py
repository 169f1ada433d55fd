"""The parts of a panel: the settings of an input, which reads tokens, and of a head, which predicts them.

Each kind is a dataclass, registered here under its name in `config.json`. What an input and a head compute is
registered with it in `decode.steps` (a step, without torch) and in `model.inputs` and `model.heads` (whole sequences).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, Any, Protocol, TypeVar, runtime_checkable

from triptych.errors import UserError, remedy, shown
from triptych.fields import Checked, Size

if TYPE_CHECKING:
    from triptych.shape.config import Config

LEVELS = 256  # intensities of a channel of a pixel
Count = Annotated[int, Size(1, 2**10)]  # of keys, time shifts or velocities


@runtime_checkable
class InputSettings(Protocol):
    """The settings of an input."""

    @property
    def size(self) -> int:
        """Tokens at one position."""
        ...

    def check(self, config: Config) -> None:
        """Raise UserError where the rest of the configuration does not go with it."""
        ...

    def of_source(self) -> InputSettings:
        """The settings of the input that reads a source beside it."""
        ...


@runtime_checkable
class HeadSettings(Protocol):
    """The settings of a head."""

    def check(self, config: Config) -> None:
        """Raise UserError where the rest of the configuration does not go with it."""
        ...


@dataclass(frozen=True)
class Tokens(Checked):
    """A position is one token, read as its embedding.

    keyboard: of performances on a piano: numbers of keys, time shifts and velocities, the order of their ids. The
    embedding is joined by the keys that are down, for how long, and how loud the last one was, by the events of the
    target alone.
    """

    CALLED = "input.{name}"

    keyboard: Annotated[tuple[Count, Count, Count], "[keys, shifts, velocities]"] | None = None

    @property
    def size(self) -> int:
        """Tokens at one position."""
        return 1

    def check(self, config: Config) -> None:
        """Raise UserError where the keyboard has more ids than the vocabulary."""
        keys, shifts, velocities = self.keyboard or (0, 0, 0)
        least = 2 * keys + shifts + velocities  # of each key one to press and one to release it
        if least > config.vocabulary:
            raise UserError(
                f"expected a vocabulary from {least} with input.keyboard, got {config.vocabulary}; "
                "leave the keyboard out"
            )

    def of_source(self) -> Tokens:
        """A source has no keyboard."""
        return Tokens()


@dataclass(frozen=True)
class Patches(Checked):
    """A position is `size` tokens in succession, such as the four voices of a moment, read as the sum of a vector for
    each (MEGABYTE, Yu et al. 2023; RQ-Transformer, Lee et al. 2022): there are `size` times fewer positions.

    repeat_features: each token is joined by a vector for the number of patches in succession that had it at its place,
    counted up to this (after Peracha 2019); 0: none.
    word_dropout: in training, the share of the target's tokens that is not read (Bowman et al. 2016, section 3.1).
    """

    CALLED = "input.{name}"

    size: Annotated[int, Size(1, 64)]
    repeat_features: Annotated[int, Size(0, 2**16)] = 0
    word_dropout: Annotated[float, Size(0, 1, below=True)] = 0.0

    def check(self, config: Config) -> None:
        """It goes with everything."""

    def of_source(self) -> Patches:
        """A source is read whole."""
        return dataclasses.replace(self, word_dropout=0.0)


@dataclass(frozen=True)
class Pixels(Checked):
    """A position is a pixel of so many channels, read as the sum of a vector for each; where the width of the picture
    is known (by a 2-D pattern or 2-D positions), joined by those of the pixel above the one that comes next.
    """

    CALLED = "input.{name}"

    channels: Annotated[int, Size(1, 4)] = 3

    @property
    def size(self) -> int:
        """Tokens at one position."""
        return self.channels

    def check(self, config: Config) -> None:
        """Raise UserError for another vocabulary than that of intensities."""
        if config.vocabulary != LEVELS:
            raise UserError(f"expected vocabulary={LEVELS} with input pixels, got {config.vocabulary}")

    def of_source(self) -> Patches:
        """A source is read without neighbours."""
        return Patches(self.channels)


@dataclass(frozen=True)
class Tied:
    """A softmax over the vocabulary, by the matrix that embeds the tokens (Press and Wolf 2017)."""

    def check(self, config: Config) -> None:
        """Raise UserError unless a position is one token."""
        if not isinstance(config.input, Tokens):
            raise UserError("expected input tokens with head tied, got another one; use head patch or mixture")


@dataclass(frozen=True)
class PatchNetwork(Checked):
    """The tokens of a patch one after another, by a network without attention over the tokens before each: `layers`
    position-wise layers with `feed_forward` inner units.
    """

    CALLED = "head.{name}"

    layers: Annotated[int, Size(1, 100)] = 3
    feed_forward: Annotated[int, Size(1, 2**20)] = 512

    def check(self, config: Config) -> None:
        """Raise UserError unless a position is a patch."""
        if not isinstance(config.input, Patches):
            raise UserError("expected input patches with head patch, got another one; use head tied or mixture")


@dataclass(frozen=True)
class Mixture(Checked):
    """The channels of a pixel, by a discretized mixture of so many logistic distributions (Salimans et al. 2017)."""

    CALLED = "head.{name}"

    components: Annotated[int, Size(1, 1000)] = 10

    def check(self, config: Config) -> None:
        """Raise UserError unless a position is a pixel."""
        if not isinstance(config.input, Pixels):
            raise UserError("expected input pixels with head mixture, got another one; use head tied or patch")


INPUTS: dict[str, type[Any]] = {"tokens": Tokens, "patches": Patches, "pixels": Pixels}
HEADS: dict[str, type[Any]] = {"tied": Tied, "patch": PatchNetwork, "mixture": Mixture}

Part = TypeVar("Part")


def part_from(plain: Mapping[str, Any] | str, known: Mapping[str, type[Any]], name: str) -> Any:
    """The input, head, relation or pattern (`name`) of a mapping with its `kind` and fields, or of a kind alone."""
    given: dict[str, Any] = {"kind": plain} if isinstance(plain, str) else dict(plain)
    kind = given.pop("kind", None)
    if kind not in list(known):
        got = str(kind)[:40]
        raise UserError(f"expected {name}.kind to be one that is registered, got {got!r}; {remedy(got, known)}")
    fields = {field.name: field.default for field in dataclasses.fields(known[kind])}
    if odd := [key for key in given if key not in fields]:
        raise UserError(f"unknown setting {name}.{odd[0]} of {kind}; known are {', '.join(fields) or 'none'}")
    if missing := [key for key, default in fields.items() if default is dataclasses.MISSING and key not in given]:
        raise UserError(f"expected {name}.{missing[0]} with {name} {kind}, got none; it needs {', '.join(fields)}")
    return known[kind](**given)


def check_part(part: object, known: Mapping[str, type[Any]], name: str) -> None:
    """Raise UserError unless the kind of an input, head or relation (`name`) is registered."""
    if type(part) not in known.values():
        raise UserError(f"expected {name} of a kind that is registered ({', '.join(known)}), got {shown(part)}")


def part_to(part: Any, known: Mapping[str, type[Any]]) -> dict[str, Any]:
    """The inverse of `part_from`."""
    kind = next(kind for kind, settings in known.items() if type(part) is settings)
    return {"kind": kind, **dataclasses.asdict(part)}
