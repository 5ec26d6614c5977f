"""A network on the crossbars of one chip as torch tensors: whole test sets at once, on a GPU if there is one.

Cells, ADCs and ranges are those of the simulator (``AnalogChip``), and so are all integers: where cells are ideal the
logits are the same numbers. Sums of varying cells are 32-bit floats here as there, added in another order: a code may
differ where a sum lies within 1e-6 of its size from a threshold. Read noise has the same distribution, drawn by torch.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.errors import ConfigError, DatasetError
from spikeloop.simulator.functional.adc import LayerShift
from spikeloop.simulator.functional.analog import AnalogChip, has_neuron_faults
from spikeloop.simulator.functional.geometry import read_plan
from spikeloop.simulator.functional.programmed import is_solved
from spikeloop.simulator.functional.reads import shift_table
from spikeloop.simulator.kernels.analog import AnalogAdc
from spikeloop.simulator.kernels.gather import ReadPlan
from spikeloop.simulator.mapping.tiles import MappedLayer, Mapping
from spikeloop.simulator.network.graph import (
    AddNode,
    BatchNormNode,
    ConvNode,
    FlattenNode,
    InputNode,
    LifNode,
    LinearNode,
    Network,
    Node,
    ReadoutNode,
    SumPoolNode,
)

Tensor = torch.Tensor
#: Window elements that are held at once; more takes more memory and is hardly faster.
_CHUNK_ELEMENTS = 2**25


@dataclass(frozen=True, kw_only=True, eq=False)
class _Group:
    """Crossbars of one replica of a convolution group, on the device."""

    plan: ReadPlan
    values: Tensor
    variance: Tensor | None
    adc: AnalogAdc
    #: Of ``adc``: (row groups, columns) each.
    scale: Tensor
    offset: Tensor
    weight: Tensor
    noise: Tensor | None
    thresholds: Tensor | None
    #: (positions, rows) place of each window's elements in a padded input.
    index: Tensor


class TorchCrossbars:
    """Network, mapping and chip as tensors on a device.

    Attributes:
        network: what is computed.
        device: where.
    """

    def __init__(
        self,
        network: Network,
        mapping: Mapping,
        hw: HardwareConfig,
        *,
        adc_shift: Sequence[LayerShift],
        seed: int = 0,
        chip: int = 0,
        device: str | torch.device = "cpu",
    ) -> None:
        """Program the chip and move it to the device.

        Args:
            network: quantised network.
            mapping: its crossbars.
            hw: design.
            adc_shift: of ``calibrate_adc``.
            seed: of the chip's draws, and of read noise.
            chip: number of the chip.
            device: torch device.

        Raises:
            ConfigError: the design has what only the simulator computes: crossbars solved read by read, noise that is
                frozen for an image, faults of neurons.
        """
        self.network, self.device = network, torch.device(device)
        if is_solved(hw):
            raise ConfigError(f"hardware {hw.name}: gated or non-linear cells are solved by the simulator only; use it")
        if has_neuron_faults(hw):
            raise ConfigError(f"hardware {hw.name}: faults of neurons are computed by the simulator only; use it")
        self._noise = torch.Generator(device=self.device)
        self._noise.manual_seed(seed)
        silicon = AnalogChip(hw=hw, seed=seed, chip=chip)
        self._mapped = {item.layer.name: item for item in mapping.layers}
        self._groups = {
            item.layer.name: [
                [self._group(silicon, item, group, replica, shift) for replica in range(item.n_replicas)]
                for group in range(item.layer.n_groups)
            ]
            for item, shift in zip(mapping.layers, adc_shift, strict=True)
        }

    def logits(self, codes: NDArray[np.integer[Any]], batch_size: int = 256) -> NDArray[np.int64]:
        """(B, classes) logits of input codes, (B, C, H, W) if they are static and else (T, B, C, H, W).

        Raises:
            DatasetError: codes of another shape.
        """
        static = self.network.input.static
        steps = 1 if static else self.network.n_timesteps
        whole = codes[None] if static else codes
        if whole.ndim != 5 or whole.shape[0] != steps or whole.shape[2:] != self.network.input.shape:
            raise DatasetError(
                f"network {self.network.name}: codes of shape {codes.shape}; it takes "
                f"{'images' if static else f'{steps} steps of images'} of shape {self.network.input.shape}"
            )
        parts = [self._logits(whole[:, i : i + batch_size]) for i in range(0, whole.shape[1], batch_size)]
        return np.concatenate(parts) if parts else np.zeros((0, self.network.n_classes), dtype=np.int64)

    @torch.no_grad()
    def _logits(self, codes: NDArray[np.integer[Any]]) -> NDArray[np.int64]:
        given = torch.from_numpy(np.ascontiguousarray(codes, dtype=np.int32)).to(self.device)
        values: dict[str, Tensor] = {}
        for node in self.network.order():
            inputs = [values[source.name] for source in self.network.sources(node.name)]
            values[node.name] = given if isinstance(node, InputNode) else self._value(node, inputs)
        return np.asarray(values[self.network.readout.name].cpu().numpy(), dtype=np.int64)

    def _value(self, node: Node, inputs: list[Tensor]) -> Tensor:
        value, steps = inputs[0], self.network.n_timesteps
        if isinstance(node, ConvNode | LinearNode):
            return self._read(node.name, value)
        if isinstance(node, AddNode):
            return _add(inputs, node)
        if isinstance(node, BatchNormNode):
            return _batch_norm(value, node)
        if isinstance(node, LifNode):
            return _spikes(value, node, steps)
        if isinstance(node, SumPoolNode):
            return value.unfold(3, node.kernel, node.stride).unfold(4, node.kernel, node.stride).sum(dim=(5, 6))
        if isinstance(node, FlattenNode):
            return value.reshape(*value.shape[:2], -1, 1, 1)
        assert isinstance(node, ReadoutNode)
        times = steps if value.shape[0] == 1 else 1
        bias = torch.from_numpy(node.bias.astype(np.int64)).to(self.device)
        return value.reshape(*value.shape[:2], -1).sum(dim=0) * times + steps * bias

    def _group(self, silicon: AnalogChip, mapped: MappedLayer, group: int, replica: int, shift: LayerShift) -> _Group:
        positions = None if mapped.n_replicas == 1 else mapped.positions(replica)
        plan = read_plan(mapped, group, positions)
        programmed = silicon.group_cells(mapped, group, replica)
        if programmed.image_sigma_counts is not None:
            raise ConfigError(
                f"hardware {silicon.hw.name}: noise that is frozen for an image is drawn by the simulator only; use it"
            )
        adc = silicon.adc(mapped, group, replica, plan, shift_table(mapped, group, plan, shift))
        cells = programmed.cells
        return _Group(
            plan=plan,
            values=self._tensor(cells.values),
            variance=self._tensor(cells.variance) if cells.variance.size else None,
            adc=adc,
            scale=self._tensor(adc.scale),
            offset=self._tensor(adc.offset),
            weight=self._tensor(adc.weight.astype(np.float64)),
            noise=self._tensor(adc.variance) if adc.variance.size else None,
            thresholds=self._tensor(adc.threshold) if adc.threshold.size else None,
            index=self._tensor(plan.origin[:, None] + plan.row_offset[None, :]),
        )

    def _tensor(self, array: NDArray[Any]) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(array)).to(self.device)

    def _read(self, name: str, codes: Tensor) -> Tensor:
        """Sums (runs, B, C, H, W) int64 of a layer."""
        mapped = self._mapped[name]
        layer = mapped.layer
        runs = 1 if layer.input.static else self.network.n_timesteps
        codes = codes.expand(runs, *codes.shape[1:])
        flat = codes.reshape(-1, *codes.shape[2:])
        if layer.kind != "linear" and layer.padding:
            flat = torch.nn.functional.pad(flat, (layer.padding,) * 4)
        flat = flat.reshape(flat.shape[0], -1)
        shape = (flat.shape[0], layer.n_groups * layer.n_outputs, layer.n_positions)
        psum = torch.empty(shape, dtype=torch.int64, device=self.device)
        for number, replicas in enumerate(self._groups[name]):
            first = number * layer.n_outputs
            for group in replicas:
                at = torch.from_numpy(group.plan.position).to(self.device)
                images = max(1, _CHUNK_ELEMENTS // group.index.numel())
                for i in range(0, flat.shape[0], images):
                    sums = self._sums(group, flat[i : i + images])
                    psum[i : i + images, first : first + layer.n_outputs, at] = sums.transpose(1, 2)
        return psum.reshape(*codes.shape[:2], -1, *layer.out_shape[1:])

    def _sums(self, group: _Group, flat: Tensor) -> Tensor:
        """(images, positions, outputs) of padded inputs (images, values)."""
        plan = group.plan
        windows = flat[:, group.index]
        total = torch.zeros((*windows.shape[:2], plan.n_outputs), dtype=torch.int64, device=self.device)
        for plane in range(plan.n_planes):
            bits = ((windows >> plane) & 1).to(torch.float32)
            place = -(1 << plane) if plan.signed_input and plane == plan.n_planes - 1 else 1 << plane
            for g, (start, length) in enumerate(zip(plan.group_start.tolist(), plan.group_len.tolist(), strict=True)):
                driven = bits[:, :, start : start + length]
                total += place * self._converted(group, g, driven, slice(start, start + length))
        if plan.input_offset:
            total -= plan.input_offset * windows.sum(dim=2, keepdim=True, dtype=torch.int64)
        return total

    def _converted(self, group: _Group, g: int, driven: Tensor, rows: slice) -> Tensor:
        """What the codes of one row group add to the outputs; a read without driven rows does not happen."""
        sums = driven @ group.values[rows]
        variance = driven @ group.variance[rows] if group.variance is not None else None
        if group.noise is not None:
            variance = group.noise[g] if variance is None else variance + group.noise[g]
        if variance is not None:
            z = torch.randn(sums.shape, generator=self._noise, device=self.device)
            sums = sums + variance.clamp(min=0).sqrt() * z[..., torch.from_numpy(group.adc.own).to(self.device)]
        u = sums * group.scale[g] + group.offset[g]
        if group.thresholds is None:
            codes = torch.floor(u + 0.5).clamp(0, group.adc.code_max)
        else:
            own = group.thresholds[torch.from_numpy(group.adc.instance[g]).to(self.device).long()]
            columns = u.reshape(-1, u.shape[-1]).T.contiguous()
            codes = torch.searchsorted(own, columns, right=True).T.reshape(u.shape)
        weighed = codes.to(torch.float64) * group.weight[g]
        partial = weighed.reshape(*u.shape[:-1], -1, group.plan.n_outputs).sum(dim=-2)
        return partial.to(torch.int64) * driven.any(dim=-1, keepdim=True)


def _rshift(v: Tensor, k: Tensor) -> Tensor:
    """Integer shift that rounds half up, to the left for k < 0 (docs/model.md)."""
    right = k.clamp(min=0)
    half = torch.where(k > 0, torch.ones_like(k) << (k - 1).clamp(min=0), torch.zeros_like(k))
    return ((v + half) >> right) << (-k).clamp(min=0)


def _rhe(v: Tensor, k: int) -> Tensor:
    """Integer shift that rounds half to even, k >= 0."""
    if k == 0:
        return v
    return (v + (1 << (k - 1)) - 1 + ((v >> k) & 1)) >> k


def _batch_norm(psum: Tensor, node: BatchNormNode) -> Tensor:
    per_step = node.m.ndim == 2
    shape = (node.m.shape[0], 1, -1, 1, 1) if per_step else (1, 1, -1, 1, 1)
    m, n, k, e = (
        torch.from_numpy(np.asarray(a, dtype=np.int64).reshape(shape)).to(psum.device)
        for a in (node.m, node.n, node.k, node.e)
    )
    return _rshift(m * psum + (n << k), e)


def _spikes(current: Tensor, node: LifNode, n_timesteps: int) -> Tensor:
    """(T, B, C, H, W) int32 spikes of currents (T or 1, B, C, H, W)."""
    if node.input_shift:
        current = _rshift(current.to(torch.int64), torch.tensor(-node.input_shift, device=current.device))
    top, state = 1 << (node.membrane_bits - 1), torch.zeros_like(current[0], dtype=torch.int64)
    found = []
    for t in range(n_timesteps):
        h = _rhe((state << node.guard_bits) * node.leak_mul, node.leak_shift)
        h = h + current[t if current.shape[0] > 1 else 0]
        fired = h >= node.theta
        after = torch.where(fired, h - node.theta if node.reset == "soft" else torch.zeros_like(h), h)
        state = _rhe(after, node.guard_bits).clamp(-top, top - 1)
        found.append(fired.to(torch.int32))
    return torch.stack(found)


def _add(inputs: list[Tensor], node: AddNode) -> Tensor:
    total = inputs[0].to(torch.int64)
    for value in inputs[1:]:
        total = total + value
    if node.mode == "sew":
        return total
    top = 1 << (node.stream_bits - 1)
    return total.clamp(-top, top - 1)
