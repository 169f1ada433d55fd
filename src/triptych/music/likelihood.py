"""How well a model predicts music: what composers and pianists give when they are evaluated."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Likelihood:
    """The negative log-likelihood `nll`, in nats a token, of some `tokens` of some `pieces`.

    Of chorales also the mean of the pieces' own means, the mean of each voice, and the same figures with the metre.
    """

    nll: float
    tokens: int
    pieces: int
    nll_per_piece: float | None = None
    per_voice: Mapping[str, float] | None = None
    with_metre: Likelihood | None = None

    def to_dict(self) -> dict[str, Any]:
        """Plain figures, without those that are None."""
        figures = {**vars(self), "with_metre": self.with_metre and self.with_metre.to_dict()}
        return {name: value for name, value in figures.items() if value is not None}

    def worded(self) -> list[str]:
        """Lines for a person."""
        lines = [f"nll       {self.nll:.4f} nats a token over {self.tokens:,} tokens of {self.pieces:,} pieces"]
        if self.with_metre is not None:
            lines.append(f"nll       {self.with_metre.nll:.4f} with the metre, of the pieces whose metre is known")
        if self.nll_per_piece is not None:
            lines.append(f"a piece   {self.nll_per_piece:.4f} (mean of the pieces' means)")
        if self.per_voice:
            voices = ", ".join(f"{name} {value:.4f}" for name, value in self.per_voice.items())
            lines.append(f"voices    {voices}")
        return lines
