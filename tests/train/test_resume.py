"""Every task of every panel goes on to the bit after SIGKILL and SIGTERM in the middle of an epoch, on its data."""

import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from copies import read_log
from test_processes import RECIPE, TASKS, prepared, write_pairs

from triptych import Recipe
from triptych.cli.main import main
from triptych.shape.store import read_model
from triptych.train import loop, plan
from triptych.train.run.state import read_state


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("resume")
    prepared(folder)
    write_pairs(folder)
    return folder


def strike(monkeypatch: pytest.MonkeyPatch, number: int, update: int) -> None:
    """Send this process a signal when it has made so many updates."""
    plain = loop._Run._update

    def struck(run: Any, group: Any) -> None:
        if run.progress.update == update:
            os.kill(os.getpid(), number)
        plain(run, group)

    monkeypatch.setattr(loop._Run, "_update", struck)


@pytest.mark.parametrize("name", TASKS)
def test_every_task_goes_on_to_the_bit(name: str, place: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    task, settings = TASKS[name]
    more = {"optimizer": "muon" if len(name) % 2 else "adamw", "ema": 0.9, "evaluations": 0.5}
    recipe = Recipe(**{**RECIPE, "tokens_per_batch": 60, "epochs": 2, **more})
    torch.set_num_threads(1)
    monkeypatch.setattr(plan, "cost_of_bfloat16", lambda _: 2.0)  # measured anew, it may give another number format
    straight, broken = place / "straight" / name, place / "broken" / name
    task(straight, recipe, **settings)
    whole = read_state(straight)
    epoch = whole.progress.updates_per_epoch
    assert epoch > 3
    child = os.fork()
    if child == 0:
        strike(monkeypatch, signal.SIGKILL, epoch // 2)
        task(broken, replace(recipe, save_every=1e-9), **settings)  # after every update
        os._exit(0)
    assert os.WTERMSIG(os.waitpid(child, 0)[1]) == signal.SIGKILL
    assert read_state(broken).progress.batch > 0 and read_state(broken).progress.update == epoch // 2
    with monkeypatch.context() as patch:
        strike(patch, signal.SIGTERM, epoch + 1)
        task(broken, recipe, resume=True, **settings)
    assert read_state(broken).progress.update == epoch + 2 and read_state(broken).progress.batch > 0
    task(broken, recipe, resume=True, **settings)
    found = read_state(broken)
    assert found.progress.update == whole.progress.update == 2 * epoch
    for tensor, value in whole.tensors.items():
        assert found.tensors[tensor].equal(value), tensor
    assert read_model(broken).card["sha256"] == read_model(straight).card["sha256"]
    assert (found.progress.best, found.progress.worse) == (whole.progress.best, whole.progress.worse)
    logs = [[(line["update"], line["nll"]) for line in read_log(run) if "nll" in line] for run in (straight, broken)]
    assert logs[0] == logs[1]


SMALL = [
    part
    for setting in (
        *("model.preset=tiny", "model.width=16", "model.heads=2", "model.decoder_layers=1", "model.encoder_layers=1"),
        *("epochs=2", "dtype=float32", "tokens_per_batch=100", "warmup=2", "evaluations=0.5"),
    )
    for part in ("--set", setting)
]


def test_changed_data_are_named(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Every file that a run reads is known by its content; a moved file is the same file."""
    files = {}
    for option, name in (("source", "source"), ("target", "target")):
        files[f"--{option}"] = tmp_path / f"{name}.txt"
        files[f"--held-out-{option}"] = tmp_path / f"valid.{name}"
        files[f"--{option}"].write_bytes((place / f"{name}.txt").read_bytes())
        lines = (place / f"{name}.txt").read_text().splitlines()[:3]
        files[f"--held-out-{option}"].write_text("\n".join(lines) + "\n")

    def train(*more: str) -> tuple[int, str]:
        given = [part for option, path in files.items() for part in (option, str(path))]
        code = main(["train", "text", *given, *SMALL, "--threads", "1", "--out", str(tmp_path / "run"), *more])
        return code, capsys.readouterr().err

    assert train()[0] == 0
    before = {path: path.read_bytes() for path in files.values()}
    state = (tmp_path / "run" / "resume.safetensors").read_bytes()
    for path, data in before.items():
        words = data.split(b"\n")
        path.write_bytes(b"\n".join([words[1], words[0], *words[2:]]))  # as long as before, and in another order
        code, message = train("--resume")
        assert code == 2 and message.count("\n") == 1, message
        assert message.startswith(f"error: a resumed run keeps its data: {path} has changed (sha256 differs)")
        path.write_bytes(data)
    assert (tmp_path / "run" / "resume.safetensors").read_bytes() == state
    code, message = train("--resume", "--set", "data.sampling=0.3")
    assert code == 2 and "sampling" in message.splitlines()[-1]
    left_out = {option: files.pop(option) for option in ("--held-out-source", "--held-out-target")}
    code, message = train("--resume")
    assert code == 2 and "a resumed run keeps its data" in message.splitlines()[-1]
    files.update(left_out)
    files["--source"] = files["--source"].rename(tmp_path / "moved.txt")
    assert train("--resume")[0] == 0


def test_changed_pieces_are_named(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Of a folder, the file in it; and music that was prepared in the run's own folder is part of it."""
    midi = tmp_path / "midi"
    midi.mkdir()
    for number in range(20):  # every tenth is held out
        (midi / f"{number:02}.mid").write_bytes((place / "midi" / "train" / f"{number % 4}.mid").read_bytes())
    shape = [part for part in SMALL if "encoder_layers=1" not in part or "decoder" in part]
    shape = [part for at, part in enumerate(shape) if part != "--set" or "=" in shape[min(at + 1, len(shape) - 1)]]
    command = ["train", "music", "--data", str(midi), "--set", "data.kind=performance", "--set", "data.length=32"]
    command += [*shape, "--threads", "1", "--out", str(tmp_path / "run")]
    assert main(command) == 0, capsys.readouterr().err
    capsys.readouterr()

    def refused() -> str:
        assert main([*command, "--resume"]) == 2
        return capsys.readouterr().err.splitlines()[-1]

    for change in ("changed", "gone", "new"):
        path = midi / ("03.mid" if change != "new" else "99.mid")
        data = (midi / "03.mid").read_bytes()
        if change == "gone":
            path.unlink()
        else:
            path.write_bytes(data[:-1] if change == "changed" else data)
        assert f"keeps its data: {path} {'has changed' if change == 'changed' else f'is {change}'}" in refused()
        path.unlink(missing_ok=True)
        (midi / "03.mid").write_bytes(data)
    (midi / ".DS_Store").write_bytes(b"seen")  # as systems leave in folders that were looked at
    assert main([*command, "--resume"]) == 0
    notes = tmp_path / "run" / "notes" / "notes-0000.npy"
    data = bytearray(notes.read_bytes())
    data[-2] ^= 1
    notes.write_bytes(data)
    assert "keeps its data: the prepared pieces has changed" in refused()


def test_every_flipped_bit_of_a_run_is_found(place: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A few bytes of each file; benchmarks/soak_bits.py flips hundreds."""
    pairs = ["--source", str(place / "source.txt"), "--target", str(place / "target.txt")]
    command = ["train", "text", *pairs, *SMALL, "--threads", "1", "--out", str(tmp_path / "run")]
    assert main(command) == 0
    capsys.readouterr()
    files = [
        path
        for path in sorted((tmp_path / "run").rglob("*"))
        if path.is_file() and path.stat().st_size and path.parent.name != "tensorboard"
    ]
    assert {"card.json", "run.json", "log.jsonl", "resume.safetensors"} <= {path.name for path in files}
    for path in files:
        data = path.read_bytes()
        for at in (0, len(data) // 3, len(data) - 1):
            path.write_bytes(data[:at] + bytes([data[at] ^ 4]) + data[at + 1 :])
            assert main([*command, "--resume"]) == 2, (path, at)
            message = capsys.readouterr().err
            assert message.count("\n") == 1 and message.startswith("error: "), message
        path.write_bytes(data)
    assert main([*command, "--resume"]) == 0
