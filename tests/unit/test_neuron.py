"""The LIF kernel equals the integer reference, and the reference equals exact rational arithmetic."""

from collections import Counter
from fractions import Fraction

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloop.simulator.functional.neuron import batch_norm_current, lif_step, run_lif, stream_current
from spikeloop.simulator.network.graph import BatchNormNode, LifNode

_SEEN: Counter[str] = Counter()


@st.composite
def lif_nodes(draw):
    membrane_bits, guard_bits, leak_shift = draw(st.integers(2, 8)), draw(st.integers(0, 4)), draw(st.integers(0, 3))
    return LifNode(
        name="lif",
        theta=draw(st.integers(1, 2 ** (membrane_bits + guard_bits))),
        membrane_bits=membrane_bits,
        guard_bits=guard_bits,
        leak_mul=draw(st.integers(0, 2**leak_shift)),
        leak_shift=leak_shift,
        reset=draw(st.sampled_from(["hard", "soft"])),
    )


def naive_lif(currents, node):
    """One neuron in exact rational arithmetic."""
    u, top, out = 0, 2 ** (node.membrane_bits - 1), []
    for current in currents:
        leaked = Fraction(u * 2**node.guard_bits * node.leak_mul, 2**node.leak_shift)
        h = round(leaked) + current  # half to even
        spike = h >= node.theta
        _SEEN["tie"] += h == node.theta
        after = (0 if node.reset == "hard" else h - node.theta) if spike else h
        rounded = round(Fraction(after, 2**node.guard_bits))
        _SEEN["saturated"] += not -top <= rounded < top
        u = max(-top, min(rounded, top - 1))
        _SEEN["negative"] += u < 0
        out.append((int(spike), u))
    return out


@settings(max_examples=200)
@given(node=lif_nodes(), seed=st.integers(0, 2**16), n_steps=st.integers(1, 8))
def _check_lif(node, seed, n_steps):
    rng = np.random.default_rng(seed)
    reach = 2 ** (node.membrane_bits + node.guard_bits)
    current = rng.integers(-reach, reach + 1, size=(n_steps, 1, 5, 1, 1))
    current[rng.random(current.shape) < 0.2] = node.theta  # make ties at threshold likely
    spikes, membrane = run_lif(current, node, n_steps, record=True)
    state = np.zeros(current.shape[1:], dtype=np.int64)
    for t in range(n_steps):
        fired, state = lif_step(state, current[t], node)
        assert np.array_equal(fired, spikes[t])
        assert np.array_equal(state, membrane[t])
    for i in range(5):
        expected = naive_lif(current[:, 0, i, 0, 0].tolist(), node)
        assert [
            (int(s), int(u)) for s, u in zip(spikes[:, 0, i, 0, 0], membrane[:, 0, i, 0, 0], strict=True)
        ] == expected


def test_kernel_reference_and_rational_arithmetic_agree_and_hard_cases_occurred():
    _SEEN.clear()
    _check_lif()
    for case in ("tie", "saturated", "negative"):
        assert _SEEN[case] >= 50, (case, _SEEN)


def test_held_current_equals_repeated_current():
    rng = np.random.default_rng(0)
    node = LifNode(name="lif", theta=40, membrane_bits=4)
    held = rng.integers(-60, 60, size=(1, 2, 3, 2, 2))
    once, _ = run_lif(held, node, 4, record=False)
    repeated, _ = run_lif(np.repeat(held, 4, axis=0), node, 4, record=False)
    assert np.array_equal(once, repeated)


def test_batch_norm_by_hand():
    """m=-5, n=3, k=2, e=3: I = (-5*P + 12 + 4) >> 3; P=2 -> 6>>3 = 0, P=-4 -> 36>>3 = 4, P=0 -> 16>>3 = 2."""
    node = BatchNormNode(name="bn", m=np.array([-5]), n=np.array([3]), k=np.array([2]), e=np.array([3]), bn_bits=4)
    psum = np.array([2, -4, 0]).reshape(3, 1, 1, 1, 1)
    assert batch_norm_current(psum, node).ravel().tolist() == [0, 4, 2]


def test_per_step_batch_norm_turns_a_held_sum_into_one_current_a_step():
    table = np.array([[2], [3]])
    zeros = np.zeros((2, 1), dtype=np.int64)
    node = BatchNormNode(name="bn", m=table, n=zeros, k=zeros, e=zeros, bn_bits=3)
    assert batch_norm_current(np.full((1, 1, 1, 1, 1), 7), node).ravel().tolist() == [14, 21]


def test_a_shifted_input_is_rounded_half_up_when_it_loses_bits():
    values = np.array([-3, -2, -1, 0, 1, 2, 3])
    nodes = (LifNode(name="lif", theta=1, membrane_bits=4, input_shift=shift) for shift in (2, 0, -1))
    up, same, down = (stream_current(values, node).tolist() for node in nodes)
    assert up == [-12, -8, -4, 0, 4, 8, 12]
    assert same == values.tolist()
    assert down == [-1, -1, 0, 0, 1, 1, 2]
