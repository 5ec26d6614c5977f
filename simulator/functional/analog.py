"""One chip of a design: conductances as programmed, their noise, their wires, and the ADCs that read them.

Everything static is a function of (seed, chip, layer, crossbar, row, column); what scatters from read to read of (seed,
chip, image, step, layer, position, plane, row group, column). The order of computing enters nowhere.
"""

from __future__ import annotations

import dataclasses
from dataclasses import asdict, dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtri

from ..cells.base import CellModel
from ..config import HardwareConfig, UniformAdc
from ..draws import CellDraws, folded
from ..kernels.analog import AnalogAdc, ReadNoise
from ..kernels.gather import ReadPlan
from ..kernels.random import TABLE_BITS
from ..mapping.layout import ColumnLayout, column_layout
from ..mapping.tiles import MappedLayer
from . import wire_cache
from .geometry import layer_cells, read_plan, row_blocks
from .mismatch import adc_gain_and_offset, adc_thresholds
from .programmed import (
    GroupBuilder,
    GroupCells,
    code_cells,
    group_from,
    is_solved,
    stored_arrays,
    stored_shapes,
    wired_crossbar,
)
from .reads import column_weights
from .switches import ALL, Switches

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]

#: Quantiles of the normal distribution at the midpoints of 2^16 equal probabilities: cut at 4.33 standard deviations.
NORMAL_TABLE = ndtri((np.arange(2**TABLE_BITS) + 0.5) / 2**TABLE_BITS).astype(np.float32)
#: Words that keep the keys of different draws apart.
_STATIC, _READS, _IMAGES = 1, 2, 3
#: Largest sum of float32 that is still exact in whole numbers.
_FLOAT32_EXACT = 2**24


def needs_analog(hw: HardwareConfig) -> bool:
    """Whether any column sum or code depends on the chip: cells that conduct, or ADCs that differ."""
    return not hw.crossbar.is_ideal or (isinstance(hw.adc, UniformAdc) and not hw.adc.is_ideal)


def has_neuron_faults(hw: HardwareConfig) -> bool:
    """Whether neurons or their memory depart from the network's: membranes in registers do not fail."""
    in_memory = hw.dataflow.loop == "timestep_major"
    return hw.neuron.has_mismatch or (in_memory and not hw.neuron.memory.is_ideal)


def needs_chip(hw: HardwareConfig) -> bool:
    """Whether anything that is computed depends on the chip."""
    return needs_analog(hw) or has_neuron_faults(hw)


@dataclass(frozen=True, kw_only=True, eq=False)
class AnalogChip:
    """Chip number ``chip`` of a design. What it programmed is kept, so that many runs of it program once."""

    hw: HardwareConfig
    seed: int
    chip: int = 0
    _held: dict[tuple[int, int, int, Switches], GroupCells] = field(default_factory=dict)

    def group_cells(self, mapped: MappedLayer, group: int, replica: int, switches: Switches = ALL) -> GroupCells:
        """Cells of a convolution group; column sums are in unit-cell counts, less the baseline if it is subtracted."""
        key = (mapped.layer.index, group, replica, dataclasses.replace(switches, adc=True, neuron=True))
        if key not in self._held:
            self._held[key] = self._cached(mapped, group, replica, switches)
        return self._held[key]

    def forget(self) -> None:
        """Drop what was programmed; it can be had again."""
        self._held.clear()

    def crossbar_key(self, mapped: MappedLayer, crossbar: int) -> int:
        """Key of what is static on a crossbar of a layer (replicas counted)."""
        return folded(_STATIC, self.seed, self.chip, mapped.layer.index, crossbar)

    def read_noise(self, mapped: MappedLayer, images: IntArray, steps: IntArray) -> ReadNoise:
        """Keys of the reads of image-runs."""
        key = folded(_READS, self.seed, self.chip, mapped.layer.index)
        return ReadNoise(table=NORMAL_TABLE, key=np.uint64(key), image=images, step=steps)

    def image_key(self, mapped: MappedLayer, group: int, replica: int, image: int) -> int:
        """Key of the noise that is frozen while an image is computed."""
        return folded(_IMAGES, self.seed, self.chip, mapped.layer.index, group, replica, image)

    def adc(
        self, mapped: MappedLayer, group: int, replica: int, plan: ReadPlan, shift: IntArray, switches: Switches = ALL
    ) -> AnalogAdc:
        """ADCs of a convolution group; ``shift`` is (row groups, columns) log2 of their lsb."""
        layout, blocks = column_layout(mapped, group), row_blocks(mapped, plan)
        adc = self.hw.adc
        lsb = 2.0**shift
        weight = lsb * column_weights(plan)
        code_max = 2 ** (self.hw.adc_bits if switches.adc else 31) - 1
        fits = float(code_max) * float(np.abs(weight).sum(axis=1).max()) / plan.n_outputs < _FLOAT32_EXACT
        gain, offset = np.ones_like(lsb), np.zeros_like(lsb)
        instance = np.zeros((0, 0), dtype=np.int32)
        threshold, variance = np.zeros((0, 0), dtype=np.float32), np.zeros((0, 0), dtype=np.float32)
        if switches.adc and isinstance(adc, UniformAdc) and not adc.is_ideal:
            local = layout.bitline // adc.columns_per_adc
            crossbars, position = np.unique(layout.crossbar[blocks], return_inverse=True)
            position = position.reshape(layout.crossbar[blocks].shape)
            n_adcs = mapped.cols_per_crossbar // adc.columns_per_adc
            keys = [self.crossbar_key(mapped, replica * layout.n_crossbars + int(x)) for x in crossbars]
            tables = [adc_gain_and_offset(adc, key, n_adcs) for key in keys]
            gain = np.stack([table[0] for table in tables])[position, local]
            offset = np.stack([table[1] for table in tables])[position, local]
            if adc.has_thresholds:
                threshold = np.concatenate([adc_thresholds(adc, key, n_adcs) for key in keys]).astype(np.float32)
                instance = (position * n_adcs + local).astype(np.int32)
            if adc.noise_sigma_lsb:
                variance = ((adc.noise_sigma_lsb * lsb) ** 2).astype(np.float32)
        return AnalogAdc(
            scale=(gain / lsb).astype(np.float32),
            offset=offset.astype(np.float32),
            variance=variance,
            weight=weight.astype(np.float32 if fits else np.float64),
            code_max=code_max,
            instance=instance,
            threshold=threshold,
            own=layout.own,
        )

    def _cached(self, mapped: MappedLayer, group: int, replica: int, switches: Switches) -> GroupCells:
        """Cells of a group; exact wires take long, so what they give is kept on disk."""
        wires, codes = self.hw.crossbar.wires, layer_cells(mapped, group)
        if wires is None or wires.method != "exact" or not switches.wires or is_solved(self.hw):
            return self._program(mapped, group, replica, switches)
        key = wire_cache.content_key(
            {
                "crossbar": self.hw.crossbar.resolved(),
                "columns_per_adc": self.hw.adc.columns_per_adc,
                "scheme": asdict(mapped.scheme),
                "place": [self.seed, self.chip, mapped.layer.index, group, replica],
                "acts": [switches.programming, switches.read_noise],
            },
            codes,
        )
        held = wire_cache.load(key, stored_shapes(codes.shape, self.hw))
        if held is not None:
            return group_from(held)
        programmed = self._program(mapped, group, replica, switches)
        wire_cache.store(key, stored_arrays(programmed))
        return programmed

    def _program(self, mapped: MappedLayer, group: int, replica: int, switches: Switches) -> GroupCells:
        codes, cell = layer_cells(mapped, group), self.hw.crossbar.cell
        if not isinstance(cell, CellModel) or not switches.conduct:
            return code_cells(codes)
        build, layout = GroupBuilder(codes.shape, cell, self.hw), column_layout(mapped, group)
        if switches.wires and is_solved(self.hw):
            build.solve(mapped, read_plan(mapped, group), layout)
        stacks = np.unique(layout.crossbar[0] // mapped.row_blocks)
        for row_block in range(mapped.row_blocks):
            rows = slice(
                row_block * mapped.rows_per_crossbar,
                min((row_block + 1) * mapped.rows_per_crossbar, mapped.layer.n_rows),
            )
            for stack, crossbar in enumerate(stacks * mapped.row_blocks + row_block):
                columns = np.flatnonzero(layout.crossbar[row_block] == crossbar)
                number = replica * layout.n_crossbars + int(crossbar)
                self._program_crossbar(
                    mapped, layout, number, codes, rows, columns, switches, build, (row_block, stack)
                )
        return build.finished()

    def _program_crossbar(
        self,
        mapped: MappedLayer,
        layout: ColumnLayout,
        number: int,
        codes: NDArray[np.uint8],
        rows: slice,
        columns: IntArray,
        switches: Switches,
        build: GroupBuilder,
        place: tuple[int, int],
    ) -> None:
        """Program one physical crossbar, padding too, and add what it holds to the group."""
        shape = (mapped.rows_per_crossbar, mapped.cols_per_crossbar)
        physical, used = np.zeros(shape, dtype=np.uint8), rows.stop - rows.start
        bitlines = layout.bitline[columns]
        if mapped.scheme.dummy_columns:  # on every crossbar of a span, though one code of it is enough
            physical[:used, -1] = 1
        physical[:used, bitlines] = codes[rows, columns]
        cell, cell_bits = build.cell, self.hw.crossbar.cell_bits
        if switches.programming:
            draws = CellDraws(key=self.crossbar_key(mapped, number), rows=shape[0], cols=shape[1])
            conductance = cell.programmed_uS(physical, cell_bits, draws)
        else:
            conductance = cell.target_uS(physical, cell_bits)
        # Gain undoes drift behind the ADC or in the reference; the current in the wires is that of the cells.
        wired = wired_crossbar(mapped, self.hw, conductance / cell.read_gain_ratio) if switches.wires else None
        build.add(conductance, wired, rows, columns, bitlines, place=place, read_noise=switches.read_noise)
