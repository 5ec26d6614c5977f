"""The integers of a layer stand for the real-valued layer that was trained."""

import numpy as np
import pytest
import torch

from spikeloop.models.layers import LayerGeometry, QuantLayer, QuantReadout, exact_product
from spikeloop.models.lif import NeuronSpec
from spikeloop.models.quantisers import QuantisationSpec, weight_step
from spikeloop.simulator.errors import NetworkError
from spikeloop.simulator.network.quant import QuantSpec

FINE = QuantisationSpec(weight_bits=8, membrane_bits=8, bn_bits=24)


def geometry(outputs=6, inputs=20, *, code_max=15, scale=1 / 15):
    return LayerGeometry(
        name="fc", weight_shape=(outputs, inputs), stride=1, padding=0, code_max=code_max, input_scale=scale
    )


def quant_layer(*, variance, neuron=None, quantisation=FINE, **where):
    layer = QuantLayer(
        geometry(**where),
        neuron or NeuronSpec(),
        2,
        weight_spec=QuantSpec(bits=quantisation.weight_bits),
        quantisation=quantisation,
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        layer.weight.normal_(generator=generator)
        layer.gamma.uniform_(-2, 2, generator=generator)
        layer.beta.normal_(generator=generator)
        layer.running_mean.normal_(generator=generator)
        layer.running_var.fill_(variance)
    return layer.eval()


@pytest.mark.parametrize("variance", [1e-5, 3.0])
def test_folded_constants_are_the_batch_norm_of_the_real_sums(variance):
    """gain*P + offset is theta times gamma*(s*P - mean)/sqrt(var + 1e-5) + beta; at a small variance eps counts."""
    layer = quant_layer(variance=variance)
    sums = torch.arange(-300.0, 301.0, 50.0, dtype=torch.float64)[:, None]
    folded = layer.folded()
    step = layer.weight.detach().abs().max().double() / 127
    real = (sums * step / 15 - layer.running_mean) / np.sqrt(variance + 1e-5) * layer.gamma + layer.beta
    expected = (real * layer.grid.theta).detach().numpy()
    got = (sums * folded.gain + folded.offset).numpy()
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * np.abs(expected).max())


def test_a_frozen_layer_trains_on_the_spikes_that_it_will_send():
    layer = quant_layer(variance=3.0)
    codes = torch.randint(0, 16, (1, 64, 20, 1, 1), generator=torch.Generator().manual_seed(2)).float()
    sent = layer(codes).spikes
    layer.train()
    layer.statistics_frozen = True
    trained = layer(codes).spikes.detach()
    assert 0.05 < float(sent.mean()) < 0.95
    assert float((sent != trained).float().mean()) < 0.005  # float32 may round another way at an exact half


@torch.no_grad()
def test_the_integer_bias_and_logits_stand_for_the_real_ones():
    readout = QuantReadout(geometry(), weight_spec=QuantSpec(bits=8)).eval()
    generator = torch.Generator().manual_seed(3)
    with torch.no_grad():
        readout.weight.normal_(generator=generator)
        readout.bias.normal_(generator=generator)
    codes = torch.randint(0, 16, (1, 8, 20, 1, 1), generator=generator).float()
    bias = readout.integer_bias() * readout.scale()
    assert float((bias - readout.bias).abs().max()) <= readout.scale() / 2 * 1.0001
    real = codes.flatten(2) / 15 @ readout.weight.T + readout.bias
    worst = 20 * readout.scale() * 15 / 2 + readout.scale()
    assert float((readout(codes) - real).abs().max()) <= worst
    assert float(real.abs().max()) > 10 * worst


def test_sums_beyond_float32_are_exact():
    rng = np.random.default_rng(4)
    weight = rng.integers(-(2**15), 2**15, size=(6, 200)) | 1
    codes = rng.integers(0, 256, size=(1, 16, 200, 1, 1)) | 1
    got = exact_product(
        torch.from_numpy(codes).float(), torch.from_numpy(weight).double(), geometry(inputs=200, code_max=255)
    )
    expected = np.einsum("tbi,oi->tbo", codes[..., 0, 0], weight)
    assert np.abs(expected).max() > 2**24
    assert np.array_equal(got.numpy()[..., 0, 0], expected)


def test_percentile_scale_puts_the_largest_code_at_that_rank():
    weight = torch.arange(1.0, 101.0) * torch.tensor([1.0, -1.0]).repeat(50)
    for percentile, largest in ((99.0, 99), (50.0, 50), (100.0, 100), (0.1, 1)):
        spec = QuantSpec(bits=4, scale="percentile", percentile=percentile)
        assert float(weight_step(weight, spec)) == pytest.approx(largest / 7, rel=1e-12)


def test_a_membrane_beyond_exact_arithmetic_is_refused():
    wide = QuantisationSpec(weight_bits=2, membrane_bits=32, guard_bits=16)
    codes = torch.ones(1, 1, 20, 1, 1)
    quant_layer(variance=3.0, quantisation=wide).integer_run(codes)
    layer = quant_layer(variance=3.0, quantisation=wide, neuron=NeuronSpec(leak_mul=2**16, leak_shift=16))
    with pytest.raises(NetworkError, match=r"fc: a membrane can reach .* ends at 2\^53"):
        layer.integer_run(codes)


def test_the_gradient_of_a_single_picture_does_not_depend_on_how_its_channels_lie():
    """The sums of a crossbar come position by position; the offset's gradient is the plain sum over positions."""
    layer = quant_layer(variance=1.0, outputs=6).train()
    sums = torch.randn(1, 16, 6, generator=torch.Generator().manual_seed(2)).transpose(1, 2).reshape(1, 6, 4, 4)
    assert sums.is_contiguous(memory_format=torch.channels_last)
    weights = torch.randn(1, 6, 4, 4, generator=torch.Generator().manual_seed(3))
    (layer._normalise(sums, 1.0)[0] * weights).sum().backward()
    torch.testing.assert_close(layer.beta.grad, weights.sum((0, 2, 3)))
