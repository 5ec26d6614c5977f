"""Slow, obvious twin of crossbars whose cells conduct: physical arrays, one conversion at a time, float64 and Python.

Shares no code with what it judges. It lays every digit of every weight on a bitline of a physical crossbar, asks the
caller what the cells of that crossbar conduct, and converts column by column with an ADC that is simulated as it
works (bit by bit, step by step, comparator by comparator). Random numbers of reads are made here from Python integers.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import cache
from statistics import NormalDist
from typing import NamedTuple

import numpy as np

from spikeloop.simulator.draws import CellDraws

_MASK64, _MASK32 = 2**64 - 1, 2**32 - 1
STATIC, READS, IMAGES = 1, 2, 3


def splitmix64(value: int) -> int:
    """Output of SplitMix64 whose state was ``value`` before the step."""
    z = (value + 0x9E3779B97F4A7C15) & _MASK64
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & _MASK64
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & _MASK64
    return z ^ (z >> 31)


def fold(*words: int) -> int:
    key = 0
    for word in words:
        key = splitmix64(key ^ splitmix64(word))
    return key


def table_index(key: int, number: int) -> int:
    """Entry of the table of normal quantiles of draw ``number`` of a key."""
    low, high = key & _MASK32, key >> 32
    z = (low + number * 0x9E3779B1) & _MASK32
    z = ((z ^ (z >> 16)) * 0x7FEB352D) & _MASK32
    z ^= high
    z = ((z ^ (z >> 15)) * 0x846CA68B) & _MASK32
    return z >> 16


@cache
def quantile(index: int) -> float:
    """Normal quantile at the midpoint of interval ``index`` of 2^16."""
    return NormalDist().inv_cdf((index + 0.5) / 2**16)


def normal(key: int, number: int) -> float:
    return quantile(table_index(key, number))


# ---------------------------------------------------------------------------------------------------- converters


def sar_code(u: float, capacitors: Sequence[float]) -> int:
    """Successive approximation: keep a bit if the input reaches the level of what is kept with it."""
    code, kept = 0, 0.0
    for bit in reversed(range(len(capacitors))):
        level = kept + capacitors[bit] * 2**bit
        if u >= level - 0.5:
            code, kept = code + 2**bit, level
    return code


def ramp_code(u: float, steps: Sequence[float]) -> int:
    """A counter runs while the ramp has not passed the input; the ramp starts half a step low."""
    level, code = -0.5, 0
    for step in steps:
        level += step
        if u < level:
            break
        code += 1
    return code


def flash_code(u: float, resistors: Sequence[float], comparators: Sequence[float]) -> int:
    """Comparators that fire: tap k of a ladder on a fixed reference, half an lsb low, plus the comparator's offset."""
    total, below, fired = sum(resistors), 0.0, 0
    for resistor, offset in zip(resistors[:-1], comparators, strict=True):
        below += resistor
        fired += u >= below / total * len(resistors) - 0.5 + offset
    return fired


@dataclass(frozen=True, kw_only=True)
class Converter:
    """One ADC: ``curve`` None is an ideal transfer curve, else it gives the code of an input in lsb."""

    bits: int
    gain: float = 1.0
    offset: float = 0.0
    curve: Callable[[float], int] | None = None

    def code(self, u: float) -> int:
        if self.curve is not None:
            return self.curve(u)
        return min(max(math.floor(u + 0.5), 0), 2**self.bits - 1)

    def clips(self, u: float) -> bool:
        return u >= 2**self.bits - 0.5


@dataclass(frozen=True, kw_only=True)
class Mismatch:
    """Spread of the ADCs of a crossbar."""

    bits: int
    architecture: str = "sar"
    unit_sigma: float = 0.0
    comparator_sigma_lsb: float = 0.0
    offset_sigma_lsb: float = 0.0
    gain_sigma: float = 0.0

    def converters(self, key: int, n_adcs: int) -> list[Converter]:
        """ADCs of the crossbar with that key; draws 1001 gain, 1002 offset, 1003 units, 1004 comparators."""
        curves: list[Callable[[float], int] | None] = [None] * n_adcs
        if self.unit_sigma or self.comparator_sigma_lsb:
            curves = [self._curve(key, n_adcs, adc) for adc in range(n_adcs)]
        gains = 1.0 + self.gain_sigma * CellDraws(key=key, rows=1, cols=n_adcs).normal(1001)[0]
        offsets = self.offset_sigma_lsb * CellDraws(key=key, rows=1, cols=n_adcs).normal(1002)[0]
        return [
            Converter(bits=self.bits, gain=max(float(gains[a]), 0.0), offset=float(offsets[a]), curve=curves[a])
            for a in range(n_adcs)
        ]

    def _curve(self, key: int, n_adcs: int, adc: int) -> Callable[[float], int]:
        count = {"sar": self.bits, "ramp": 2**self.bits - 1, "flash": 2**self.bits}[self.architecture]
        z = CellDraws(key=key, rows=count, cols=n_adcs).normal(1003)[:, adc].tolist()
        if self.architecture == "sar":
            capacitors = [max(1.0 + self.unit_sigma * z[b] / math.sqrt(2**b), 0.0) for b in range(count)]
            return lambda u: sar_code(u, capacitors)
        units = [max(1.0 + self.unit_sigma * value, 0.0) for value in z]
        if self.architecture == "ramp":
            return lambda u: ramp_code(u, units)
        offsets = CellDraws(key=key, rows=count - 1, cols=n_adcs).normal(1004)[:, adc] * self.comparator_sigma_lsb
        comparators = offsets.tolist()
        return lambda u: flash_code(u, units, comparators)


# --------------------------------------------------------------------------------------------------- the crossbars


@dataclass(frozen=True, kw_only=True)
class CellSpec:
    """Cells that conduct. ``conduct(key, codes)`` gives uS (rows, cols); ``white`` and ``frozen`` their deviations."""

    conduct: Callable[[int, np.ndarray], np.ndarray]
    white: Callable[[np.ndarray], np.ndarray | None]
    frozen: Callable[[np.ndarray], np.ndarray | None]
    unit_uS: float
    base_uS: float
    pulse_fJ_per_uS: float


@dataclass(frozen=True, kw_only=True)
class Spec:
    """A layer on its crossbars, in plain numbers; ``weights[group][row][output]``, ``vectors`` as in ``windows``.

    ``lsb[crossbar]`` of one replica; ``replica_of[position]``; ``cells`` None: the column sums are those of the codes.
    """

    weights: np.ndarray
    kind: str
    weight_bits: int
    cell_bits: int
    rows: int
    cols: int
    rows_active: int
    input_bits: int
    input_signed: bool
    replica_of: Sequence[int]
    lsb: Sequence[int]
    mismatch: Mismatch
    columns_per_adc: int
    noise_sigma_lsb: float = 0.0
    cells: CellSpec | None = None
    dummy_column: bool = False
    seed: int = 0
    chip: int = 0
    layer: int = 0


class Column(NamedTuple):
    """Bitline of a group as outputs see it: ``number`` keys its noise; ``weight`` of a code, lsb and plane apart."""

    number: int
    outputs: range
    piece: int
    sign: int
    weight: int
    is_dummy: bool


@dataclass(kw_only=True)
class TwinReads:
    """``sums[(run, image, channel, position)]``: every sum that float32 may give; ``clipped``: fewest and most."""

    sums: dict[tuple[int, int, int, int], set[int]] = field(default_factory=dict)
    active: dict[tuple[int, int, int, int, int], int] = field(default_factory=dict)
    conversions: list[int] = field(default_factory=list)
    clipped: list[list[int]] = field(default_factory=list)
    energy_fJ: dict[tuple[int, int], float] = field(default_factory=dict)
    ambiguous: int = 0
    negative: int = 0
    padded_cells: int = 0


class Layout:
    """Where the digits of a group's outputs lie."""

    def __init__(self, spec: Spec) -> None:
        self.signs = 2 if spec.kind == "differential" else 1
        magnitude = spec.weight_bits - 1 if spec.kind == "differential" else spec.weight_bits
        self.slices = max(1, math.ceil(magnitude / spec.cell_bits))
        self.groups, self.matrix_rows, self.outputs = spec.weights.shape
        self.row_blocks = math.ceil(self.matrix_rows / spec.rows)
        self.reads = math.ceil(spec.rows / spec.rows_active)
        self.has_dummy = spec.dummy_column and spec.kind != "differential"
        self.cols = spec.cols - 1 if self.has_dummy else spec.cols
        wide = self.signs * self.slices
        self.outputs_per_block = max(1, self.cols // wide)
        self.spans = math.ceil(wide / self.cols)
        self.blocks = math.ceil(self.outputs / self.outputs_per_block)
        self.crossbars = self.groups * self.blocks * self.spans * self.row_blocks

    def columns(self, spec: Spec) -> list[Column]:
        """Digits by sign, slice, output; then the dummy column of each output block."""
        gain = 2 if spec.kind == "affine" else 1
        found = []
        for sign, piece, output in itertools.product(range(self.signs), range(self.slices), range(self.outputs)):
            weight = gain * 2 ** (spec.cell_bits * piece) * (-1 if sign else 1)
            found.append(Column(len(found), range(output, output + 1), piece, sign, weight, False))
        if self.has_dummy:
            for first in range(0, self.outputs, self.outputs_per_block):
                outputs = range(first, min(first + self.outputs_per_block, self.outputs))
                number = self.signs * self.slices * self.outputs + first
                found.append(Column(number, outputs, 0, 0, -input_offset(spec), True))
        return found

    def place(self, group: int, row_block: int, column: Column) -> tuple[int, int]:
        """(crossbar of one replica, bitline): crossbars by output block, span, row block."""
        block, inside = divmod(column.outputs.start, self.outputs_per_block)
        span, bitline = divmod((inside * self.slices + column.piece) * self.signs + column.sign, self.cols)
        if column.is_dummy:
            span, bitline = 0, self.cols
        return (((group * self.blocks + block) * self.spans) + span) * self.row_blocks + row_block, bitline


def input_offset(spec: Spec) -> int:
    """What is taken from a sum for each unit of input."""
    return {"differential": 0, "offset": 2 ** (spec.weight_bits - 1), "affine": 2**spec.weight_bits - 1}[spec.kind]


def cell_code(weight: int, spec: Spec, piece: int, sign: int) -> int:
    if spec.kind == "differential":
        number = max(weight, 0) if sign == 0 else max(-weight, 0)
    elif spec.kind == "offset":
        number = weight + 2 ** (spec.weight_bits - 1)
    else:
        number = (weight + 2**spec.weight_bits - 1) // 2
    return number // 2 ** (spec.cell_bits * piece) % 2**spec.cell_bits


def read_twin(spec: Spec, vectors: np.ndarray, images: Sequence[int]) -> TwinReads:
    """Reads of ``vectors[run][image][group][position]``, each a vector of rows; ``images`` are data set indices."""
    layout, found = Layout(spec), TwinReads()
    found.conversions = [0] * layout.crossbars
    found.clipped = [[0, 0] for _ in range(layout.crossbars)]
    for group in range(layout.groups):
        for replica in range(max(spec.replica_of) + 1):
            chip = _Chip(spec, layout, group, replica)
            found.padded_cells += chip.padded_cells
            for run, image in itertools.product(range(vectors.shape[0]), range(vectors.shape[1])):
                for position in range(vectors.shape[3]):
                    if spec.replica_of[position] == replica:
                        vector = vectors[run, image, group, position].tolist()
                        chip.read(vector, run, image, images[image], position, found)
    return found


class _Chip:
    """The crossbars that compute one convolution group in one replica."""

    def __init__(self, spec: Spec, layout: Layout, group: int, replica: int) -> None:
        self.spec, self.layout, self.group, self.replica = spec, layout, group, replica
        self.columns = layout.columns(spec)
        shape = (layout.matrix_rows, len(self.columns))
        self.values, self.variance, self.frozen = np.zeros(shape), np.zeros(shape), np.zeros(shape)
        self.row_fJ = [0.0] * layout.matrix_rows
        self.adcs: dict[int, list[Converter]] = {}
        self.padded_cells = 0
        self._images: dict[int, np.ndarray] = {}
        for block in range(layout.row_blocks):
            self._program(block)

    def _key(self, crossbar: int) -> int:
        spec = self.spec
        return fold(STATIC, spec.seed, spec.chip, spec.layer, self.replica * self.layout.crossbars + crossbar)

    def _program(self, block: int) -> None:
        spec, rows = (
            self.spec,
            range(block * self.spec.rows, min((block + 1) * self.spec.rows, self.layout.matrix_rows)),
        )
        arrays: dict[int, np.ndarray] = {}
        places = [self.layout.place(self.group, block, column) for column in self.columns]
        for column, (crossbar, bitline) in zip(self.columns, places, strict=True):
            if crossbar not in arrays:
                arrays[crossbar] = np.zeros((spec.rows, spec.cols), dtype=np.uint8)
                arrays[crossbar][: len(rows), spec.cols - 1] = self.layout.has_dummy
            if not column.is_dummy:
                for r in rows:
                    weight = int(spec.weights[self.group, r, column.outputs.start])
                    arrays[crossbar][r - rows.start, bitline] = cell_code(weight, spec, column.piece, column.sign)
        self.padded_cells += sum(array.size for array in arrays.values()) - len(places) * len(rows)
        for crossbar, array in arrays.items():
            self.adcs[crossbar] = spec.mismatch.converters(self._key(crossbar), spec.cols // spec.columns_per_adc)
            mine = [(c, place[1]) for c, place in enumerate(places) if place[0] == crossbar]
            self._take(self._key(crossbar), array, rows, mine)

    def _take(self, key: int, array: np.ndarray, rows: range, mine: list[tuple[int, int]]) -> None:
        cells = self.spec.cells
        if cells is None:
            for column, bitline in mine:
                self.values[rows.start : rows.stop, column] = array[: len(rows), bitline]
            return
        conductance = cells.conduct(key, array)
        white, frozen = cells.white(conductance), cells.frozen(conductance)
        for r in rows:
            self.row_fJ[r] += math.fsum(conductance[r - rows.start].tolist()) * cells.pulse_fJ_per_uS
            for column, bitline in mine:
                here = (r - rows.start, bitline)
                self.values[r, column] = (conductance[here] - cells.base_uS) / cells.unit_uS
                if white is not None:
                    self.variance[r, column] = (white[here] / cells.unit_uS) ** 2
                if frozen is not None:
                    self.frozen[r, column] = frozen[here] / cells.unit_uS

    def _values_of(self, image: int) -> np.ndarray:
        """Cells while an image is computed, its slow noise included."""
        if not self.frozen.any():
            return self.values
        if image not in self._images:
            spec = self.spec
            key = fold(IMAGES, spec.seed, spec.chip, spec.layer, self.group, self.replica, image)
            noise = [
                [normal(splitmix64(key ^ r), column.number) for column in self.columns]
                for r in range(self.values.shape[0])
            ]
            self._images[image] = self.values + self.frozen * np.array(noise)
        return self._images[image]

    def read(self, vector: list[int], run: int, place: int, image: int, position: int, found: TwinReads) -> None:
        spec, layout = self.spec, self.layout
        sums = [{0} for _ in range(layout.outputs)]
        for plane in range(spec.input_bits):
            weight = -(2**plane) if spec.input_signed and plane == spec.input_bits - 1 else 2**plane
            bits = [value % 2**spec.input_bits >> plane & 1 for value in vector]
            for block, read in itertools.product(range(layout.row_blocks), range(layout.reads)):
                start = block * spec.rows + read * spec.rows_active
                stop = min(start + spec.rows_active, (block + 1) * spec.rows, layout.matrix_rows)
                driven = [r for r in range(start, stop) if bits[r]]
                slot = (self.group * layout.row_blocks + block) * layout.reads + read
                found.active[run, place, position, plane, slot] = len(driven)
                energy = math.fsum(self.row_fJ[r] for r in driven)
                found.energy_fJ[place, run] = found.energy_fJ.get((place, run), 0.0) + energy
                if driven:
                    key = fold(READS, spec.seed, spec.chip, spec.layer)
                    key = splitmix64(key ^ image)
                    key = splitmix64(key ^ (run << 40) ^ position)
                    key = splitmix64(key ^ (plane << 40) ^ slot)
                    self._convert(driven, block, key, image, weight, sums, found)
        counted = 0 if layout.has_dummy else sum(vector)
        for output, values in enumerate(sums):
            at = (run, place, self.group * layout.outputs + output, position)
            found.sums[at] = {value - input_offset(spec) * counted for value in values}

    def _convert(
        self, driven: list[int], block: int, key: int, image: int, weight: int, sums: list[set[int]], found: TwinReads
    ) -> None:
        spec = self.spec
        picked = self._values_of(image)[driven]
        column_sums, magnitudes = picked.sum(axis=0), np.abs(picked).sum(axis=0)
        variances = self.variance[driven].sum(axis=0)
        exact = spec.cells is None and not spec.noise_sigma_lsb
        for c, column in enumerate(self.columns):
            crossbar, bitline = self.layout.place(self.group, block, column)
            adc, lsb = self.adcs[crossbar][bitline // spec.columns_per_adc], spec.lsb[crossbar]
            deviation = math.sqrt(variances[c] + (spec.noise_sigma_lsb * lsb) ** 2)
            total = float(column_sums[c])
            if deviation:
                total += deviation * normal(key, column.number)
            u = total * adc.gain / lsb + adc.offset
            # float32 in the kernel: 1e-4 lsb, and 1e-6 of what was added up.
            slack = 1e-4 + 1e-6 * (magnitudes[c] + 5 * deviation) * adc.gain / lsb
            if exact and (adc.gain, adc.offset, adc.curve) == (1.0, 0.0, None):
                slack = 0.0
            codes = {adc.code(u - slack), adc.code(u), adc.code(u + slack)}
            found.ambiguous += len(codes) > 1
            found.negative += u < -0.5
            found.conversions[crossbar] += 1
            found.clipped[crossbar][0] += adc.clips(u - slack)
            found.clipped[crossbar][1] += adc.clips(u + slack)
            for output in column.outputs:
                sums[output] = {value + weight * column.weight * lsb * code for value in sums[output] for code in codes}


def windows(codes: np.ndarray, groups: int, kernel: tuple[int, int], stride: int, padding: int) -> np.ndarray:
    """Vectors (runs, images, groups, positions, rows) of codes (runs, B, C, H, W), channel-major, zero padding."""
    runs, batch, channels, height, width = codes.shape
    each = channels // groups
    tops = range(-padding, height + padding - kernel[0] + 1, stride)
    lefts = range(-padding, width + padding - kernel[1] + 1, stride)
    out = np.zeros((runs, batch, groups, len(tops) * len(lefts), each * kernel[0] * kernel[1]), dtype=np.int64)
    for position, (top, left) in enumerate(itertools.product(tops, lefts)):
        inside = itertools.product(range(each), range(kernel[0]), range(kernel[1]))
        for row, (channel, dy, dx) in enumerate(inside):
            y, x = top + dy, left + dx
            if 0 <= y < height and 0 <= x < width:
                for group in range(groups):
                    out[:, :, group, position, row] = codes[:, :, group * each + channel, y, x]
    return out
