"""What the crossbars computed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .activity import Activity, LayerActivity
from .adc import LayerShift

IntArray = NDArray[np.int64]
IntT = TypeVar("IntT", np.int64, np.uint8)


@dataclass(frozen=True, kw_only=True, eq=False)
class Outputs:
    """Result of a functional run over B images.

    Attributes:
        logits: (B, classes) int64, sum over the steps.
        activity: active rows of the first ``cycle_images`` images.
        crossbar_conversions: (crossbars of one replica,) int64 for each layer, ADC conversions of driven reads over all
            images.
        crossbar_clipped: likewise, conversions that hit the top code although the sum was larger.
        adc_shift: (layers,) log2 of the lsb of each layer's ADCs in unit-cell counts, or (crossbars,) of each
            crossbar's.
        saturated: LIF name -> (T,) int64, membranes of all images that were cut to the ends of their range.
        memory_errors: LIF name -> (T,) int64, bits of membranes that were read otherwise than they were written.
        spikes: LIF name -> (T, B, C, H, W) uint8; empty unless recorded.
        membranes: LIF name -> (T, B, C, H, W) int64 stored codes U; empty unless recorded.
    """

    logits: NDArray[np.int64]
    activity: Activity
    crossbar_conversions: tuple[NDArray[np.int64], ...]
    crossbar_clipped: tuple[NDArray[np.int64], ...]
    adc_shift: tuple[LayerShift, ...]
    saturated: MappingProxyType[str, NDArray[np.int64]]
    memory_errors: MappingProxyType[str, NDArray[np.int64]]
    spikes: MappingProxyType[str, NDArray[np.uint8]]
    membranes: MappingProxyType[str, NDArray[np.int64]]

    @property
    def conversions(self) -> NDArray[np.int64]:
        """(layers,) ADC conversions of driven reads."""
        return np.array([counts.sum() for counts in self.crossbar_conversions], dtype=np.int64)

    @property
    def clipped(self) -> NDArray[np.int64]:
        """(layers,) conversions that clipped."""
        return np.array([counts.sum() for counts in self.crossbar_clipped], dtype=np.int64)

    def predictions(self) -> NDArray[np.int64]:
        """(B,) class numbers; a tie goes to the lowest index."""
        return np.asarray(np.argmax(self.logits, axis=1), dtype=np.int64)


def joined(parts: Sequence[Outputs]) -> Outputs:
    """Outputs of a batch from those of its parts, in their order; of the same network, design and ADC ranges."""
    first = parts[0]
    if len(parts) == 1:
        return first
    layers = zip(*(part.activity.layers for part in parts), strict=True)
    return replace(
        first,
        logits=np.concatenate([part.logits for part in parts]),
        activity=replace(first.activity, layers=tuple(_joined_layer(of_parts) for of_parts in layers)),
        crossbar_conversions=_summed([part.crossbar_conversions for part in parts]),
        crossbar_clipped=_summed([part.crossbar_clipped for part in parts]),
        saturated=_summed_by_name([part.saturated for part in parts]),
        memory_errors=_summed_by_name([part.memory_errors for part in parts]),
        spikes=_side_by_side([part.spikes for part in parts]),
        membranes=_side_by_side([part.membranes for part in parts]),
    )


def _joined_layer(parts: Sequence[LayerActivity]) -> LayerActivity:
    energies = [part.read_fJ for part in parts if part.read_fJ is not None]
    return LayerActivity(
        active_rows=np.concatenate([part.active_rows for part in parts]),
        input_ones=np.concatenate([part.input_ones for part in parts]),
        spikes_out=np.concatenate([part.spikes_out for part in parts]),
        read_fJ=np.concatenate(energies) if energies else None,
    )


def _summed(parts: Sequence[tuple[IntArray, ...]]) -> tuple[IntArray, ...]:
    return tuple(np.sum(counts, axis=0) for counts in zip(*parts, strict=True))


def _summed_by_name(parts: Sequence[Mapping[str, IntArray]]) -> MappingProxyType[str, IntArray]:
    return MappingProxyType({name: np.sum([part[name] for part in parts], axis=0) for name in parts[0]})


def _side_by_side(parts: Sequence[Mapping[str, NDArray[IntT]]]) -> MappingProxyType[str, NDArray[IntT]]:
    return MappingProxyType({name: np.concatenate([part[name] for part in parts], axis=1) for name in parts[0]})
