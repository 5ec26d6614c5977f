"""What is refused before it is allocated: runs whose arrays would not fit a usual machine."""

from __future__ import annotations

from .errors import MappingError
from .mapping.tiles import MappedLayer, Mapping

#: Largest estimate of the arrays of one run; a fixed number, so that a design is refused on every machine or on none.
MAX_BYTES = 4 * 2**30
_INT64 = 8
#: int64 arrays of a layer's outputs that live at the same time: sums, currents, membranes, one transposed copy.
_OUTPUT_COPIES = 4


def check_memory(mapping: Mapping, *, n_images: int, cycle_images: int) -> None:
    """Refuse a run whose arrays would take more than ``MAX_BYTES``.

    An estimate: measured, the growth with images is up to 1.6 times it, beside half a GiB that every run takes.

    Args:
        mapping: network on its crossbars.
        n_images: images computed at once.
        cycle_images: images whose activity is kept for the clock.

    Raises:
        MappingError: the sentence gives the estimate and the layer that needs most.
    """
    n_timesteps = mapping.network.n_timesteps
    kept = sum(_activity_bytes(item, n_timesteps) for item in mapping.layers) * cycle_images
    working = [_layer_bytes(item, n_timesteps) * n_images for item in mapping.layers]
    total = kept + max(working)
    if total > MAX_BYTES:
        largest = mapping.layers[working.index(max(working))].layer
        raise MappingError(
            f"network {mapping.network.name}: {n_images} images of {n_timesteps} time steps would take about "
            f"{total / 2**30:.3g} GiB (most in {largest.name}), at most {MAX_BYTES / 2**30:g} GiB are allowed; "
            "use fewer images, fewer time steps, larger crossbars or a smaller input"
        )


def _runs(item: MappedLayer, n_timesteps: int) -> int:
    return 1 if item.layer.input.static else n_timesteps


def _activity_bytes(item: MappedLayer, n_timesteps: int) -> int:
    """uint16 active rows of every read of one image."""
    return 2 * _runs(item, n_timesteps) * item.layer.n_positions * item.layer.input.n_planes * item.n_row_groups


def _layer_bytes(item: MappedLayer, n_timesteps: int) -> int:
    layer = item.layer
    channels, height, width = layer.in_shape
    inputs = _runs(item, n_timesteps) * channels * height * width * _INT64
    outputs = n_timesteps * layer.n_positions * layer.out_shape[0] * _INT64 * _OUTPUT_COPIES
    return inputs + outputs + 2 * _activity_bytes(item, n_timesteps)
