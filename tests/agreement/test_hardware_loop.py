"""Training through crossbars against the functional simulator: without noise every clipped integer is the same."""

from collections import Counter

import numpy as np
import pytest
import torch
from networks import design

from spikeloop.models.export import lif_node_name, to_network
from spikeloop.models.hardware_cells import POOL_SIZE, CellPool
from spikeloop.models.hardware_loop import CrossbarReads
from spikeloop.models.lif import NeuronSpec
from spikeloop.models.net import build_student
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.models.zoo import architecture
from spikeloop.simulator.cells.rram import RramCell
from spikeloop.simulator.config import UniformAdc
from spikeloop.simulator.functional.analog import AnalogChip
from spikeloop.simulator.functional.run import calibrate_adc, run_functional
from spikeloop.simulator.mapping.tiles import map_network
from spikeloop.simulator.network.graph import LinearNode
from spikeloop.simulator.network.spikes import SpikeTrain


@pytest.fixture(params=["kernel", "torch"])
def path(request, monkeypatch):
    """What reads the crossbars: the kernel, or torch as on a GPU."""
    monkeypatch.setenv("SPIKELOOP_READS", request.param)


DEMO = [(quantiser, scheme) for quantiser in ("uniform", "rescaw", "mint") for scheme in ("differential", "offset")]


def student_of(network, quantiser="uniform"):
    torch.manual_seed(5)
    spec = QuantisationSpec(weight_bits=4, membrane_bits=4, weight_quantiser=quantiser)
    net = build_student(architecture(network), n_timesteps=2, neuron=NeuronSpec(), quantisation=spec, seed=1)
    for block in net.blocks.values():
        if hasattr(block, "gamma"):
            torch.nn.init.normal_(block.gamma, 1.0, 0.5)
            torch.nn.init.normal_(block.beta, 0.5, 0.5)
    net.start_steps()
    return net.eval()


def inputs_of(network, n_images=2):
    node = network.input
    lead = (n_images,) if node.static else (network.n_timesteps, n_images)
    codes = np.random.default_rng(3).integers(0, 2**node.bits, size=(*lead, *node.shape))
    return SpikeTrain(name="random", codes=codes, labels=None, indices=np.arange(n_images))


def attach(net, mapping, hw, shift, **draws):
    given = {"pool": None, "variation": False, "read_noise": False, **draws}
    reads = {}
    for item, lsb in zip(mapping.layers, shift, strict=True):
        reads[item.layer.name] = CrossbarReads(item, hw, generator=torch.Generator(), **given)
        reads[item.layer.name].set_shift(lsb)
        net.blocks[item.layer.name].reader = reads[item.layer.name]
    return reads


def check_agreement(net, hw):
    """Spikes, logits and clipped conversions of both; returns how many clipped."""
    network = to_network(net, "student")
    mapping, spikes = map_network(network, hw), inputs_of(network)
    # Half of the calibrated range, so that conversions clip.
    shift = tuple(int(lsb) // 2 for lsb in calibrate_adc(network, mapping, hw, spikes))
    outputs = run_functional(network, mapping, hw, spikes, adc_shift=shift, record=True)
    reads = attach(net, mapping, hw, shift)
    codes = torch.from_numpy(spikes.codes.astype(np.float32))
    run = net.integer_run(codes)
    assert np.array_equal(outputs.logits, run.logits.numpy())
    for name, layer in run.layers.items():
        assert np.array_equal(outputs.spikes[lif_node_name(name)], layer.spikes.numpy())
        assert np.array_equal(outputs.membranes[lif_node_name(name)], layer.stored.numpy())
    assert outputs.clipped.sum() == sum(item.clipped for item in reads.values())
    return int(outputs.clipped.sum())


@pytest.mark.usefixtures("path")
@pytest.mark.parametrize(("quantiser", "scheme"), DEMO)
def test_every_quantiser_and_scheme_reads_as_the_simulator(quantiser, scheme):
    seen = Counter()
    for cell_bits, rows_active, dummy in [(1, None, False), (2, 7, True), (4, 16, False)]:
        hw = design(
            rows=32,
            cols=32,
            cell_bits=cell_bits,
            scheme=scheme,
            rows_active=rows_active,
            dummy_column=dummy,
            adc_bits=3,
        )
        seen["clipped"] += check_agreement(student_of("demo", quantiser), hw)
    assert seen["clipped"] > 100


@pytest.mark.parametrize("network", ["ms_resnet_tiny", "sew_resnet_tiny", "nmnist"])
def test_residual_networks_and_events_read_as_the_simulator(network):
    hw = design(rows=32, cols=32, cell_bits=2, adc_bits=3, full_scale="percentile")
    assert check_agreement(student_of(network), hw) > 100


def one_reader(weight, hw, **draws):
    """Reader of a linear layer of weights (outputs, inputs), and its mapping."""
    from networks import one_layer

    network = one_layer(weight, weight_bits=4)
    assert isinstance(network.order()[1], LinearNode)
    mapping = map_network(network, hw)
    given = {"pool": None, "variation": False, "read_noise": False, **draws}
    return CrossbarReads(mapping.layers[0], hw, generator=torch.Generator().manual_seed(1), **given), mapping


@pytest.mark.usefixtures("path")
def test_a_row_group_that_clips_passes_no_gradient_and_its_neighbour_does():
    """Weights 3 3 | 1 1, all rows driven, reads of two rows, one 4-bit slice, 2-bit ADC of lsb 1.

    The positive column of the first read is 6 and clips at 3; that of the second is 2. P = 3 + 2 = 5. Half of the place
    value of a read is its negative column, which holds 0 and never clips: the first read passes 1/2, the second 1.
    """
    hw = design(rows=4, cols=4, cell_bits=4, rows_active=2, adc_bits=2)
    reads, _ = one_reader(np.array([[3, 3, 1, 1]]), hw)
    codes = torch.ones(1, 1, 4, 1, 1, requires_grad=True)
    weight = torch.tensor([[3.0, 3.0, 1.0, 1.0]], requires_grad=True)
    sums = reads.training_sums(codes, weight)
    sums.sum().backward()
    assert sums.item() == 5.0
    assert weight.grad.tolist() == [[0.5, 0.5, 1.0, 1.0]]
    assert codes.grad.flatten().tolist() == [1.5, 1.5, 1.0, 1.0]
    assert (reads.clipped, reads.conversions) == (1, 4)


@pytest.mark.usefixtures("path")
def test_the_plain_gradient_is_that_of_the_product():
    hw = design(rows=4, cols=4, cell_bits=4, rows_active=2, adc_bits=2)
    reads, _ = one_reader(np.array([[3, 3, 1, 1]]), hw, gradient="plain")
    codes = torch.ones(1, 1, 4, 1, 1, requires_grad=True)
    weight = torch.tensor([[3.0, 3.0, 1.0, 1.0]], requires_grad=True)
    reads.training_sums(codes, weight).sum().backward()
    assert weight.grad.tolist() == [[1.0, 1.0, 1.0, 1.0]]
    assert codes.grad.flatten().tolist() == [3.0, 3.0, 1.0, 1.0]


def sums_and_gradients(name, hw, shift, **draws):
    """A layer of the demo student reads random codes from crossbars, with the draws of one seed."""
    mapping = map_network(to_network(student_of("demo"), "student"), hw)
    item = next(item for item in mapping.layers if item.layer.name == name)
    reads = CrossbarReads(item, hw, generator=torch.Generator().manual_seed(4), **{"pool": None, **draws})
    reads.set_shift(shift)
    top = 2**item.layer.input.n_planes
    codes = np.random.default_rng(6).integers(0, top, size=(2, 3, *item.layer.in_shape)).astype(np.float32)
    given = torch.from_numpy(codes).requires_grad_()
    weight = torch.from_numpy(item.layer.matrix[0].T.astype(np.float32)).requires_grad_()
    sums = reads.training_sums(given, weight)
    torch.sin(sums * 0.1).sum().backward()
    return sums.detach(), given.grad, weight.grad, reads.clipped, reads.conversions


@pytest.mark.parametrize("scheme", ["differential", "offset"])
@pytest.mark.parametrize("name", ["conv1", "conv2"])
def test_the_kernel_reads_ideal_cells_as_torch_does(monkeypatch, scheme, name):
    hw = design(rows=32, cols=32, cell_bits=2, scheme=scheme, rows_active=7, dummy_column=True, adc_bits=3)
    found = {}
    for path in ("kernel", "torch"):
        monkeypatch.setenv("SPIKELOOP_READS", path)
        found[path] = sums_and_gradients(name, hw, 0, variation=False, read_noise=False)
    (mine, *my_gradients, my_clips, n), (its, *its_gradients, its_clips, m) = found["kernel"], found["torch"]
    assert torch.equal(mine, its)
    assert (my_clips, n) == (its_clips, m)
    assert my_clips > 100
    for a, b in zip(my_gradients, its_gradients, strict=True):
        assert b.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-5 * float(b.abs().max()))


def test_the_kernel_reads_scattered_cells_with_the_draws_of_torch(monkeypatch):
    """Sums are added in another order: where one lies at the edge of a code, the code may be the next one."""
    cell = RramCell.model_validate(CELL)
    hw = design(rows=32, cols=32, cell_bits=2)
    crossbar = hw.crossbar.model_copy(update={"cell": cell, "baseline": "subtracted"})
    adc = UniformAdc(bits=4, full_scale="max", gain_sigma=0.05, offset_sigma_lsb=0.3, noise_sigma_lsb=0.2)
    hw = hw.model_copy(update={"crossbar": crossbar, "adc": adc})
    pool = CellPool(cell, hw, seed=0, device=torch.device("cpu"))
    found = {}
    for path in ("kernel", "torch"):
        monkeypatch.setenv("SPIKELOOP_READS", path)
        found[path] = sums_and_gradients("conv2", hw, 1, pool=pool, variation=True, read_noise=True)
    (mine, *my_gradients, my_clips, n), (its, *its_gradients, its_clips, _) = found["kernel"], found["torch"]
    differ = float((mine != its).float().mean())
    assert differ < 2e-3
    assert mine.std() > 5
    assert abs(my_clips - its_clips) <= 2e-3 * n
    for a, b in zip(my_gradients, its_gradients, strict=True):
        assert (a - b).norm() < 0.02 * b.norm()


CELL = {"kind": "rram", "source": "test", "conductance_min_uS": 1.0, "conductance_max_uS": 40.0}
CELL |= {"read_voltage_V": 0.2, "read_time_ns": 10.0, "programming_sigma_ratio": 0.1, "read_noise_ratio": 0.05}


@pytest.mark.parametrize("distribution", ["normal", "lognormal"])
def test_sums_scatter_as_on_simulated_chips(distribution):
    """Mean and variance of the sums of 32 driven rows over 400 drawings, against 400 chips, wide fine ADCs.

    Of n drawings a mean is off by sigma/sqrt(n) and a variance by sqrt(2/(n-1)) of itself: with both sides scattering
    and 8 outputs compared, five standard errors are allowed.
    """
    from spikeloop.simulator.config import CrossbarConfig

    cell = RramCell.model_validate({**CELL, "distribution": distribution})
    crossbar = CrossbarConfig(rows=32, cols=32, cell_bits=2, cell=cell, baseline="subtracted")
    hw = design(adc_bits=14).model_copy(update={"crossbar": crossbar})
    weight, n = np.random.default_rng(0).integers(-7, 8, size=(8, 32)), 400
    pool = CellPool(cell, hw, seed=3, device=torch.device("cpu"))
    reads, mapping = one_reader(weight, hw, pool=pool, variation=True, read_noise=True)
    codes, real = torch.ones(1, 1, 32, 1, 1), torch.from_numpy(weight).float()
    # Codes of lsb 1 round the sums, on both sides alike.
    mine = np.array([reads.training_sums(codes, real).flatten().tolist() for _ in range(n)])
    spikes = SpikeTrain(name="ones", codes=np.ones((1, 1, 32, 1, 1), dtype=np.int64), labels=None, indices=np.arange(1))
    its = np.array(
        [
            run_functional(
                mapping.network, mapping, hw, spikes, adc_shift=(0,), chip=AnalogChip(hw=hw, seed=9, chip=i)
            ).logits[0]
            for i in range(n)
        ]
    )
    variance = (mine.var(0, ddof=1) + its.var(0, ddof=1)) / 2
    assert (variance > 0.3).all()
    assert (np.abs(mine.mean(0) - its.mean(0)) < 5 * np.sqrt(2 * variance / n)).all()
    assert (np.abs(mine.var(0, ddof=1) - its.var(0, ddof=1)) < 5 * variance * np.sqrt(4 / (n - 1))).all()


def test_a_pool_holds_the_moments_of_its_cells():
    cell = RramCell.model_validate(CELL)
    hw = design(cell_bits=2)
    hw = hw.model_copy(update={"crossbar": hw.crossbar.model_copy(update={"cell": cell, "baseline": "subtracted"})})
    pool = CellPool(cell, hw, seed=0, device=torch.device("cpu"))
    sigma = 0.1 * (1.0 + np.arange(4) * 13.0) / 13.0  # programming_sigma_ratio * target, in counts of 13 uS
    assert (np.abs(pool.values.numpy().mean(1) - np.arange(4)) < 5 * sigma / POOL_SIZE**0.5).all()
    assert np.allclose(pool.values.numpy().std(1), sigma, rtol=5 / (2 * POOL_SIZE) ** 0.5)
