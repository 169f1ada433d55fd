"""The resume state: all that an interrupted run needs to go on to the bit, in one safetensors file.

No random state is kept: each update seeds torch from (seed, update, process), each epoch's data from (seed, epoch).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open
from safetensors.torch import save as save_tensors
from torch import Tensor

from triptych.errors import UserError
from triptych.model.files import write_file

FILE = "resume.safetensors"


@dataclass
class Progress:
    """Where a run stands. `batch` counts the batches of epoch `epoch` already used; `updates` is the planned total.

    `dtype` is that of forward and backward passes, `orthogonal` that in which Muon orthogonalizes. `kept` are the
    checkpoints of the last evaluations, of which the mean is taken at the end.
    """

    updates: int = 0
    updates_per_epoch: int = 0
    dtype: str = "float32"
    orthogonal: str = "bfloat16"  # as in states that do not say
    update: int = 0
    epoch: int = 0
    batch: int = 0
    seconds: float = 0.0
    best: float | None = None
    best_checkpoint: str | None = None
    worse: int = 0
    kept: list[str] = field(default_factory=list)


def save_state(folder: Path, progress: Progress, recipe: Mapping[str, Any], tensors: Mapping[str, Tensor]) -> None:
    """Write the state in one file, whole or not at all."""
    meta = {"progress": json.dumps(asdict(progress)), "recipe": json.dumps(recipe)}
    write_file(folder / FILE, save_tensors({name: value.contiguous() for name, value in tensors.items()}, meta))


def load_state(folder: Path, recipe: Mapping[str, Any]) -> tuple[Progress, dict[str, Tensor]]:
    """The state of a run, if it was made by the same recipe.

    Raises:
        UserError: there is none, it is damaged, or the recipe differs (a resumed run must equal an uninterrupted one).
    """
    path = folder / FILE
    if not path.is_file():
        raise UserError(f"expected a resume state in {folder}, found none; train without --resume")
    try:
        with safe_open(path, framework="pt") as file:
            meta = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 (not a mapping)
        progress, saved = Progress(**json.loads(meta["progress"])), dict(json.loads(meta["recipe"]))
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise UserError(f"the resume state {path} is damaged ({error}); train anew from its checkpoint") from None
    changed = [key for key in {*saved, *recipe} if saved.get(key) != recipe.get(key)]
    if changed:
        key = sorted(changed)[0]
        raise UserError(
            f"a resumed run keeps its recipe: {key} was {saved.get(key)!r}, got {recipe.get(key)!r}; "
            "leave it as it was, or start a new run with --from"
        )
    return progress, tensors
