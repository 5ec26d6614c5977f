"""The networks: each a short list of layers, from which teacher and student are built alike (``net.py``)."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from spikeloop.simulator.errors import NetworkError, closest
from spikeloop.simulator.network.graph import InputNode

from .plan import (
    Add,
    Architecture,
    Block,
    Classifier,
    Conv,
    Dense,
    MembraneBlock,
    SpikeBlock,
    StreamConv,
    StreamLif,
    SumPool,
)


def _pixels(shape: tuple[int, int, int], bits: int) -> InputNode:
    return InputNode(name="input", shape=shape, bits=bits, static=True)


def _events(size: int, bits: int) -> InputNode:
    """Two polarities of an event camera, other codes at every step."""
    return InputNode(name="input", shape=(2, size, size), bits=bits)


_DEMO = Architecture(
    name="demo",
    input=_pixels((1, 8, 8), 4),
    layers=(
        Conv(name="conv1", channels=8),
        SumPool(name="pool1"),
        Conv(name="conv2", channels=16),
        SumPool(name="pool2"),
        Classifier(name="fc", classes=10),
    ),
)
_FASHION = Architecture(
    name="fashion",
    input=_pixels((1, 28, 28), 8),
    layers=(
        Conv(name="conv1", channels=16),
        SumPool(name="pool1"),
        Conv(name="conv2", channels=32),
        SumPool(name="pool2"),
        Conv(name="conv3", channels=64),
        Dense(name="fc1", features=128),
        Classifier(name="fc2", classes=10),
    ),
)
_NMNIST = Architecture(
    name="nmnist",
    input=_events(34, 1),
    layers=(
        Conv(name="conv1", channels=12),
        SumPool(name="pool1"),
        Conv(name="conv2", channels=32),
        SumPool(name="pool2"),
        Conv(name="conv3", channels=32),
        SumPool(name="pool3"),
        Classifier(name="fc", classes=10),
    ),
)
_CIFAR_SMALL = Architecture(
    name="cifar_small",
    input=_pixels((3, 32, 32), 8),
    layers=(
        Conv(name="conv1", channels=24),
        SumPool(name="pool1"),
        Conv(name="conv2", channels=48),
        SumPool(name="pool2"),
        Conv(name="conv3", channels=96),
        Conv(name="conv4", channels=96),
        SumPool(name="pool3"),
        Classifier(name="fc", classes=10),
    ),
)
_VGG9 = Architecture(
    name="vgg9",
    input=_pixels((3, 32, 32), 8),
    layers=(
        Conv(name="conv1", channels=64),
        Conv(name="conv2", channels=64),
        SumPool(name="pool1"),
        Conv(name="conv3", channels=128),
        Conv(name="conv4", channels=128),
        SumPool(name="pool2"),
        Conv(name="conv5", channels=256),
        Conv(name="conv6", channels=256),
        Conv(name="conv7", channels=256),
        SumPool(name="pool3"),
        Dense(name="fc1", features=1024),
        Classifier(name="fc2", classes=10),
    ),
)


def _stages(block: type[MembraneBlock] | type[SpikeBlock], channels: tuple[int, ...], per_stage: int) -> list[Block]:
    """Blocks ``s1b1``, ``s1b2``, ...; every stage but the first begins by halving the map."""
    return [
        block(name=f"s{stage}b{number}", channels=width, stride=2 if stage > 1 and number == 1 else 1)
        for stage, width in enumerate(channels, 1)
        for number in range(1, per_stage + 1)
    ]


def _ms_resnet(name: str, source: InputNode, channels: tuple[int, ...], per_stage: int, pool: int) -> Architecture:
    """MS-ResNet (Hu et al., arXiv 2112.08954) for small images; its shortcuts: ``MembraneBlock``."""
    return Architecture(
        name=name,
        input=source,
        layers=(
            StreamConv(name="stem", channels=channels[0]),
            Add(name="stem_add", mode="stream"),
            *_stages(MembraneBlock, channels, per_stage),
            StreamLif(name="last"),
            SumPool(name="pool", kernel=pool),
            Classifier(name="fc", classes=10),
        ),
    )


def _sew_resnet(name: str, source: InputNode, channels: tuple[int, ...], per_stage: int, pool: int) -> Architecture:
    """SEW-ResNet with ADD (Fang et al., arXiv 2102.04159) for small images."""
    return Architecture(
        name=name,
        input=source,
        layers=(
            Conv(name="stem", channels=channels[0]),
            *_stages(SpikeBlock, channels, per_stage),
            SumPool(name="pool", kernel=pool),
            Classifier(name="fc", classes=10),
        ),
    )


_SMALL, _CIFAR = _pixels((1, 8, 8), 4), _pixels((3, 32, 32), 8)
_WIDTHS = (64, 128, 256, 512)
ARCHITECTURES: Mapping[str, Architecture] = MappingProxyType(
    {
        plan.name: plan
        for plan in (
            _DEMO,
            _FASHION,
            _CIFAR_SMALL,
            _VGG9,
            _ms_resnet("ms_resnet_tiny", _SMALL, (8, 16), 1, pool=4),
            _sew_resnet("sew_resnet_tiny", _SMALL, (8, 16), 1, pool=4),
            _ms_resnet("ms_resnet18", _CIFAR, _WIDTHS, 2, pool=4),
            _sew_resnet("sew_resnet18", _CIFAR, _WIDTHS, 2, pool=4),
            _NMNIST,
        )
    }
)


def architecture(name: str) -> Architecture:
    """Architecture of that name.

    Raises:
        NetworkError: unknown; the sentence lists the nearest name and all of them.
    """
    if name not in ARCHITECTURES:
        close = closest(name, ARCHITECTURES)
        hint = f"did you mean '{close}'? " if close else ""
        raise NetworkError(f"network '{name}' is not in the zoo; {hint}available: {', '.join(ARCHITECTURES)}")
    return ARCHITECTURES[name]
