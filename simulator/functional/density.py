"""Seeded random activity: hardware studies without weights worth running or data to run them on."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..mapping.lower import INPUT
from ..mapping.tiles import MappedLayer, Mapping
from .activity import Activity, LayerActivity
from .crossbar import driven_rows
from .run import input_ones


def random_activity(mapping: Mapping, density: float, *, n_images: int, seed: int) -> Activity:
    """Activity in which every spike is Bernoulli(density) and every input pixel a uniform code.

    A sum of spikes (pooled, or of a residual add) is Binomial, a residual stream uniform. The draw of an image and layer depends on
    (seed, image, layer) alone.

    Raises:
        ConfigError: density outside [0, 1].
    """
    if not 0.0 <= density <= 1.0:
        raise ConfigError(f"density={density}; allowed 0 to 1, the share of ones among spikes")
    n_timesteps = mapping.network.n_timesteps
    layers = []
    for item in mapping.layers:
        per_image = [_draw(item, density, n_timesteps, seed, image) for image in range(n_images)]
        codes = np.stack(per_image, axis=1)
        spikes = round(density * int(np.prod(item.layer.out_shape))) * len(item.layer.lifs)
        layers.append(
            LayerActivity(
                active_rows=driven_rows(item, codes),
                input_ones=input_ones(codes, item.layer.input.bits),
                spikes_out=np.full((n_images, n_timesteps), spikes, dtype=np.int64),
            )
        )
    return Activity(layers=tuple(layers), origin=f"density {density}")


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
