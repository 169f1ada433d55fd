"""One process or many: under torchrun the same loop runs in each, and every process sees its share of each batch.

The processes add up their gradients themselves, once an update. `DistributedDataParallel` needs the parameters that no
loss reads in advance, and fails where a later batch reads others; here processes count those with a gradient.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta

import torch
from torch import Tensor, distributed, nn

from triptych.model.batch import Batch

PATIENCE = timedelta(days=365)  # of those who wait for the first process, whose evaluation may take hours
BUCKET = 2**23  # elements of the gradients that are sent at once


@dataclass(frozen=True)
class Processes:
    """The processes that train together, as one of them sees them.

    rank: the number of this one, from 0. count: of all. waiting: the group in which the others wait for the first.
    """

    rank: int = 0
    count: int = 1
    waiting: distributed.ProcessGroup | None = None

    @classmethod
    def join(cls) -> Processes:
        """Join the group that torchrun has set up; a single process where there is none.

        Joining again gives the same group, which is left when Python ends: a new one could collide with the old one.
        """
        if int(os.environ.get("WORLD_SIZE", "1")) == 1:
            return cls()
        if not distributed.is_initialized():
            local = int(os.environ.get("LOCAL_RANK", "0"))
            if local < torch.cuda.device_count():
                torch.cuda.set_device(local)
            distributed.init_process_group("cpu:gloo,cuda:nccl" if torch.cuda.is_available() else "gloo")
            atexit.register(_leave)
        waiting = distributed.new_group(backend="gloo", timeout=PATIENCE)
        return cls(distributed.get_rank(), distributed.get_world_size(), waiting)

    @property
    def is_main(self) -> bool:
        """The process that writes files and evaluates."""
        return self.rank == 0

    @torch.no_grad()
    def broadcast_parameters(self, model: nn.Module) -> None:
        """Give the model of every process the weights of the first one's."""
        if self.count > 1:
            for bucket in _buckets([*model.parameters()]):
                weights = _concatenated(bucket)
                distributed.broadcast(weights, 0)
                _write(weights, bucket)

    @torch.no_grad()
    def all_reduce_gradients(self, model: nn.Module) -> None:
        """Give the model of every process the sum of all processes' gradients.

        A parameter that no process's loss has read keeps none, so that the optimizer leaves it as it is.
        """
        if self.count == 1:
            return
        parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
        readers = self.all_reduce(torch.tensor([float(parameter.grad is not None) for parameter in parameters]))
        gradients = []
        for parameter, number in zip(parameters, readers.tolist(), strict=True):
            if number:
                parameter.grad = torch.zeros_like(parameter) if parameter.grad is None else parameter.grad
                gradients.append(parameter.grad)
        for bucket in _buckets(gradients):
            _write(self.all_reduce(_concatenated(bucket)), bucket)

    def shard(self, batch: Batch) -> Batch:
        """My rows of a batch: every `count`-th. A process without a row gets one of length 0, which adds nothing."""
        if self.count == 1:
            return batch
        if self.rank < len(batch):
            return batch.rows(slice(self.rank, None, self.count))
        one = batch.rows(slice(0, 1))
        return replace(one, lengths=torch.zeros_like(one.lengths))

    def all_reduce(self, value: Tensor) -> Tensor:
        """The sum over the processes."""
        if self.count > 1:
            distributed.all_reduce(value)
        return value

    def any(self, *flags: bool) -> list[bool]:
        """For each flag, whether any process has raised it: all stop, save and evaluate at the same update."""
        if self.count == 1:
            return [bool(flag) for flag in flags]
        return [bool(total > 0) for total in self.all_reduce(torch.tensor([float(flag) for flag in flags]))]

    def wait_for_main(self) -> None:
        """Return once the first process has called this too, whenever that is: what it wrote can then be read."""
        self.from_main(0.0)

    def from_main(self, value: float) -> float:
        """The first process's value, however long it takes to find it."""
        if self.count == 1:
            return value
        shared = torch.tensor(value, dtype=torch.float64)
        distributed.broadcast(shared, 0, group=self.waiting)
        return float(shared)


def _leave() -> None:
    if distributed.is_initialized():
        distributed.destroy_process_group()


def _buckets(tensors: Sequence[Tensor]) -> Iterator[list[Tensor]]:
    """The tensors in groups of one dtype and at most `BUCKET` elements, or one tensor."""
    bucket: list[Tensor] = []
    for tensor in tensors:
        if bucket and (tensor.dtype != bucket[0].dtype or sum(map(Tensor.numel, [*bucket, tensor])) > BUCKET):
            yield bucket
            bucket = []
        bucket.append(tensor)
    if bucket:
        yield bucket


def _concatenated(tensors: Sequence[Tensor]) -> Tensor:
    return torch.cat([tensor.flatten() for tensor in tensors])


def _write(flat: Tensor, tensors: Sequence[Tensor]) -> None:
    """The inverse of `_concatenated`, in place."""
    for tensor, part in zip(tensors, flat.split([tensor.numel() for tensor in tensors]), strict=True):
        tensor.copy_(part.view_as(tensor))
