"""One writer a folder: a lock that the kernel drops with the process, however that ends."""

from __future__ import annotations

import errno
import os
import socket
import time
from pathlib import Path

from triptych.errors import UserError
from triptych.shape.files import read_sealed, sealed

LOCK = "run.lock"
AT = 1 << 30  # the locked byte on Windows, beyond the content, which stays readable


class Lock:
    """The lock of a run folder, and who holds it: an exclusive lock on the file `run.lock`.

    Where the file system has no locks (some network disks), other processes can write too.
    """

    def __init__(self, folder: Path) -> None:
        self.path = folder / LOCK
        self._descriptor: int | None = None

    def take(self) -> None:
        """Take the lock and write down who has it. Raises UserError where another process does, or the file is not
        one of ours.
        """
        while True:
            flags = os.O_RDWR | os.O_CREAT | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_BINARY", 0)
            descriptor = os.open(self.path, flags, 0o666)
            if not _try_lock(descriptor):
                os.close(descriptor)
                raise UserError(
                    f"expected a folder in which nobody else trains, got {self.path.parent}, in which "
                    f"{self._holder()} does; wait for it, or choose another --out"
                )
            if _is_at(descriptor, self.path):
                break
            os.close(descriptor)  # whoever had it has removed the file in the meantime
        if not is_lock(self.path):
            os.close(descriptor)
            raise UserError(f"expected {self.path} as a run wrote it, got other content; move it away")
        self._descriptor = descriptor
        os.ftruncate(descriptor, 0)
        since = time.strftime("%Y-%m-%d %H:%M:%S")
        os.write(descriptor, sealed({"process": os.getpid(), "host": socket.gethostname(), "since": since}))

    def release(self, *, remove: bool = False) -> None:
        """Give the lock back; `remove`: and leave no file of it."""
        if self._descriptor is not None:
            os.ftruncate(self._descriptor, 0)
            if remove and os.name == "posix":  # elsewhere an open file stays
                self.path.unlink(missing_ok=True)
            os.close(self._descriptor)
        self._descriptor = None

    def _holder(self) -> str:
        try:
            holder = read_sealed(self.path)
            return f"process {holder['process']} on {holder['host']} (since {holder['since']})"
        except (UserError, OSError, KeyError):
            return "another process"


def is_lock(path: Path) -> bool:
    """True if a file is a lock of a run: empty, or with its holder."""
    try:
        return not path.is_symlink() and (path.stat().st_size == 0 or "process" in read_sealed(path))
    except (UserError, OSError):
        return False


def _is_at(descriptor: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(descriptor), path.stat())
    except FileNotFoundError:
        return False


def _try_lock(descriptor: int) -> bool:
    """Lock the whole file, now or not at all. False where another process has it; True too where there are no locks."""
    try:
        if os.name == "posix":
            import fcntl

            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        else:
            import msvcrt

            os.lseek(descriptor, AT, os.SEEK_SET)
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)  # type: ignore[attr-defined]
            os.lseek(descriptor, 0, os.SEEK_SET)
    except OSError as error:
        return error.errno not in (errno.EWOULDBLOCK, errno.EACCES, errno.EDEADLK)
    return True
