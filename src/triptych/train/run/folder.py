"""The folder of a run: who may write it, what in it is the run's own, and what it holds at every moment."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from triptych.errors import UserError
from triptych.model.device import is_first
from triptych.model.transformer import Transformer
from triptych.model.weights import save_transformer
from triptych.shape.files import MARK, sealed, write_file
from triptych.shape.store import CARD, RUN, own_files, remove_model
from triptych.train.run.inputs import difference, digests
from triptych.train.run.lock import LOCK, Lock
from triptych.train.run.ownership import CHECKPOINT, CHECKPOINTS, LOG, is_run, own_entries, own_parts, remove
from triptych.train.run.report import check_log
from triptych.train.run.state import FILE, Progress, State, check_kept, read_state


class RunFolder:
    """A folder that this process, alone, writes a run to, between `claim` and `release`.

    path: the folder. state: of a resumed run, what it left; else None. inputs: the digests of the files
    that the run reads, by what they are to it. Of several processes under torchrun the first one claims the folder for
    all.

    Raises UserError, and changes nothing, where the folder holds anything but a run to `resume`, or is
    written by another process.
    """

    def __init__(self, out: str | Path, *, resume: bool) -> None:
        self.path = Path(out)
        self.state: State | None = None
        self.inputs: dict[str, dict[str, str]] = {}
        self.settings: dict[str, Any] = {}
        self._lock: Lock | None = None
        self._made: list[Path] = []
        if is_first():
            self._check(resume)
            self._claim(resume)
        elif resume:
            self.state = read_state(self.path)

    def _check(self, resume: bool) -> None:
        """Raise UserError unless a run may be written here; nothing is changed."""
        if not os.path.lexists(self.path):
            if resume:
                read_state(self.path)
            return
        if not self.path.is_dir():
            raise UserError(f"expected a folder for the run, got the file {self.path}; choose another --out")
        if (self.path / CARD).exists():
            raise UserError(f"expected a folder for a run, got {self.path}, which holds a model; choose another --out")
        run = is_run(self.path)
        if resume:
            links = [name for name in (RUN, FILE, CHECKPOINTS, LOCK) if (self.path / name).is_symlink()]
            if links:
                raise UserError(f"expected the run's own files in {self.path}, got a link for {links[0]}; undo that")
            self.state = read_state(self.path)
            check_log(self.path / LOG, self.state.log)
            self._check_checkpoints(self.state.progress)
        elif run:
            raise UserError(f"{self.path} already holds a run; add --resume to go on with it, or choose another --out")
        else:
            own_entries(self.path)

    def _claim(self, resume: bool) -> None:
        missing = [path for path in (self.path, *self.path.parents) if not path.exists()]
        self.path.mkdir(parents=True, exist_ok=True)
        self._made = missing
        lock = Lock(self.path)
        try:
            lock.take()
            self._lock = lock
            self._check(resume)  # once more: until now another process may have written here
            if resume:
                remove(own_parts(self.path))
                assert self.state is not None, "read by the check"
                self.write_pointer(self.state.progress)  # a kill may have come before it, or before others went
            else:
                remove([entry for entry in own_entries(self.path) if entry.name != LOCK])
        except BaseException:
            self.release()
            raise

    def _check_checkpoints(self, progress: Progress) -> None:
        for name in sorted(checkpoints_of(progress)):
            if not own_files(self.path / name, exactly=False):
                raise UserError(
                    f"expected {self.path / name} as the run wrote it, got it changed, damaged or gone; put it back, "
                    "or start a new run with --from"
                )

    def release(self) -> None:
        """Let others write here. A folder in which nothing was saved is removed if it was made for this run."""
        if self._lock is not None:
            self._lock.release(remove=[entry.name for entry in self.path.iterdir()] == [LOCK])
        self._lock = None
        with suppress(OSError):  # something is in it
            for path in self._made:
                path.rmdir()

    # -- what the run reads --------------------------------------------------------------------------------------------

    def reads(self, what: str, path: Path) -> None:
        """Note that the run reads a file, or all files of a folder, as `what` ("--source").

        Raises UserError if it is resumed and has read other contents; the name of a file does not matter. A missing
        file is left to its reader.
        """
        if path.exists():
            self.keep(what, digests(path), path)

    def keep(self, what: str, found: Mapping[str, str], path: Path | None = None) -> None:
        """Note the digests of what the run reads by their names. Raises UserError as `reads`."""
        if self.state is not None and (found_other := difference(self.state.inputs.get(what), found)) is not None:
            name, how = found_other
            named = str(path / name) if path is not None else name or what
            raise UserError(
                f"a resumed run keeps its data: {named} {how}; put back what the run began with, or start a new run "
                "with --from"
            )
        self.inputs[what] = dict(found)

    def keep_settings(self, settings: Mapping[str, Any]) -> None:
        """Note settings that the batches depend on. Raises UserError if the run is resumed and began with others."""
        for name, value in json.loads(json.dumps(dict(settings))).items():
            if self.state is not None:
                check_kept("settings", name, self.state.settings.get(name), value)
            self.settings[name] = value

    def check_inputs(self) -> None:
        """Raise UserError unless a resumed run reads all that it has read before."""
        for what in self.state.inputs if self.state is not None else ():
            if what not in self.inputs:
                raise UserError(f"a resumed run keeps its data: it began with {what}, got none; give it again")

    # -- what the run writes ------------------------------------------------------------------------------------------

    def write_state(self, state: State) -> None:
        """Write the state, whole or not at all."""
        write_file(self.path / FILE, state.to_bytes(), MARK)

    def write_pointer(self, progress: Progress) -> None:
        """Write the names of the best and last checkpoints, then remove the run's others. Changed checkpoints stay."""
        last = progress.last_checkpoint
        pointer = {"best": progress.best_checkpoint or last, "last": last, "kept": progress.kept}
        write_file(self.path / RUN, sealed(pointer), MARK)
        for folder in (self.path / CHECKPOINTS).iterdir():
            name = f"{CHECKPOINTS}/{folder.name}"
            if name not in checkpoints_of(progress) and CHECKPOINT.fullmatch(folder.name):
                remove_model(folder, MARK)

    def write_checkpoint(
        self, kind: str, update: int, model: Transformer, files: Mapping[str, bytes], card: Mapping[str, Any]
    ) -> str:
        """Save the model as a whole folder; its name, relative to the run. A name that is taken gets a number."""
        name, number = f"{kind}-{update:07d}", 1
        while os.path.lexists(self.path / CHECKPOINTS / name):
            number += 1
            name = f"{kind}-{update:07d}.{number}"
        save_transformer(self.path / CHECKPOINTS / name, model, files, card, mark=MARK)
        return f"{CHECKPOINTS}/{name}"


def checkpoints_of(progress: Progress) -> set[str]:
    """The names of the checkpoints that a run needs."""
    return {name for name in (progress.best_checkpoint, progress.last_checkpoint, *progress.kept) if name}


def is_of_update(name: str, kind: str, update: int) -> bool:
    """Whether a checkpoint, by its name, is of this kind and this update."""
    return name.split(".", maxsplit=1)[0] == f"{CHECKPOINTS}/{kind}-{update:07d}"


@contextmanager
def claimed(out: str | Path | RunFolder, *, resume: bool) -> Iterator[RunFolder]:
    """The run's folder, claimed inside the block; one that is claimed already is left to its owner."""
    if isinstance(out, RunFolder):
        yield out
        return
    folder = RunFolder(out, resume=resume)
    try:
        yield folder
    finally:
        folder.release()
