"""Where and in which dtype a model runs."""

from __future__ import annotations

import torch

from triptych.errors import UserError

DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16, "float64": torch.float64}


def use_device(device: str, threads: int | None, dtype: str) -> tuple[torch.device, torch.dtype]:
    """The device and dtype of these names; sets torch's number of threads if given.

    "auto" takes the first GPU, else the CPU; float32, whose results every other dtype is compared with.
    """
    if threads is not None:
        if threads < 1:
            raise UserError(f"expected at least 1 thread, got {threads}")
        torch.set_num_threads(threads)
    if dtype != "auto" and dtype not in DTYPES:
        raise UserError(f"expected a dtype of auto, {', '.join(DTYPES)}, got {dtype!r}")
    number = torch.float32 if dtype == "auto" else DTYPES[dtype]
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    try:
        where = torch.device(device)
        torch.empty(0, device=where)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise UserError(f"expected a device that is here (auto, cpu, cuda, ...), got {device!r}: {reason}") from None
    return where, number
