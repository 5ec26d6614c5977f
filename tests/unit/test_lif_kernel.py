"""The kernel of the training neuron gives the bits of the torch path."""

from collections import Counter

import pytest
import torch

from spikeloop.models.layers import LayerGeometry, QuantLayer
from spikeloop.models.lif import MembraneGrid, NeuronSpec, lif_sequence
from spikeloop.models.lif_kernel import kernel_takes
from spikeloop.models.quantisers import QuantisationSpec

GRIDS = [
    None,
    MembraneGrid(bits=2, guard_bits=1),
    MembraneGrid(bits=4, guard_bits=4),
    MembraneGrid(bits=4, guard_bits=3, theta_code=101),
]
SEEN: Counter[str] = Counter()


def drawn(shape: tuple[int, ...], seed: int, grid: MembraneGrid | None = None) -> torch.Tensor:
    values = torch.randn(shape, generator=torch.Generator().manual_seed(seed)) * 0.9 + 0.2
    # A grid of 1/8 without a stored one makes ties at the threshold as well.
    theta = 8 if grid is None else grid.theta
    return torch.round(values * theta) / theta


def outputs_and_gradient(monkeypatch, path, current, neuron, grid, gradients):
    monkeypatch.setenv("SPIKELOOP_LIF", path)
    given = current.clone().requires_grad_()
    assert kernel_takes(given) == (path != "torch")
    spikes, membrane = lif_sequence(given, 4, neuron, grid)
    used = [(out, grad) for out, grad in zip((spikes, membrane), gradients, strict=True) if grad is not None]
    torch.autograd.backward([out for out, _ in used], [grad for _, grad in used])
    return spikes.detach(), membrane.detach(), given.grad


def count(membrane: torch.Tensor, spikes: torch.Tensor, neuron: NeuronSpec, grid: MembraneGrid | None) -> None:
    SEEN["ties at threshold"] += int((membrane == 1).sum())
    SEEN["negative"] += int((membrane < 0).sum())
    if grid is not None:
        after = (membrane - spikes if neuron.reset == "soft" else membrane * (1 - spikes)) * grid.codes_per_theta
        SEEN["saturated low"] += int((after < grid.code_min - 0.5).sum())
        SEEN["saturated high"] += int((after >= grid.code_max + 0.5).sum())
        SEEN["ties to even"] += int(((after - after.floor()) == 0.5).sum())


def test_same_bits_as_torch_where_the_leak_is_a_power_of_two(monkeypatch):
    SEEN.clear()
    shape = (4, 2, 3, 5, 3)
    gradients = (drawn(shape, 2), drawn(shape, 3))
    for grid in GRIDS:
        for reset in ("hard", "soft"):
            for number, surrogate in enumerate(("triangle", "rectangle", "arctan", "fast_sigmoid")):
                neuron = NeuronSpec(leak_shift=number % 3, reset=reset, surrogate=surrogate)
                case = drawn(shape, number, grid), neuron, grid, gradients
                by_torch = outputs_and_gradient(monkeypatch, "torch", *case)
                by_kernel = outputs_and_gradient(monkeypatch, "kernel", *case)
                for theirs, mine in zip(by_torch, by_kernel, strict=True):
                    assert torch.equal(theirs, mine), (grid, neuron)
                count(by_torch[1], by_torch[0], neuron, grid)
    for what in ("ties at threshold", "negative", "saturated low", "saturated high", "ties to even"):
        assert SEEN[what] >= 20, SEEN


@pytest.mark.parametrize("which", [0, 1])
@pytest.mark.parametrize("static", [False, True])
def test_same_bits_for_one_gradient_alone_and_more_than_one_block_of_neurons(monkeypatch, which, static):
    shape = (4, 1, 1, 37, 31)
    gradients = [None, None]
    # The gradient of a sum has no memory of its own for its elements.
    gradients[which] = torch.ones(()).expand(shape)
    current = drawn(shape, 5)[: 1 if static else 4]
    case = current, NeuronSpec(), GRIDS[2], gradients
    by_torch = outputs_and_gradient(monkeypatch, "torch", *case)
    by_kernel = outputs_and_gradient(monkeypatch, "kernel", *case)
    for theirs, mine in zip(by_torch, by_kernel, strict=True):
        assert torch.equal(theirs, mine)
    assert by_kernel[2].shape == current.shape
    assert 0 < int(by_kernel[0].sum()) < by_kernel[0].numel()


def test_a_leak_that_is_no_power_of_two_differs_by_the_fused_product_only(monkeypatch):
    shape = (4, 2, 3, 5, 3)
    neuron = NeuronSpec(leak_mul=3, leak_shift=2, surrogate="arctan")
    case = (
        torch.randn(shape, generator=torch.Generator().manual_seed(1)),
        neuron,
        None,
        (drawn(shape, 2), drawn(shape, 3)),
    )
    by_torch = outputs_and_gradient(monkeypatch, "torch", *case)
    by_kernel = outputs_and_gradient(monkeypatch, "kernel", *case)
    assert torch.equal(by_torch[0], by_kernel[0])
    for theirs, mine in zip(by_torch[1:], by_kernel[1:], strict=True):
        torch.testing.assert_close(mine, theirs, rtol=1e-6, atol=2e-6)


@pytest.mark.filterwarnings("ignore:invalid value")
def test_a_value_that_is_no_number_reaches_both_outputs_as_in_torch(monkeypatch):
    current = drawn((4, 1, 2, 3, 3), 7, GRIDS[1])
    current[1, 0, 0, 0, 0], current[0, 0, 1, 2, 2] = float("nan"), float("inf")
    case = current, NeuronSpec(), GRIDS[1], (drawn(current.shape, 2), drawn(current.shape, 3))
    by_torch = outputs_and_gradient(monkeypatch, "torch", *case)
    by_kernel = outputs_and_gradient(monkeypatch, "kernel", *case)
    for theirs, mine in zip(by_torch, by_kernel, strict=True):
        torch.testing.assert_close(mine, theirs, rtol=0, atol=0, equal_nan=True)
    assert int(by_kernel[1].isnan().sum()) >= 4


def test_other_dtypes_and_layouts_take_the_torch_path():
    values = torch.zeros(2, 3, 4, 5, 5)
    assert kernel_takes(values)
    assert not kernel_takes(values.double())
    assert not kernel_takes(values.transpose(3, 4)[:, :, :, 1:])
    assert not kernel_takes(values[:, :2])


def test_a_student_layer_trains_to_the_same_bits_on_both_paths(monkeypatch):
    geometry = LayerGeometry(name="a", weight_shape=(3, 2, 3, 3), stride=1, padding=1, code_max=15, input_scale=1 / 15)
    quantisation = QuantisationSpec(weight_bits=3, membrane_bits=3, bn_bits=5, guard_bits=2)
    found = []
    for path in ("torch", "kernel"):
        monkeypatch.setenv("SPIKELOOP_LIF", path)
        spec = quantisation.weight_spec("inner")
        layer = QuantLayer(geometry, NeuronSpec(), 4, weight_spec=spec, quantisation=quantisation)
        generator = torch.Generator().manual_seed(1)
        with torch.no_grad():
            layer.weight.normal_(0.0, 0.3, generator=generator)
            layer.gamma.normal_(0.0, 1.0, generator=generator)
        codes = torch.randint(0, 16, (1, 3, 2, 5, 4), generator=generator).float()
        output = layer(codes)
        (output.spikes.sum() + output.membrane.square().sum()).backward()
        found.append((*output, layer.weight.grad, layer.gamma.grad, layer.beta.grad))
    for theirs, mine in zip(*found, strict=True):
        assert torch.equal(theirs.detach(), mine.detach())
        assert bool((mine != 0).any())
