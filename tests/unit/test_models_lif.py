"""The whole-sequence neuron against one step at a time, and the training neuron against the integer one."""

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.lif_stepwise import lif_stepwise

from spikeloop.models.lif import MembraneGrid, NeuronSpec, lif_codes, lif_sequence
from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.spec import validate_spec


def drawn_current(seed: int, grid: MembraneGrid | None, shape=(5, 3, 4, 2, 2)) -> torch.Tensor:
    current = torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64) * 0.9 + 0.2
    return current if grid is None else torch.round(current * grid.theta) / grid.theta


@pytest.mark.parametrize("reset", ["hard", "soft"])
@pytest.mark.parametrize("surrogate", ["triangle", "rectangle", "arctan", "fast_sigmoid"])
@pytest.mark.parametrize("grid", [None, MembraneGrid(bits=2, guard_bits=1), MembraneGrid(bits=4, guard_bits=3)])
def test_gradients_of_both_outputs_equal_stepwise_autograd(reset, surrogate, grid):
    neuron = NeuronSpec(leak_mul=3, leak_shift=2, reset=reset, surrogate=surrogate)
    mine = drawn_current(1, grid).requires_grad_()
    theirs = mine.detach().clone().requires_grad_()
    spikes, membrane = lif_sequence(mine, 5, neuron, grid)
    bits = {} if grid is None else {"bits": grid.bits, "guard_bits": grid.guard_bits}
    true_spikes, true_membrane = lif_stepwise(theirs, leak=0.75, reset=reset, surrogate=surrogate, **bits)
    assert torch.equal(spikes, true_spikes)
    # On a grid every value is exact; in floating point a fused multiply-add may differ in the last bit.
    torch.testing.assert_close(membrane, true_membrane, rtol=0, atol=1e-14 if grid is None else 0)
    assert 0 < int(spikes.sum()) < spikes.numel()
    weights = [drawn_current(seed, None) for seed in (2, 3)]
    (spikes * weights[0] + membrane.square() * weights[1]).sum().backward()
    (true_spikes * weights[0] + true_membrane.square() * weights[1]).sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("which", [0, 1])
def test_gradient_of_one_output_alone_is_right(which):
    mine = drawn_current(4, None).requires_grad_()
    theirs = mine.detach().clone().requires_grad_()
    lif_sequence(mine, 5, NeuronSpec())[which].sum().backward()
    lif_stepwise(theirs, leak=0.5, reset="hard", surrogate="triangle")[which].sum().backward()
    torch.testing.assert_close(mine.grad, theirs.grad, rtol=1e-12, atol=1e-12)


def test_saturated_membrane_passes_no_gradient():
    grid = MembraneGrid(bits=2, guard_bits=4)
    # Step 1 leaves H' = -5, stored as -1 (saturated); H at step 2 must not depend on it.
    current = torch.tensor([[-5.0], [0.25]], dtype=torch.float64, requires_grad=True)
    _, membrane = lif_sequence(current, 2, NeuronSpec(), grid)
    membrane[1].sum().backward()
    assert membrane[1].item() == pytest.approx(-0.5 + 0.25)
    assert current.grad.flatten().tolist() == [0.0, 1.0]


def test_static_current_gets_the_sum_of_the_steps_gradients():
    neuron = NeuronSpec()
    once = drawn_current(5, None)[:1].clone().requires_grad_()
    every = once.detach().expand(4, -1, -1, -1, -1).clone().requires_grad_()
    lif_sequence(once, 4, neuron)[1].square().sum().backward()
    lif_sequence(every, 4, neuron)[1].square().sum().backward()
    torch.testing.assert_close(once.grad, every.grad.sum(0, keepdim=True))


@settings(max_examples=60, deadline=None)
@given(
    bits=st.integers(2, 8),
    guard_bits=st.integers(0, 5),
    leak_shift=st.integers(0, 3),
    data=st.data(),
    reset=st.sampled_from(["hard", "soft"]),
    seed=st.integers(0, 10_000),
)
def test_training_neuron_equals_integer_neuron_on_the_grid(bits, guard_bits, leak_shift, data, reset, seed):
    grid = MembraneGrid(bits=bits, guard_bits=guard_bits)
    neuron = NeuronSpec(leak_mul=data.draw(st.integers(0, 2**leak_shift)), leak_shift=leak_shift, reset=reset)
    current = drawn_current(seed, grid)
    spikes, membrane = lif_sequence(current.float(), 5, neuron, grid)
    codes = lif_codes(current * grid.theta, 5, neuron, grid)
    assert torch.equal(spikes.double(), codes.spikes)
    assert torch.equal(membrane.double() * grid.theta, codes.membrane)
    assert int(codes.stored.min()) >= grid.code_min
    assert int(codes.stored.max()) <= grid.code_max


def test_a_leak_above_one_is_refused():
    with pytest.raises(ConfigError, match="leak above 1; allowed leak_mul 0 to 2"):
        validate_spec(NeuronSpec, {"leak_mul": 3, "leak_shift": 1}, where="x.yaml")
