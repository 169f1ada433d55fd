"""What is drawn anew for each chorale in each epoch of training: key and label."""

from __future__ import annotations

from dataclasses import dataclass

from triptych.shape.bounds import is_a


@dataclass(frozen=True)
class Augmentation:
    """What is drawn anew for each piece in each epoch.

    transpose, label: whether its transposition, and the kind of its label.
    """

    transpose: bool = True
    label: bool = True

    def __post_init__(self) -> None:
        for name in ("transpose", "label"):
            is_a(f"data.{name}", getattr(self, name), bool)


AUGMENTED = Augmentation()
