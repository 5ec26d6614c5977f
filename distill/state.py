"""Everything a training needs to go on as if it had never stopped, and who keeps it.

What a picture looks like is a function of seed, epoch and index, and the learning rate one of the step, so the
state is: weights and statistics, the optimiser's tensors, the generator of the order, the order of the epoch at
work, the sums of its report, and the draws and ranges of a design in the loop.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any

import torch
from safetensors.torch import load, save

from spikeloop.models.net import SpikingNet
from spikeloop.simulator.errors import SimulationError

from .checkpoint import weights_sha256
from .config import TrainingConfig
from .device import environment
from .finite import first_not_finite
from .hardware import HardwareLoop
from .optimiser import optimiser_tensors, restore_optimiser
from .parallel import ALONE, Ranks
from .reports import EpochReport, TrainResult

_NET, _OPTIMISER, _LOOP, _SHUFFLE, _ORDER = "net:", "optimiser:", "hardware:", "shuffle", "order"


@dataclass(kw_only=True, eq=False)
class Run:
    """A training at work, between two batches.

    Attributes:
        epoch: the one at work, counted from 1.
        batch: batches of it that are done.
        order: (n_images,) int64, the images of this epoch; None before it begins.
        loop: the design that the student is trained on, None without.
        ranks: the processes that train it; their states are the same, but for the time.
        loss_sum: sum of loss * images over the batches done, and ``correct`` the images told right in them.
    """

    config: TrainingConfig
    net: SpikingNet
    optimiser: torch.optim.Optimizer
    device: torch.device
    loop: HardwareLoop | None = None
    ranks: Ranks = ALONE
    epoch: int = 1
    batch: int = 0
    order: torch.Tensor | None = None
    loss_sum: float = 0.0
    correct: int = 0
    history: tuple[EpochReport, ...] = ()
    environments: tuple[dict[str, str], ...] = ()
    shuffle: torch.Generator = field(default_factory=torch.Generator)

    def __post_init__(self) -> None:
        self.shuffle.manual_seed(self.config.seed)
        self.environments = (environment(self.device, self.ranks.world_size),)
        self._cpu_from_s, self._wall_from_s = time.process_time(), time.monotonic()

    @property
    def cpu_time_s(self) -> float:
        """CPU seconds of the run so far, those of the processes before this one included."""
        return time.process_time() - self._cpu_from_s

    @property
    def wall_time_s(self) -> float:
        """Seconds that processes have worked on the run so far."""
        return time.monotonic() - self._wall_from_s

    def end_batch(self, loss: float, correct: int, n_images: int) -> None:
        """Count a batch with this mean loss."""
        self.loss_sum += loss * n_images
        self.correct += correct
        self.batch += 1

    def end_epoch(self, report: EpochReport) -> None:
        """Stand before the next epoch."""
        self.history = (*self.history, report)
        self.epoch += 1
        self.batch, self.order, self.loss_sum, self.correct = 0, None, 0.0, 0

    def tensors(self) -> dict[str, torch.Tensor]:
        """All tensors of the state by name, on the CPU."""
        named = {_NET + name: value for name, value in self.net.state_dict().items()}
        named |= {_OPTIMISER + name: value for name, value in optimiser_tensors(self.optimiser, self.net).items()}
        named[_SHUFFLE] = self.shuffle.get_state()
        if self.loop is not None:
            named |= {_LOOP + name: value for name, value in self.loop.tensors().items()}
        if self.order is not None:
            named[_ORDER] = self.order
        return {name: value.detach().cpu().contiguous() for name, value in named.items()}

    def numbers(self) -> dict[str, Any]:
        """The rest of the state, ready for JSON; floats keep every bit there."""
        return {
            "epoch": self.epoch,
            "batch": self.batch,
            "loss_sum": self.loss_sum,
            "correct": self.correct,
            "history": [asdict(report) for report in self.history],
            "environments": list(self.environments),
            "cpu_time_s": self.cpu_time_s,
            "wall_time_s": self.wall_time_s,
        }

    def take_state_of_main(self, *, n_images: int) -> None:
        """Stand where the first process stands, which alone reads the folder of the run."""
        if self.ranks.world_size == 1:
            return
        is_main = self.ranks.is_main
        tensors = self.ranks.from_main(save(self.tensors()) if is_main else b"", self.device)
        numbers = self.ranks.from_main(json.dumps(self.numbers()).encode() if is_main else b"", self.device)
        if not is_main:
            self.restore(load(tensors), json.loads(numbers), n_images=n_images)

    def check_same_weights(self) -> None:
        """Refuse to go on where the processes have drifted apart.

        Raises:
            SimulationError: their weights or statistics differ.
        """
        if self.ranks.world_size == 1:
            return
        own = torch.tensor(int(weights_sha256(self.net)[:12], 16), device=self.device)
        if int(self.ranks.total(own)) != self.ranks.world_size * int(own):
            raise SimulationError(
                f"epoch {self.epoch}: the processes no longer hold the same weights; train on devices of one kind, "
                "with one version of torch, or in one process"
            )

    def restore(self, tensors: Mapping[str, torch.Tensor], numbers: Mapping[str, Any], *, n_images: int) -> None:
        """Stand where ``tensors`` and ``numbers`` were taken.

        Raises:
            ValueError, KeyError, TypeError: they are no state of this run; the run is then of no use any more.
        """
        bad = first_not_finite({name: value for name, value in tensors.items() if value.is_floating_point()})
        if bad is not None:
            raise ValueError(f"tensor {bad} holds values that are not finite")
        history = tuple(EpochReport(**report) for report in numbers["history"])
        epoch, batch, order = int(numbers["epoch"]), int(numbers["batch"]), tensors.get(_ORDER)
        if len(history) != epoch - 1 or (order is None and batch != 0):
            raise ValueError(f"epoch {epoch}, batch {batch} and {len(history)} reports do not go together")
        if order is not None and not torch.equal(order.sort().values, torch.arange(n_images)):
            raise ValueError(f"the order of the epoch is not one of {n_images} images")
        _load_net(self.net, _part(tensors, _NET))
        restore_optimiser(self.optimiser, self.net, _part(tensors, _OPTIMISER))
        self.shuffle.set_state(tensors[_SHUFFLE])
        if self.loop is not None:
            self.loop.restore(_part(tensors, _LOOP))
        self.epoch, self.batch, self.order, self.history = epoch, batch, order, history
        self.loss_sum, self.correct = float(numbers["loss_sum"]), int(numbers["correct"])
        before = tuple({str(k): str(v) for k, v in there.items()} for there in numbers["environments"])
        self.environments = before if before[-1:] == self.environments else before + self.environments
        self._cpu_from_s -= float(numbers["cpu_time_s"])
        self._wall_from_s -= float(numbers["wall_time_s"])


class Keeper:
    """Keeps nothing: the base of what saves a run."""

    def begin(self, run: Run, *, n_images: int) -> None:
        """Bring ``run`` to where it was left, if it was."""

    def after_batch(self, run: Run, *, n_batches: int) -> None:
        """A batch is done; ``n_batches`` make the epoch."""

    def after_epoch(self, run: Run) -> None:
        """An epoch is done and its report is the last of the history."""

    def finish(self, result: TrainResult) -> None:
        """The training is over."""


def _part(tensors: Mapping[str, torch.Tensor], prefix: str) -> dict[str, torch.Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}


def _load_net(net: SpikingNet, tensors: Mapping[str, torch.Tensor]) -> None:
    expected = {name: value.shape for name, value in net.state_dict().items()}
    found = {name: value.shape for name, value in tensors.items()}
    for name in sorted(expected.keys() | found.keys()):
        if expected.get(name) != found.get(name):
            raise ValueError(f"tensor {name} does not fit network '{net.plan.name}'")
    net.load_state_dict(tensors)
