"""What can be asked for: a dataclass of each request, with the defaults and limits of its fields."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Annotated, Any, Literal

from triptych.fields import Size
from triptych.image.files.plain import Bytes, PlainPicture
from triptych.music.files.plain import MAX_NOTES, MAX_STEPS, Chorale, Played

if TYPE_CHECKING:
    from triptych.generation.sampling import Sampling

MAX_TEXT, MAX_BEAM, MAX_COUNT, MAX_SECONDS, MAX_LINES = 2_000, 16, 16, 120.0, 64
MAX_BYTES, MAX_JSON = 10_000_000, 4_000_000  # of an uploaded file, and of another body
MAX_MAPPED = 256  # positions of which all rows of attention are given at once

Model = Annotated[str, Size(1, 200)]
Text = Annotated[str, Size(0, MAX_TEXT, True)]
Label = Annotated[str, Size(1, 100)]
Ids = Annotated[list[Annotated[int, Size(0, 2**31)]], Size(0, 4_096, True)]
Seed = Annotated[int, Size(0, 2**53 - 1)]
Steps = Annotated[int, Size(1, MAX_STEPS, True)]
Seconds = Annotated[float, Size(1, MAX_SECONDS, True)]


@dataclass(frozen=True, kw_only=True)
class Drawn:
    """How tokens are drawn. seed: null draws one. temperature: null is the usual one. stream: server-sent events."""

    seed: Seed | None = None
    temperature: Annotated[float, Size(0, 10)] | None = None
    top_k: Annotated[int, Size(0, 100_000)] = 0
    top_p: Annotated[float, Size(1e-9, 1)] = 1.0
    min_p: Annotated[float, Size(0, 1)] = 0.0
    stream: bool = False

    def sampling(self) -> Sampling:
        """The sampling that the fields describe."""
        from triptych.generation.sampling import Sampling

        temperature = 1.0 if self.temperature is None else self.temperature
        return Sampling(temperature=temperature, top_k=self.top_k, top_p=self.top_p, min_p=self.min_p)

    def settings(self) -> dict[str, Any]:
        """All fields but `stream`, as plain values: the same request again."""
        return {key: value for key, value in asdict(self).items() if key != "stream"}


@dataclass(frozen=True, kw_only=True)
class Translate(Drawn):
    """Translate a text. forced: ids with which the translation begins. sample: draw it instead of searching."""

    text: Text
    model: Model | None = None
    beam: Annotated[int, Size(1, MAX_BEAM)] = 5
    nbest: Annotated[int, Size(1, MAX_BEAM)] = 5
    forced: Ids = field(default_factory=list)
    sample: bool = False


@dataclass(frozen=True, kw_only=True)
class Alternatives:
    """The most probable pieces at each place of a translation, given those before it."""

    text: Text
    ids: Ids
    model: Model | None = None
    count: Annotated[int, Size(1, 20)] = 8


@dataclass(frozen=True, kw_only=True)
class TextAttention:
    """Attention while a translation, given as ids, is written."""

    kind: Literal["text"]
    text: Annotated[str, Size(1, MAX_TEXT, True)]
    ids: Ids
    model: Model | None = None


@dataclass(frozen=True, kw_only=True)
class PictureAttention:
    """Attention of the pixel [row, column] when it was made; null: of every position."""

    kind: Literal["picture"]
    picture: PlainPicture
    model: Model | None = None
    label: Label | None = None
    hidden: Bytes | None = None
    pixel: Annotated[list[Annotated[int, Size(0, 63)]], Size(2, 2)] | None = None


@dataclass(frozen=True, kw_only=True)
class ChoraleAttention:
    """Attention of the sixteenth `step` to those before; null: of every one."""

    kind: Literal["chorale"]
    piece: Chorale
    model: Model | None = None
    step: Annotated[int, Size(0, MAX_STEPS)] | None = None


@dataclass(frozen=True, kw_only=True)
class PlayedAttention:
    """Attention of a note, counted from 0, when it was struck; null: of the last one."""

    kind: Literal["performance"]
    piece: Played
    model: Model | None = None
    note: Annotated[int, Size(0, MAX_NOTES)] | None = None


@dataclass(frozen=True, kw_only=True)
class Paint(Drawn):
    """Paint pictures, of a class or of none."""

    model: Model | None = None
    label: Label | None = None
    count: Annotated[int, Size(1, MAX_COUNT, True)] = 4


@dataclass(frozen=True, kw_only=True)
class Complete(Drawn):
    """Find the hidden part of a picture: hidden has a byte a pixel, 1 where it is to be found."""

    picture: PlainPicture
    hidden: Bytes
    model: Model | None = None
    label: Label | None = None
    count: Annotated[int, Size(1, 8, True)] = 4


@dataclass(frozen=True, kw_only=True)
class Upscale(Drawn):
    """Enlarge a small picture."""

    picture: PlainPicture
    model: Model | None = None
    label: Label | None = None
    count: Annotated[int, Size(1, 8, True)] = 2


@dataclass(frozen=True, kw_only=True)
class Compose(Drawn):
    """Compose a piece. steps: sixteenths of a chorale, null where the model ends it. seconds: of a performance."""

    model: Model | None = None
    label: Label | None = None
    steps: Annotated[int, Size(16, MAX_STEPS, True)] | None = None
    seconds: Seconds | None = None
    tempo: Annotated[float, Size(20, 400)] = 84.0


@dataclass(frozen=True, kw_only=True)
class Continue(Drawn):
    """Continue a piece by so many steps, or seconds."""

    piece: Chorale | Played
    model: Model | None = None
    label: Label | None = None
    steps: Steps | None = None
    seconds: Seconds | None = None


@dataclass(frozen=True, kw_only=True)
class Harmonize(Drawn):
    """Give a melody, the soprano of the piece, three lower voices."""

    piece: Chorale
    model: Model | None = None
    label: Label | None = None


@dataclass(frozen=True, kw_only=True)
class Infill(Drawn):
    """Write spans [voice, start, end] anew; all else stays as it is."""

    piece: Chorale
    open: Annotated[list[Annotated[list[Annotated[int, Size(0, MAX_STEPS)]], Size(3, 3)]], Size(1, MAX_NOTES, True)]
    model: Model | None = None


@dataclass(frozen=True, kw_only=True)
class Similarity:
    """Compare all beats of a piece."""

    piece: Chorale | Played


@dataclass(frozen=True, kw_only=True)
class VoiceLeading:
    """Find parallel fifths and octaves, crossed voices and notes out of range."""

    piece: Chorale


@dataclass(frozen=True, kw_only=True)
class Positions:
    """The sinusoids of positions."""

    length: Annotated[int, Size(1, 512, True)] = 64
    width: Annotated[int, Size(2, 1_024, True)] = 128


@dataclass(frozen=True, kw_only=True)
class Export:
    """A piece as a file."""

    piece: Chorale | Played
    format: Literal["mid", "musicxml", "wav", "svg"]
    name: Annotated[str, Size(1, 60)] = "piece"


@dataclass(frozen=True, kw_only=True)
class Example:
    """A picture to begin with, for a model that completes or enlarges."""

    model: Model


@dataclass(frozen=True, kw_only=True)
class LibreTranslate:
    """Translate as LibreTranslate has it: q is a text or a list of texts; `auto` and html are refused."""

    source: Annotated[str, Size(1, 20)]
    target: Annotated[str, Size(1, 20)]
    q: Annotated[list[Text], Size(0, MAX_LINES, True)]
    format: Literal["text", "html"] = "text"
    alternatives: Annotated[int, Size(0, MAX_BEAM - 1)] = 0
    api_key: Annotated[str, Size(0, 200)] = ""
