"""CPU time of one training step: SpikingJelly, snnTorch, spikeloop, and the same layers with ReLU.

    pip install --target PEERS --no-deps spikingjelly snntorch loguru
    OMP_NUM_THREADS=1 PYTHONPATH=PEERS python tests/bench/training_speed.py

One net for all: conv3x3 32-P-64-P-128-P (or other ``--widths``), batch norm and neurons behind each, linear 10; input
of 2x28x28 that changes from step to step, so nobody saves work at a static input. Leak 1/2, hard reset, arctan
surrogate, reset detached. Variants run in turn, the smallest CPU time of each counts.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable
from importlib.metadata import version

import torch
from torch import nn

from spikeloop.models.layers import FloatLayer, LayerOutput
from spikeloop.models.lif import NeuronSpec
from spikeloop.models.net import build_student, build_teacher
from spikeloop.models.plan import Architecture, Classifier, Conv, SumPool
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.simulator.network.graph import InputNode

T, SIZE = 4, 28
#: Positions of the map behind three poolings.
LAST_MAP = (SIZE // 8) ** 2
NEURON = NeuronSpec(surrogate="arctan")
Forward = Callable[[torch.Tensor], torch.Tensor]
Widths = tuple[int, int, int]


def our_plan(widths: Widths) -> Architecture:
    """The net of the study."""
    layers: list[Conv | SumPool | Classifier] = []
    for number, width in enumerate(widths, 1):
        layers += [Conv(name=f"conv{number}", channels=width), SumPool(name=f"pool{number}")]
    source = InputNode(name="input", shape=(2, SIZE, SIZE), bits=1)
    return Architecture(name="speed", input=source, layers=(*layers, Classifier(name="fc", classes=10)))


class ReluLayer(nn.Module):
    """A teacher's layer with ReLU in place of neurons."""

    def __init__(self, layer: FloatLayer) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, codes: torch.Tensor) -> LayerOutput:
        """Activations, twice for form."""
        active = torch.relu(self.layer.float_current(codes))
        return LayerOutput(active, active)


def ours(kind: str, widths: Widths) -> tuple[nn.Module, Forward]:
    """Teacher, student, or the teacher with ReLU."""
    parts = {"n_timesteps": T, "neuron": NEURON, "seed": 0}
    if kind == "student":
        net = build_student(our_plan(widths), quantisation=QuantisationSpec(weight_bits=4, membrane_bits=4), **parts)
    else:
        net = build_teacher(our_plan(widths), **parts)
    if kind == "relu":
        for name, block in list(net.blocks.items()):
            if isinstance(block, FloatLayer):
                net.blocks[name] = ReluLayer(block)
    return net, lambda x: net(x).logits.mean(0)


def plain_layers(
    widths: Widths, conv: type, norm: type, neuron: Callable[[], nn.Module], pool: type
) -> list[nn.Module]:
    """Convolutional part from the classes of a library."""
    layers: list[nn.Module] = []
    for before, width in zip((2, *widths), widths, strict=False):
        layers += [conv(before, width, 3, padding=1, bias=False), norm(width), neuron(), pool(2)]
    return layers


def plain_relu(widths: Widths) -> tuple[nn.Module, Forward]:
    """The layers of torch on T times the batch."""
    net = nn.Sequential(
        *plain_layers(widths, nn.Conv2d, nn.BatchNorm2d, nn.ReLU, nn.AvgPool2d),
        nn.Flatten(),
        nn.Linear(widths[-1] * LAST_MAP, 10),
    )
    return net, lambda x: net(x.flatten(0, 1)).unflatten(0, x.shape[:2]).mean(0)


def spikingjelly(widths: Widths) -> tuple[nn.Module, Forward]:
    """SpikingJelly, multi-step mode, torch backend."""
    from spikingjelly.activation_based import functional, layer, neuron, surrogate

    def lif() -> nn.Module:
        return neuron.LIFNode(
            tau=2.0, decay_input=False, v_reset=0.0, detach_reset=True, surrogate_function=surrogate.ATan()
        )

    net = nn.Sequential(
        *plain_layers(widths, layer.Conv2d, layer.BatchNorm2d, lif, layer.AvgPool2d),
        layer.Flatten(),
        layer.Linear(widths[-1] * LAST_MAP, 10),
    )
    functional.set_step_mode(net, "m")

    def forward(x: torch.Tensor) -> torch.Tensor:
        functional.reset_net(net)
        return net(x).mean(0)

    return net, forward


def snntorch(widths: Widths) -> tuple[nn.Module, Forward]:
    """SnnTorch as in its tutorials: the whole net once a step."""
    import snntorch as library
    from snntorch import surrogate

    def lif() -> nn.Module:
        return library.Leaky(beta=0.5, spike_grad=surrogate.atan(), reset_mechanism="zero", init_hidden=True)

    net = nn.Sequential(
        *plain_layers(widths, nn.Conv2d, nn.BatchNorm2d, lif, nn.AvgPool2d),
        nn.Flatten(),
        nn.Linear(widths[-1] * LAST_MAP, 10),
    )

    def forward(x: torch.Tensor) -> torch.Tensor:
        for module in net:
            if isinstance(module, library.Leaky):
                module.reset_hidden()
        return torch.stack([net(now) for now in x]).mean(0)

    return net, forward


def variants(widths: Widths) -> dict[str, tuple[nn.Module, Forward]]:
    """Everything that is timed, by name; a library that is missing is left out with a line that says so."""
    found = {
        "spikeloop ReLU": ours("relu", widths),
        "torch ReLU": plain_relu(widths),
        "spikeloop teacher": ours("teacher", widths),
        "spikeloop student W4 U4": ours("student", widths),
    }
    for name, make in (("spikingjelly", spikingjelly), ("snntorch", snntorch)):
        try:
            found[f"{name} {version(name)}"] = make(widths)
        except (ImportError, ModuleNotFoundError) as error:
            print(f"without {name}: {error}")
    return found


def step_s(net: nn.Module, forward: Forward, x: torch.Tensor, labels: torch.Tensor) -> float:
    """CPU seconds of one forward and backward pass."""
    net.zero_grad()
    start = time.process_time()
    nn.functional.cross_entropy(forward(x), labels).backward()
    return time.process_time() - start


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--repeats", type=int, default=15)
    parser.add_argument("--widths", type=int, nargs=3, default=[32, 64, 128], help="channels of the convolutions")
    args = parser.parse_args()
    torch.set_num_threads(1)
    generator = torch.Generator().manual_seed(0)
    x = (torch.rand(T, args.batch, 2, SIZE, SIZE, generator=generator) < 0.3).float()
    labels = torch.randint(0, 10, (args.batch,), generator=generator)
    nets = variants(tuple(args.widths))
    times: dict[str, list[float]] = {name: [] for name in nets}
    for repeat in range(args.repeats + 1):
        for name, (net, forward) in nets.items():
            spent = step_s(net.train(), forward, x, labels)
            if repeat:  # the first one compiles and fills caches
                times[name].append(spent)
    best = {name: min(values) for name, values in times.items()}
    path = os.environ.get("SPIKELOOP_LIF", "kernel")
    print(f"torch {torch.__version__}, neurons by {path}, {args.repeats} repeats")
    print(f"T={T}, batch {args.batch}, widths {args.widths}")
    print(f"{'net':28s} {'ms':>8s} {'median':>8s} {'x ReLU':>8s}")
    for name, value in best.items():
        median = sorted(times[name])[len(times[name]) // 2]
        print(f"{name:28s} {1e3 * value:8.1f} {1e3 * median:8.1f} {value / best['spikeloop ReLU']:8.2f}")


if __name__ == "__main__":
    main()
