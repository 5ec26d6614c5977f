"""What the crossbars of a convolution group hold once they are programmed, as the kernels take it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..cells.base import CellModel
from ..config import HardwareConfig
from ..kernels.analog import AnalogCells, SolvedCells
from ..kernels.gather import ReadPlan
from ..mapping.layout import ColumnLayout
from ..mapping.tiles import MappedLayer
from ..wires.effective import EffectiveCrossbar, approximate_crossbar, effective_crossbar
from ..wires.solved import NO_LINKS, wire_links
from .geometry import row_blocks

FloatArray = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class GroupCells:
    """Cells of one convolution group of one replica.

    Attributes:
        cells: for the kernel, in unit-cell counts.
        solved: crossbars that are solved read by read; none where column sums are sums of ``cells``.
        image_sigma_counts: (rows, columns) float32 of the noise that is frozen for an image, None without.
    """

    cells: AnalogCells
    solved: SolvedCells
    image_sigma_counts: NDArray[np.float32] | None


def is_solved(hw: HardwareConfig) -> bool:
    """Whether wires leave no linear transform: the input gates the cells, or their current is not linear."""
    wires, cell = hw.crossbar.wires, hw.crossbar.cell
    if wires is None or not isinstance(cell, CellModel):
        return False
    return wires.access == "gated" or cell.nonlinearity_per_V > 0


def wired_crossbar(mapped: MappedLayer, hw: HardwareConfig, conductance_uS: FloatArray) -> EffectiveCrossbar | None:
    """What wires make of a physical crossbar (rows, cols), None without wires or without a transform."""
    wires = hw.crossbar.wires
    if wires is None or is_solved(hw):
        return None
    if wires.method == "approximate":
        return approximate_crossbar(conductance_uS, wires)
    size = mapped.rows_per_read
    groups = [slice(first, first + size) for first in range(0, mapped.rows_per_crossbar, size)]
    return effective_crossbar(conductance_uS, wires, columns_per_adc=hw.adc.columns_per_adc, row_groups=groups)


def code_cells(codes: NDArray[np.uint8]) -> GroupCells:
    """Cells that are their codes."""
    cells = AnalogCells(codes.astype(np.float32), _no_rows(), np.zeros(codes.shape[0]), _no_pairs())
    return GroupCells(cells=cells, solved=not_solved(), image_sigma_counts=None)


class GroupBuilder:
    """Takes over crossbar after crossbar of a convolution group.

    Conductances are those of ``CellModel.programmed_uS``: with the gain that undoes drift. Currents flow without it.
    """

    def __init__(self, shape: tuple[int, ...], cell: CellModel, hw: HardwareConfig) -> None:
        self.cell, self.hw = cell, hw
        self.values = np.zeros(shape, dtype=np.float32)
        self.variance: NDArray[np.float32] | None = None
        self.image_sigma_counts: NDArray[np.float32] | None = None
        self.row_fJ = np.zeros(shape[0])
        self.pair_fJ: FloatArray | None = None
        self.solved = not_solved()
        self.pulse_fJ = cell.read_voltage_V**2 * cell.read_time_ns
        self.unit_uS = cell.unit_uS(hw.crossbar.cell_bits)
        self.base_uS = cell.conductance_min_uS if hw.crossbar.baseline == "subtracted" else 0.0

    def solve(self, mapped: MappedLayer, plan: ReadPlan, layout: ColumnLayout) -> None:
        """Keep whole crossbars, to be solved read by read."""
        wires, cell = self.hw.crossbar.wires, self.cell
        assert wires is not None
        stack = layout.crossbar[0] // mapped.row_blocks
        stacks, place = np.unique(stack, return_inverse=True)
        shape = (mapped.row_blocks, stacks.size, mapped.rows_per_crossbar, mapped.cols_per_crossbar)
        column = np.full((stacks.size, mapped.cols_per_crossbar), -1, dtype=np.int64)
        own = layout.own == np.arange(layout.own.size)
        column[place[own], layout.bitline[own]] = np.flatnonzero(own)
        links = wire_links(wires, read_voltage_V=cell.read_voltage_V, nonlinearity_per_V=cell.nonlinearity_per_V)
        self.solved = SolvedCells(
            conductance=np.zeros(shape),
            column=column,
            row_block=row_blocks(mapped, plan),
            links=links,
            counts_per_uA=cell.read_gain_ratio / (cell.read_voltage_V * self.unit_uS),
            base_counts=self.base_uS / self.unit_uS,
            fJ_per_uA=cell.read_voltage_V * cell.read_time_ns,
            add_values=False,
        )

    def add(
        self,
        conductance_uS: FloatArray,
        wired: EffectiveCrossbar | None,
        rows: slice,
        columns: IntArray,
        bitlines: IntArray,
        *,
        place: tuple[int, int],
        read_noise: bool,
    ) -> None:
        """Take over a crossbar of conductances (rows, cols), seen through its wires if it has any.

        Args:
            conductance_uS: as programmed.
            wired: transform of the conductances without gain.
            rows: rows of the group that it holds.
            columns: logical columns that it holds, and ``bitlines`` where.
            bitlines: bitline of each of them.
            place: (row block, stack) among crossbars that are solved.
            read_noise: whether reads scatter.
        """
        used, gain = rows.stop - rows.start, self.cell.read_gain_ratio
        if self.solved.conductance.size:
            self.solved.conductance[place] = conductance_uS / gain
        else:
            seen_uS = conductance_uS if wired is None else wired.transfer_uS * gain
            self.values[rows, columns] = (seen_uS[:used, bitlines] - self.base_uS) / self.unit_uS
        if wired is None:
            self.row_fJ[rows] += conductance_uS[:used].sum(axis=1) / gain * self.pulse_fJ
        else:
            self._add_pairs(wired.input_uS, rows)
        if not read_noise:
            return
        sigma, frozen = self.cell.read_sigma_uS(conductance_uS), self.cell.image_sigma_uS(conductance_uS)
        # First order: a cell's noise counts with its voltage, and with the share that reaches its amplifier.
        share = np.ones_like(conductance_uS) if wired is None else wired.cell_share * wired.noise_share
        if sigma is not None:
            if self.variance is None:
                self.variance = np.zeros_like(self.values)
            self.variance[rows, columns] = ((sigma * share)[:used, bitlines] / self.unit_uS) ** 2
        if frozen is not None:
            if self.image_sigma_counts is None:
                self.image_sigma_counts = np.zeros_like(self.values)
            self.image_sigma_counts[rows, columns] = (frozen * share)[:used, bitlines] / self.unit_uS

    def _add_pairs(self, input_uS: FloatArray, rows: slice) -> None:
        """Energy of rows driven together, for every pair of rows of one read."""
        size = self.hw.crossbar.rows_per_read
        if self.pair_fJ is None:
            self.pair_fJ = np.zeros((self.row_fJ.size, size))
        for first in range(rows.start, rows.stop, size):
            last = min(first + size, rows.stop)
            own = slice(first - rows.start, last - rows.start)
            self.pair_fJ[first:last, : last - first] += input_uS[own, own] * self.pulse_fJ

    def finished(self) -> GroupCells:
        """What was taken over."""
        variance = _no_rows() if self.variance is None else self.variance
        pairs = _no_pairs() if self.pair_fJ is None else self.pair_fJ
        cells = AnalogCells(self.values, variance, self.row_fJ, pairs)
        solved = self.solved._replace(add_values=self.image_sigma_counts is not None)
        return GroupCells(cells=cells, solved=solved, image_sigma_counts=self.image_sigma_counts)


def stored_arrays(group: GroupCells) -> dict[str, NDArray[np.floating[Any]]]:
    """Arrays of a group that is not solved read by read, by name; those that it does not have are left out."""
    named = {**group.cells._asdict(), "image_sigma_counts": group.image_sigma_counts}
    return {name: array for name, array in named.items() if array is not None and array.size}


def stored_shapes(shape: tuple[int, ...], hw: HardwareConfig) -> dict[str, tuple[int, ...]]:
    """Shapes of ``stored_arrays`` for (rows, columns) cells."""
    whole = dict.fromkeys(("values", "variance", "image_sigma_counts"), shape)
    return {**whole, "row_fJ": shape[:1], "pair_fJ": (shape[0], hw.crossbar.rows_per_read)}


def group_from(arrays: dict[str, NDArray[Any]]) -> GroupCells:
    """Group of its stored arrays."""
    cells = AnalogCells(
        arrays["values"], arrays.get("variance", _no_rows()), arrays["row_fJ"], arrays.get("pair_fJ", _no_pairs())
    )
    return GroupCells(cells=cells, solved=not_solved(), image_sigma_counts=arrays.get("image_sigma_counts"))


def not_solved() -> SolvedCells:
    """No crossbar is solved."""
    none = np.zeros((0, 0), dtype=np.int64)
    return SolvedCells(np.zeros((0, 0, 0, 0)), none, none[0:0].reshape(-1), NO_LINKS, 0.0, 0.0, 0.0, False)


def _no_rows() -> NDArray[np.float32]:
    return np.zeros((0, 0), dtype=np.float32)


def _no_pairs() -> FloatArray:
    return np.zeros((0, 0))
