"""The resume state: all that an interrupted run needs to continue exactly, in one safetensors file.

No random state is kept: each update seeds torch by `derive(seed, update, process)`, each epoch's data by (seed,
epoch). The file carries the sha256 of itself, taken with zeros in the place of the digest.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors
from torch import Tensor

from triptych.errors import UserError

FILE = "resume.safetensors"
BLANK = "0" * 64
ADVICE = "leave it as it was, or start a new run with --from"
PARTS = ("recipe", "settings", "inputs", "log")
FREE = ("save_every",)  # settings of a recipe that a resumed run may change: they change nothing but its safety


@dataclass
class Progress:
    """The progress of a run. `batch` counts the batches of epoch `epoch` already used; `updates` is the planned total.

    `dtype` is that of forward and backward passes, `orthogonal` that in which Muon orthogonalizes. `kept` are the
    checkpoints of the last evaluations, of which the mean is taken at the end.

    `seconds` is the time of the whole run so far; the other three are those of one update (the mean of the last), of
    the last evaluation and of the last saving. `due`: the evaluation after this update is still to be made.
    """

    updates: int = 0
    updates_per_epoch: int = 0
    dtype: str = "float32"
    orthogonal: str = "bfloat16"
    update: int = 0
    epoch: int = 0
    batch: int = 0
    due: bool = False
    seconds: float = 0.0
    step_seconds: float = 0.0
    evaluation_seconds: float = 0.0
    saving_seconds: float = 0.0
    best: float | None = None
    best_checkpoint: str | None = None
    last_checkpoint: str | None = None
    worse: int = 0
    kept: list[str] = field(default_factory=list)


@dataclass
class State:
    """A run at rest: its progress, its recipe, the settings of its data, the digests of all that it reads, the log's
    length and digest, and its tensors by name.
    """

    progress: Progress
    recipe: dict[str, Any]
    settings: dict[str, Any]
    inputs: dict[str, dict[str, str]]
    log: dict[str, Any]
    tensors: dict[str, Tensor]

    def to_bytes(self) -> bytes:
        """The state as one safetensors file."""
        meta = {name: json.dumps(getattr(self, name)) for name in PARTS}
        meta["progress"] = json.dumps(asdict(self.progress))
        data = save_tensors(
            {name: value.contiguous() for name, value in self.tensors.items()}, {**meta, "sha256": BLANK}
        )
        at = data.index(BLANK.encode())
        return b"".join([data[:at], hashlib.sha256(data).hexdigest().encode(), data[at + len(BLANK) :]])

    @classmethod
    def from_bytes(cls, data: bytes) -> State:
        """The state of a file's content. Raises ValueError if a byte of it is another."""
        try:
            length = int.from_bytes(data[:8], "little")
            meta = json.loads(data[8 : 8 + length])["__metadata__"]
            digest = meta["sha256"].encode()
            at = data.index(digest, 0, 8 + length)
            view = memoryview(data)
            whole = hashlib.sha256(view[:at])
            whole.update(BLANK.encode())
            whole.update(view[at + len(digest) :])
            if whole.hexdigest().encode() != digest:
                raise ValueError("its digest differs")
            parts = {name: json.loads(meta[name]) for name in PARTS}
            return cls(Progress(**json.loads(meta["progress"])), tensors=load_tensors(data), **parts)
        except (SafetensorError, LookupError, TypeError, AttributeError, RecursionError) as error:
            raise ValueError(" ".join(str(error).split())[:200]) from None


def read_state(folder: Path) -> State:
    """The state of the run in a folder. Raises UserError where there is none, or it is damaged."""
    path = folder / FILE
    if path.is_symlink() or not path.is_file():
        raise UserError(f"expected a resume state in {folder}, found none; train without --resume")
    try:
        return State.from_bytes(path.read_bytes())
    except ValueError as error:
        raise UserError(
            f"the resume state {path} is damaged ({error}); train anew from its checkpoint with --from {folder} "
            "and another --out"
        ) from None


def check_recipe(saved: Mapping[str, Any], ours: Mapping[str, Any]) -> None:
    """A resumed run keeps its recipe, or it would not equal an uninterrupted one. Raises UserError for another."""
    for key in sorted({*saved, *ours}.difference(FREE)):
        check_kept("recipe", key, saved.get(key), ours.get(key))


def check_kept(what: str, name: str, before: object, now: object) -> None:
    """Raise UserError where something by which a resumed run equals an uninterrupted one is not as it was."""
    if before != now:
        raise UserError(f"a resumed run keeps its {what}: {name} was {before!r}, got {now!r}; {ADVICE}")
