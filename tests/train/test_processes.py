"""Two processes under torchrun train every task of every panel with the losses of one; the others wait for the first.

This file is also what the processes run: it then trains all tasks one after the other.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import distributed

from triptych import Composer, Painter, Pianist, Recipe, Translator, read_pairs
from triptych.cli.main import main
from triptych.image.files.pictures import Pictures
from triptych.model import condition
from triptych.model.batch import Batch
from triptych.music.performances import shards as music
from triptych.music.performances.shards import Shards
from triptych.train import processes
from triptych.train.processes import Processes

SMALL: dict[str, Any] = {"width": 16, "heads": 2, "feed_forward": 16, "decoder_layers": 1, "dropout": 0.0}
RECIPE: dict[str, Any] = {"epochs": 3, "dtype": "float32", "warmup": 2, "label_smoothing": 0.0, "evaluations": 4}


def pictures(channels: int, names: tuple[str, ...] = ()) -> tuple[Pictures, Pictures]:
    random = np.random.default_rng(channels)
    values = random.integers(0, 256, (15, 4, 4, channels), dtype=np.uint8)
    labels = random.integers(0, 2, 15) if names else None
    parts = (slice(0, 12), slice(12, 15))
    training, held_out = (Pictures(values[p], None if labels is None else labels[p], names) for p in parts)
    return training, held_out


def write_pairs(tmp_path: Path) -> None:
    words = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]
    random = np.random.default_rng(0)
    sentences = [" ".join(random.choice(words, 5)) for _ in range(40)]
    (tmp_path / "source.txt").write_text("\n".join(sentences) + "\n")
    (tmp_path / "target.txt").write_text("\n".join(line[::-1] for line in sentences) + "\n")


def text(out: Path, recipe: Recipe, resume: bool = False) -> None:
    pairs = read_pairs(out.parent.parent / "source.txt", out.parent.parent / "target.txt")
    translator = Translator.new(pairs, encoder_layers=1, **SMALL)
    translator.fit(pairs, held_out=pairs, recipe=recipe, out=out, resume=resume, quiet=True)


def chorales(out: Path, recipe: Recipe, task: str = "compose", resume: bool = False, **changes: Any) -> None:
    random = np.random.default_rng(0)
    grids = [random.integers(48, 72, (8 + 2 * piece, 4)) for piece in range(10)]
    composer = Composer.new(task=task, preset="tiny", **{**SMALL, **changes})
    composer.fit(grids[:7], held_out=grids[7:], recipe=recipe, out=out, resume=resume, length=64, quiet=True)


def piano(out: Path, recipe: Recipe, task: str = "compose", resume: bool = False) -> None:
    shards = Shards(out.parent.parent / "shards")
    pianist = Pianist.new(shards, task=task, preset="tiny", **SMALL)
    pianist.fit(shards, recipe=recipe, out=out, resume=resume, length=32, quiet=True)


def image(out: Path, recipe: Recipe, task: str = "paint", classes: bool = False, **changes: Any) -> None:
    resume = changes.pop("resume", False)
    channels = changes.pop("channels", 3)
    training, held_out = pictures(channels, ("a", "b") if classes else ())
    painter = Painter.new(training, task=task, preset="tiny", factor=2, **{**SMALL, **changes})
    painter.fit(training, held_out=held_out, recipe=recipe, out=out, resume=resume, quiet=True)


MIXTURE: dict[str, Any] = {"cell": "pixel", "head": {"kind": "mixture", "components": 3}}
TASKS: dict[str, tuple[Callable[..., None], dict[str, Any]]] = {
    "text": (text, {}),
    "compose": (chorales, {}),
    "infill": (chorales, {"task": "infill"}),
    "piano": (piano, {}),
    "accompany": (piano, {"task": "accompany"}),
    "paint": (image, {"cell": [2, 2], "channels": 1}),
    "paint labels": (image, {"cell": [2, 2], "channels": 1, "classes": True}),
    "mixture": (image, {**MIXTURE}),
    "mixture labels": (image, {**MIXTURE, "classes": True}),
    "mixture complete": (image, {**MIXTURE, "task": "complete"}),
    "complete": (image, {"cell": [2, 2], "channels": 1, "task": "complete"}),
    "upscale": (image, {"task": "upscale"}),
}


def train_all(place: Path) -> None:
    """Train every task in a folder of its own."""
    condition.LABEL_DROP = 0.0  # labels are dropped at random, by rows
    torch.set_num_threads(1)
    for number, (name, (run, settings)) in enumerate(TASKS.items()):
        # With accumulation too: an update of several batches sends its gradients once.
        more = {
            "accumulate": 1 + number % 2,
            "average_last": 2 * (number % 3 == 0),
            "optimizer": ("adamw", "muon")[number % 2],
        }
        run(place / name, Recipe(**{**RECIPE, "tokens_per_batch": 150, **more}), **settings)


def losses(run: Path) -> list[float]:
    lines = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return [line["nll"] for line in lines if line["event"] in ("train", "held_out")]


def wait_for_the_first(place: Path) -> None:
    """The first evaluates for longer than the others' group has patience."""
    distributed.init_process_group(
        "gloo",
        init_method=f"file://{place / 'meeting'}",
        rank=int(os.environ["RANK"]),
        world_size=2,
        timeout=timedelta(seconds=4),
    )
    Translator._measure = lambda *_: time.sleep(6) or {}  # type: ignore[assignment,method-assign,return-value]
    text(place / "two" / "slow", Recipe(**{**RECIPE, "evaluations": 0.5, "epochs": 2}))
    distributed.destroy_process_group()


@pytest.fixture
def shards(tmp_path: Path) -> Path:
    return prepared(tmp_path)


def prepared(tmp_path: Path) -> Path:
    from triptych.music.files.midi import midi_bytes
    from triptych.music.performances.shards import prepare
    from triptych.music.piece.performance import Performance

    random = np.random.default_rng(0)
    for split in ("train", "valid"):
        (tmp_path / "midi" / split).mkdir(parents=True)
    lines = ["file,composer,split"]
    for number in range(6):
        start = np.cumsum(random.integers(0, 30, 30)) / 100
        played = Performance.of(start, start + 0.5, random.integers(30, 90, 30), random.integers(1, 128, 30))
        split = "train" if number < 4 else "valid"
        (tmp_path / "midi" / split / f"{number}.mid").write_bytes(midi_bytes(played.to_piece()))
        lines.append(f"{split}/{number}.mid,{'ab'[number % 2]},{split}")
    (tmp_path / "index.csv").write_text("\n".join(lines))
    prepare(tmp_path / "midi", tmp_path / "shards", index=tmp_path / "index.csv", melody=True, workers=1)
    return tmp_path / "shards"


def test_two_processes_have_the_losses_of_one(tmp_path: Path, shards: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_pairs(tmp_path)
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [*launcher, __file__, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=environment) as two:
        monkeypatch.setattr(condition, "LABEL_DROP", 0.0)
        train_all(tmp_path / "one")
        output = two.communicate(timeout=500)[0]
    assert two.returncode == 0, output
    assert "find_unused" not in output
    for name in TASKS:
        one, both = losses(tmp_path / "one" / name), losses(tmp_path / "two" / name)
        assert len(one) == len(both) >= 4, name
        assert both == pytest.approx(one, rel=1e-4), name
    assert len(losses(tmp_path / "two" / "slow")) >= 2
    assert output.count("training on 4 pieces, 2 held out") == 1, "of two processes, one speaks"


@pytest.mark.parametrize("rows", [1, 3, 4, 9])
def test_shards_are_the_batch(rows: int) -> None:
    """Each row in one shard; a process without one has a row that counts for nothing."""
    batch = Batch(torch.arange(2 * rows).view(rows, 2), torch.full((rows,), 2))
    shards = [Processes(rank, 4).shard(batch) for rank in range(4)]
    assert sum(shard.tokens for shard in shards) == batch.tokens and all(len(shard) for shard in shards)
    counted = torch.cat([shard.target[shard.lengths > 0] for shard in shards])
    assert counted.sort(0).values.tolist() == batch.target.tolist()
    assert Processes().shard(batch) is batch


def test_buckets_are_of_one_dtype_and_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processes, "BUCKET", 10)
    single, double = torch.float32, torch.float64
    tensors = [
        torch.full((size,), float(size), dtype=dtype)
        for size, dtype in [(4, single), (6, single), (1, single), (3, double), (25, double), (2, double)]
    ]
    buckets = list(processes._buckets(tensors))
    assert [[len(tensor) for tensor in bucket] for bucket in buckets] == [[4, 6], [1], [3], [25], [2]]
    for bucket in buckets:
        processes._write(processes._concatenated(bucket) + 1, bucket)
    assert all(bool((tensor == len(tensor) + 1).all()) for tensor in tensors)


def test_one_process_alone_waits_for_nobody() -> None:
    alone, model = Processes.join(), torch.nn.Linear(2, 2)
    assert alone == Processes() and alone.is_main
    alone.broadcast_parameters(model)
    alone.all_reduce_gradients(model)
    alone.wait_for_main()
    assert all(parameter.grad is None for parameter in model.parameters())
    assert alone.any(True, False) == [True, False] and alone.from_main(2.5) == 2.5


def command(place: Path) -> None:
    """The command prepares its music once, whoever trains on it."""
    music.HELD_OUT = 3  # every third file, for there are six
    words = ["train", "music", "--data", str(place / "midi"), "--out", str(place / "two" / "command")]
    settings = {"data.kind": "performance", "model.preset": "tiny", "epochs": 1, "dtype": "float32"}
    assert main([*words, *(word for key, value in settings.items() for word in ("--set", f"{key}={value}"))]) == 0


if __name__ == "__main__":
    command(Path(sys.argv[1]))
    train_all(Path(sys.argv[1]) / "two")
    distributed.destroy_process_group()
    wait_for_the_first(Path(sys.argv[1]))
