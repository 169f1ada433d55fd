"""Faults in the middle of saving: 50 kills, a full disk, paths that cannot be written, two writers, SIGTERM twice.

    python benchmarks/soak_kill.py [--kills 50]

After each fault the run must be readable, and other people's files in its folder as they were; in the end the run must
equal one that nobody disturbed, to the bit. Full disk and read-only folder are small mounts, which only root can make;
without that they are said to be left out.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

from small_runs import Ran, end, hashes, place, run, start, touched, train, write_foreign

from triptych.errors import UserError
from triptych.model.weights import transformer_of
from triptych.shape.files import MARK
from triptych.shape.store import read_model
from triptych.train.run.state import read_state

OFTEN = "save_every=0.0000001"  # after every update
failures: list[str] = []


def check(holds: bool, what: str) -> None:
    if not holds:
        failures.append(what)
        print(f"FAILED: {what}")


def readable(out: Path) -> bool:
    try:
        transformer_of(read_model(out))
        read_state(out)
    except (UserError, OSError) as error:
        print(error)
        return False
    return True


def same(one: Path, other: Path) -> bool:
    """Whether two runs ended with the same weights, averages and optimizers, to the bit."""
    ours, theirs = read_state(one).tensors, read_state(other).tensors
    return ours.keys() == theirs.keys() and all(value.equal(theirs[name]) for name, value in ours.items())


def kills(folder: Path, count: int) -> None:
    straight, out = folder / "straight", folder / "killed"
    settings = ("epochs=60", "ema=0.9", "evaluations=2")
    check(run(train(folder, straight, *settings)).code == 0, "the run that nobody disturbs")
    child = start(train(folder, out, *settings, OFTEN), folder / "output")
    while not (out / "run.json").exists():
        time.sleep(0.05)
    os.kill(child, signal.SIGKILL)
    end(child, folder / "output")
    foreign = write_foreign(out)
    draw, struck, unreadable, changed, done = random.Random(0), 0, 0, 0, 0
    for _ in range(count):
        child = start(train(folder, out, *settings, OFTEN, "--resume"), folder / "output")
        before = read_state(out).progress.update
        deadline = time.monotonic() + 60
        while time.monotonic() < deadline and read_any(out) <= before:  # it has saved at least once
            time.sleep(0.01)
        time.sleep(draw.uniform(0, 0.1))
        os.kill(child, signal.SIGKILL)
        done += end(child, folder / "output").code == 0
        struck += any(MARK in name for name in hashes(out))
        unreadable += not readable(out)
        changed += bool(touched(foreign))
    print(
        f"{count} kills, {struck} of them in the middle of a file: {unreadable} unreadable, {changed} foreign touched"
    )
    check(not unreadable and not changed, "50 kills")
    check(struck >= count // 10, f"kills that strike while a file is written ({struck})")
    check(run(train(folder, out, *settings, "--resume")).code == 0, "going on after the kills")
    check(same(straight, out), "bit for bit the run that nobody disturbed")
    known = {
        *read_state(out).progress.kept,
        read_state(out).progress.last_checkpoint,
        read_state(out).progress.best_checkpoint,
    }
    known |= {str(path.parent.relative_to(out)) for path in foreign}
    left = [name for name in hashes(out) if MARK in name]
    left += [str(path) for path in (out / "checkpoints").iterdir() if f"checkpoints/{path.name}" not in known]
    check(not left and not touched(foreign), f"nothing left behind, nothing foreign touched ({left})")
    print(f"bit for bit as undisturbed: {same(straight, out)}; left behind: {len(left)}")


def read_any(out: Path) -> int:
    try:
        return read_state(out).progress.update
    except (UserError, OSError):
        return -1


def full_disk(folder: Path) -> None:
    disk = folder / "disk"
    disk.mkdir()
    if subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", disk], check=False, capture_output=True
    ).returncode:
        print("full disk: left out, no right to mount a small one")
        return
    try:
        out, settings = disk / "run", ("epochs=30", "evaluations=2")
        child = start(train(folder, out, *settings, OFTEN), folder / "output")
        while read_any(out) < 3:
            time.sleep(0.02)
        os.kill(child, signal.SIGTERM)
        check(end(child, folder / "output").code == 130, "stopping before the disk is full")
        foreign = write_foreign(out)
        unreadable = refused = 0
        for spare in (0, 1000, 20_000, 60_000, 100_000, 200_000):
            room = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
            (disk / "ballast").write_bytes(bytes(max(0, room - spare)))
            ran = run(train(folder, out, *settings, OFTEN, "--resume"))
            refused += ran.refused and "No space left" in ran.output
            if not ran.refused or "No space left" not in ran.output:
                print(f"with {spare} bytes of room: {ran.code}, {ran.output[-300:]}")
            unreadable += not readable(out)
            (disk / "ballast").unlink()
        print(f"full disk, 6 amounts of room: {refused} one line, {unreadable} unreadable, {touched(foreign)}")
        check(refused >= 3 and not unreadable and not touched(foreign), "a full disk")
        (disk / "ballast").write_bytes(bytes(os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize - 1000))
        ran = run(train(folder, disk / "new", *settings))
        check(ran.refused and "No space left" in ran.output, f"a new run on a full disk: {ran}")
        (disk / "ballast").unlink()
        check(run(train(folder, out, *settings, "--resume")).code == 0, "going on after a full disk")
    finally:
        subprocess.run(["umount", disk], check=False)


def unwritable(folder: Path) -> None:
    paths = [Path("/proc/run"), Path("/sys/run"), folder / "s.txt" / "run"]
    shut = folder / "shut"
    shut.mkdir()
    mounted = False
    if not subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "ro", "tmpfs", shut], check=False, capture_output=True
    ).returncode:
        mounted = True
        paths.append(shut / "run")
    results = [run(train(folder, path, "epochs=1")) for path in paths]
    if mounted:
        subprocess.run(["umount", shut], check=False)
    print(f"paths that cannot be written: {sum(ran.refused for ran in results)} of {len(paths)} one line")
    check(all(ran.refused for ran in results), f"paths that cannot be written: {results}")


def two_writers(folder: Path) -> None:
    """Both start at once, and the second is refused, whichever it is; new, and going on."""
    bad = rounds = 0
    for resume in ((), ("--resume",)):
        for attempt in range(5):
            out = folder / ("pair" if resume else f"pair-{attempt}")
            settings = ("epochs=4000", "evaluations=1", OFTEN)
            if resume and not out.exists():
                child = start(train(folder, out, *settings), folder / "output")
                while read_any(out) < 2:
                    time.sleep(0.02)
                os.kill(child, signal.SIGKILL)
                end(child, folder / "output")
            output = [folder / f"output-{number}" for number in range(2)]
            children = [start(train(folder, out, *settings, *resume), file) for file in output]
            wait_for_training(out, output, read_any(out) if resume else -1)
            for child in children:
                os.kill(child, signal.SIGTERM)
            ran = [end(child, file) for child, file in zip(children, output, strict=True)]
            refused = [
                each.refused and ("nobody else trains" in each.output or "holds a run" in each.output) for each in ran
            ]
            rounds += 1
            bad += sum(refused) != 1 or not readable(out)
            if sum(refused) != 1:
                print(ran)
    print(f"two writers, {rounds} times at once: {bad} with two, or unreadable")
    check(not bad, "two writers")


def wait_for_training(out: Path, output: list[Path], update: int) -> None:
    """Until one process was refused, and the other one has made updates."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        if read_any(out) > max(update, 0) and any(
            "error:" in file.read_text("utf-8") for file in output if file.exists()
        ):
            return
        time.sleep(0.05)


def slow_files() -> None:
    """Each file of a saving takes a while, so that signals come in the middle."""
    from triptych.train.run import folder as run_folder

    write = run_folder.write_file  # type: ignore[attr-defined]

    def slowly(path: Path, data: bytes, mark: str | None = None) -> None:
        time.sleep(0.7)
        write(path, data, mark)
        time.sleep(0.7)

    run_folder.write_file = slowly  # type: ignore[attr-defined]


def terminated_twice(folder: Path) -> None:
    bad = 0
    for attempt in range(6):
        out = folder / f"term-{attempt}"
        child = start(train(folder, out, "epochs=100000", "evaluations=0.01"), folder / "output", slow_files)
        while "loss" not in log_of(out) and '"train"' not in log_of(out):
            time.sleep(0.05)
        for _ in range(3):
            os.kill(child, (signal.SIGTERM, signal.SIGINT)[attempt % 2])
            time.sleep(0.3 if attempt < 2 else 1.2)
        ran: Ran = end(child, folder / "output")
        good = ran.code == 130 and "everything is saved" in ran.output and readable(out) and read_any(out) > 0
        bad += not good
        if not good:
            print(ran)
    print(f"SIGTERM or SIGINT three times, in the middle of saving: {bad} of 6 lost work")
    check(not bad, "signals while saving")


def log_of(out: Path) -> str:
    return (out / "log.jsonl").read_text("utf-8") if (out / "log.jsonl").exists() else ""


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=50)
    arguments = parser.parse_args()
    begun = time.monotonic()
    with place() as folder:
        people = write_foreign(folder / "people")  # beside all runs
        kills(folder, arguments.kills)
        for fault in (full_disk, unwritable, two_writers, terminated_twice):
            fault(folder)
            check(not touched(people), "other people's files beside the runs")
    print(f"{len(failures)} failures in {time.monotonic() - begun:.0f} s")
    return bool(failures)


if __name__ == "__main__":
    sys.exit(main())
