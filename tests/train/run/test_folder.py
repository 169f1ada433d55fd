"""The folder of a run: nothing foreign in it is touched, one process writes it, and every damage is found."""

import hashlib
import json
import os
import shutil
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from copies import Copies, Stopping, make, read_log, recipe

from triptych.errors import UserError
from triptych.model.weights import save_transformer
from triptych.shape import store
from triptych.shape.files import MARK
from triptych.shape.store import read_model
from triptych.train.loop import fit
from triptych.train.run import folder as run_folder
from triptych.train.run.folder import RunFolder, checkpoints_of
from triptych.train.run.state import read_state


def hashes(folder: Path) -> dict[str, str]:
    """Every file below a folder by its content, links by where they lead, folders by their names."""
    return {
        str(path.relative_to(folder)): str(path.readlink())
        if path.is_symlink()
        else hashlib.sha256(path.read_bytes()).hexdigest()
        if path.is_file()
        else "folder"
        for path in folder.rglob("*")
    }


def train(out: Path, data: Copies | None = None, **options: Any) -> Any:
    settings = options.pop("settings", {})
    return fit(make(), data or Copies(), Copies().epoch(9), recipe(**settings), out, quiet=True, **options)


def other_project(out: Path) -> None:
    (out / "checkpoints" / "other-project").mkdir(parents=True)
    (out / "checkpoints" / "other-project" / "precious.pt").write_bytes(b"weeks of work")


def with_our_name(name: str) -> Callable[[Path], None]:
    def make_it(out: Path) -> None:
        (out / name).parent.mkdir(parents=True)
        (out / name).write_bytes(b"a person's own")

    return make_it


def own_checkpoint_with_a_note(out: Path) -> None:
    save_transformer(out / "checkpoints" / "last-0000007", make(), {}, {})
    (out / "checkpoints" / "last-0000007" / "note.txt").write_text("the good one")


def changed_checkpoint(out: Path) -> None:
    save_transformer(out / "checkpoints" / "last-0000007", make(), {}, {})
    (out / "checkpoints" / "last-0000007" / "config.json").write_text("{}")


def link(name: str) -> Callable[[Path], None]:
    def make_it(out: Path) -> None:
        elsewhere = out.parent / "elsewhere"
        elsewhere.mkdir()
        (elsewhere / "file").write_text("precious")
        out.mkdir()
        (out / name).symlink_to(elsewhere)

    return make_it


FOREIGN = {
    "other project's checkpoints": other_project,
    "anything": with_our_name("thesis.tex"),
    **{
        name: with_our_name(name)
        for name in (
            "log.jsonl",
            "resume.safetensors",
            "run.lock",
            "checkpoints",
            "checkpoints/last-0000003/weights.safetensors",
            "tensorboard/events.txt",
            "notes/index.json",
            "notes/notes-0001.npy",
            f"checkpoints/.mine.{MARK}",
        )
    },
    "own checkpoint with a note": own_checkpoint_with_a_note,
    "changed checkpoint": changed_checkpoint,
    "a link": link("checkpoints"),
    "a link for the log": link("log.jsonl"),
    "a link for the lock": link("run.lock"),
}


@pytest.mark.parametrize("kind", FOREIGN)
def test_a_folder_with_other_things_is_refused_and_stays(kind: str, tmp_path: Path) -> None:
    FOREIGN[kind](tmp_path / "out")
    before = hashes(tmp_path)
    with pytest.raises(UserError, match=r"holds other things .*; choose another --out"):
        train(tmp_path / "out")
    assert hashes(tmp_path) == before
    with pytest.raises(UserError):
        train(tmp_path / "out", resume=True)
    assert hashes(tmp_path) == before


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    with pytest.raises(UserError, match="expected a folder for the run, got the file"):
        train(tmp_path / "out")
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    with pytest.raises(UserError, match="expected a folder for the run"):
        train(tmp_path / "gone")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["gone", "out"]


def test_what_others_put_into_a_run_stays(tmp_path: Path) -> None:
    """Also under the names of the run's own next checkpoints, which then get other names."""
    out = tmp_path / "run"
    assert train(out, Stopping()).reason == "interrupted"
    checkpoints = out / "checkpoints"
    other_project(tmp_path / "elsewhere")
    shutil.copytree(tmp_path / "elsewhere" / "checkpoints" / "other-project", checkpoints / "other-project")
    (checkpoints / "last-0000018").mkdir()
    (checkpoints / "last-0000018" / "weights.safetensors").write_bytes(b"mine")
    save_transformer(checkpoints / "update-0000012", make(), {}, {})
    (checkpoints / "update-0000012" / "note.txt").write_text("keep")
    (checkpoints / f".last-0000099.{MARK}").write_text("no folder of ours")
    (out / "todo.txt").write_text("buy milk")
    with (out / "log.jsonl").open("a") as log:
        log.write("a remark of mine\n")
    foreign = {
        name: digest
        for name, digest in hashes(out).items()
        if any(word in name for word in ("other-project", "0000018", "0000012", "0000099", "todo"))
    }
    best = json.loads((out / "run.json").read_text())["best"]
    (out / best / "note.txt").write_text("the one to show")  # which keeps this checkpoint for good
    foreign[f"{best}/note.txt"] = hashes(out)[f"{best}/note.txt"]
    assert train(out, resume=True).reason == "finished"
    after = hashes(out)
    assert {name: after.get(name) for name in foreign} == foreign
    assert json.loads((out / "run.json").read_text())["last"] == "checkpoints/last-0000018.2"
    assert (out / "log.jsonl").read_text().splitlines().count("a remark of mine") == 1
    assert read_model(out).card["training"]["updates"] > 0


def test_a_run_that_was_killed_before_its_first_save_starts_anew(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(tmp_path / "whole")
    (out / "checkpoints" / f".last-0000000.{MARK}").mkdir(parents=True)
    (out / "checkpoints" / f".last-0000000.{MARK}" / "config.json").write_text("{")
    (out / f".resume.safetensors.{MARK}").write_bytes(b"half")
    (out / "run.lock").touch()
    shutil.copy(tmp_path / "whole" / "log.jsonl", out)
    shutil.copytree(tmp_path / "whole" / "tensorboard", out / "tensorboard")
    (checkpoint,) = (tmp_path / "whole" / "checkpoints").glob("last-*")
    shutil.copytree(checkpoint, out / "checkpoints" / checkpoint.name)
    with pytest.raises(UserError, match="found none; train without --resume"):
        train(out, resume=True)
    assert train(out).reason == "finished"
    assert not [name for name in hashes(out) if MARK in name]
    assert [line["event"] for line in read_log(out)].count("start") == 1


def test_a_mistake_leaves_no_folder(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="without a batch"):
        train(tmp_path / "deep" / "run", Copies(batches=0))
    assert not list(tmp_path.iterdir())
    (tmp_path / "own").mkdir()
    with pytest.raises(UserError, match="without a batch"):
        train(tmp_path / "own", Copies(batches=0))
    assert not list((tmp_path / "own").iterdir())


def test_two_writers(tmp_path: Path) -> None:
    out = tmp_path / "run"
    first = RunFolder(out, resume=False)
    with pytest.raises(UserError, match=rf"nobody else trains, .* process {os.getpid()} on .* does; wait for it"):
        train(out)
    first.release()
    assert not out.exists()
    train(out, Stopping())
    first = RunFolder(out, resume=True)
    before = hashes(out)
    with pytest.raises(UserError, match="nobody else trains"):
        train(out, resume=True)
    assert hashes(out) == before
    first.release()
    assert train(out, resume=True).reason == "finished"


def test_a_killed_process_leaves_no_lock(tmp_path: Path) -> None:
    out = tmp_path / "run"
    train(out, Stopping())
    child = os.fork()
    if child == 0:
        RunFolder(out, resume=True)
        (tmp_path / "locked").touch()
        time.sleep(60)
        os._exit(0)
    while not (tmp_path / "locked").exists():
        time.sleep(0.01)
    with pytest.raises(UserError, match=f"process {child} on"):
        train(out, resume=True)
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
    assert train(out, resume=True).reason == "finished"


@pytest.mark.parametrize("average", [0, 3])
def test_signals_while_it_saves_lose_nothing(average: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Every file of every save is written amid signals, the final ones and those of the mean included."""
    settings = {"average_last": average, "evaluations": 1}
    train(tmp_path / "straight", settings=settings)
    write, clock = run_folder.write_file, [0.0]

    def struck(*arguments: Any) -> None:
        during = signal.getsignal(signal.SIGTERM) is not signal.SIG_DFL  # and not while the folder is looked through
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGTERM) if during else ():
            clock[0] += 10  # seconds: each is a signal of its own
            os.kill(os.getpid(), number)
        write(*arguments)

    monkeypatch.setattr("triptych.train.signals.time.monotonic", lambda: clock[0])
    monkeypatch.setattr(run_folder, "write_file", struck)
    outcome = train(tmp_path / "run", settings=settings)
    for _ in range(40):
        if outcome.reason == "finished":
            break
        assert outcome.reason == "interrupted"
        assert read_state(tmp_path / "run").progress.update == outcome.updates
        outcome = train(tmp_path / "run", resume=True, settings=settings)
    assert outcome.reason == "finished"
    one, other = (read_model(tmp_path / name) for name in ("straight", "run"))
    for name, value in one.weights.items():
        assert np.array_equal(other.weights[name], value)
    assert one.card["sha256"] == other.card["sha256"]


def test_kills_while_it_saves_leave_everything_readable(tmp_path: Path) -> None:
    """Bit for bit the run of nobody who was killed; benchmarks/soak_kill.py does so fifty times."""
    out, settings = tmp_path / "run", {"epochs": 20, "evaluations": 6}
    train(tmp_path / "straight", settings=settings)
    train(out, Stopping(), settings=settings)
    struck = 0
    for kill in range(12):
        child = os.fork()
        if child == 0:
            train(out, resume=True, settings=settings)
            os._exit(0)
        time.sleep(0.05 + 0.03 * kill)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        struck += any(MARK in name for name in hashes(out))
        read_model(out)
        read_state(out)
    assert train(out, resume=True, settings=settings).reason == "finished"
    assert not [name for name in hashes(out) if MARK in name]
    assert {f"checkpoints/{path.name}" for path in (out / "checkpoints").iterdir()} == checkpoints_of(
        read_state(out).progress
    )
    one, other = (read_state(tmp_path / name) for name in ("straight", "run"))
    assert all(other.tensors[name].equal(value) for name, value in one.tensors.items())
    assert one.progress.kept == other.progress.kept and one.progress.best == other.progress.best


def test_a_model_folder_is_replaced_only_as_it_was_written(tmp_path: Path) -> None:
    folder = tmp_path / "model"
    save_transformer(folder, make(), {"tokenizer.model": b"a"}, {})
    save_transformer(folder, make(), {}, {"data": "others"})
    assert store.read_card(folder)["data"] == "others" and not (folder / "tokenizer.model").exists()
    (folder / "note.txt").write_text("mine")
    before = hashes(folder)
    with pytest.raises(UserError, match="holds other things"):
        save_transformer(folder, make(), {}, {})
    (folder / "note.txt").unlink()
    (folder / "config.json").write_text("{}")
    with pytest.raises(UserError, match="holds other things"):
        save_transformer(folder, make(), {}, {})
    assert {**before, "config.json": ""} == {**hashes(folder), "config.json": "", "note.txt": before["note.txt"]}
