"""Where and in which dtype a model runs."""

from __future__ import annotations

import os

import torch

from triptych.errors import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}
MOST_THREADS = 1024  # with many more the thread library ends the process


def use_device(device: str, threads: int | None, dtype: str) -> tuple[torch.device, torch.dtype]:
    """The device and dtype of these names; sets torch's number of threads if given.

    "auto" takes a GPU (under torchrun the process's own), else the CPU; and float32, with whose results every other
    dtype is compared.
    """
    if threads is not None:
        if not 1 <= threads <= MOST_THREADS:
            raise UserError(f"expected 1 to {MOST_THREADS} threads, got {threads}")
        torch.set_num_threads(threads)
    if dtype != "auto" and dtype not in DTYPES:
        raise UserError(f"expected a dtype of auto, {', '.join(DTYPES)}, got {dtype!r}")
    number = torch.float32 if dtype == "auto" else DTYPES[dtype]
    if device == "auto":
        device = f"cuda:{os.environ.get('LOCAL_RANK', '0')}" if torch.cuda.is_available() else "cpu"
    try:
        where = torch.device(device)
        torch.zeros(1, device=where).item()  # the device "meta" allocates, but holds nothing
    except (RuntimeError, AssertionError):  # RuntimeError includes NotImplementedError; torch names twenty devices
        raise UserError(f"expected a device that is here, got {device!r}; use auto, cpu or one of: {_here()}") from None
    return where, number


def _here() -> str:
    """The devices of this machine other than the CPU."""
    found = [f"cuda:{number}" for number in range(torch.cuda.device_count())]
    return ", ".join([*found, *(["mps"] if torch.backends.mps.is_available() else [])]) or "(none)"
