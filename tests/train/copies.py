"""A task to train on in tests: sequences to be copied, and the smallest models that can."""

import json
import os
import signal
from collections.abc import Sequence
from pathlib import Path

import torch

from triptych.model.batch import Batch
from triptych.model.transformer import Transformer
from triptych.shape.config import Config
from triptych.train.recipe import Recipe

VOCABULARY = 12


class Copies:
    """Sequences to be copied from source to target, new ones every epoch."""

    def __init__(self, batches: int = 6, rows: int = 8) -> None:
        self.batches, self.rows = batches, rows

    def epoch(self, number: int) -> Sequence[Batch]:
        generator = torch.Generator().manual_seed(number)
        found = []
        for _ in range(self.batches):
            target = torch.randint(2, VOCABULARY, (self.rows, 6), generator=generator)
            lengths = torch.randint(2, 7, (self.rows,), generator=generator)
            target.masked_fill_(torch.arange(6) >= lengths[:, None], 0)
            found.append(Batch(target, lengths, target, lengths))
        return found


def make(preset: str = "tiny", **changes: object) -> Transformer:
    torch.manual_seed(1)
    small = {"width": 16, "heads": 2, "feed_forward": 16, "encoder_layers": 1, "decoder_layers": 1}
    return Transformer(Config.preset(preset, VOCABULARY, **{**small, **changes}))


def recipe(**changes: object) -> Recipe:
    return Recipe.from_mapping(
        {"epochs": 3, "learning_rate": 3e-3, "warmup": 4, "dtype": "float32", "evaluations": 0.5, **changes}
    )


def read_log(folder: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]


class Stopping(Copies):
    """Asks the process to stop while the second epoch's third batch is taken."""

    def epoch(self, number: int) -> Sequence[Batch]:
        batches = super().epoch(number)
        if number != 1:
            return batches

        class Trap(list[Batch]):
            def __getitem__(self, at):  # type: ignore[no-untyped-def]
                if at == 2:
                    os.kill(os.getpid(), signal.SIGTERM)
                return super().__getitem__(at)

        return Trap(batches)
