"""Training in several processes: each has its part of every batch, and all take the same step.

``torchrun`` starts the processes and tells each by environment variables which one it is. The loss is the sum of what
the processes have of it, so its gradient is the sum of theirs. DistributedDataParallel is not used: it averages over
processes as if their parts were equal, decides once which parameters learn (frozen epochs change that), and leaves
batch norm to the part of each. One sum of all gradients after the backward pass is less, and always in one order.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import torch
from torch import distributed

from spikeloop.simulator.errors import ConfigError, SimulationError

_log = logging.getLogger(__name__)

#: Longest wait for another process: data sets are read and folders written in between.
_PATIENCE = timedelta(minutes=30)


@dataclass(frozen=True, kw_only=True)
class Launch:
    """Which process this is: its ``rank`` of ``world_size``, and ``local_rank`` on its machine.

    Attributes:
        supervised: whether ``torchrun`` itself started it, which outlives its processes; another launcher may not.
    """

    rank: int = 0
    local_rank: int = 0
    world_size: int = 1
    supervised: bool = False


def find_launch(environ: Mapping[str, str]) -> Launch:
    """What the variables of ``torchrun`` (RANK, LOCAL_RANK, WORLD_SIZE) say; without them one process.

    Raises:
        ConfigError: they are incomplete, or contradict one another.
    """
    world_size = _number(environ, "WORLD_SIZE", 1)
    if world_size <= 1:
        return Launch()
    missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if name not in environ]
    if missing:
        raise ConfigError(
            f"environment variable WORLD_SIZE is {world_size} and {missing[0]} is not set; start the processes with "
            "torchrun, or unset WORLD_SIZE to train in one"
        )
    rank = _number(environ, "RANK", 0)
    if rank >= world_size:
        raise ConfigError(f"environment variable RANK is {rank}; allowed 0 to {world_size - 1} with WORLD_SIZE")
    return Launch(
        rank=rank,
        local_rank=_number(environ, "LOCAL_RANK", 0),
        world_size=world_size,
        supervised="TORCHELASTIC_RUN_ID" in environ,
    )


def _number(environ: Mapping[str, str], name: str, default: int) -> int:
    text = environ.get(name, str(default))
    if not (text.isascii() and text.isdigit()):
        raise ConfigError(f"environment variable {name} is '{text}'; allowed a whole number, as torchrun sets it")
    return int(text)


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """The processes of a training, seen from the one of number ``rank``; the default is a training in one.

    Every process must call ``total``, ``add_up`` and ``from_main`` equally often and in the same order.

    Attributes:
        launcher: process id of the one that started this one, None where it may go.
    """

    rank: int = 0
    world_size: int = 1
    launcher: int | None = None

    @property
    def is_main(self) -> bool:
        """Whether this process writes files and talks."""
        return self.rank == 0

    def part(self, n_images: int) -> slice:
        """Which of so many images are those of this process: consecutive ones, as many in each, or one more."""
        each, more = divmod(n_images, self.world_size)
        first = self.rank * each + min(self.rank, more)
        return slice(first, first + each + (self.rank < more))

    def total(self, values: torch.Tensor) -> torch.Tensor:
        """Sum of ``values`` over the processes, the same bits in each; its gradient is the sum of theirs.

        Raises:
            SimulationError: another process is gone.
        """
        if self.world_size == 1:
            return values
        found: torch.Tensor = _Total.apply(values, self)  # type: ignore[no-untyped-call]
        return found

    def reduce(self, values: torch.Tensor) -> None:
        """Replace ``values`` by their sum over the processes: the only thing that these ever say to one another.

        Raises:
            SimulationError: another process is gone.
        """
        with _undivided():
            alone = _is_alone_after_sum(values)
        if alone:
            raise SimulationError("another process of this training is gone; its own message says why")

    def add_up(self, gradients: Sequence[torch.Tensor]) -> None:
        """Replace each gradient by its sum over the processes, all in one message.

        Raises:
            SimulationError: as for ``total``.
        """
        if self.world_size == 1 or not gradients:
            return
        flat = self.total(torch.cat([gradient.flatten() for gradient in gradients]))
        sizes = [gradient.numel() for gradient in gradients]
        for gradient, part in zip(gradients, torch.split(flat, sizes), strict=True):
            gradient.copy_(part.view_as(gradient))

    def from_main(self, data: bytes, device: torch.device) -> bytes:
        """The ``data`` of the first process; what the others give does not matter.

        Raises:
            SimulationError: as for ``total``.
        """
        if self.world_size == 1:
            return data
        length = int(self.total(torch.tensor(len(data) if self.is_main else 0, device=device)))
        # The others add zeros.
        mine = bytearray(data) if self.is_main else bytearray(length)
        held = torch.frombuffer(mine, dtype=torch.uint8).to(device) if length else torch.zeros(0, device=device)
        return self.total(held).cpu().numpy().tobytes()

    def check_launcher(self) -> None:
        """Stop where ``torchrun`` is gone: nobody would end this process if another one died.

        Raises:
            SimulationError: it is gone.
        """
        if self.launcher is not None and os.getppid() != self.launcher:
            raise SimulationError("torchrun, which started this process, is gone; go on with --resume")


#: A training in one process.
ALONE = Ranks()


@dataclass(frozen=True, kw_only=True)
class Shard:
    """The part of one batch that a process has.

    Attributes:
        n_images: of the whole batch.
    """

    ranks: Ranks
    n_images: int

    @property
    def own(self) -> slice:
        """Which images of the batch; there may be none."""
        return self.ranks.part(self.n_images)

    @property
    def share(self) -> float:
        """Own images over all of the batch: the weight of a mean over them."""
        return len(range(self.n_images)[self.own]) / self.n_images

    def mean(self, own: torch.Tensor, of: torch.Tensor) -> torch.Tensor:
        """This process's part of a mean over the images of the batch; the parts add up to it.

        Args:
            own: the mean over the own images, not a number where there are none.
            of: what it was computed from; keeps a part of 0 in the graph, whose sums wait for all processes.
        """
        return own * self.share if self.share else of.sum()

    def gathered(self, rows: torch.Tensor) -> torch.Tensor:
        """(T, n_images, F) of all processes from the own (T, B, F), with gradients."""
        if self.ranks.world_size == 1:
            return rows
        own = self.own
        around = (0, 0, own.start, self.n_images - own.stop)
        return self.ranks.total(torch.nn.functional.pad(rows, around))


class _Total(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, values: torch.Tensor, ranks: Ranks) -> torch.Tensor:
        ctx.ranks = ranks
        found = values.detach().clone(memory_format=torch.contiguous_format)
        ranks.reduce(found)
        return found

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor, None]:
        ranks: Ranks = ctx.ranks
        return ranks.total(grads[0]), None


def _is_alone_after_sum(values: torch.Tensor) -> bool:
    """Whether another process was gone; no error leaves, whose frames would keep the group from being destroyed."""
    try:
        distributed.all_reduce(values)
    except RuntimeError as error:
        _log.info("%s", error)
        return True
    return False


@contextmanager
def _undivided() -> Iterator[None]:
    """Let Ctrl-C wait for the end of the block.

    Raised within a sum, it would leave the thread of Gloo with tensors of this process, and a thread that frees one
    while the interpreter ends aborts the process.
    """
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    held: list[object] = []
    previous = signal.signal(signal.SIGINT, lambda *_: held.append(None))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)
        if held:
            signal.raise_signal(signal.SIGINT)


@contextmanager
def joined(launch: Launch, device: torch.device) -> Iterator[Ranks]:
    """The processes of a launch, connected while the body runs: over NCCL on GPUs, over Gloo on CPUs.

    Raises:
        ConfigError: this torch cannot.
        SimulationError: the others cannot be reached.
    """
    if launch.world_size == 1:
        yield ALONE
        return
    if not distributed.is_available():
        raise ConfigError(
            "this torch was built without torch.distributed; install one with it, or train in one process"
        )
    launcher = os.getppid() if launch.supervised else None
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    try:
        distributed.init_process_group(backend, rank=launch.rank, world_size=launch.world_size, timeout=_PATIENCE)
    except (RuntimeError, ValueError) as error:
        reason = next(iter(str(error).strip().splitlines()), type(error).__name__)
        raise SimulationError(
            f"the {launch.world_size} processes cannot reach one another over {backend} ({reason})"
        ) from None
    try:
        yield Ranks(rank=launch.rank, world_size=launch.world_size, launcher=launcher)
    finally:
        with _undivided():
            distributed.destroy_process_group()
