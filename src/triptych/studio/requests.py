"""What requests have in common: types and limits of their fields, how tokens are drawn, and the head of an answer."""

from __future__ import annotations

import json
import secrets
import shlex
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Annotated, Any, Self, dataclass_transform
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from triptych.fields import Size
from triptych.music.files.plain import MAX_STEPS
from triptych.shape.plain import packed
from triptych.studio.models import Entry, Models
from triptych.studio.work import Job

MAX_TEXT, MAX_BEAM, MAX_COUNT, MAX_SECONDS, MAX_LINES = 2_000, 16, 16, 120.0, 64
MAX_BYTES, MAX_JSON = 10_000_000, 4_000_000  # of an uploaded file, and of another body
MAX_MAPPED = 256  # positions of which all rows of attention are given at once
PIECE, PICTURE, MASK = GIVEN = "piece.mid", "picture.png", "mask.png"  # files that commands read

Model = Annotated[str, Size(1, 200)]
Text = Annotated[str, Size(0, MAX_TEXT, True)]
Label = Annotated[str, Size(1, 100)]
Ids = Annotated[list[Annotated[int, Size(0, 2**31)]], Size(0, 4_096, True)]
Steps = Annotated[int, Size(1, MAX_STEPS, True)]
Seconds = Annotated[float, Size(1, MAX_SECONDS, True)]


@dataclass_transform(kw_only_default=True, frozen_default=True, field_specifiers=(field,))
class Request:
    """A request: its fields are those of the JSON, and calling it with the models and its job gives the answer."""

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True, kw_only=True)(cls)

    def __call__(self, models: Models, job: Job) -> dict[str, Any]:
        raise NotImplementedError


class Drawn(Request):
    """How tokens are drawn. seed: null draws one. null leaves a restriction as the model's card has it.
    stream: server-sent events.
    """

    model: Model | None = None
    seed: Annotated[int, Size(0, 2**53 - 1)] | None = None
    temperature: Annotated[float, Size(0, 10)] | None = None
    top_k: Annotated[int, Size(0, 100_000)] | None = None
    top_p: Annotated[float, Size(1e-9, 1)] | None = None
    min_p: Annotated[float, Size(0, 1)] | None = None
    stream: bool = False

    def drawing(self) -> dict[str, Any]:
        """How a product draws: its arguments `sampling` and `seed`."""
        from triptych.generation.sampling import Sampling

        sampling = Sampling(**{one.name: getattr(self, one.name) for one in fields(Sampling)})
        return {"sampling": sampling, "seed": self.seed}

    def settled(self, entry: Entry, **usual: Any) -> Self:
        """The same with its model, a seed where it has none, and the usual values where it leaves them out."""
        usual = {"seed": secrets.randbits(32), **asdict(entry.load().usual), **usual}
        missing = {name: value for name, value in usual.items() if getattr(self, name) is None}
        return replace(self, model=entry.name, **missing)

    def options(self, entry: Entry, *always: str) -> list[str]:
        """The options of the command for label, count, seed and sampling, as far as they are not the model's own; but
        `always` those.
        """
        usual = {"label": None, "count": None, "seed": None, **asdict(entry.load().usual)}
        given = {name: getattr(self, name, None) for name in usual}
        own = [name for name, value in given.items() if value is not None and (name in always or value != usual[name])]
        return [word for name in own for word in (f"--{name.replace('_', '-')}", str(given[name]))]

    def envelope(self, entry: Entry, command: list[str] | None, out: str | None = None) -> dict[str, Any]:
        """The head of an answer. command: the words after `triptych`; None where no verb does the same, and a request
        does. out: what the verb writes, if it has this option, and those for drawing.
        """
        endpoint = type(self).__name__.lower()
        settings = {key: value for key, value in asdict(self).items() if key != "stream"}
        if command is None:
            body, url = json.dumps(settings, ensure_ascii=False), f"http://127.0.0.1:8765/api/{endpoint}"
            words = ["curl", url, "-H", "Content-Type: application/json", "-d", body]
        else:
            drawn = [] if out is None else [*self.options(entry), "--out", out, f"--model={entry.given}"]
            words = ["triptych", *command, *drawn]
        return {
            "model": entry.name,
            "seed": self.seed,
            "settings": settings,
            "command": shlex.join(words),
            "files": [word for word in command or () if word in GIVEN],
            "address": f"#{endpoint}/{quote(canonical(settings), safe='')}",
        }


def map_of(probabilities: NDArray[Any]) -> dict[str, Any]:
    """Probabilities as bytes, with their shape and scale."""
    data = np.rint(np.clip(probabilities, 0, 1) * 255)
    return {"shape": list(probabilities.shape), "scale": 1 / 255, "data": packed(data)}


def canonical(value: Any) -> str:
    """JSON with sorted keys, without blanks, nulls and `stream`; whole numbers without a point, as browsers write."""

    def bare(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        return {key: item for key, item in pairs if item is not None and key != "stream"}

    plain = json.loads(json.dumps(value), object_pairs_hook=bare, parse_float=_whole)
    return json.dumps(plain, ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _whole(text: str) -> float:
    return int(value) if (value := float(text)).is_integer() else value
