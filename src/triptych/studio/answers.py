"""What all generated answers carry: the settings, the command that does the same, the address that reproduces them."""

from __future__ import annotations

import json
import secrets
import shlex
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, TypeVar
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from triptych.shape.plain import packed
from triptych.studio.models import Entry
from triptych.studio.requests import Drawn

Asked = TypeVar("Asked", bound=Drawn)
DEFAULTS = {"top_k": 0, "top_p": 1.0, "min_p": 0.0}


def settled(asked: Asked, entry: Entry, **usual: Any) -> Asked:
    """The request with its model, a seed where it has none, and the usual values where it leaves them out."""
    usual = {"seed": secrets.randbits(32), "temperature": 1.0, **usual}
    missing = {name: value for name, value in usual.items() if getattr(asked, name) is None}
    return replace(asked, **{"model": entry.name, **missing})


def envelope(endpoint: str, asked: Drawn, entry: Entry, command: list[str] | None, *files: str) -> dict[str, Any]:
    """The beginning of an answer. command: the words after `triptych`; None where no verb does the same, and a request
    does. files: that the command reads.
    """
    settings = asked.settings()
    if command is None:
        body, files = json.dumps(settings, ensure_ascii=False), ()
        words = ["curl", f"http://127.0.0.1:8765/api/{endpoint}", "-H", "Content-Type: application/json", "-d", body]
    else:
        words = ["triptych", *command] if "--" in command else ["triptych", *command, f"--model={entry.given}"]
    return {
        "model": entry.name,
        "seed": settings["seed"],
        "settings": settings,
        "command": shlex.join(words),
        "files": list(files),
        "address": f"#{endpoint}/{quote(canonical(settings), safe='')}",
    }


def draw_options(asked: Drawn, usual: float = 1.0) -> list[str]:
    """The options of the command for label, seed and sampling, as far as they are not the defaults."""
    given = {name: getattr(asked, name, None) for name in ("label", "count", "seed")}
    given |= {name: getattr(asked, name) for name, default in DEFAULTS.items() if getattr(asked, name) != default}
    given |= {"temperature": None if asked.temperature == usual else asked.temperature}
    words = ((f"--{name.replace('_', '-')}", str(value)) for name, value in given.items() if value is not None)
    return [word for pair in words for word in pair]


def map_of(probabilities: NDArray[Any]) -> dict[str, Any]:
    """Probabilities as bytes, with their shape and scale."""
    data = np.rint(np.clip(probabilities, 0, 1) * 255)
    return {"shape": list(probabilities.shape), "scale": 1 / 255, "data": packed(data)}


def canonical(value: Any) -> str:
    """JSON with sorted keys, without blanks, nulls and `stream`; whole numbers without a point, as browsers write."""
    return json.dumps(_bare(value), ensure_ascii=False, sort_keys=True, separators=(",", ":"))


def _bare(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {key: _bare(item) for key, item in value.items() if item is not None and key != "stream"}
    if isinstance(value, list | tuple):
        return [_bare(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value
