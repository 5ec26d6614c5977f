"""Reads of a chip equal the plain Python twin: cell by cell, draw by draw, code by code."""

from collections import Counter

import numpy as np
import pytest
from analog_cases import (
    assert_agrees,
    cells,
    converters,
    crossbars_of,
    gain_cell,
    layer_on_chip,
    on_chip,
    pcm_cell,
    random_codes,
    replicated,
    rram_cell,
    single_layer,
    small_networks,
    twin_of,
    with_fields,
)
from hypothesis import given, settings
from hypothesis import strategies as st
from networks import design, designs, random_spikes
from oracles.analog_twin import fold

from spikeloop.simulator.config import LosslessAdc, UniformAdc
from spikeloop.simulator.draws import CellDraws
from spikeloop.simulator.functional.analog import AnalogChip, needs_analog
from spikeloop.simulator.functional.chip_reads import ChipRun
from spikeloop.simulator.functional.crossbar import read_layer
from spikeloop.simulator.functional.run import run_functional
from spikeloop.simulator.functional.switches import NONE, Switches
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.graph import (
    ConvNode,
    FlattenNode,
    InputNode,
    LifNode,
    LinearNode,
    Network,
    ReadoutNode,
    chain_edges,
)

_SEEN: Counter[str] = Counter()


@st.composite
def _chips(draw):
    """(network, design, layer, log2 lsb, seed): cells and ADCs that depart from the ideal, replicas now and then."""
    network, hw = draw(small_networks), draw(designs(lossless=draw(st.integers(0, 5)) == 0))
    if draw(st.integers(0, 5)):
        baseline = draw(st.sampled_from(["subtracted", "subtracted", "kept"]))
        hw = on_chip(hw, cell=draw(cells(hw.crossbar.cell_bits)), baseline=baseline)
    if isinstance(hw.adc, UniformAdc):
        hw = with_fields(hw, adc=draw(converters(hw.adc.bits, hw.adc.columns_per_adc)))
    if draw(st.integers(0, 2)) == 0:
        hw = replicated(network, hw, 3)
    layers = map_network(network, hw).layers
    mapped = layers[draw(st.sampled_from([0, 0, len(layers) - 1]))]
    shift = draw(st.integers(0, 3))
    if draw(st.booleans()):
        shift = np.random.default_rng(shift).integers(0, 4, size=crossbars_of(mapped))
    return network, hw, mapped, shift, draw(st.integers(0, 2**40))


@settings(max_examples=220)
@given(case=_chips(), density=st.sampled_from([0.1, 0.5, 1.0]))
def _check_layer(case, density):
    network, hw, mapped, shift, seed = case
    runs = 1 if mapped.layer.input.static else network.n_timesteps
    codes = random_codes(np.random.default_rng(seed), mapped, runs, 2, density)
    images = np.array([7, 59_999])
    reads = layer_on_chip(mapped, hw, codes, images, shift, seed=seed, chip=seed % 3, ideal=not needs_analog(hw))
    twin = twin_of(mapped, hw, codes, images, shift, seed=seed, chip=seed % 3)
    assert_agrees(reads, twin, mapped)
    _count(hw, mapped, shift, twin, runs)


def _count(hw, mapped, shift, twin, runs):
    crossbar, adc = hw.crossbar, hw.adc
    _SEEN["conversions"] += sum(twin.conversions)
    _SEEN["ambiguous"] += twin.ambiguous
    for case, occurred in {
        mapped.scheme.kind: True,
        getattr(crossbar.cell, "kind", "ideal"): True,
        "baseline kept": crossbar.baseline == "kept" and not crossbar.is_ideal,
        "dummy column": mapped.scheme.dummy_columns > 0,
        "clipped": sum(high for _, high in twin.clipped) > 0,
        "input below 0": twin.negative > 0,
        "signed input": mapped.layer.input.signed,
        "several reads": mapped.reads_per_vector > 1,
        "several row blocks": mapped.row_blocks > 1,
        "grouped": mapped.layer.n_groups > 1,
        "depthwise": mapped.layer.n_groups == mapped.layer.in_shape[0] > 1,
        "spans": mapped.scheme.columns_per_output + mapped.scheme.dummy_columns > crossbar.cols,
        "padded": twin.padded_cells > 0,
        "replicas": mapped.n_replicas > 1,
        "several steps": runs > 1,
        "later layer": mapped.layer.index > 0,
        "lsb a crossbar": isinstance(shift, np.ndarray) and len(set(shift.tolist())) > 1,
        "lossless": not isinstance(adc, UniformAdc),
        "shared ADC": adc.columns_per_adc > 1,
    }.items():
        _SEEN[case] += occurred
    if not crossbar.is_ideal:
        probe = np.array([[1.0, 20.0]])
        _SEEN["cell noise"] += crossbar.cell.read_sigma_uS(probe) is not None
        _SEEN["frozen noise"] += crossbar.cell.image_sigma_uS(probe) is not None
        _SEEN["drift compensation"] += crossbar.cell.read_gain_ratio > 1.0
    if isinstance(adc, UniformAdc):
        _SEEN[adc.architecture] += adc.has_thresholds
        _SEEN["ADC noise"] += adc.noise_sigma_lsb > 0
        _SEEN["ADC gain"] += adc.gain_sigma > 0
        _SEEN["ADC offset"] += adc.offset_sigma_lsb > 0


_CASES = (
    "differential",
    "offset",
    "affine",
    "ideal",
    "rram",
    "pcm",
    "sram",
    "baseline kept",
    "dummy column",
    "clipped",
    "input below 0",
    "signed input",
    "several reads",
    "several row blocks",
    "grouped",
    "depthwise",
    "spans",
    "padded",
    "replicas",
    "several steps",
    "later layer",
    "lsb a crossbar",
    "lossless",
    "shared ADC",
    "cell noise",
    "frozen noise",
    "drift compensation",
    "sar",
    "ramp",
    "flash",
    "ADC noise",
    "ADC gain",
    "ADC offset",
)


def test_chip_equals_twin_and_the_hard_cases_occurred():
    _SEEN.clear()
    _check_layer()
    assert {case for case in _CASES if _SEEN[case] < 5} == set(), _SEEN
    assert _SEEN["conversions"] > 50_000
    # Either code is allowed where float32 and float64 may fall on different sides of a threshold.
    assert _SEEN["ambiguous"] < 3e-4 * _SEEN["conversions"], _SEEN


@pytest.mark.parametrize(("rows", "cols"), [(1, 1), (1, 1024), (1024, 1), (300, 17), (1024, 1024)])
@pytest.mark.parametrize("architecture", ["sar", "flash"])
def test_crossbars_of_any_size(rows, cols, architecture):
    """3-bit weights on two outputs; one image. Crossbars of one row get few inputs: each has 1024 ADCs of its own."""
    rng = np.random.default_rng(rows + cols)
    network = single_layer(rng.integers(-3, 4, size=(2, 400 if rows > 1 else 9)), weight_bits=3)
    hw = on_chip(design(rows=rows, cols=cols, adc_bits=5), cell=rram_cell(programming_sigma_ratio=0.1))
    hw = with_fields(hw, adc=UniformAdc(bits=5, columns_per_adc=1, architecture=architecture, unit_sigma=0.05))
    mapped = map_network(network, hw).layers[0]
    codes, images = random_codes(rng, mapped, 1, 1, 0.5), np.array([3])
    reads = layer_on_chip(mapped, hw, codes, images, 2, seed=9)
    assert_agrees(reads, twin_of(mapped, hw, codes, images, 2, seed=9), mapped)


def _plain_sums(hw, mapped, codes, seed):
    """(images, outputs) float64 column sums of one binary row group, one slice, one sign, and their magnitudes."""
    cell, crossbar = hw.crossbar.cell, hw.crossbar
    sums, magnitudes = [], []
    per_block = crossbar.cols
    for first in range(0, mapped.layer.n_outputs, per_block):
        weights = mapped.layer.matrix[0][:, first : first + per_block]
        physical = np.zeros((crossbar.rows, crossbar.cols), dtype=np.uint8)
        physical[: weights.shape[0], : weights.shape[1]] = weights + 2 ** (mapped.layer.weight_bits - 1)
        key = fold(1, seed, 0, 0, first // per_block)
        draws = CellDraws(key=key, rows=crossbar.rows, cols=crossbar.cols)
        conductance = cell.programmed_uS(physical, crossbar.cell_bits, draws)
        counts = (conductance - cell.conductance_min_uS) / cell.unit_uS(crossbar.cell_bits)
        x = codes.reshape(-1, weights.shape[0]).astype(np.float64)
        used = counts[: weights.shape[0], : weights.shape[1]]
        sums.append(x @ used)
        magnitudes.append(x @ np.abs(used))
    return np.concatenate(sums, axis=1), np.concatenate(magnitudes, axis=1)


@pytest.mark.parametrize("rows", [1, 7, 128, 1000])
def test_column_sums_to_a_millionth(rows):
    """Cells whose states lie far above a unit make sums of 10^6 counts, of which a code of one count shows 10^-6."""
    rng = np.random.default_rng(rows)
    network = single_layer(rng.integers(-7, 8, size=(20, rows)), weight_bits=4)
    narrow = {"conductance_min_uS": 1.0, "conductance_max_uS": 1.0 + 1e-5 * rows}  # states far above the unit
    stuck = rram_cell(programming_sigma_ratio=4.0, distribution="lognormal", **narrow)
    hw = on_chip(design(rows=rows, cols=16, cell_bits=4, scheme="offset"), cell=stuck)
    mapped = map_network(network, hw).layers[0]
    codes = random_codes(rng, mapped, 1, 30, 0.7)
    run = ChipRun(chip=AnalogChip(hw=hw, seed=4), images=np.arange(30), switches=Switches(adc=False))
    reads = read_layer(mapped, codes, adc_shift=0, adc_bits=31, run=run)
    x = codes.reshape(30, rows)
    found = reads.psum.reshape(30, 20) + 8 * x.sum(axis=1)[:, None]
    sums, magnitudes = _plain_sums(hw, mapped, codes, seed=4)
    error = np.abs(found - np.maximum(sums, 0.0))
    assert (error <= 0.5 + 1e-6 * magnitudes).all()
    # The half count of the code hides nothing: it is below the tolerance of most sums.
    assert (magnitudes[x.any(axis=1)] > 5e5).mean() > 0.2


def _conv_network(rng, size=20):
    """Two signed input planes, two groups, 3x3 kernels on ``size`` x ``size`` values: more positions than a block."""
    inner = size - 2
    nodes = (
        InputNode(name="in", shape=(2, size, size), bits=2, signed=True),
        ConvNode(name="conv", weight=rng.integers(-3, 4, size=(4, 1, 3, 3)), weight_bits=3, groups=2),
        LifNode(name="lif", theta=3, membrane_bits=6, guard_bits=2, leak_mul=1, leak_shift=1, reset="hard"),
        FlattenNode(name="flat"),
        LinearNode(name="fc", weight=rng.integers(-1, 2, size=(3, 4 * inner * inner)), weight_bits=2),
        ReadoutNode(name="out", bias=np.zeros(3, dtype=np.int64)),
    )
    return Network(name="conv", n_timesteps=2, nodes=nodes, edges=chain_edges(nodes))


def _noisy_designs():
    cell = pcm_cell(image_noise_ratio=0.05, drift_compensation="mean")
    plain = on_chip(design(rows=6, cols=16, cell_bits=2, adc_bits=4), cell=cell)
    mismatch = UniformAdc(
        bits=4, columns_per_adc=2, architecture="ramp", unit_sigma=0.1, offset_sigma_lsb=0.5, noise_sigma_lsb=0.3
    )
    rram = on_chip(plain, cell=rram_cell(programming_sigma_ratio=0.2, read_noise_ratio=0.1), rows_active=4)
    return [with_fields(plain, adc=mismatch), rram, with_fields(on_chip(rram, scheme="offset"), adc=mismatch)]


@pytest.mark.parametrize("case", range(3))
@pytest.mark.parametrize("times", [1, 3])
def test_an_image_is_computed_alike_alone_in_a_batch_and_on_two_threads(case, times):
    """Same bits of sums and energy, whatever shares the batch, in whatever order."""
    rng = np.random.default_rng(case)
    network, hw = _conv_network(rng), _noisy_designs()[case]
    hw = replicated(network, hw, 4) if times > 1 else hw
    mapped = map_network(network, hw).layers[0]
    assert (mapped.n_replicas > 1) == (times > 1)
    codes, images = random_codes(rng, mapped, 2, 5, 0.4), np.array([4, 900, 17, 3, 2**31])
    batch = layer_on_chip(mapped, hw, codes, images, 1, seed=5)
    threads = layer_on_chip(mapped, hw, codes, images, 1, seed=5, n_threads=2)
    more = layer_on_chip(mapped, hw, codes, images, 1, seed=5, n_threads=7)
    back = layer_on_chip(mapped, hw, codes[:, ::-1], images[::-1], 1, seed=5)
    for other in (threads, more):
        assert np.array_equal(batch.psum, other.psum)
        assert np.array_equal(batch.read_fJ, other.read_fJ)
        assert np.array_equal(batch.active_rows, other.active_rows)
        assert np.array_equal(batch.clipped, other.clipped)
    assert np.array_equal(batch.psum, back.psum[:, ::-1])
    assert np.array_equal(batch.read_fJ, back.read_fJ[::-1])
    for k in range(5):
        alone = layer_on_chip(mapped, hw, codes[:, k : k + 1], images[k : k + 1], 1, seed=5)
        assert np.array_equal(alone.psum[:, 0], batch.psum[:, k])
        assert np.array_equal(alone.read_fJ[0], batch.read_fJ[k])


def test_another_chip_seed_or_layer_has_other_cells_and_replicas_differ():
    rng = np.random.default_rng(0)
    network = _conv_network(rng, size=6)
    hw = on_chip(design(rows=16, cols=16), cell=rram_cell(programming_sigma_ratio=0.2))
    mapped = map_network(network, replicated(network, hw, 6)).layers[0]
    assert mapped.n_replicas > 1

    def values(seed, chip, replica, group=0):
        return AnalogChip(hw=hw, seed=seed, chip=chip).group_cells(mapped, group, replica).cells.values

    first = values(1, 0, 0)
    assert np.array_equal(first, values(1, 0, 0))
    for other in (values(2, 0, 0), values(1, 1, 0), values(1, 0, 1), values(1, 0, 0, group=1)):
        assert not np.isclose(first, other).any()


@settings(max_examples=40)
@given(case=_chips(), seed=st.integers(0, 99))
def test_no_departure_is_ideal_hardware(case, seed):
    network, hw = case[:2]
    spikes = random_spikes(network, 3, seed)
    mapping = map_network(network, hw)
    off = run_functional(network, mapping, hw, spikes, adc_shift=(2,) * len(mapping.layers), switches=NONE)
    ideal = with_fields(
        on_chip(design(rows=hw.crossbar.rows, cols=hw.crossbar.cols), cell_bits=hw.crossbar.cell_bits),
        adc=LosslessAdc(columns_per_adc=1),
    )
    fine = map_network(network, ideal)
    exact = run_functional(network, fine, ideal, spikes, adc_shift=(0,) * len(fine.layers))
    assert np.array_equal(off.logits, exact.logits)
    assert not any(clipped.any() for clipped in off.crossbar_clipped)


def test_switches_by_layer_depart_there_only():
    """A layer that is not named is ideal; one that is named alone changes what it computes."""
    rng = np.random.default_rng(2)
    network = _conv_network(rng, size=6)
    hw = on_chip(design(rows=16, cols=16), cell=gain_cell(counts=1.3))
    mapping, spikes = map_network(network, hw), random_spikes(network, 3, 1)
    shift = (0,) * len(mapping.layers)

    def logits(switches):
        return run_functional(network, mapping, hw, spikes, adc_shift=shift, switches=switches).logits

    ideal = logits(NONE)
    assert np.array_equal(logits({}), ideal)
    assert not np.array_equal(logits({"fc": Switches()}), ideal)
    assert np.array_equal(logits({"fc": NONE, "conv": NONE}), ideal)
