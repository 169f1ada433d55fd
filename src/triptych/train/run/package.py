"""The parts of a checkpoint beside the weights, and the result of a run."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from triptych.errors import UserError

OF_CHECKPOINT = ("training", "parameters", "sha256", "name")  # entries of a card about one checkpoint, not the run
# Entries of a card about the data and the results: wrong after further training on other data.
OF_TRAINING = ("data", "license", "notice", "domain", "scores", "command", "hardware", *OF_CHECKPOINT)


@dataclass(frozen=True)
class Outcome:
    """How a run ended: its folder (loadable as a model: the best checkpoint), the best score, and why it stopped."""

    folder: Path
    score: float | None
    reason: str
    updates: int
    seconds: float


@dataclass(frozen=True)
class Package:
    """The parts of a checkpoint beside its weights: the codec's files, and the card without the figures of the run.

    examples: digests of the training data and of the held-out data, by what they are called. settings: what else the
    batches depend on. A resumed run must find both again.
    """

    files: Mapping[str, bytes]
    card: Mapping[str, Any]
    examples: Mapping[str, str] = field(default_factory=dict)
    settings: Mapping[str, Any] = field(default_factory=dict)


def inherited(card: Mapping[str, Any]) -> dict[str, Any]:
    """The entries of a card that further training keeps, and `from`, the name of the model."""
    kept = {key: value for key, value in card.items() if key not in OF_TRAINING}
    return {**kept, "from": card["name"]} if "name" in card else kept


def card_of_run(model: Mapping[str, Any], asked: Mapping[str, Any], facts: Mapping[str, Any]) -> dict[str, Any]:
    """The card of a run's checkpoints: what is kept of the card of the model that it starts from, what is `asked` for,
    and the facts of the run, which may not be asked for.
    """
    for key in asked:
        if key in facts or key in (*OF_CHECKPOINT, "digest", "from"):
            raise UserError(f"expected no {key} in the table card, got one; the run writes it, leave it out")
    return {**inherited(model), **asked, **facts}


def unmeasured(card: Mapping[str, Any]) -> dict[str, Any]:
    """The card of a model that is no longer what was measured."""
    return {name: value for name, value in card.items() if name != "scores"}
