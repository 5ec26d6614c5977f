"""Hardware in the loop: the design a student is trained on, and when its ADC ranges follow."""

from __future__ import annotations

from collections.abc import Mapping as PyMapping
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field

from spikeloop.models.export import to_network
from spikeloop.models.hardware_cells import CellPool
from spikeloop.models.hardware_loop import CrossbarReads, GradientForm
from spikeloop.models.layers import QuantReadout, QuantWeightLayer
from spikeloop.models.net import SpikingNet
from spikeloop.simulator.cells.base import CellModel
from spikeloop.simulator.config import HardwareConfig, UniformAdc, load_hardware
from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.functional.adc import LayerShift
from spikeloop.simulator.functional.analog import AnalogChip, has_neuron_faults, needs_analog
from spikeloop.simulator.functional.run import calibrate_adc
from spikeloop.simulator.mapping.tiles import Mapping, map_network
from spikeloop.simulator.network.spikes import SpikeTrain
from spikeloop.simulator.spec import Spec, validate_spec

#: What a design can have and training cannot compute.
Departure = Literal["wires", "adc_steps", "image_noise", "neurons", "replicas"]


class HardwareSpec(Spec):
    """Design that a student is trained on.

    Attributes:
        accelerator: preset of ``hwconfigs/accelerators``, path of a hardware file, or its content.
        from_epoch: first epoch on the crossbars, counted from 1.
        variation: draw cells, and gain and offset of ADCs, anew in every training pass.
        read_noise: draw the noise of reads and conversions.
        gradient: ``cut``: none through a conversion that clips; ``plain``: as if none clipped.
        recalibrate_every: training steps from one choice of the ADC ranges to the next.
        calibration_images: training images that choose them; ``spikeloop simulate`` takes as many by default.
        leave_out: what the design has and training leaves out; without a name here such a design is refused.
    """

    accelerator: str | dict[str, Any]
    from_epoch: int = Field(default=1, ge=1)
    variation: bool = True
    read_noise: bool = True
    gradient: GradientForm = "cut"
    recalibrate_every: int = Field(default=50, ge=1)
    calibration_images: int = Field(default=64, ge=1)
    leave_out: tuple[Departure, ...] = Field(default=(), strict=False)

    def design(self) -> HardwareConfig:
        """The hardware file that ``accelerator`` names.

        Raises:
            ConfigError: no such file, or a faulty one.
        """
        if isinstance(self.accelerator, str):
            return load_hardware(self.accelerator)
        return validate_spec(HardwareConfig, self.accelerator, where="hardware.accelerator")

    def draws_for_images(self) -> bool:
        """Whether training draws noise for each image, beside the cells and ADCs that a whole batch meets.

        Raises:
            ConfigError: as for ``design``.
        """
        hw = self.design()
        cell = hw.crossbar.cell
        cells = isinstance(cell, CellModel) and cell.read_sigma_uS(np.array([cell.conductance_max_uS])) is not None
        return self.read_noise and (cells or (isinstance(hw.adc, UniformAdc) and hw.adc.noise_sigma_lsb > 0))


class HardwareLoop:
    """A student whose sums are read from the crossbars of a design.

    Attributes:
        shift: log2 of the lsb of every layer's ADCs, as last chosen.
    """

    def __init__(self, net: SpikingNet, spec: HardwareSpec, calibration: SpikeTrain, *, seed: int) -> None:
        """Put a student on a design; nothing is computed there before ``switch``.

        Args:
            net: student.
            spec: design, and what is drawn.
            calibration: training images that choose the ADC ranges.
            seed: of all draws.

        Raises:
            ConfigError: the design has what training cannot compute and ``leave_out`` does not name, or the reverse.
            MappingError: the network does not fit the design.
        """
        self.net, self.spec, self.calibration, self.seed = net, spec, calibration, seed
        self.hw = spec.design()
        mapping = self._mapping()
        _check_departures(self.hw, mapping, spec)
        device = next(net.parameters()).device
        cell = self.hw.crossbar.cell
        pool = CellPool(cell, self.hw, seed=seed, device=device) if isinstance(cell, CellModel) else None
        self.generator = torch.Generator(device=device)
        self.generator.manual_seed(seed)
        self.reads = {
            item.layer.name: CrossbarReads(
                item,
                self.hw,
                generator=self.generator,
                pool=pool,
                variation=spec.variation,
                read_noise=spec.read_noise,
                gradient=spec.gradient,
            )
            for item in mapping.layers
        }
        self.shift: tuple[LayerShift, ...] = ()
        self._steps = 0

    @property
    def is_on(self) -> bool:
        """Whether the network computes on the crossbars now."""
        return any(block.reader is not None for block in self._blocks().values())

    def switch(self, epoch: int) -> None:
        """Go over to the crossbars if the epoch, counted from 1, is one on them."""
        if epoch >= self.spec.from_epoch:
            for name, block in self._blocks().items():
                block.reader = self.reads[name]

    def before_step(self) -> None:
        """Choose the ranges anew where it is time; call before every training step."""
        if self.is_on and self._steps % self.spec.recalibrate_every == 0 and self._steps > 0:
            self.calibrate()
        self._steps += self.is_on

    def calibrate(self) -> None:
        """Choose the ADC ranges of the present weights as the simulator will, on the same images.

        With variation the ranges are those of one chip of the design, as a chip is trimmed once it is programmed.
        """
        if not self.is_on:
            return
        mapping = self._mapping()
        drawn = needs_analog(self.hw) and self.spec.variation
        chip = AnalogChip(hw=self.hw, seed=self.seed) if drawn else None
        self._set_shift(calibrate_adc(mapping.network, mapping, self.hw, self.calibration, chip=chip))

    def tensors(self) -> dict[str, torch.Tensor]:
        """What a run needs to go on with the same draws and ranges, by name."""
        shifts = {f"shift:{name}": torch.tensor(shift) for name, shift in zip(self.reads, self.shift, strict=False)}
        return {"generator": self.generator.get_state(), "steps": torch.tensor(self._steps), **shifts}

    def restore(self, tensors: PyMapping[str, torch.Tensor]) -> None:
        """Stand where ``tensors`` were taken.

        Raises:
            KeyError: they are not those of a design in the loop.
        """
        self.generator.set_state(tensors["generator"])
        self._steps = int(tensors["steps"])
        if len(tensors) > 2:  # before the first epoch on the crossbars there are no ranges
            found = (tensors[f"shift:{name}"].numpy() for name in self.reads)
            self._set_shift(tuple(int(shift) if shift.ndim == 0 else shift for shift in found))

    def _set_shift(self, shift: tuple[LayerShift, ...]) -> None:
        self.shift = shift
        for name, part in zip(self.reads, shift, strict=True):
            self.reads[name].set_shift(part)

    def settle_statistics(self, codes: torch.Tensor, batch_size: int) -> None:
        """``SpikingNet.settle_statistics`` on the crossbars, between two choices of the ranges."""
        self.calibrate()
        self.net.settle_statistics(codes, batch_size)
        self.calibrate()

    def detach(self) -> None:
        """Give the network its ideal sums back."""
        for block in self._blocks().values():
            block.reader = None

    def _blocks(self) -> dict[str, QuantWeightLayer | QuantReadout]:
        return {
            name: block for name, block in self.net.blocks.items() if isinstance(block, QuantWeightLayer | QuantReadout)
        }

    def _mapping(self) -> Mapping:
        return map_network(to_network(self.net, self.net.plan.name), self.hw)


def departures(hw: HardwareConfig, mapping: Mapping) -> tuple[Departure, ...]:
    """What a design has and training cannot compute."""
    cell, found = hw.crossbar.cell, list[Departure]()
    if hw.crossbar.wires is not None:
        found.append("wires")
    if isinstance(hw.adc, UniformAdc) and hw.adc.has_thresholds:
        found.append("adc_steps")
    if isinstance(cell, CellModel) and cell.image_sigma_uS(np.array([cell.conductance_max_uS])) is not None:
        found.append("image_noise")
    if has_neuron_faults(hw):
        found.append("neurons")
    if needs_analog(hw) and any(item.n_replicas > 1 for item in mapping.layers):
        found.append("replicas")
    return tuple(found)


def _check_departures(hw: HardwareConfig, mapping: Mapping, spec: HardwareSpec) -> None:
    found = departures(hw, mapping)
    missing = [name for name in found if name not in spec.leave_out]
    if missing:
        raise ConfigError(
            f"hardware {hw.name} has {', '.join(missing)}, which training cannot compute; write "
            f"hardware.leave_out: [{', '.join(found)}] to train without, or use a design that has none"
        )
    idle = [name for name in spec.leave_out if name not in found]
    if idle:
        raise ConfigError(
            f"hardware.leave_out names {', '.join(idle)} and hardware {hw.name} has no such departure; remove it"
        )
