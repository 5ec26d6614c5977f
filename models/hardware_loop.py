"""Training through the crossbars of a design: partial sums of row groups, converted, with straight-through gradients.

Forward: the sums of docs/model.md, "Weights on cells" and "ADC", for each row group, bit plane, slice and sign:
code = clip(floor(S/lsb + 1/2), 0, 2^bits - 1), P = place-weighted sum of code*lsb less input_offset * sum(x). Without
variation and noise these are the integers of the functional simulator. Backward: as if each conversion gave S itself,
and 0 where it clips. A weight's slices and signs have no gradient of their own: a row group passes the share of its
place value (planes, slices, signs) that did not clip, to the product of its weight codes and input codes.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn import functional

from spikeloop.simulator.config import HardwareConfig, UniformAdc
from spikeloop.simulator.functional.adc import LayerShift
from spikeloop.simulator.functional.geometry import piece_weights, read_plan, row_blocks
from spikeloop.simulator.functional.reads import shift_table
from spikeloop.simulator.kernels import reads_train
from spikeloop.simulator.mapping.layout import column_layout
from spikeloop.simulator.mapping.slices import SliceScheme
from spikeloop.simulator.mapping.tiles import MappedLayer

from .hardware_cells import CellPool

#: ``cut``: no gradient through a conversion that clips; ``plain``: as if none clipped.
GradientForm = Literal["cut", "plain"]

#: Column sums that are held at once.
_CHUNK_SUMS = 2**23
_FLOAT32_EXACT = 2**24


class Converters(NamedTuple):
    """ADCs of the columns, all (row groups, 1, columns): sums in lsb are ``S * scale + offset``."""

    scale: torch.Tensor
    offset: torch.Tensor
    #: What a code adds to the output of its column.
    weight: torch.Tensor
    #: Variance of one conversion in unit-cell counts squared, None without.
    variance: torch.Tensor | None


class Chip(NamedTuple):
    """Cells and ADCs that a read uses: (row groups, rows of a group, columns) and ``Converters``."""

    values: torch.Tensor
    variance: torch.Tensor | None
    adc: Converters

    @property
    def is_noisy(self) -> bool:
        """Whether reads or conversions draw noise."""
        return self.variance is not None or self.adc.variance is not None


_Passes = torch.Tensor | None
#: Reads one bit plane (number, place, share of the place value) into sums and ``passes``; returns how many clipped.
_PlaneReader = Callable[[int, float, float, torch.Tensor, _Passes], int]


class CrossbarReads:
    """The reads of one layer on its crossbars; replicas of a layer count as one.

    Attributes:
        clipped, conversions: conversions since ``start_count``, of driven and undriven reads alike.
    """

    def __init__(
        self,
        mapped: MappedLayer,
        hw: HardwareConfig,
        *,
        generator: torch.Generator,
        pool: CellPool | None,
        variation: bool,
        read_noise: bool,
        gradient: GradientForm = "cut",
    ) -> None:
        """Geometry of a layer's reads.

        Args:
            mapped: layer on its crossbars; its weights do not matter, their widths do.
            hw: design.
            generator: of every draw, on the device of the network.
            pool: conductances of cells, None where cells are ideal.
            variation: draw cells and ADCs anew for each training pass.
            read_noise: draw the noise of reads and conversions.
            gradient: what a conversion that clips passes back.
        """
        self.mapped, self.hw, self.generator, self.pool = mapped, hw, generator, pool
        self.variation, self.read_noise, self.gradient = variation, read_noise, gradient
        self.scheme: SliceScheme = mapped.scheme
        self.plan = read_plan(mapped, 0)
        layout, self._blocks = column_layout(mapped, 0), row_blocks(mapped, self.plan)
        self._own = torch.from_numpy(layout.own)
        self._counted = torch.from_numpy(np.unique(layout.own))
        instances = layout.adc(hw.adc.columns_per_adc, mapped.cols_per_crossbar)[self._blocks]
        _, dense = np.unique(instances, return_inverse=True)
        self._instance = torch.from_numpy(dense.reshape(instances.shape))
        self._rows = _row_table(self.plan.group_start, self.plan.group_len, mapped.layer.n_rows)
        self._piece_share = self._shares()
        self.clipped = self.conversions = 0
        self.set_shift(0)

    def set_shift(self, shift: LayerShift) -> None:
        """Take the log2 of the lsb of the layer's ADCs, or of each crossbar's."""
        lsb = 2.0 ** shift_table(self.mapped, 0, self.plan, shift).astype(np.float64)
        weight = lsb * np.repeat(piece_weights(self.scheme), self.plan.n_outputs)[None, :]
        bound = float(2**self.hw.adc_bits - 1) * float(np.abs(weight).sum()) * 2.0**self.plan.n_planes
        dtype = torch.float32 if bound / self.plan.n_outputs < _FLOAT32_EXACT else torch.float64
        self._lsb = torch.from_numpy(lsb.astype(np.float32))[:, None, :]
        self._weight = torch.from_numpy(weight)[:, None, :].to(dtype)

    def start_count(self) -> None:
        """Count conversions from here on."""
        self.clipped = self.conversions = 0

    def training_sums(self, codes: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """Sums (S, B, C_out, H, W) of codes (S, B, C, H, W), with gradients to both; weights are codes too."""
        chip = self._chip(weight, variation=self.variation, read_noise=self.read_noise)
        return self._sums(codes, weight, chip, torch.float32)

    @torch.no_grad()
    def exact_sums(self, codes: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
        """The same without variation and noise, float64 that holds integers where cells are ideal."""
        chip = self._chip(weight, variation=False, read_noise=False)
        return self._sums(codes, weight, chip, torch.float64)

    def _sums(self, codes: torch.Tensor, weight: torch.Tensor, chip: Chip, dtype: torch.dtype) -> torch.Tensor:
        layer, flat = self.mapped.layer, codes.flatten(0, 1).to(torch.float32)
        if layer.kind == "linear":
            windows = flat.flatten(1)
        else:
            columns = functional.unfold(flat, layer.kernel, padding=layer.padding, stride=layer.stride)
            windows = columns.transpose(1, 2).flatten(0, 1)
        matrix = weight.flatten(1).T
        sums = _Reads.apply(windows, matrix, self, chip).to(dtype)  # type: ignore[no-untyped-call]
        n_outputs = sums.shape[1]
        shaped = sums.reshape(flat.shape[0], layer.n_positions, n_outputs).transpose(1, 2)
        whole: torch.Tensor = shaped.reshape(*codes.shape[:2], n_outputs, *layer.out_shape[1:])
        return whole

    @torch.no_grad()
    def _chip(self, weight: torch.Tensor, *, variation: bool, read_noise: bool) -> Chip:
        cells = _cells(weight.detach().flatten(1).T, self.scheme)
        noise, values = None, cells.to(torch.float32)
        if self.pool is not None:
            values, noise = self.pool.drawn(cells, self.generator) if variation else self.pool.meant(cells)
            # A dummy column is one column, whichever output it serves.
            values = values[:, self._own.to(values.device)]
        return Chip(
            values=self._grouped(values),
            variance=None if noise is None or not read_noise else self._grouped(noise[:, self._own.to(noise.device)]),
            adc=self._converters(weight.device, variation=variation, read_noise=read_noise),
        )

    def _grouped(self, rows: torch.Tensor) -> torch.Tensor:
        """(row groups, rows of a group, columns) of (rows, columns); padding is 0."""
        padded = torch.cat([rows, torch.zeros_like(rows[:1])])
        return padded[self._rows.to(rows.device)]

    def _converters(self, device: torch.device, *, variation: bool, read_noise: bool) -> Converters:
        adc, lsb = self.hw.adc, self._lsb.to(device)
        scale, offset, variance = 1.0 / lsb, torch.full_like(lsb, 0.0), None
        if isinstance(adc, UniformAdc) and variation:
            instance = self._instance.to(device)
            if adc.gain_sigma:
                scale = scale * (1.0 + adc.gain_sigma * self._per_adc(instance)).clamp(min=0.0)
            if adc.offset_sigma_lsb:
                offset = adc.offset_sigma_lsb * self._per_adc(instance)
        if isinstance(adc, UniformAdc) and read_noise and adc.noise_sigma_lsb:
            variance = (adc.noise_sigma_lsb * lsb) ** 2
        return Converters(scale, offset, self._weight.to(device), variance)

    def _per_adc(self, instance: torch.Tensor) -> torch.Tensor:
        drawn = torch.randn(int(self._instance.max()) + 1, generator=self.generator, device=instance.device)
        return drawn[instance][:, None, :]

    def _shares(self) -> torch.Tensor:
        """(pieces,) share of each sign and slice in the place value of a weight; a dummy column has none."""
        signed = self.scheme.n_signs * self.scheme.n_slices
        place = torch.from_numpy(np.abs(piece_weights(self.scheme)).astype(np.float32))
        place[signed:] = 0.0
        return place / place.sum()

    def convert(self, windows: torch.Tensor, chip: Chip, passes: torch.Tensor | None) -> torch.Tensor:
        """(M, outputs) sums of windows (M, rows); ``passes`` (M, row groups, outputs) is filled if given.

        On a CPU through the kernel (``reads_train.py``), elsewhere and with SPIKELOOP_READS=torch in torch: the same
        draws, and the same sums but for the order in which scattered cells are added.
        """
        plan, device = self.plan, windows.device
        total = torch.zeros((windows.shape[0], plan.n_outputs), dtype=chip.adc.weight.dtype, device=device)
        read_plane = self._kernel_reads(windows, chip) if _kernel_takes(windows) else self._torch_reads(windows, chip)
        for plane in range(plan.n_planes):
            place = float(1 << plane)
            share = place / float((1 << plan.n_planes) - 1)
            negative = plan.signed_input and plane == plan.n_planes - 1
            self.clipped += read_plane(plane, -place if negative else place, share, total, passes)
            self.conversions += self.n_groups * windows.shape[0] * self._counted.numel()
        if plan.input_offset:
            total -= plan.input_offset * windows.sum(1, keepdim=True).to(total.dtype)
        return total

    def _kernel_reads(self, windows: torch.Tensor, chip: Chip) -> _PlaneReader:
        given, tables = windows.contiguous().numpy(), self._tables(chip)
        size = (self.n_groups, windows.shape[0], self.n_columns)
        none = np.empty((0, 0, 0), np.float32)

        def read(plane: int, place: float, share_of_plane: float, total: torch.Tensor, passes: _Passes) -> int:
            return int(
                reads_train.read_plane(
                    given,
                    plane,
                    total.numpy().dtype.type(place),
                    np.float32(share_of_plane),
                    tables,
                    self._normal(size, windows.device).numpy() if chip.is_noisy else none,
                    total.numpy(),
                    none if passes is None else passes.numpy(),
                )
            )

        return read

    def _tables(self, chip: Chip) -> reads_train.ReadTables:
        adc, shape, none = chip.adc, (self.n_groups, self.n_columns), torch.empty((0, 0, 0))
        counted = np.zeros(self.n_columns, np.int32)
        counted[self._counted.numpy()] = 1

        def columns(values: torch.Tensor) -> NDArray[Any]:
            found: NDArray[Any] = values.expand(shape[0], 1, shape[1]).reshape(shape).contiguous().numpy()
            return found

        return reads_train.ReadTables(
            start=self.plan.group_start,
            length=self.plan.group_len,
            values=chip.values.contiguous().numpy(),
            variance=(none if chip.variance is None else chip.variance.contiguous()).numpy(),
            scale=columns(adc.scale),
            offset=columns(adc.offset + 0.5),
            adc_variance=none.view(0, 0).numpy() if adc.variance is None else columns(adc.variance),
            weight=columns(adc.weight),
            own=self._own.numpy(),
            counted=counted,
            share=self._piece_share.numpy(),
            top=np.float32(2**self.hw.adc_bits - 1),
        )

    def _torch_reads(self, windows: torch.Tensor, chip: Chip) -> _PlaneReader:
        device = windows.device
        padded = functional.pad(windows, (0, 1))
        grouped = padded[:, self._rows.to(device)].transpose(0, 1)
        whole = grouped.to(torch.int32) if self.plan.n_planes > 1 else None
        counted, piece_share = self._counted.to(device), self._piece_share.to(device)

        def read(plane: int, place: float, share_of_plane: float, total: torch.Tensor, passes: _Passes) -> int:
            driven = grouped if whole is None else ((whole >> plane) & 1).to(torch.float32)
            codes, over = self._codes(driven, chip)
            partial = torch.unflatten(codes.to(total.dtype) * chip.adc.weight, 2, (-1, total.shape[1])).sum(2)
            total += place * partial.sum(0)
            if passes is not None:
                clear = torch.unflatten(~over, 2, (-1, total.shape[1])).to(torch.float32)
                passes += share_of_plane * torch.einsum("gmpo,p->mgo", clear, piece_share)
            return int(over[..., counted].sum())

        return read

    def _normal(self, size: tuple[int, ...], device: torch.device) -> torch.Tensor:
        return torch.randn(size, generator=self.generator, device=device)

    def _codes(self, driven: torch.Tensor, chip: Chip) -> tuple[torch.Tensor, torch.Tensor]:
        """Codes of every column, and whether the conversion clipped."""
        sums = torch.bmm(driven, chip.values)
        if chip.is_noisy:
            variance = torch.zeros_like(sums) if chip.variance is None else torch.bmm(driven, chip.variance)
            if chip.adc.variance is not None:
                variance = variance + chip.adc.variance
            z = self._normal(tuple(sums.shape), sums.device)
            sums = sums + variance.clamp(min=0).sqrt() * z[..., self._own.to(z.device)]
        # A read without driven rows does not happen: neither an offset nor noise of an ADC gives it a code.
        codes = torch.floor(sums * chip.adc.scale + (chip.adc.offset + 0.5)) * driven.any(2, keepdim=True)
        top = float(2**self.hw.adc_bits - 1)
        return codes.clamp(0.0, top), (codes > top) | (codes < 0)

    @property
    def n_groups(self) -> int:
        """Reads that a window takes: row groups, one after the other."""
        return int(self.plan.group_start.size)

    @property
    def n_columns(self) -> int:
        """Columns of all signs, slices and dummies."""
        return int(self._own.numel())


class _Reads(torch.autograd.Function):
    """All row groups of a layer as one graph node."""

    @staticmethod
    def forward(
        ctx: Any, windows: torch.Tensor, matrix: torch.Tensor, reads: CrossbarReads, chip: Chip
    ) -> torch.Tensor:
        wanted = any(ctx.needs_input_grad[:2]) and reads.gradient == "cut"
        n_groups = reads.n_groups
        size = (windows.shape[0], n_groups, reads.plan.n_outputs)
        passes = torch.zeros(size, device=windows.device) if wanted else None
        step = max(1, _CHUNK_SUMS // (n_groups * reads.n_columns))
        parts = []
        for first in range(0, max(windows.shape[0], 1), step):  # a part of a batch may be empty
            rows = slice(first, first + step)
            parts.append(reads.convert(windows[rows], chip, None if passes is None else passes[rows]))
        ctx.reads = reads
        ctx.save_for_backward(windows, matrix, *([] if passes is None else [passes]))
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *grads: torch.Tensor) -> tuple[torch.Tensor | None, torch.Tensor | None, None, None]:
        windows, matrix, *passes = ctx.saved_tensors
        reads, grad = ctx.reads, grads[0].to(matrix.dtype)
        if not passes:
            to_windows = grad @ matrix.T if ctx.needs_input_grad[0] else None
            return to_windows, windows.T @ grad if ctx.needs_input_grad[1] else None, None, None
        own = [grad * clear for clear in passes[0].unbind(1)]
        rows = [slice(first, first + n) for first, n in zip(reads.plan.group_start, reads.plan.group_len, strict=True)]
        to_windows = to_matrix = None
        if ctx.needs_input_grad[0]:
            to_windows = torch.cat([part @ matrix[of].T for part, of in zip(own, rows, strict=True)], 1)
        if ctx.needs_input_grad[1]:
            to_matrix = torch.cat([windows[:, of].T @ part for part, of in zip(own, rows, strict=True)])
        return to_windows, to_matrix, None, None


def _kernel_takes(windows: torch.Tensor) -> bool:
    return windows.device.type == "cpu" and os.environ.get("SPIKELOOP_READS") != "torch"


def _row_table(start: np.ndarray, length: np.ndarray, n_rows: int) -> torch.Tensor:
    offset = np.arange(int(length.max()))[None, :]
    table = np.where(offset < length[:, None], start[:, None] + offset, n_rows)
    return torch.from_numpy(table.astype(np.int64))


def _cells(matrix: torch.Tensor, scheme: SliceScheme) -> torch.Tensor:
    """Cell codes (rows, columns) int64 of weight codes (rows, outputs), columns as in ``layer_cells``."""
    weights = matrix.round().to(torch.int64)
    if scheme.kind == "differential":
        stored = [weights.clamp(min=0), (-weights).clamp(min=0)]
    else:
        shifted = weights + scheme.input_offset
        stored = [shifted if scheme.kind == "offset" else shifted // 2]
    mask = (1 << scheme.cell_bits) - 1
    pieces = [(part >> (s * scheme.cell_bits)) & mask for part in stored for s in range(scheme.n_slices)]
    return torch.cat(pieces + [torch.ones_like(weights)] * scheme.dummy_columns, dim=1)
