"""The training neuron through the Numba kernel: contiguous float32 tensors on the CPU."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any, Literal, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from spikeloop.simulator.kernels import lif_train

from .surrogate import SurrogateName

_SURROGATES: Mapping[SurrogateName, int] = MappingProxyType(
    {
        "triangle": lif_train.TRIANGLE,
        "rectangle": lif_train.RECTANGLE,
        "arctan": lif_train.ARCTAN,
        "fast_sigmoid": lif_train.FAST_SIGMOID,
    }
)


class _StoredGrid(Protocol):
    """What the kernel needs of a membrane's grid."""

    @property
    def codes_per_theta(self) -> float: ...
    @property
    def theta(self) -> int: ...
    @property
    def code_min(self) -> int: ...
    @property
    def code_max(self) -> int: ...


def kernel_takes(values: torch.Tensor) -> bool:
    """Whether the kernel computes these (T, ...) values; SPIKELOOP_LIF=torch says never.

    The values of a step must lie in order; the steps may share one (a static input).
    """
    return (
        values.dtype == torch.float32
        and values.device.type == "cpu"
        and values.numel() > 0
        and values[0].is_contiguous()
        and (values.stride(0) == 0 or values.is_contiguous())
        and os.environ.get("SPIKELOOP_LIF") != "torch"
    )


def kernel_forward(
    current: torch.Tensor, leak: float, reset: Literal["hard", "soft"], grid: _StoredGrid | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Spikes and membrane before reset of currents (T, B, ...), in units of the threshold."""
    membrane = torch.empty(current.shape, dtype=current.dtype)
    spikes = torch.empty_like(membrane)
    given = current[:1] if current.stride(0) == 0 else current
    lif_train.lif_forward(_rows(given), _params(leak, reset, grid), _rows(membrane), _rows(spikes))
    return spikes, membrane


def kernel_backward(
    membrane: torch.Tensor,
    grad_spikes: torch.Tensor | None,
    grad_membrane: torch.Tensor | None,
    leak: float,
    reset: Literal["hard", "soft"],
    surrogate: SurrogateName,
    grid: _StoredGrid | None,
) -> torch.Tensor:
    """Gradient of the currents (T, B, ...); a gradient that is None is zero."""
    total = torch.empty_like(membrane)
    none = np.empty((0, 0), np.float32)
    lif_train.lif_backward(
        _rows(membrane),
        none if grad_spikes is None else _rows(grad_spikes.contiguous()),
        none if grad_membrane is None else _rows(grad_membrane.contiguous()),
        _params(leak, reset, grid),
        _SURROGATES[surrogate],
        _rows(total),
    )
    return total


def kernel_current_on_grid(
    sums: torch.Tensor, gain: torch.Tensor, offset: torch.Tensor, codes_per_theta: float, current: torch.Tensor
) -> None:
    """Write floor(gain*sums + offset + 1/2) / codes_per_theta of sums (N, C, H, W) to ``current``; gain (C,)."""
    shape = (sums.shape[0], sums.shape[1], math.prod(sums.shape[2:]))
    lif_train.current_on_grid(
        sums.detach().view(shape).numpy(),
        gain.contiguous().numpy(),
        offset.contiguous().numpy(),
        np.float32(codes_per_theta),
        current.detach().view(shape).numpy(),
    )


def _rows(values: torch.Tensor) -> NDArray[np.float32]:
    """(steps, neurons) view."""
    rows: NDArray[np.float32] = values.detach().view(values.shape[0], math.prod(values.shape[1:])).numpy()
    return rows


def _params(leak: float, reset: Literal["hard", "soft"], grid: _StoredGrid | None) -> lif_train.TrainParams:
    one = np.float32
    soft = reset == "soft"
    if grid is None:
        rest: tuple[Any, ...] = tuple(one(1.0) for _ in range(7))
        return lif_train.TrainParams(one(leak), soft, False, *rest)
    scale = grid.codes_per_theta
    return lif_train.TrainParams(
        leak=one(leak),
        soft=soft,
        stored=True,
        leak_codes=one(float(grid.theta) * leak),
        theta=one(grid.theta),
        scale=one(scale),
        code_min=one(grid.code_min),
        code_max=one(grid.code_max),
        low=one((grid.code_min - 0.5) / scale),
        high=one((grid.code_max + 0.5) / scale),
    )
