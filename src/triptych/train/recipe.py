"""The settings of training: one frozen dataclass, read from a TOML file or from `--set key=value`."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal

from triptych.errors import UserError
from triptych.fields import Checked, Size
from triptych.shape.settings import check_names, names_of

Portion = Annotated[float, Size(0, 1, below=True)]
ABOVE_ZERO = ["epochs", "hours", "learning_rate", "matrix_learning_rate", "epsilon", "evaluations", "save_every"]


@dataclass(frozen=True)
class Recipe(Checked):
    """The settings of one training run. The defaults suit a small model on a CPU.

    One update sees `accumulate` batches of about `tokens_per_batch` target tokens each. The learning rate rises
    linearly for `warmup` updates, then falls with the inverse square root of the update (Vaswani et al. 2017, section
    5.3) or with a cosine to zero at the last update. The run ends after `epochs` or `hours`, whichever is first.
    `hours` are hours of the clock, evaluation and saving included: the number of updates is planned at the start, and
    planned again a hundred times. The state is saved at every evaluation and every `save_every` minutes.

    `optimizer="muon"` gives the matrices inside the layers to Muon (Jordan et al. 2024) at `matrix_learning_rate` and
    everything else to AdamW at `learning_rate`. `average_last` averages that many checkpoints at the end; `ema` keeps
    an exponential moving average of the weights and evaluates and saves that. `label_smoothing` is, if None, 0.1 for
    translators and 0 for all others. Held-out data is looked at `evaluations` times an epoch; `patience` evaluations
    without a better score stop the run (0: never).
    """

    epochs: Annotated[float, Size(0, 10**9)] | None = None
    hours: Annotated[float, Size(0, 10**9)] | None = None
    tokens_per_batch: Annotated[int, Size(1)] = 4096
    accumulate: Annotated[int, Size(1)] = 1
    optimizer: Literal["adam", "adamw", "muon"] = "adamw"
    learning_rate: float = 1e-3
    matrix_learning_rate: float = 0.01
    schedule: Literal["inverse_square_root", "cosine", "constant"] = "cosine"
    warmup: Annotated[int, Size(0)] = 400
    beta_1: Portion = 0.9
    beta_2: Portion = 0.98
    epsilon: float = 1e-9
    weight_decay: Annotated[float, Size(0)] = 0.0
    clip: Annotated[float, Size(0)] = 1.0
    label_smoothing: Portion | None = None
    ema: Portion = 0.0
    average_last: Annotated[int, Size(0)] = 0
    evaluations: float = 1.0
    save_every: float = 10.0
    patience: Annotated[int, Size(0)] = 0
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    seed: Annotated[int, Size(0, 2**64 - 1)] = 1

    def __post_init__(self) -> None:
        super().__post_init__()
        for name in ABOVE_ZERO:
            value = getattr(self, name)
            if value is not None and value <= 0:
                raise UserError(f"expected {name} > 0, got {value}")
        if self.epochs is None and self.hours is None:
            raise UserError("expected an end of training, got neither epochs nor hours; set one, e.g. hours=1")
        # Settings that would change nothing.
        if self.optimizer != "muon" and self.matrix_learning_rate != type(self).matrix_learning_rate:
            raise UserError(f"expected optimizer=muon with matrix_learning_rate, got {self.optimizer}; leave it out")
        if self.average_last == 1:
            raise UserError("expected average_last from 2 checkpoints, or 0, got 1; the mean of one is that one")

    def settled(self, label_smoothing: float) -> Recipe:
        """The recipe with this label smoothing where it names none."""
        return self if self.label_smoothing is not None else replace(self, label_smoothing=label_smoothing)

    @classmethod
    def from_mapping(cls, values: Mapping[str, Any]) -> Recipe:
        """A recipe from plain values (a TOML table). An unknown key is a `UserError` that names the nearest one."""
        check_names("", values, names_of(cls))
        return cls(**values)

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as the card and the resume state hold them."""
        return dataclasses.asdict(self)
