"""Neurons with faults equal their plain twin bit for bit; laws and distributions of the faults."""

from __future__ import annotations

import math
from collections import Counter
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.neuron_twin import Comparator, Lif, Memory, Twin, run_twin

from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.functional.neuron import LifRun, compute_lif, run_lif
from spikeloop.simulator.functional.neuron_faults import NeuronFaults, neuron_faults
from spikeloop.simulator.network.graph import LifNode
from spikeloop.simulator.neuron_config import NeuronConfig, NeuronMemoryConfig

STEP_NS = 1000.0


def _node(**changed: object) -> LifNode:
    fields = {"theta": 40, "membrane_bits": 6, "guard_bits": 1, "leak_mul": 1, "leak_shift": 1, "reset": "hard"}
    return LifNode(name="lif", **(fields | changed))


def _faults(config: NeuronConfig, *, seed: int = 0, chip: int = 0, lif_key: int = 0) -> NeuronFaults:
    found = neuron_faults(config, seed=seed, chip=chip, lif_key=lif_key, step_ns=STEP_NS)
    assert found is not None
    return found


def _memory(**fields: object) -> NeuronConfig:
    return NeuronConfig(memory=NeuronMemoryConfig(**fields))


def _run(
    current: np.ndarray, node: LifNode, config: NeuronConfig, images: list[int] | None = None, **key: int
) -> LifRun:
    """(T, B, neurons) currents through a layer of one row."""
    steps, batch, _ = current.shape
    index = np.arange(batch) if images is None else np.array(images)
    return compute_lif(
        current.reshape(steps, batch, -1, 1, 1), node, steps, record=True, faults=_faults(config, **key), images=index
    )


def _currents(rng: np.random.Generator, node: LifNode, shape: tuple[int, int, int]) -> np.ndarray:
    reach = 2 ** (node.membrane_bits + node.guard_bits - 1)
    return rng.integers(-reach, reach + 1, size=shape)


def _assert_equal(run: LifRun, twin: Twin) -> None:
    shape = run.spikes.shape[:3]
    assert np.array_equal(run.spikes.reshape(shape), np.array(twin.spikes))
    assert np.array_equal(run.membranes.reshape(shape), np.array(twin.membranes))
    assert run.saturated.tolist() == twin.saturated
    assert run.memory_errors.tolist() == twin.memory_errors


# --------------------------------------------------------------------------------------------------------- twin


@st.composite
def _nodes(draw: st.DrawFn) -> LifNode:
    width, guard, shift = draw(st.integers(2, 12)), draw(st.integers(0, 3)), draw(st.integers(0, 3))
    return _node(
        theta=draw(st.integers(1, 2 ** (width + guard - 1))),
        membrane_bits=width,
        guard_bits=guard,
        leak_mul=draw(st.integers(1, 2**shift)),
        leak_shift=shift,
        reset=draw(st.sampled_from(["hard", "soft"])),
    )


@st.composite
def _memories(draw: st.DrawFn) -> NeuronMemoryConfig:
    often = st.sampled_from([0.0, 1e-3, 0.05, 0.3])
    kept = draw(st.sampled_from([None, 200.0, 3000.0, 50000.0]))
    memory = NeuronMemoryConfig(
        bit_error_ratio=draw(st.sampled_from([0.0, 0.02, 0.4, 1.0])),
        stuck_at_0_fraction=draw(often),
        stuck_at_1_fraction=draw(often),
        retention_time_ns=kept,
        retention_sigma=None if kept is None else draw(st.sampled_from([None, 0.5, 2.0])),
        decay_level=draw(st.integers(0, 1)),
    )
    return memory if not memory.is_ideal else NeuronMemoryConfig(bit_error_ratio=0.1)


def _plain(memory: NeuronMemoryConfig) -> Memory:
    lost = 0.0
    if memory.retention_time_ns is not None and memory.retention_sigma is None:
        lost = -math.expm1(-STEP_NS / memory.retention_time_ns)
    elif memory.retention_time_ns is not None:
        lost = NormalDist().cdf(math.log(STEP_NS / memory.retention_time_ns) / memory.retention_sigma)
    return Memory(
        misread=memory.bit_error_ratio,
        stuck_at_0=memory.stuck_at_0_fraction,
        stuck_at_1=memory.stuck_at_1_fraction,
        lost=lost,
        lost_is_frozen=memory.retention_sigma is not None,
        decay_level=memory.decay_level,
    )


def _lif(node: LifNode) -> Lif:
    return Lif(node.theta, node.membrane_bits, node.guard_bits, node.leak_mul, node.leak_shift, node.reset)


_SEEN: Counter[str] = Counter()


@settings(max_examples=40)
@given(
    node=_nodes(),
    memory=_memories(),
    neurons=st.sampled_from([1, 3, 64, 67]),
    images=st.lists(st.integers(0, 10**6), min_size=1, max_size=2, unique=True),
    seed=st.integers(0, 2**32),
    chip=st.integers(0, 50),
    lif_key=st.integers(0, 20),
)
def _check_memory(node, memory, neurons, images, seed, chip, lif_key):
    current = _currents(np.random.default_rng(seed), node, (3, len(images), neurons))
    run = _run(current, node, NeuronConfig(memory=memory), images, seed=seed, chip=chip, lif_key=lif_key)
    twin = run_twin(current.tolist(), _lif(node), images, seed=seed, chip=chip, lif_key=lif_key, memory=_plain(memory))
    _assert_equal(run, twin)
    _SEEN.update(twin.seen)
    _SEEN["second word"] += neurons > 64 and sum(twin.memory_errors) > 0


def test_memory_errors_equal_the_twin():
    _SEEN.clear()
    _check_memory()
    hard = ("lost", "stuck", "misread", "lost and stuck", "stuck and misread", "sign", "right again", "second word")
    assert all(_SEEN[case] >= 5 for case in hard), _SEEN


@settings(max_examples=60)
@given(
    node=_nodes(),
    offset=st.sampled_from([0.0, 0.05, 0.5]),
    leak=st.sampled_from([0.0, 0.1, 1.0]),
    time=st.sampled_from([None, 500.0, 20000.0]),
    seed=st.integers(0, 2**32),
)
def _check_analog(node, offset, leak, time, seed):
    if not (offset or leak or time):
        offset = 0.1
    config = NeuronConfig(
        kind="analog", comparator_offset_sigma=offset, capacitor_leak_sigma=leak, capacitor_time_ns=time
    )
    current = _currents(np.random.default_rng(seed), node, (4, 2, 9))
    run = _run(current, node, config, seed=seed)
    comparator = Comparator(offset_sigma=offset, leak_sigma=leak, own_rate=STEP_NS / time if time else 0.0)
    twin = run_twin(current.tolist(), _lif(node), [0, 1], seed=seed, chip=0, lif_key=0, comparator=comparator)
    _assert_equal(run, twin)
    _SEEN.update(twin.seen)


def test_analog_neurons_equal_the_twin():
    _SEEN.clear()
    _check_analog()
    assert _SEEN["offset decides"] >= 20
    assert _SEEN["fires"] >= 100


# ------------------------------------------------------------------------------------------------------ by hand


@pytest.mark.parametrize(
    ("memory", "read"),
    [
        ({"bit_error_ratio": 1.0}, ~20),  # every bit inverted: 010100 -> 101011 = -21
        ({"stuck_at_0_fraction": 1.0}, 0),
        ({"stuck_at_1_fraction": 1.0}, -1),
        ({"retention_time_ns": 1e-3}, 0),  # exp(-10^6): nothing is left
        ({"retention_time_ns": 1e-3, "decay_level": 1}, -1),
        ({"retention_time_ns": 1e-3, "retention_sigma": 1.0, "decay_level": 1}, -1),
        ({"stuck_at_1_fraction": 1.0, "bit_error_ratio": 1.0}, 0),  # a stuck bit can be misread
        ({"stuck_at_1_fraction": 1.0, "retention_time_ns": 1e-3}, -1),  # and cannot be lost
    ],
)
def test_a_membrane_by_hand(memory, read):
    """20 is stored, no leak, no guard bits, 3 arrives: the membrane becomes what is read, plus 3."""
    node = _node(theta=1000, guard_bits=0, leak_shift=0)
    run = _run(np.array([[[20]], [[3]]]), node, _memory(**memory))
    assert run.membranes.ravel().tolist() == [20, read + 3]
    assert run.memory_errors.tolist() == [0, bin((20 ^ read) & 0b111111).count("1")]


def test_saturation_counts_by_hand():
    """6-bit membranes end at -32 and 31: 40 and -33 are cut, 31 and -32 are not."""
    node = _node(theta=1000, guard_bits=0, leak_shift=0)
    current = np.array([[[40, -33, 31, -32, 0]], [[0, 0, 1, -1, 0]]])
    run = compute_lif(current.reshape(2, 1, 5, 1, 1), node, 2, record=True)
    assert run.membranes[0].ravel().tolist() == [31, -32, 31, -32, 0]
    assert run.saturated.tolist() == [2, 2]


def test_comparator_offset_moves_the_threshold_and_not_the_reset():
    """Soft reset: who fires is decided by the neuron's own threshold, what is taken away is the network's."""
    node = _node(theta=20, guard_bits=0, leak_shift=0, reset="soft")
    config = NeuronConfig(kind="analog", comparator_offset_sigma=0.3)
    current = np.arange(32).repeat(200).reshape(1, 32, 200)
    run = _run(current, node, config)
    fired = run.spikes.reshape(32, 200).astype(bool)
    assert (np.diff(fired.astype(int), axis=0) >= 0).all()  # one threshold a neuron
    thresholds = 32 - fired.sum(axis=0)
    assert thresholds.min() < 14 < 26 < thresholds.max()
    membranes = run.membranes.reshape(32, 200)
    assert np.array_equal(membranes, np.arange(32)[:, None] - 20 * fired)


def test_capacitor_forgets_with_its_time_constant():
    """No leak of the network and a time constant of 2 steps: each step keeps exp(-1/2)."""
    node = _node(theta=10**6, membrane_bits=24, guard_bits=0, leak_shift=0)
    current = np.zeros((4, 1, 1), dtype=int)
    current[0] = 10**6 - 1
    run = _run(current, node, NeuronConfig(kind="analog", capacitor_time_ns=2 * STEP_NS))
    kept = run.membranes.ravel()[1:] / run.membranes.ravel()[:-1]
    assert kept == pytest.approx([math.exp(-0.5)] * 3, rel=2**-16)


# --------------------------------------------------------------------------------------------------------- laws


def test_rates_are_met():
    """Of 10^6 bits that are read, the given fraction is wrong, within 5 deviations."""
    node = _node(theta=10**6, membrane_bits=10, guard_bits=0, leak_mul=0)
    current = np.random.default_rng(0).integers(-512, 512, size=(2, 50, 2000))
    for rate in (1e-4, 0.01, 0.3):
        bits = 50 * 2000 * 10
        wrong = int(_run(current, node, _memory(bit_error_ratio=rate)).memory_errors[1])
        assert abs(wrong - rate * bits) < 5 * math.sqrt(rate * (1 - rate) * bits)


def test_stuck_bits_are_frozen_and_misreads_are_not():
    node = _node(theta=10**6, membrane_bits=10, guard_bits=0, leak_shift=0)
    current = np.zeros((3, 4, 500), dtype=int)
    stuck = _run(current, node, _memory(stuck_at_1_fraction=0.05)).membranes.reshape(3, 4, 500)
    assert np.count_nonzero(stuck[1]) > 500
    assert (stuck[1:] == stuck[1, 0]).all()  # the same bits at every step and image
    misread = _run(current, node, _memory(bit_error_ratio=0.05)).membranes.reshape(3, 4, 500)
    assert not np.array_equal(misread[1, 0], misread[1, 1])
    other = _run(current, node, _memory(stuck_at_1_fraction=0.05), chip=1).membranes.reshape(3, 4, 500)
    assert not np.array_equal(stuck[1], other[1])


@given(seed=st.integers(0, 2**16), low=st.floats(1e-6, 0.5), high=st.floats(0.5, 1))
@settings(max_examples=30)
def test_a_higher_rate_only_adds_errors(seed, low, high):
    """A membrane of zeros read once: its ones are the misread bits."""
    node = _node(theta=10**6, membrane_bits=10, guard_bits=0, leak_shift=0)
    current = np.zeros((2, 1, 70), dtype=int)
    few, many = (
        _run(current, node, _memory(bit_error_ratio=rate), seed=seed).membranes[1].ravel() for rate in (low, high)
    )
    assert ((few & many) == few).all()


def test_neither_batches_nor_neighbours_change_a_draw():
    node, config = _node(), _memory(bit_error_ratio=0.05, stuck_at_0_fraction=0.02)
    current = _currents(np.random.default_rng(3), node, (3, 6, 100))
    whole = _run(current, node, config, [5, 1, 9, 30, 2, 7])
    part = _run(current[:, 2:4, :70], node, config, [9, 30])
    assert np.array_equal(whole.membranes[:, 2:4, :70], part.membranes)


def test_analog_neurons_without_mismatch_are_the_networks():
    node = _node()
    current = _currents(np.random.default_rng(3), node, (3, 2, 50)).reshape(3, 2, 50, 1, 1)
    assert neuron_faults(NeuronConfig(kind="analog"), seed=0, chip=0, lif_key=0, step_ns=None) is None
    tiny = NeuronConfig(kind="analog", comparator_offset_sigma=1e-9)
    spikes, membranes = run_lif(current, node, 3, record=True)
    mismatched = compute_lif(current, node, 3, record=True, faults=_faults(tiny))
    # A threshold a billionth above its nominal value is the next whole number, as H is whole: only H = theta differs.
    differs = np.argwhere(mismatched.spikes != spikes)
    assert all(mismatched.spikes[tuple(place)] == 0 for place in differs)
    assert np.array_equal(mismatched.membranes[mismatched.spikes == spikes], membranes[mismatched.spikes == spikes])


def test_membranes_in_registers_do_not_fail():
    """layer_major keeps membranes in registers: no memory, no errors of it."""
    config = _memory(bit_error_ratio=0.5)
    assert neuron_faults(config, seed=0, chip=0, lif_key=0, step_ns=None, in_memory=False) is None


@pytest.mark.parametrize(
    "config",
    [_memory(retention_time_ns=5.0), NeuronConfig(kind="analog", capacitor_time_ns=5.0)],
)
@pytest.mark.parametrize("step_ns", [None, -1.0, math.inf, math.nan])
def test_a_time_that_is_not_known_is_refused(config, step_ns):
    with pytest.raises(ConfigError, match="needs the time of a step"):
        neuron_faults(config, seed=0, chip=0, lif_key=0, step_ns=step_ns)


def test_products_that_do_not_fit_are_refused():
    config = NeuronConfig(kind="analog", capacitor_leak_sigma=0.1)
    wide = _node(membrane_bits=32, guard_bits=8, leak_shift=8, leak_mul=255)
    with pytest.raises(ConfigError, match="needs 63 bits"):
        _faults(config).analog(wide, 3)
