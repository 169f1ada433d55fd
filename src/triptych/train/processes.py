"""One process or many: under torchrun the same loop runs in each, and every process sees its share of each batch."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace

import torch
from torch import Tensor, distributed, nn
from torch.nn.parallel import DistributedDataParallel

from triptych.model.batch import Batch
from triptych.model.transformer import Transformer


class _Loss(nn.Module):
    """The loss as a forward pass, which is what DistributedDataParallel hooks into."""

    def __init__(self, model: Transformer) -> None:
        super().__init__()
        self.model = model

    def forward(self, batch: Batch, smoothing: float) -> tuple[Tensor, Tensor]:
        return self.model.loss(batch, smoothing)


@dataclass(frozen=True)
class Processes:
    """Who I am among the processes that train together."""

    rank: int = 0
    count: int = 1

    @classmethod
    def join(cls) -> Processes:
        """Join the group that torchrun has set up; a single process where there is none."""
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if not distributed.is_initialized():
            local = int(os.environ.get("LOCAL_RANK", "0"))
            if local < torch.cuda.device_count():
                torch.cuda.set_device(local)
            distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
        return cls(distributed.get_rank(), distributed.get_world_size())

    def leave(self) -> None:
        """Leave the group, if there is one."""
        if self.count > 1:
            distributed.destroy_process_group()

    @property
    def first(self) -> bool:
        """The process that writes files and evaluates."""
        return self.rank == 0

    def wrap(self, model: Transformer) -> nn.Module:
        """The module whose call (batch, smoothing) gives the loss, gradients averaged over the processes."""
        loss = _Loss(model)
        if self.count == 1:
            return loss
        # A decoder without labels in a batch leaves their table without gradient.
        return DistributedDataParallel(loss, find_unused_parameters=model.config.classes > 0)

    def share(self, batch: Batch) -> Batch:
        """My rows of a batch: every `count`-th. A process without a row gets one of length 0, which adds nothing."""
        if self.count == 1:
            return batch
        if self.rank < len(batch):
            return batch.rows(slice(self.rank, None, self.count))
        one = batch.rows(slice(0, 1))
        return replace(one, lengths=torch.zeros_like(one.lengths))

    def total(self, value: Tensor) -> Tensor:
        """The sum over the processes."""
        if self.count > 1:
            distributed.all_reduce(value)
        return value

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether any process has raised it: all stop, save and evaluate at the same update."""
        if self.count == 1:
            return [bool(flag) for flag in flags]
        return [bool(total > 0) for total in self.total(torch.tensor([float(flag) for flag in flags]))]

    def wait_for_first(self) -> None:
        """Return once the first process has called this too: what it wrote before can then be read."""
        self.from_first(0.0)

    def from_first(self, value: float) -> float:
        """The first process's value."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64)
        distributed.broadcast(shared, 0)
        return float(shared)
