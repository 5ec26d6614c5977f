"""Many chips of one design: how far their accuracy scatters, and which departure from the ideal costs it.

Chips differ in what is drawn once for each (programming, ADC mismatch, faults) and in the noise of their reads.
"""

from __future__ import annotations

import math
from collections.abc import Mapping as PyMapping
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .cells.base import CellModel
from .config import HardwareConfig, UniformAdc
from .functional.adc import LayerShift
from .functional.analog import AnalogChip, has_neuron_faults, needs_chip
from .functional.outputs import Outputs
from .functional.run import calibrate_adc, run_functional
from .functional.switches import ALL, NONE, Switches, only
from .mapping.tiles import Mapping
from .network.graph import Network
from .network.spikes import SpikeTrain

#: Name of an attribution row in which every layer departs.
EVERY_LAYER = "all layers"


@dataclass(frozen=True, kw_only=True, slots=True)
class ChipSpread:
    """Accuracy of the chips of a design on the same images.

    Attributes:
        n: chips.
        values: accuracy of each.
        mean, std, min, max: of ``values``; ``std`` is the sample deviation, 0 for one chip.
        yield_at: accuracy that a good chip reaches.
        yield_share: share of the chips that reach it.
        agreement: share of images that a chip classifies as ideal hardware does, mean over chips.
    """

    n: int
    values: tuple[float, ...]
    mean: float
    std: float
    min: float
    max: float
    yield_at: float
    yield_share: float
    agreement: float


@dataclass(frozen=True, kw_only=True, slots=True)
class Attribution:
    """What one departure from the ideal does alone, in one layer or in all.

    Attributes:
        layer: name of the layer, or ``all layers``.
        effect: field of ``Switches``.
        accuracy: of chip 0, None without labels.
        accuracy_loss: ideal accuracy less ``accuracy``.
        agreement: share of images that are classified as by ideal hardware.
        logit_error: root mean square of the change of the logits, over that of the ideal logits about their mean.
    """

    layer: str
    effect: str
    accuracy: float | None
    accuracy_loss: float | None
    agreement: float
    logit_error: float


@dataclass(frozen=True, kw_only=True, eq=False)
class ChipStudy:
    """A network on a design, ready to be computed by many chips; ``ideal`` is what ideal hardware computes."""

    network: Network
    mapping: Mapping
    hw: HardwareConfig
    spikes: SpikeTrain
    calibration: SpikeTrain
    seed: int
    n_threads: int
    step_ns: float | None
    ideal: Outputs

    @classmethod
    def of(
        cls,
        network: Network,
        mapping: Mapping,
        hw: HardwareConfig,
        spikes: SpikeTrain,
        calibration: SpikeTrain,
        *,
        seed: int,
        n_threads: int = 1,
        step_ns: float | None = None,
    ) -> ChipStudy:
        """A study; runs ideal hardware once.

        Raises:
            DatasetError: images that do not fit the network.
        """
        shift = (0,) * len(mapping.layers)
        ideal = run_functional(
            network, mapping, hw, spikes, adc_shift=shift, cycle_images=0, switches=NONE, n_threads=n_threads
        )
        return cls(
            network=network,
            mapping=mapping,
            hw=hw,
            spikes=spikes,
            calibration=calibration,
            seed=seed,
            n_threads=n_threads,
            step_ns=step_ns,
            ideal=ideal,
        )

    @property
    def ideal_accuracy(self) -> float | None:
        """Accuracy on ideal hardware, None without labels."""
        return self._accuracy(self.ideal)

    def run(
        self,
        chip: AnalogChip | None,
        adc_shift: Sequence[LayerShift],
        switches: Switches | PyMapping[str, Switches] = ALL,
    ) -> Outputs:
        """What a chip computes."""
        return run_functional(
            self.network,
            self.mapping,
            self.hw,
            self.spikes,
            adc_shift=adc_shift,
            cycle_images=0,
            chip=chip,
            switches=switches,
            n_threads=self.n_threads,
            step_ns=self.step_ns,
        )

    def adc_shift(self, chip: AnalogChip | None) -> tuple[LayerShift, ...]:
        """ADC ranges as calibrated on a chip's own cells, or on ideal ones."""
        return calibrate_adc(self.network, self.mapping, self.hw, self.calibration, chip=chip)

    def chip(self, number: int) -> AnalogChip | None:
        """Chip of that number; None where all chips are alike."""
        return AnalogChip(hw=self.hw, seed=self.seed, chip=number) if needs_chip(self.hw) else None

    def spread(self, n_chips: int, yield_at: float | None = None) -> ChipSpread | None:
        """Accuracy of chips 0 to ``n_chips`` - 1, None without labels.

        Args:
            n_chips: at least 1.
            yield_at: accuracy of a good chip; None: one hundredth below ideal hardware.
        """
        ideal = self.ideal_accuracy
        if ideal is None:
            return None
        values, agreements = [], []
        for number in range(n_chips if needs_chip(self.hw) else 1):
            chip = self.chip(number)
            outputs = self.run(chip, self.adc_shift(chip))
            values.append(self._accuracy(outputs) or 0.0)
            agreements.append(self._agreement(outputs))
        if len(values) < n_chips:
            values, agreements = values * n_chips, agreements * n_chips
        wanted = max(0.0, ideal - 0.01) if yield_at is None else yield_at
        mean = math.fsum(values) / n_chips
        return ChipSpread(
            n=n_chips,
            values=tuple(values),
            mean=mean,
            std=math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n_chips - 1)) if n_chips > 1 else 0.0,
            min=min(values),
            max=max(values),
            yield_at=wanted,
            yield_share=sum(value >= wanted for value in values) / n_chips,
            agreement=math.fsum(agreements) / n_chips,
        )

    def attribution(self) -> tuple[Attribution, ...]:
        """Every departure of the design alone: in all layers, then layer by layer. Chip 0, ranges of ideal cells."""
        chip, rows, shift = self.chip(0), [], self.adc_shift(None)
        names = [item.layer.name for item in self.mapping.layers]
        for effect in effects(self.hw):
            rows.append(self._row(EVERY_LAYER, effect, self.run(chip, shift, only(effect))))
            rows += [self._row(name, effect, self.run(chip, shift, {name: only(effect)})) for name in names]
            if chip is not None:
                chip.forget()
        return tuple(rows)

    def _row(self, layer: str, effect: str, outputs: Outputs) -> Attribution:
        accuracy, ideal = self._accuracy(outputs), self.ideal_accuracy
        return Attribution(
            layer=layer,
            effect=effect,
            accuracy=accuracy,
            accuracy_loss=None if accuracy is None or ideal is None else ideal - accuracy,
            agreement=self._agreement(outputs),
            logit_error=logit_error(outputs.logits, self.ideal.logits),
        )

    def _accuracy(self, outputs: Outputs) -> float | None:
        labels = self.spikes.labels
        return None if labels is None else float(np.mean(outputs.predictions() == labels))

    def _agreement(self, outputs: Outputs) -> float:
        return float(np.mean(outputs.predictions() == self.ideal.predictions()))


def effects(hw: HardwareConfig) -> tuple[str, ...]:
    """Departures from the ideal that a design has, fields of ``Switches``."""
    cell, found = hw.crossbar.cell, []
    if isinstance(cell, CellModel):
        found.append("programming")
        sample = cell.target_uS(np.arange(2**hw.crossbar.cell_bits, dtype=np.uint8)[None, :], hw.crossbar.cell_bits)
        if cell.read_sigma_uS(sample) is not None or cell.image_sigma_uS(sample) is not None:
            found.append("read_noise")
    if hw.crossbar.wires is not None:
        found.append("wires")
    if isinstance(hw.adc, UniformAdc):
        found.append("adc")
    if has_neuron_faults(hw):
        found.append("neuron")
    return tuple(found)


def logit_error(logits: NDArray[np.int64], ideal: NDArray[np.int64]) -> float:
    """Root mean square of the change of the logits, over that of the ideal logits about each image's mean."""
    centred = ideal - ideal.mean(axis=1, keepdims=True)
    scale = float(np.sqrt(np.mean(centred.astype(np.float64) ** 2)))
    change = float(np.sqrt(np.mean((logits - ideal).astype(np.float64) ** 2)))
    return change / scale if scale else float(change > 0)
