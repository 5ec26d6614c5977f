"""Area, energy and latency as the SpikeSim program computes them, with any of its known defects cured.

Source: ``ela_spikesim.py`` of Intelligent-Computing-Lab-Yale/SpikeSim, commit c2627bc (Moitra et al., IEEE TCAD 2023),
read and written anew as the closed form of docs/compat.md. Without fixes the values are the program's own to rounding,
and go on where it stops (layers in any order, 13 layers or more, layers smaller than a crossbar).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from .spikesim_input import SpikeSimInput
from .spikesim_numbers import SpikeSimNumbers


@dataclass(frozen=True, kw_only=True)
class LayerEstimate:
    """One layer of the program's estimate.

    Attributes:
        n_pes: processing engines, ceil(in channels / X) * ceil(out channels / X).
        out_dim: rows of the output map that is charged.
        steps: how often the layer runs for an image.
        start_ns: when it starts.
        end_ns: when it has done all its steps.
    """

    n_pes: int
    out_dim: int
    steps: int
    energy_fJ: float
    start_ns: float
    end_ns: float


@dataclass(frozen=True, kw_only=True)
class SpikeSimEstimate:
    """What the program would print, and what it is made of.

    Attributes:
        parts_energy_fJ: energy of each kind of component in one image; sums to ``energy_fJ``.
        parts_area_um2: area of each kind of component; sums to ``area_um2``.
    """

    n_pes: int
    n_tiles: int
    area_um2: float
    energy_fJ: float
    latency_ns: float
    layers: tuple[LayerEstimate, ...]
    parts_energy_fJ: dict[str, float]
    parts_area_um2: dict[str, float]


@dataclass(frozen=True, kw_only=True)
class _Work:
    """What a layer asks for, fixes applied; ``out_blocks`` are blocks of output channels."""

    n_pes: int
    out_blocks: int
    in_values: int
    neurons: int
    out_dim: int
    steps: int
    input_bits: int
    membrane_bits: int

    @property
    def positions(self) -> int:
        return self.out_dim * self.out_dim


@dataclass(frozen=True, kw_only=True)
class _Crossbar:
    """Crossbars and converters of a PE; ratios are relative to the tile that the program prices.

    The program divides without rounding: a PE of 100 x 100 crossbars has 12.5 ADCs.
    """

    n_adcs: float
    n_reads: float
    n_conversions: float
    cells_ratio: float
    htree_area_ratio: float
    htree_energy_ratio: float


def estimate_spikesim(given: SpikeSimInput, numbers: SpikeSimNumbers) -> SpikeSimEstimate:
    """Area, energy and latency of an input; deterministic and exact to float64 rounding."""
    work = _work(given, numbers)
    crossbar = _crossbar(given, numbers)
    n_pes = sum(layer.n_pes for layer in work)
    n_tiles = _n_tiles([layer.n_pes for layer in work], given)
    parts_area_um2 = _area(given, numbers, work, crossbar, n_tiles)
    per_pe_fJ = _pe_cycle(given, numbers, crossbar)
    parts_energy_fJ = {
        name: math.fsum(_cycles(layer, name, given) * part for layer in work) for name, part in per_pe_fJ.items()
    }
    layer_energy_fJ = [
        math.fsum(_cycles(layer, name, given) * part for name, part in per_pe_fJ.items()) for layer in work
    ]
    spans = _spans(given, numbers, work)
    return SpikeSimEstimate(
        n_pes=n_pes,
        n_tiles=n_tiles,
        area_um2=math.fsum(parts_area_um2.values()),
        energy_fJ=math.fsum(layer_energy_fJ),
        latency_ns=max(end for _, end in spans) if "latest_end" in given.fix else spans[-1][1],
        layers=tuple(
            LayerEstimate(
                n_pes=layer.n_pes,
                out_dim=layer.out_dim,
                steps=layer.steps,
                energy_fJ=energy_fJ,
                start_ns=start_ns,
                end_ns=end_ns,
            )
            for layer, energy_fJ, (start_ns, end_ns) in zip(work, layer_energy_fJ, spans, strict=True)
        ),
        parts_energy_fJ=parts_energy_fJ,
        parts_area_um2=parts_area_um2,
    )


def _blocks(channels: int, given: SpikeSimInput) -> int:
    return -(-channels // given.xbar_size)


def is_pooled(in_dim: int, out_dim: int) -> bool:
    """Whether a layer's output map is taken to be pooled: at most half as wide as its input map."""
    return 2 * out_dim <= in_dim


def _work(given: SpikeSimInput, numbers: SpikeSimNumbers) -> list[_Work]:
    fix, work = given.fix, []
    lists = zip(given.in_ch_list, given.out_ch_list, given.in_dim_list, given.out_dim_list, strict=True)
    for i, (in_ch, out_ch, in_dim, kept_dim) in enumerate(lists):
        out_dim = in_dim if "pre_pool_outputs" in fix and is_pooled(in_dim, kept_dim) else kept_dim
        value_bits = (numbers.fixed.spike_bits if i else numbers.fixed.image_bits).value
        has_membrane = "membrane_all_layers" in fix or i < numbers.counts.membrane_layers.value
        work.append(
            _Work(
                n_pes=_blocks(in_ch, given) * _blocks(out_ch, given),
                out_blocks=_blocks(out_ch, given),
                in_values=in_ch * in_dim * in_dim,
                neurons=out_ch * out_dim * out_dim,
                out_dim=out_dim,
                steps=1 if i == 0 and "direct_coding" in fix else given.time_steps,
                input_bits=value_bits if "spike_bits" in fix else numbers.counts.input_bits.value,
                membrane_bits=_membrane_bits(in_ch, value_bits, given, numbers) if has_membrane else 0,
            )
        )
    return work


def _membrane_bits(in_ch: int, value_bits: int, given: SpikeSimInput, numbers: SpikeSimNumbers) -> int:
    """Width of one membrane.

    The fix: u = (1 - leak) u + leak I is a mean of the layer's sums I, so it never leaves their range, which is
    k^2 C_in times the largest weight code times the largest input, with a sign.
    """
    if "membrane_bits" not in given.fix:
        return numbers.counts.membrane_bits.value
    weight_max = 1 << (numbers.fixed.weight_bits.value - 1)
    return (given.kernel_size**2 * in_ch * weight_max * ((1 << value_bits) - 1)).bit_length() + 1


def _crossbar(given: SpikeSimInput, numbers: SpikeSimNumbers) -> _Crossbar:
    fix, counts, size = given.fix, numbers.counts, given.xbar_size
    shared = counts.columns_per_adc.value
    n_adcs = float(-(-size // shared)) if "whole_adcs" in fix else size / shared
    cells_ratio = (size / counts.crossbar_size.value) ** 2 if "crossbar_size" in fix else 1.0
    ports_ratio = pes_ratio = 1.0
    if "htree_size" in fix:
        own = size * (given.kernel_size**2 + 1)
        ports_ratio = own / (counts.crossbar_size.value * (counts.kernel_size.value**2 + 1))
        pes_ratio = given.pe_per_tile / counts.pe_per_tile.value
    converts_once = "adc_conversions" in fix
    return _Crossbar(
        n_adcs=n_adcs,
        n_reads=float(shared) if converts_once else n_adcs,
        n_conversions=float(size) if converts_once else n_adcs * n_adcs,
        cells_ratio=cells_ratio,
        htree_area_ratio=pes_ratio * ports_ratio,
        htree_energy_ratio=ports_ratio * math.sqrt(pes_ratio * ports_ratio),
    )


def _n_tiles(pes: Sequence[int], given: SpikeSimInput) -> int:
    groups = pes if "tile_sharing" in given.fix else [sum(pes)]
    return sum(-(-group // given.pe_per_tile) for group in groups)


def _pe_cycle(given: SpikeSimInput, numbers: SpikeSimNumbers, crossbar: _Crossbar) -> dict[str, float]:
    """Energy of one PE cycle in fJ by part (lines 39-57)."""
    energy, fixed, fix = numbers.energy, numbers.fixed, given.fix
    read = energy.crossbar_rram_fJ
    if given.device == "sram":
        read = fixed.crossbar_sram_fJ if "sram_energy" in fix else energy.crossbar_sram_fJ
    subtractor = fixed.subtractor_fJ if "subtractor_energy" in fix else energy.subtractor_fJ
    return {
        "tile_buffer": energy.tile_buffer_fJ.value,
        "htree": energy.htree_fJ.value * crossbar.htree_energy_ratio,
        "adc": energy.adc_fJ.value * crossbar.n_conversions,
        "mux": energy.mux_fJ.value * crossbar.n_conversions,
        "crossbar": read.value * crossbar.cells_ratio * given.kernel_size**2 * crossbar.n_reads,
        "neuron": energy.neuron_fJ.value,
        "fetch": energy.fetch_fJ.value,
        "temporary_buffer": energy.temporary_buffer_fJ.value * crossbar.n_adcs,
        "subtractor": subtractor.value * numbers.counts.subtractions.value * crossbar.n_adcs,
    }


def _cycles(layer: _Work, part: str, given: SpikeSimInput) -> int:
    """PE cycles of an image in which a part is charged."""
    once_a_sum = part == "neuron" and "neuron_partial_sums" in given.fix
    return layer.steps * layer.positions * (layer.out_blocks if once_a_sum else layer.n_pes)


def _area(
    given: SpikeSimInput, numbers: SpikeSimNumbers, work: Sequence[_Work], crossbar: _Crossbar, n_tiles: int
) -> dict[str, float]:
    """Area in um2 by part (lines 75-98)."""
    area, n_pes = numbers.area, n_tiles * given.pe_per_tile
    cell = area.crossbar_sram_um2 if given.device == "sram" else area.crossbar_rram_um2
    bit_um2 = area.memory_um2_per_bit.value
    return {
        "htree": n_tiles * area.htree_um2.value * crossbar.htree_area_ratio,
        "input_memory": bit_um2 * sum(layer.in_values * layer.input_bits for layer in work),
        "membrane_memory": bit_um2 * sum(layer.neurons * layer.membrane_bits for layer in work),
        "subtractor": n_tiles * area.subtractor_um2.value * crossbar.n_adcs,
        "adc": n_pes * area.adc_um2.value * crossbar.n_adcs,
        "tile_buffer": n_tiles * bit_um2 * numbers.counts.tile_buffer_bits.value,
        "mux": n_pes * area.mux_um2.value * crossbar.n_adcs,
        "crossbar": n_pes * cell.value * crossbar.cells_ratio * given.kernel_size**2,
        "temporary_buffer": n_tiles * area.temporary_buffer_um2.value,
    }


def _spans(given: SpikeSimInput, numbers: SpikeSimNumbers, work: Sequence[_Work]) -> list[tuple[float, float]]:
    """Start and end of every layer in ns (lines 158-194): it starts when 75 % of the one before is done."""
    pe_cycle_ns = numbers.counts.clocks_per_pe_cycle.value * 1000 / given.clk_freq
    spans, start = [], 0
    for layer in work:
        units = layer.positions if "latency_units" in given.fix else layer.neurons
        spans.append((start * pe_cycle_ns, (start + layer.steps * units) * pe_cycle_ns))
        start += layer.steps * (units * numbers.counts.overlap_percent.value // 100)
    return spans
