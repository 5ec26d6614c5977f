"""What a layer keeps for its backward pass, beside the spikes that the next layer reads."""

import pytest
import torch

from spikeloop.models.layers import FloatLayer, LayerGeometry, QuantLayer
from spikeloop.models.lif import MembraneGrid, NeuronSpec, lif_sequence
from spikeloop.models.quantisers import QuantisationSpec

T, BATCH, CHANNELS, SIZE = 4, 2, 3, 6
#: Bytes of one (T, B, C, H, W) tensor of float32.
WHOLE = T * BATCH * CHANNELS * SIZE * SIZE * 4


def kept_bytes(compute) -> tuple[dict[int, int], tuple[torch.Tensor, ...]]:
    """Storage -> bytes of everything that a computation saves for its backward pass, and its outputs."""
    kept = {}

    def pack(tensor):
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        outputs = compute()
    return kept, outputs


@pytest.mark.parametrize("path", ["torch", "kernel"])
@pytest.mark.parametrize("grid", [None, MembraneGrid(bits=4, guard_bits=4)])
@pytest.mark.parametrize("learned", [False, True])
def test_neurons_keep_one_tensor_that_is_the_membrane(monkeypatch, path, grid, learned):
    monkeypatch.setenv("SPIKELOOP_LIF", path)
    current = torch.randn(T, BATCH, CHANNELS, SIZE, SIZE, requires_grad=True)
    leak = torch.tensor(0.5, requires_grad=True) if learned else None
    kept, (spikes, membrane) = kept_bytes(lambda: lif_sequence(current, T, NeuronSpec(), grid, leak))
    assert kept == {membrane.untyped_storage().data_ptr(): WHOLE}
    assert spikes.untyped_storage().nbytes() == WHOLE


@pytest.mark.parametrize("quantised", [False, True])
@pytest.mark.parametrize("static", [False, True])
def test_a_layer_keeps_its_sums_for_the_batch_norm_besides(quantised, static):
    geometry = LayerGeometry(name="a", weight_shape=(3, 3, 3, 3), stride=1, padding=1, code_max=1, input_scale=1.0)
    if quantised:
        quantisation = QuantisationSpec(weight_bits=4, membrane_bits=4)
        spec = quantisation.weight_spec("inner")
        layer = QuantLayer(geometry, NeuronSpec(), T, weight_spec=spec, quantisation=quantisation)
    else:
        layer = FloatLayer(geometry, NeuronSpec(), T)
    torch.nn.init.normal_(layer.weight)
    codes = torch.rand(1 if static else T, BATCH, CHANNELS, SIZE, SIZE).round()
    kept, (_, membrane) = kept_bytes(lambda: layer(codes))
    # What the layer reads is kept for the convolution; it counts where it was made, as that layer's spikes.
    del kept[codes.untyped_storage().data_ptr()]
    assert kept.pop(membrane.untyped_storage().data_ptr()) == WHOLE
    maps = [size for size in kept.values() if size >= WHOLE // T]
    assert maps == [WHOLE // T if static else WHOLE]
