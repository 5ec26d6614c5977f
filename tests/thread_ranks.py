"""Several "processes" of a training as threads of one: what they say to one another is added up in plain Python."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import TypeVar

import torch

from spikeloop.distill.parallel import Ranks

_PATIENCE_S = 60.0

T = TypeVar("T")


class Table:
    """Where the threads meet: each lays down its values and takes the sum of all."""

    def __init__(self, world_size: int) -> None:
        self.slots: list[torch.Tensor | None] = [None] * world_size
        self.barrier = threading.Barrier(world_size, timeout=_PATIENCE_S)
        self.n_messages = [0] * world_size

    def add_up(self, rank: int, values: torch.Tensor) -> None:
        self.n_messages[rank] += 1
        self.slots[rank] = values.clone()
        self.barrier.wait()
        shapes = {(value.shape, value.dtype) for value in self.slots if value is not None}
        assert len(shapes) == 1, f"the processes are not at the same message: {shapes}"
        total = sum(value.numpy() for value in self.slots if value is not None)
        self.barrier.wait()
        values.copy_(torch.as_tensor(total))


@dataclass(frozen=True, kw_only=True)
class ThreadRanks(Ranks):
    table: Table = field(default_factory=lambda: Table(1))

    def reduce(self, values: torch.Tensor) -> None:
        self.table.add_up(self.rank, values)


def together(world_size: int, work: Callable[[Ranks], T]) -> list[T]:
    """What ``work`` returns in each of the threads; the first error of one of them is raised."""
    table = Table(world_size)

    def one(rank: int) -> T:
        try:
            return work(ThreadRanks(rank=rank, world_size=world_size, table=table))
        except BaseException:
            table.barrier.abort()
            raise

    with ThreadPoolExecutor(world_size) as pool:
        futures = [pool.submit(one, rank) for rank in range(world_size)]
    errors = [future.exception() for future in futures]
    for error in errors:
        if error is not None and not isinstance(error, threading.BrokenBarrierError):
            raise error
    assert len(set(table.n_messages)) == 1
    return [future.result() for future in futures]
