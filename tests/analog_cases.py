"""Layers on chips for the tests of the analog engine: random designs, cells, converters, and their twin."""

from __future__ import annotations

import numpy as np
from hypothesis import strategies as st
from networks import networks
from oracles.analog_twin import CellSpec, Mismatch, Spec, TwinReads, read_twin, windows

from spikeloop.simulator.cells.base import CellModel
from spikeloop.simulator.cells.pcm import PcmCell
from spikeloop.simulator.cells.rram import RramCell
from spikeloop.simulator.cells.sram import SramCell
from spikeloop.simulator.config import (
    ChipConfig,
    CrossbarConfig,
    DataflowConfig,
    HardwareConfig,
    TileConfig,
    UniformAdc,
)
from spikeloop.simulator.draws import CellDraws
from spikeloop.simulator.functional.analog import AnalogChip
from spikeloop.simulator.functional.chip_reads import ChipRun
from spikeloop.simulator.functional.crossbar import LayerReads, read_layer
from spikeloop.simulator.mapping.tiles import MappedLayer, map_network
from spikeloop.simulator.network.graph import InputNode, LinearNode, Network, ReadoutNode, chain_edges

_READ = {"source": "made for tests", "read_voltage_V": 0.3, "read_time_ns": 7.0}


class GainCell(CellModel):
    """Toy: a cell of code k conducts k times ``counts``, and scatters by ``sigma_counts`` a code: sums of any size.

    ``image_share`` of the variance is frozen for an image.
    """

    kind: str = "toy_gain"
    counts: float = 1.0
    sigma_counts: float = 0.0
    image_share: float = 0.0

    def programmed_uS(self, codes: np.ndarray, cell_bits: int, draws: CellDraws) -> np.ndarray:
        return codes * self.counts * self.unit_uS(cell_bits)

    def read_sigma_uS(self, conductance_uS: np.ndarray) -> np.ndarray | None:
        return None if self.image_share == 1.0 else self._sigma_uS(conductance_uS, 1.0 - self.image_share)

    def image_sigma_uS(self, conductance_uS: np.ndarray) -> np.ndarray | None:
        return None if self.image_share == 0.0 else self._sigma_uS(conductance_uS, self.image_share)

    def _sigma_uS(self, conductance_uS: np.ndarray, share: float) -> np.ndarray:
        return conductance_uS / self.counts * self.sigma_counts * np.sqrt(share)


def gain_cell(**fields: float) -> GainCell:
    """One unit-cell count is 1 uS with 1-bit cells."""
    return GainCell(conductance_min_uS=0.0, conductance_max_uS=1.0, **_READ, **fields)


def rram_cell(**fields: object) -> RramCell:
    base = {"conductance_min_uS": 2.0, "conductance_max_uS": 40.0, **_READ}
    return RramCell(**{**base, **fields})


def pcm_cell(**fields: object) -> PcmCell:
    base = {
        "conductance_min_uS": 1.0,
        "conductance_max_uS": 25.0,
        "reference_uS": 25.0,
        "programming_sigma_uS": [0.3, 1.9, -1.2],
        "drift_start_s": 20.0,
        "mean_drift_exponent": [0.05],
        "sigma_drift_exponent": [0.01],
        "time_s": 5000.0,
        "flicker_ratio": 0.01,
        "flicker_exponent": 0.65,
        "flicker_max_ratio": 0.2,
        "flicker_read_ns": 250.0,
        "image_time_ns": 1e6,
        **_READ,
    }
    return PcmCell(**{**base, **fields})


def sram_cell(**fields: object) -> SramCell:
    base = {"conductance_min_uS": 0.05, "conductance_max_uS": 30.0, "threshold_sigma_V": 0.03, "overdrive_V": 0.4}
    return SramCell(**{**base, "overdrive_exponent": 1.3, "subthreshold_V": 0.04, **_READ, **fields})


@st.composite
def cells(draw: st.DrawFn, cell_bits: int) -> CellModel:
    """Cells that vary; no column sum is a whole number by design."""
    kind = draw(st.sampled_from(["rram", "rram", "pcm", "sram"] if cell_bits == 1 else ["rram", "rram", "pcm"]))
    white, frozen = draw(st.sampled_from([0.0, 0.02, 0.3])), draw(st.sampled_from([0.0, 0.0, 0.05]))
    noise = {"read_noise_ratio": white, "image_noise_ratio": frozen, "read_noise_uS": draw(st.sampled_from([0.0, 0.4]))}
    if kind == "pcm":
        return pcm_cell(drift_compensation=draw(st.sampled_from(["none", "mean"])), image_noise_ratio=frozen)
    if kind == "sram":
        return sram_cell(**noise)
    low = draw(st.sampled_from([0.1, 2.0, 30.0]))
    return rram_cell(
        conductance_min_uS=low,
        programming_sigma_ratio=draw(st.sampled_from([0.05, 0.3])),
        distribution=draw(st.sampled_from(["normal", "lognormal"])),
        stuck_on_fraction=draw(st.sampled_from([0.0, 0.05])),
        **noise,
    )


@st.composite
def converters(draw: st.DrawFn, bits: int, columns_per_adc: int) -> UniformAdc:
    """ADCs with any part of their mismatch, or none."""
    architecture = draw(st.sampled_from(["sar", "ramp", "flash"]))
    some = st.sampled_from([0.0, 0.0, 0.05, 0.3])
    return UniformAdc(
        bits=bits,
        columns_per_adc=columns_per_adc,
        architecture=architecture,
        unit_sigma=draw(some),
        comparator_sigma_lsb=draw(some) if architecture == "flash" else 0.0,
        offset_sigma_lsb=draw(st.sampled_from([0.0, 0.7])),
        gain_sigma=draw(st.sampled_from([0.0, 0.1])),
        noise_sigma_lsb=draw(st.sampled_from([0.0, 0.0, 0.4])),
    )


def on_chip(hw: HardwareConfig, **crossbar: object) -> HardwareConfig:
    """The design with other fields of its crossbar, checked again."""
    fields = {name: getattr(hw.crossbar, name) for name in CrossbarConfig.model_fields}
    return with_fields(hw, crossbar=CrossbarConfig(**{**fields, **crossbar}))


def with_fields(hw: HardwareConfig, **changed: object) -> HardwareConfig:
    """The design with other fields, checked again."""
    return HardwareConfig(**{**{name: getattr(hw, name) for name in HardwareConfig.model_fields}, **changed})


def replicated(network: Network, hw: HardwareConfig, times: int) -> HardwareConfig:
    """The design on a chip so large that layers get copies."""
    alone = with_fields(hw, tile=TileConfig(pes_per_tile=4, crossbars_per_pe=2, sharing="packed"))
    tiles = map_network(network, alone).n_tiles * times
    return with_fields(alone, chip=ChipConfig(tiles=tiles), dataflow=DataflowConfig(replication="balanced"))


def single_layer(
    weight: np.ndarray, *, weight_bits: int, input_bits: int = 1, signed: bool = False, n_timesteps: int = 1
) -> Network:
    """Input -> linear -> readout, weight (outputs, inputs)."""
    nodes = (
        InputNode(name="in", shape=(weight.shape[1], 1, 1), bits=input_bits, signed=signed),
        LinearNode(name="fc", weight=weight, weight_bits=weight_bits),
        ReadoutNode(name="out", bias=np.zeros(weight.shape[0], dtype=np.int64)),
    )
    return Network(name="single_layer", n_timesteps=n_timesteps, nodes=nodes, edges=chain_edges(nodes))


def random_codes(rng: np.random.Generator, mapped: MappedLayer, runs: int, batch: int, density: float) -> np.ndarray:
    """Input codes (runs, B, C, H, W), a share ``density`` of them not 0."""
    bits, shape = mapped.layer.input.bits, (runs, batch, *mapped.layer.in_shape)
    low = -(2 ** (bits - 1)) if mapped.layer.input.signed else 0
    return rng.integers(low, low + 2**bits, size=shape) * (rng.random(shape) < density)


def crossbars_of(mapped: MappedLayer) -> int:
    """Crossbars of one replica."""
    return mapped.n_crossbars // mapped.n_replicas


def layer_on_chip(
    mapped: MappedLayer,
    hw: HardwareConfig,
    codes: np.ndarray,
    images: np.ndarray,
    shift: int | np.ndarray,
    *,
    seed: int = 0,
    chip: int = 0,
    n_threads: int = 1,
    ideal: bool = False,
) -> LayerReads:
    """What the engine reads; ``images`` are data set indices."""
    run = None if ideal else ChipRun(chip=AnalogChip(hw=hw, seed=seed, chip=chip), images=images)
    return read_layer(mapped, codes, adc_shift=shift, adc_bits=hw.adc_bits, run=run, n_threads=n_threads)


def twin_of(
    mapped: MappedLayer,
    hw: HardwareConfig,
    codes: np.ndarray,
    images: np.ndarray,
    shift: int | np.ndarray,
    *,
    seed: int = 0,
    chip: int = 0,
) -> TwinReads:
    """What the twin reads."""
    layer, crossbar = mapped.layer, hw.crossbar
    vectors = windows(codes, layer.n_groups, layer.kernel, layer.stride, layer.padding)
    if layer.kind == "linear":
        vectors = codes.reshape(*codes.shape[:2], 1, 1, -1)
    width = layer.out_shape[2]
    positions = range(vectors.shape[3])
    exponents = np.broadcast_to(shift, (crossbars_of(mapped),)).tolist()
    kind = "affine" if layer.weight_scheme == "affine" else crossbar.scheme
    adc = hw.adc if isinstance(hw.adc, UniformAdc) else None
    names = ("architecture", "unit_sigma", "comparator_sigma_lsb", "offset_sigma_lsb", "gain_sigma")
    spec = Spec(
        weights=layer.matrix,
        kind=kind,
        weight_bits=layer.weight_bits,
        cell_bits=crossbar.cell_bits,
        rows=crossbar.rows,
        cols=crossbar.cols,
        rows_active=crossbar.rows_per_read,
        input_bits=layer.input.bits,
        input_signed=layer.input.signed,
        replica_of=[p % width // mapped.column_group % mapped.n_replicas for p in positions],
        lsb=[2**j for j in exponents],
        mismatch=Mismatch(bits=hw.adc_bits, **{name: getattr(adc, name) for name in names if adc}),
        columns_per_adc=hw.adc.columns_per_adc,
        noise_sigma_lsb=adc.noise_sigma_lsb if adc else 0.0,
        cells=_cell_spec(crossbar),
        dummy_column=crossbar.dummy_column,
        seed=seed,
        chip=chip,
        layer=layer.index,
    )
    return read_twin(spec, vectors, images.tolist())


def _cell_spec(crossbar: CrossbarConfig) -> CellSpec | None:
    cell, bits = crossbar.cell, crossbar.cell_bits
    if not isinstance(cell, CellModel):
        return None

    def conduct(key: int, codes: np.ndarray) -> np.ndarray:
        return cell.programmed_uS(codes, bits, CellDraws(key=key, rows=codes.shape[0], cols=codes.shape[1]))

    return CellSpec(
        conduct=conduct,
        white=cell.read_sigma_uS,
        frozen=cell.image_sigma_uS,
        unit_uS=(cell.conductance_max_uS - cell.conductance_min_uS) / (2**bits - 1),
        base_uS=cell.conductance_min_uS if crossbar.baseline == "subtracted" else 0.0,
        # The gain that makes up for drift amplifies what is read; it draws no current.
        pulse_fJ_per_uS=cell.read_voltage_V**2 * cell.read_time_ns / cell.read_gain_ratio,
    )


def assert_agrees(reads: LayerReads, twin: TwinReads, mapped: MappedLayer) -> None:
    """Every sum, count and energy of the engine is one that the twin allows."""
    width = mapped.layer.out_shape[2]
    for (run, image, channel, position), allowed in twin.sums.items():
        got = int(reads.psum[run, image, channel, position // width, position % width])
        assert got in allowed, (run, image, channel, position, got, allowed)
    for (run, image, position, plane, slot), count in twin.active.items():
        assert reads.active_rows[image, run, position, plane, slot] == count
    assert reads.conversions.tolist() == twin.conversions
    for got, (fewest, most) in zip(reads.clipped.tolist(), twin.clipped, strict=True):
        assert fewest <= got <= most
    if reads.read_fJ is not None:
        for (image, run), energy in twin.energy_fJ.items():
            assert abs(reads.read_fJ[image, run] - energy) <= 1e-9 * energy


#: Small networks whose first layer is read.
small_networks = networks(max_timesteps=2)
