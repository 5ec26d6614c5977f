"""Stream and adds of residual students: grids, saturation, gradients."""

import numpy as np
import pytest
import torch

from spikeloop.models.lif import MembraneGrid, NeuronSpec
from spikeloop.models.net import build_student, build_teacher
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.models.residual import PlainAdd, QuantStreamLif, StreamAdd, StreamGrid
from spikeloop.models.zoo import architecture


@pytest.mark.parametrize(
    ("bits", "thresholds", "membrane_bits", "guard_bits", "shift"),
    [(8, 8, 4, 4, 3), (8, 8, 2, 0, -3), (4, 8, 4, 4, 7), (2, 32, 2, 0, 5), (10, 1, 8, 2, 0)],
)
def test_the_shift_takes_one_grid_to_the_other(bits, thresholds, membrane_bits, guard_bits, shift):
    """A threshold is codes_per_theta on the stream and 2^(m-1+g) on the guard grid; both are powers of two."""
    stream, grid = StreamGrid(bits=bits, thresholds=thresholds), MembraneGrid(bits=membrane_bits, guard_bits=guard_bits)
    assert stream.input_shift(grid) == shift
    assert stream.codes_per_theta * 2.0**shift == grid.theta
    assert (stream.code_max + 1) / stream.codes_per_theta == thresholds


def test_a_stream_saturates_and_passes_no_gradient_there():
    """4 bits over 8 thresholds: codes -8 to 7, one a threshold."""
    add = StreamAdd(StreamGrid(bits=4, thresholds=8))
    left = torch.tensor([3.0, 6.0, -5.0, -8.0], requires_grad=True)
    right = torch.tensor([4.0, 2.0, -3.0, -1.0], requires_grad=True)
    total = add(left, right)
    assert total.tolist() == [7.0, 7.0, -8.0, -8.0]
    assert add.integer_run(left.detach(), right.detach()).tolist() == [7.0, 7.0, -8.0, -8.0]
    total.sum().backward()
    assert left.grad.tolist() == right.grad.tolist() == [1.0, 0.0, 1.0, 0.0]


def test_held_terms_are_added_to_every_step():
    held, moving = torch.ones(1, 2, 1, 1, 1), torch.arange(6.0).reshape(3, 2, 1, 1, 1)
    assert torch.equal(PlainAdd()(held, moving), moving + 1)


@pytest.mark.parametrize("stream_bits", [3, 8, 12])
def test_training_and_integers_send_the_same_spikes_from_a_stream(stream_bits):
    quantisation = QuantisationSpec(weight_bits=4, membrane_bits=3, guard_bits=1, stream_bits=stream_bits)
    lif = QuantStreamLif("lif", NeuronSpec(), 3, quantisation)
    top = 2 ** (stream_bits - 1)
    codes = torch.from_numpy(np.random.default_rng(0).integers(-top, top, (3, 4, 2, 5, 5))).float()
    stream = (codes / lif.stream.codes_per_theta).requires_grad_()
    trained = lif.train()(stream)
    sent = lif.eval()(stream.detach())
    assert torch.equal(trained.spikes, sent.spikes)
    assert torch.equal(trained.membrane, sent.membrane)
    assert 0.02 < float(sent.spikes.mean()) < 0.9
    trained.spikes.sum().backward()
    assert float(stream.grad.abs().sum()) > 0


@pytest.mark.parametrize("name", ["ms_resnet_tiny", "sew_resnet_tiny"])
@pytest.mark.parametrize("make", ["teacher", "student"])
def test_every_parameter_of_a_residual_net_gets_a_gradient_and_the_loss_falls(name, make):
    plan, options = architecture(name), {"n_timesteps": 3, "neuron": NeuronSpec(), "seed": 4}
    if make == "teacher":
        net = build_teacher(plan, **options)
    else:
        net = build_student(plan, quantisation=QuantisationSpec(weight_bits=4, membrane_bits=6), **options)
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(0, 16, (32, 1, 8, 8), generator=generator).float()
    labels = torch.arange(32) % 4
    optimiser = torch.optim.AdamW(net.parameters(), lr=0.01)
    losses = []
    for _ in range(12):
        optimiser.zero_grad()
        loss = torch.nn.functional.cross_entropy(net.train()(codes).logits.mean(0), labels)
        loss.backward()
        losses.append(float(loss.detach()))
        assert all(p.grad is not None and bool(torch.isfinite(p.grad).all()) for p in net.parameters())
        optimiser.step()
    silent = [key for key, p in net.named_parameters() if not bool(p.grad.any())]
    assert silent == []
    assert losses[-1] < 0.8 * losses[0]


def test_a_frozen_residual_student_trains_on_the_spikes_that_it_will_send():
    """Batch norm constants rounded in training are those of the network file, so the stream has the same codes."""
    quantisation = QuantisationSpec(weight_bits=8, first_layer_bits=8, membrane_bits=4, bn_bits=8)
    net = build_student(
        architecture("ms_resnet_tiny"), n_timesteps=2, neuron=NeuronSpec(), quantisation=quantisation, seed=0
    )
    codes = torch.randint(0, 16, (16, 1, 8, 8), generator=torch.Generator().manual_seed(2)).float()
    net.settle_statistics(codes, 8)
    sent = net.eval()(codes)
    net.train()
    net.freeze_statistics(True)
    trained = net(codes)
    for a, b in zip(sent.spikes, trained.spikes, strict=True):
        assert float((a != b).float().mean()) < 0.001
    assert sum(float(part.sum()) for part in sent.spikes) > 1000
