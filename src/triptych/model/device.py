"""Where and in which number format a model runs. Imports torch at first use."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from triptych.errors import UserError
from triptych.extras import require

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "bfloat16", "float16", "float64")
MAX_THREADS = 1024  # with many more the thread library ends the process


def check_device(device: str, threads: int | None, dtype: str) -> None:
    """Raise UserError as `use_device`. Imports torch for another device than auto and cpu alone."""
    if threads is not None and not 1 <= threads <= MAX_THREADS:
        raise UserError(f"expected 1 to {MAX_THREADS} threads, got {threads}")
    if dtype not in ("auto", *DTYPES):
        raise UserError(f"expected a dtype of auto, {', '.join(DTYPES)}, got {dtype!r}")
    if device not in ("auto", "cpu"):
        require("torch", f"the device {device}")
        _found(device)


def use_device(device: str, threads: int | None, dtype: str) -> tuple[torch.device, torch.dtype]:
    """The device and dtype of these names; sets torch's number of threads if given.

    "auto" takes a GPU (under torchrun the process's own), else the CPU; and float32, with whose results every other
    dtype is compared.
    """
    import torch

    check_device(device, threads, dtype)
    if threads is not None:
        torch.set_num_threads(threads)
    if device == "auto":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    return _found(device), torch.float32 if dtype == "auto" else getattr(torch, dtype)


def is_first() -> bool:
    """Whether this is the process that writes and prints: the only one, or of several under torchrun that of rank 0."""
    return os.environ.get("WORLD_SIZE", "1") == "1" or os.environ.get("RANK", "0") == "0"


def _found(device: str) -> torch.device:
    """The device of that name. Raises UserError where it is not here."""
    import torch

    try:
        where = torch.device(device)
        torch.zeros(1, device=where).item()  # the device "meta" allocates, but holds nothing
    except (RuntimeError, AssertionError):  # RuntimeError includes NotImplementedError; torch names twenty devices
        gpus = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
        here = ", ".join([*gpus, *(["mps"] if torch.backends.mps.is_available() else [])]) or "(none)"
        raise UserError(f"expected a device that is here, got {device!r}; use auto, cpu or one of: {here}") from None
    return where
