"""Seeded random activity: hardware studies without weights worth running or data to run them on."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..mapping import tiles
from ..mapping.lower import INPUT
from ..mapping.tiles import MappedLayer
from .activity import Activity, LayerActivity
from .crossbar import driven_rows
from .run import input_ones


def random_activity(
    mapping: tiles.Mapping, density: float | Mapping[str, float], *, n_images: int, seed: int
) -> Activity:
    """Activity in which every spike is Bernoulli(density) and every input pixel a uniform code.

    A sum of spikes (pooled, or of a residual add) is Binomial, a residual stream uniform over its codes. The
    draw of an image and layer depends on (seed, image, layer) alone. Neurons send with the mean density of their
    readers.

    Args:
        mapping: network on its crossbars.
        density: one for all layers, or layer -> density of the spikes that it reads.
        n_images: how many draws.
        seed: which draws.

    Raises:
        ConfigError: a density outside [0, 1], or none or too many names of layers.
    """
    densities = _densities(mapping, density)
    n_timesteps = mapping.network.n_timesteps
    layers = []
    for item, share in zip(mapping.layers, densities, strict=True):
        per_image = [_draw(item, share, n_timesteps, seed, image) for image in range(n_images)]
        codes = np.stack(per_image, axis=1)
        read = [d for d, other in zip(densities, mapping.layers, strict=True) if _reads(other, item)] or [share]
        spikes = round(sum(read) / len(read) * int(np.prod(item.layer.out_shape))) * len(item.layer.lifs)
        layers.append(
            LayerActivity(
                active_rows=driven_rows(item, codes),
                input_ones=input_ones(codes, item.layer.input.bits),
                spikes_out=np.full((n_images, n_timesteps), spikes, dtype=np.int64),
            )
        )
    return Activity(
        layers=tuple(layers), origin=f"density {dict(density) if isinstance(density, Mapping) else density}"
    )


def _densities(mapping: tiles.Mapping, density: float | Mapping[str, float]) -> list[float]:
    names = [item.layer.name for item in mapping.layers]
    if isinstance(density, Mapping):
        wrong = sorted(set(names) ^ set(density))
        if wrong:
            raise ConfigError(
                f"density: {wrong[0]} is {'missing' if wrong[0] in names else 'no layer'}; give one for each of "
                f"{', '.join(names)}"
            )
        densities = [float(density[name]) for name in names]
    else:
        densities = [float(density)] * len(names)
    for name, value in zip(names, densities, strict=True):
        if not 0.0 <= value <= 1.0:
            where = f"{name}: " if isinstance(density, Mapping) else ""
            raise ConfigError(f"{where}density={value}; allowed 0 to 1, the share of ones among spikes")
    return densities


def _reads(layer: MappedLayer, source: MappedLayer) -> bool:
    return layer.layer.input_signal.layer == source.layer.index


def _draw(item: MappedLayer, density: float, n_timesteps: int, seed: int, image: int) -> NDArray[np.int64]:
    layer = item.layer
    key = np.random.SeedSequence((seed, image, layer.index)).generate_state(2, np.uint64)
    generator = np.random.Generator(np.random.Philox(key=key))
    runs = 1 if layer.input.static else n_timesteps
    shape = (runs, *layer.in_shape)
    if layer.input_signal == INPUT or layer.input.signed:
        top = layer.input.code_max
        low, high = (-top, top) if layer.input.signed else (0, top + 1)
        return generator.integers(low, high, size=shape)
    return generator.binomial(layer.input.code_max, density, size=shape)
