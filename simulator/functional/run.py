"""The functional run: a network's spikes and logits as its crossbars and ADCs compute them."""

from __future__ import annotations

import dataclasses
import logging
from collections import Counter
from collections.abc import Iterator, Sequence
from collections.abc import Mapping as PyMapping
from dataclasses import dataclass, field
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from ..config import HardwareConfig
from ..errors import DatasetError
from ..limits import images_at_once
from ..mapping.tiles import MappedLayer, Mapping
from ..network.graph import (
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
from ..network.spikes import SpikeTrain
from .activity import Activity, LayerActivity
from .adc import (
    LayerShift,
    bin_shift,
    fixed_shift,
    is_per_crossbar,
    n_bins,
    needs_calibration,
    shifts_from_histograms,
)
from .analog import AnalogChip, has_neuron_faults, needs_analog, needs_chip
from .chip_reads import ChipRun
from .crossbar import LayerReads, layer_histogram, read_layer
from .explain import explain_reads
from .neuron import batch_norm_current, compute_lif, stream_current
from .neuron_faults import NeuronFaults, neuron_faults
from .outputs import Outputs, joined
from .programmed import is_solved
from .switches import ALL, NONE, Switches

_LOG = logging.getLogger(__name__)

IntArray = NDArray[np.int64]
#: Codes of an ADC that never clips: no column sum needs more.
IDEAL_ADC_BITS = 31


@dataclass
class _Recorder:
    """What one walk over the graph collects; private to this module."""

    cycle_images: int
    record: bool
    activity: dict[str, LayerActivity] = field(default_factory=dict)
    conversions: dict[str, IntArray] = field(default_factory=dict)
    clipped: dict[str, IntArray] = field(default_factory=dict)
    saturated: dict[str, IntArray] = field(default_factory=dict)
    memory_errors: dict[str, IntArray] = field(default_factory=dict)
    spikes: dict[str, NDArray[np.uint8]] = field(default_factory=dict)
    membranes: dict[str, IntArray] = field(default_factory=dict)

    def keep_reads(self, mapped: MappedLayer, reads: LayerReads, codes: NDArray[np.integer], n_timesteps: int) -> None:
        """Counts of a layer, and the activity of the images that the clock will run."""
        name, kept = mapped.layer.name, self.cycle_images
        self.conversions[name], self.clipped[name] = reads.conversions, reads.clipped
        self.activity[name] = LayerActivity(
            active_rows=reads.active_rows,
            input_ones=input_ones(codes[:, :kept], mapped.layer.input.bits),
            spikes_out=np.zeros((kept, n_timesteps), dtype=np.int64),
            read_fJ=None if reads.read_fJ is None else reads.read_fJ[:kept],
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class _Neurons:
    """Neurons of a chip; private to this module. Without ``chip`` they are those of the network."""

    hw: HardwareConfig
    chip: AnalogChip | None
    images: IntArray
    step_ns: float | None
    #: LIF -> whether its faults act, and its number in the network.
    acts: PyMapping[str, bool]
    number: PyMapping[str, int]

    def faults(self, node: LifNode) -> NeuronFaults | None:
        """Faults of one LIF.

        Raises:
            ConfigError: something depends on the time of a step and it is not known.
        """
        if self.chip is None or not self.acts[node.name]:
            return None
        return neuron_faults(
            self.hw.neuron,
            seed=self.chip.seed,
            chip=self.chip.chip,
            lif_key=self.number[node.name],
            step_ns=self.step_ns,
            in_memory=self.hw.dataflow.loop == "timestep_major",
        )


def _neurons(
    network: Network,
    mapping: Mapping,
    hw: HardwareConfig,
    chip: AnalogChip | None,
    spikes: SpikeTrain,
    switches: Switches | PyMapping[str, Switches],
    step_ns: float | None,
) -> _Neurons:
    acts = {}
    for item in mapping.layers:
        own = switches if isinstance(switches, Switches) else switches.get(item.layer.name, NONE)
        acts.update({lif.name: own.neuron for lif in item.layer.lifs})
    lifs = [node.name for node in network.order() if isinstance(node, LifNode)]
    return _Neurons(
        hw=hw,
        chip=chip if has_neuron_faults(hw) else None,
        images=spikes.indices,
        step_ns=step_ns,
        acts=acts,
        number={name: number for number, name in enumerate(lifs)},
    )


class _Values:
    """Outputs of nodes that a later node still reads: all those of a large network would not fit."""

    def __init__(self, network: Network) -> None:
        self.by_name: dict[str, NDArray[np.integer]] = {}
        self._sources = {node.name: [source.name for source in network.sources(node.name)] for node in network.nodes}
        self._readers = Counter(name for sources in self._sources.values() for name in sources)

    def inputs_of(self, node: Node) -> list[NDArray[np.integer]]:
        """Outputs of the node's sources, in the order of the edges; the last reader of one takes it away."""
        found = []
        for name in self._sources[node.name]:
            self._readers[name] -= 1
            found.append(self.by_name[name] if self._readers[name] else self.by_name.pop(name))
        return found


def run_functional(
    network: Network,
    mapping: Mapping,
    hw: HardwareConfig,
    spikes: SpikeTrain,
    *,
    adc_shift: Sequence[LayerShift],
    cycle_images: int = 1,
    record: bool = False,
    chip: AnalogChip | None = None,
    switches: Switches | PyMapping[str, Switches] = ALL,
    n_threads: int = 1,
    step_ns: float | None = None,
) -> Outputs:
    """Logits, activity and conversion counts of a batch.

    Args:
        network: what is computed.
        mapping: its crossbars.
        hw: the design; only crossbar, ADC and neuron matter here.
        spikes: input codes of B images.
        adc_shift: (layers,) log2 of the lsb of each layer's ADCs, or of each of its crossbars', see ``calibrate_adc``.
        cycle_images: images whose activity is kept for the clock.
        record: keep spikes and membranes of every LIF.
        chip: the chip that computes; None: chip 0 of seed 0 where the design is not ideal.
        switches: departures from the ideal that act, in all layers or by name of the layer (others are ideal).
        n_threads: threads that share the images; the result does not depend on them.
        step_ns: time of one step, which the retention of membranes depends on.

    Raises:
        DatasetError: the input codes do not fit the network.
        ConfigError: the design needs ``step_ns`` and it is not given.
    """
    spikes.check_fits(network)
    walk = _Walk(
        network=network,
        mapping=mapping,
        hw=hw,
        adc_shift=tuple(adc_shift),
        record=record,
        chip=chip if chip is not None or not needs_chip(hw) else AnalogChip(hw=hw, seed=0),
        switches=switches,
        n_threads=n_threads,
        step_ns=step_ns,
    )
    parts = [walk.run(part, max(0, cycle_images - start)) for start, part in _parts(mapping, spikes)]
    return joined(parts)


def _parts(mapping: Mapping, spikes: SpikeTrain) -> Iterator[tuple[int, SpikeTrain]]:
    """Parts of the batch with the number of their first image; what an image computes depends on its index alone."""
    size = images_at_once(mapping)
    for start in range(0, max(1, spikes.n_images), size):
        yield start, spikes.take(start, start + size)


@dataclass(frozen=True, kw_only=True, eq=False)
class _Walk:
    """A walk over the graph; private to this module."""

    network: Network
    mapping: Mapping
    hw: HardwareConfig
    adc_shift: tuple[LayerShift, ...]
    record: bool
    chip: AnalogChip | None
    switches: Switches | PyMapping[str, Switches]
    n_threads: int
    step_ns: float | None

    def run(self, spikes: SpikeTrain, cycle_images: int) -> Outputs:
        """Outputs of some images, computed together; the activity of the first ``cycle_images``."""
        network = self.network
        neurons = _neurons(network, self.mapping, self.hw, self.chip, spikes, self.switches, self.step_ns)
        mapped = {item.layer.name: item for item in self.mapping.layers}
        shift = dict(zip(mapped, self.adc_shift, strict=True))
        recorder = _Recorder(cycle_images=min(cycle_images, spikes.n_images), record=self.record)
        codes = spikes.codes if not network.input.static else spikes.codes[None]
        values = _Values(network)
        for node in network.order():
            inputs = values.inputs_of(node)
            if isinstance(node, ConvNode | LinearNode):
                layer = mapped[node.name]
                read = _layer_codes(layer, inputs[0], network)
                reads = self._read(layer, read, shift[node.name], spikes, recorder.cycle_images)
                recorder.keep_reads(layer, reads, read, network.n_timesteps)
                values.by_name[node.name] = reads.psum
            else:
                values.by_name[node.name] = _elementwise(node, inputs, codes, network, recorder, neurons)
        names = list(mapped)
        return Outputs(
            logits=values.by_name[network.readout.name].astype(np.int64),
            activity=Activity(
                layers=tuple(_with_output_spikes(mapped[name], recorder) for name in names), origin="measured"
            ),
            crossbar_conversions=tuple(recorder.conversions[name] for name in names),
            crossbar_clipped=tuple(recorder.clipped[name] for name in names),
            adc_shift=self.adc_shift,
            saturated=MappingProxyType(recorder.saturated),
            memory_errors=MappingProxyType(recorder.memory_errors),
            spikes=MappingProxyType(recorder.spikes if self.record else {}),
            membranes=MappingProxyType(recorder.membranes),
        )

    def _read(
        self, layer: MappedLayer, codes: NDArray[np.integer], lsb: LayerShift, spikes: SpikeTrain, kept: int
    ) -> LayerReads:
        switches = self.switches
        active = switches if isinstance(switches, Switches) else switches.get(layer.layer.name, NONE)
        departs = needs_analog(self.hw) and (active.adc or active.conduct)
        run = None
        if self.chip is not None and departs:
            run = ChipRun(chip=self.chip, images=spikes.indices, switches=active)
        lsb = lsb if active.adc else 0
        bits = self.hw.adc_bits if active.adc else IDEAL_ADC_BITS
        if _LOG.isEnabledFor(logging.INFO):
            _LOG.info(explain_reads(layer, codes, lsb, bits, run))
        return read_layer(layer, codes, adc_shift=lsb, adc_bits=bits, run=run, kept=kept, n_threads=self.n_threads)


def calibrate_adc(
    network: Network,
    mapping: Mapping,
    hw: HardwareConfig,
    calibration: SpikeTrain | None,
    *,
    chip: AnalogChip | None = None,
) -> tuple[LayerShift, ...]:
    """Log2 lsb of every layer's ADCs, or of each crossbar's; data is used only where the range follows from data.

    The column sums are those of ideal conversions upstream, and of the chip's own cells if it is given (without read
    noise): a chip is trimmed once, as it is.

    Raises:
        DatasetError: the ADC range needs calibration spikes and there are none, or they do not fit.
    """
    if not needs_calibration(hw):
        return (fixed_shift(hw),) * len(mapping.layers)
    if calibration is None or calibration.n_images == 0:
        raise DatasetError(
            f"hardware {hw.name}: adc.full_scale needs calibration images and none were given; "
            "give some, or set full_scale: max"
        )
    return shifts_from_histograms(column_sum_histograms(network, mapping, hw, calibration, chip=chip), hw)


def column_sum_histograms(
    network: Network, mapping: Mapping, hw: HardwareConfig, spikes: SpikeTrain, *, chip: AnalogChip | None = None
) -> tuple[IntArray, ...]:
    """Counts of every layer's column sums (1 or crossbars, planes, slices, bins) with ideal conversion upstream.

    They depend on the network and on rows, rows_active, cell_bits and scheme, and on the chip's cells; not on the ADC,
    but for whether it wants them crossbar by crossbar.
    """
    spikes.check_fits(network)
    parts = [_histograms(network, mapping, hw, part, chip) for _, part in _parts(mapping, spikes)]
    return tuple(np.sum(counts, axis=0) for counts in zip(*parts, strict=True))


def _histograms(
    network: Network, mapping: Mapping, hw: HardwareConfig, spikes: SpikeTrain, chip: AnalogChip | None
) -> list[IntArray]:
    """``column_sum_histograms`` of some images, computed together."""
    mapped = {item.layer.name: item for item in mapping.layers}
    recorder = _Recorder(cycle_images=0, record=False)
    codes = spikes.codes if not network.input.static else spikes.codes[None]
    values = _Values(network)
    histograms: dict[str, IntArray] = {}
    run = None
    if chip is not None and not hw.crossbar.is_ideal:
        # Crossbars that are solved read by read are calibrated as if their wires had no resistance.
        cells = dataclasses.replace(ALL, wires=not is_solved(hw))
        run = ChipRun(chip=chip, images=spikes.indices, switches=cells)
    for node in network.order():
        inputs = values.inputs_of(node)
        if isinstance(node, ConvNode | LinearNode):
            layer = mapped[node.name]
            read = _layer_codes(layer, inputs[0], network)
            histograms[node.name] = layer_histogram(
                layer, read, bins=n_bins(hw), scale=bin_shift(hw), per_crossbar=is_per_crossbar(hw), run=run
            )
            values.by_name[node.name] = read_layer(layer, read, adc_shift=0, adc_bits=IDEAL_ADC_BITS, kept=0).psum
        else:
            values.by_name[node.name] = _elementwise(node, inputs, codes, network, recorder)
    return [histograms[name] for name in mapped]


def _layer_codes(mapped: MappedLayer, codes: NDArray[np.integer], network: Network) -> NDArray[np.integer]:
    """Codes that reach the crossbars; only a network input may stay the same for all steps.

    A stream of held sums does not change either, but its home sends it anew at every step.
    """
    runs = 1 if mapped.layer.input.static else network.n_timesteps
    return np.broadcast_to(codes, (runs, *codes.shape[1:]))


def input_ones(codes: NDArray[np.integer], bits: int) -> IntArray:
    """Input bits that are 1, (B, runs), of codes (runs, B, C, H, W)."""
    masked = codes.astype(np.int64) & ((1 << bits) - 1)
    return np.asarray(np.bitwise_count(masked).sum(axis=(2, 3, 4), dtype=np.int64).T)


def _elementwise(
    node: Node,
    inputs: list[NDArray[np.integer]],
    codes: NDArray[np.integer],
    network: Network,
    recorder: _Recorder,
    neurons: _Neurons | None = None,
) -> NDArray[np.integer]:
    if isinstance(node, InputNode):
        return codes
    value = inputs[0]
    if isinstance(node, AddNode):
        return add_values(inputs, node)
    if isinstance(node, BatchNormNode):
        return batch_norm_current(value.astype(np.int64), node)
    if isinstance(node, LifNode):
        current = stream_current(value.astype(np.int64), node)
        faults, images = (None, None) if neurons is None else (neurons.faults(node), neurons.images)
        run = compute_lif(current, node, network.n_timesteps, record=recorder.record, faults=faults, images=images)
        recorder.spikes[node.name] = run.spikes if recorder.record else run.spikes[:, : recorder.cycle_images]
        recorder.saturated[node.name], recorder.memory_errors[node.name] = run.saturated, run.memory_errors
        if run.membranes is not None:
            recorder.membranes[node.name] = run.membranes
        return run.spikes
    if isinstance(node, SumPoolNode):
        return sum_pool(value, node)
    if isinstance(node, FlattenNode):
        return value.reshape(*value.shape[:2], -1, 1, 1)
    return _logits(value.astype(np.int64), node, network.n_timesteps)


def sum_pool(value: NDArray[np.integer], node: SumPoolNode) -> NDArray[np.integer]:
    """Window sums (runs, B, C, H', W') of codes (runs, B, C, H, W); int32 unless the codes are int64."""
    dtype = np.int64 if value.dtype == np.int64 else np.int32
    view = np.lib.stride_tricks.sliding_window_view(value, (node.kernel, node.kernel), axis=(3, 4))
    return np.asarray(view[:, :, :, :: node.stride, :: node.stride].sum(axis=(5, 6), dtype=dtype))


def add_values(inputs: list[NDArray[np.integer]], node: AddNode) -> IntArray:
    """Sum of values (T or 1, B, C, H, W); a ``stream`` saturates to ``stream_bits`` signed, spikes add up exactly."""
    total = inputs[0].astype(np.int64)
    for value in inputs[1:]:
        total = total + value
    if node.mode == "sew":
        return total
    top = 1 << (node.stream_bits - 1)
    return np.clip(total, -top, top - 1)


def _logits(psum: IntArray, node: Node, n_timesteps: int) -> IntArray:
    bias = node.bias if isinstance(node, ReadoutNode) else np.zeros(1, dtype=np.int64)
    times = n_timesteps if psum.shape[0] == 1 else 1
    flat = psum.reshape(*psum.shape[:2], -1)
    return np.asarray(flat.sum(axis=0) * times + n_timesteps * bias.astype(np.int64), dtype=np.int64)


def _with_output_spikes(mapped: MappedLayer, recorder: _Recorder) -> LayerActivity:
    activity = recorder.activity[mapped.layer.name]
    sent = activity.spikes_out
    for lif in mapped.layer.lifs:
        spikes = recorder.spikes[lif.name][:, : recorder.cycle_images]
        sent = sent + spikes.sum(axis=(2, 3, 4), dtype=np.int64).T
    return LayerActivity(
        active_rows=activity.active_rows,
        input_ones=activity.input_ones,
        spikes_out=np.asarray(sent, dtype=np.int64),
        read_fJ=activity.read_fJ,
    )
