"""The architectures of the zoo as recipes: layers whose sizes follow the picture, the width and the classes.

A recipe lists the layers of its default size. ``layers`` fits them to another one:

* A 2x2 pool behind a map of one position is left out; rows and columns that fill no window are left out by the pool.
* ``FinalPool`` sums what is left into a map of ``map_size`` (1: over all positions). Its kernel is the whole part of
  map / map_size, 1 leaves it out; the divisor goes into the next layer as that of every pool. Behind a pool the two
  become one.
* Pictures larger than 64 pixels take ``large``: the stem of ImageNet networks, a 7x7 convolution of stride 2.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType

from spikeloop.simulator.errors import NetworkError

from .plan import (
    Add,
    Block,
    Classifier,
    Conv,
    Dense,
    LayerPlan,
    MembraneBlock,
    SpikeBlock,
    StreamConv,
    StreamLif,
    SumPool,
)

#: Largest picture that keeps the 3x3 stem of CIFAR networks.
SMALL_SIZE = 64


@dataclass(frozen=True, kw_only=True, slots=True)
class FinalPool:
    """Sum of the map that is left, down to ``map_size`` positions a side or somewhat more."""

    name: str = "pool"
    map_size: int = 1


RecipeLayer = LayerPlan | FinalPool
_HasChannels = Conv | StreamConv | MembraneBlock | SpikeBlock


@dataclass(frozen=True, kw_only=True, slots=True)
class Recipe:
    """One architecture with the input of its default form.

    Attributes:
        size: rows and columns of the input.
        channels: of the input.
        bits: of an input code.
        layers: up to ``SMALL_SIZE`` pixels.
        events: two polarities that change from step to step, else static pixels.
        large: above; None if the layers stay.
    """

    name: str
    size: int
    channels: int
    bits: int
    layers: tuple[RecipeLayer, ...]
    events: bool = False
    large: tuple[RecipeLayer, ...] | None = None

    @property
    def classes(self) -> int:
        """Classes of the default form."""
        return next(layer.classes for layer in self.layers if isinstance(layer, Classifier))


def fitted_layers(recipe: Recipe, *, size: int, width: float, classes: int) -> tuple[LayerPlan, ...]:
    """Layers of a recipe for pictures of ``size`` pixels a side, ``width`` times as many channels, and ``classes``.

    Raises:
        NetworkError: a layer would be left without channels.
    """
    layers = recipe.large if recipe.large is not None and size > SMALL_SIZE else recipe.layers
    found: list[LayerPlan] = []
    map_size = size
    for layer in layers:
        if isinstance(layer, SumPool | FinalPool):
            kernel = layer.kernel if isinstance(layer, SumPool) else map_size // layer.map_size
            if kernel > 1 and map_size >= kernel:
                found.append(SumPool(name=layer.name, kernel=kernel))
                map_size //= kernel
                _merge_pools(found)
        elif isinstance(layer, Classifier):
            found.append(replace(layer, classes=classes))
        else:
            found.append(_scaled(layer, width, recipe))
            # Every convolution here is padded by half its kernel.
            map_size = -(-map_size // getattr(layer, "stride", 1))
    return tuple(found)


def _merge_pools(layers: list[LayerPlan]) -> None:
    """Make one pool of two at the end of ``layers``: the same sums, and tiles pool a value only once."""
    if len(layers) > 1 and isinstance(first := layers[-2], SumPool) and isinstance(last := layers[-1], SumPool):
        layers[-2:] = [replace(first, kernel=first.kernel * last.kernel)]


def _scaled(layer: LayerPlan, width: float, recipe: Recipe) -> LayerPlan:
    """The layer with ``width`` times its channels or features, rounded half up."""
    if isinstance(layer, Dense):
        return replace(layer, features=_rounded(layer.features, width, layer.name, recipe))
    if isinstance(layer, _HasChannels):
        return replace(layer, channels=_rounded(layer.channels, width, layer.name, recipe))
    return layer


def _rounded(channels: int, width: float, layer: str, recipe: Recipe) -> int:
    scaled = int(channels * width + 0.5)
    if scaled < 1:
        raise NetworkError(
            f"network {recipe.name}: width={width} leaves layer {layer} of {channels} channels with 0; "
            f"allowed {0.5 / channels:g} and above for this layer"
        )
    return scaled


def _stages(
    block: type[MembraneBlock] | type[SpikeBlock],
    channels: tuple[int, ...],
    numbers: tuple[int, ...],
    first_stride: int,
) -> list[Block]:
    """Blocks ``s1b1``, ``s1b2``, ...; every stage but the first begins by halving the map, that by ``first_stride``."""
    return [
        block(
            name=f"s{stage}b{number}",
            channels=width,
            stride=(2 if stage > 1 else first_stride) if number == 1 else 1,
        )
        for stage, (width, n_blocks) in enumerate(zip(channels, numbers, strict=True), 1)
        for number in range(1, n_blocks + 1)
    ]


def _ms_resnet(
    stem: int, channels: tuple[int, ...], numbers: tuple[int, ...], *, large: bool, dense: int | None = None
) -> tuple[RecipeLayer, ...]:
    """MS-ResNet (Hu et al., arXiv 2112.08954); its shortcuts: ``MembraneBlock``.

    For large pictures as the authors' program has it: 7x7 stem of stride 2, no pooling behind it, and a first stage
    that halves the map like the others.
    """
    shape = {"kernel": 7, "stride": 2, "padding": 3} if large else {}
    return (
        StreamConv(name="stem", channels=stem, **shape),
        Add(name="stem_add", mode="stream"),
        *_stages(MembraneBlock, channels, numbers, 2 if large else 1),
        StreamLif(name="last"),
        FinalPool(),
        *(() if dense is None else (Dense(name="fc1", features=dense),)),
        Classifier(name="fc" if dense is None else "fc2", classes=10),
    )


def _sew_resnet(channels: tuple[int, ...], numbers: tuple[int, ...], *, large: bool) -> tuple[RecipeLayer, ...]:
    """SEW-ResNet with ADD (Fang et al., arXiv 2102.04159).

    For large pictures the paper has a 3x3 maximum over spikes behind the 7x7 stem. Crossbar tiles have no unit for
    it: here the first stage halves the map instead, with a 1x1 convolution as its shortcut.
    """
    shape = {"kernel": 7, "stride": 2, "padding": 3} if large else {}
    return (
        Conv(name="stem", channels=channels[0], **shape),
        *_stages(SpikeBlock, channels, numbers, 2 if large else 1),
        FinalPool(),
        Classifier(name="fc", classes=10),
    )


def _residual(name: str, layers: Callable[[bool], tuple[RecipeLayer, ...]], *, tiny: bool = False) -> Recipe:
    size, channels, bits = (8, 1, 4) if tiny else (32, 3, 8)
    return Recipe(name=name, size=size, channels=channels, bits=bits, layers=layers(False), large=layers(True))


def _vgg(widths: tuple[tuple[int, ...], ...]) -> tuple[RecipeLayer, ...]:
    """Groups of 3x3 convolutions ``conv1``, ``conv2``, ..., each group followed by 2x2 pooling."""
    layers: list[RecipeLayer] = []
    number = 0
    for group, channels in enumerate(widths, 1):
        for channel in channels:
            number += 1
            layers.append(Conv(name=f"conv{number}", channels=channel))
        layers.append(SumPool(name=f"pool{group}"))
    return tuple(layers)


_WIDTHS = (64, 128, 256, 512)
_WIDE = (128, 256, 512)
_RECIPES = (
    Recipe(
        name="demo",
        size=8,
        channels=1,
        bits=4,
        layers=(*_vgg(((8,), (16,))), FinalPool(map_size=2), Classifier(name="fc", classes=10)),
    ),
    Recipe(
        name="fashion",
        size=28,
        channels=1,
        bits=8,
        layers=(
            *_vgg(((16,), (32,))),
            Conv(name="conv3", channels=64),
            FinalPool(map_size=7),
            Dense(name="fc1", features=128),
            Classifier(name="fc2", classes=10),
        ),
    ),
    # The VGG-9 of SpikeSim (Moitra et al., arXiv 2210.12899), with direct coding.
    Recipe(
        name="vgg9",
        size=32,
        channels=3,
        bits=8,
        layers=(
            *_vgg(((64, 64), (128, 128), (256, 256, 256))),
            FinalPool(map_size=4),
            Dense(name="fc1", features=1024),
            Classifier(name="fc2", classes=10),
        ),
    ),
    _residual("ms_resnet_tiny", lambda large: _ms_resnet(8, (8, 16), (1, 1), large=large), tiny=True),
    _residual("sew_resnet_tiny", lambda large: _sew_resnet((8, 16), (1, 1), large=large), tiny=True),
    _residual("ms_resnet18", lambda large: _ms_resnet(64, _WIDTHS, (2, 2, 2, 2), large=large)),
    _residual("sew_resnet18", lambda large: _sew_resnet(_WIDTHS, (2, 2, 2, 2), large=large)),
    Recipe(
        name="nmnist",
        size=34,
        channels=2,
        bits=1,
        events=True,
        layers=(*_vgg(((12,), (32,), (32,))), FinalPool(map_size=4), Classifier(name="fc", classes=10)),
    ),
    Recipe(
        name="cifar_small",
        size=32,
        channels=3,
        bits=8,
        layers=(*_vgg(((24,), (48,), (96, 96))), FinalPool(map_size=4), Classifier(name="fc", classes=10)),
    ),
    # 13 convolutions (D of Simonyan and Zisserman, arXiv 1409.1556), one linear layer as in QP-SNN (arXiv 2502.05905).
    Recipe(
        name="vgg16",
        size=32,
        channels=3,
        bits=8,
        layers=(
            *_vgg(((64,) * 2, (128,) * 2, (256,) * 3, (512,) * 3, (512,) * 3)),
            FinalPool(),
            Classifier(name="fc", classes=10),
        ),
    ),
    # Widths, blocks and two linear layers of tdBN's ResNet-19 (Zheng et al., AAAI 2021); shortcuts of MS-ResNet.
    _residual("ms_resnet19", lambda large: _ms_resnet(128, _WIDE, (3, 3, 2), large=large, dense=256)),
    _residual("ms_resnet34", lambda large: _ms_resnet(64, _WIDTHS, (3, 4, 6, 3), large=large)),
    # Stem, widths and blocks from QP-SNN (arXiv 2502.05905); shortcuts of MS-ResNet, see docs/training.md.
    _residual("resnet20", lambda large: _ms_resnet(64, _WIDE, (3, 3, 3), large=large)),
    Recipe(
        name="mlp",
        size=28,
        channels=1,
        bits=8,
        layers=(Dense(name="fc1", features=800), Classifier(name="fc2", classes=10)),
    ),
)
RECIPES: Mapping[str, Recipe] = MappingProxyType({recipe.name: recipe for recipe in _RECIPES})
