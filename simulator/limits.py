"""What is refused before it is allocated: runs whose arrays would not fit a usual machine."""

from __future__ import annotations

import math

from .errors import MappingError
from .mapping.lower import INPUT, Signal
from .mapping.tiles import MappedLayer, Mapping

#: Largest estimate of the arrays of one run; a fixed number, so that a design is refused on every machine or on none.
MAX_BYTES = 4 * 2**30
#: Estimate of the arrays of the images that are computed at once; more images go through one part after the other.
PART_BYTES = 2**28
_INT64 = 8
#: int64 arrays of a layer's outputs that live at the same time: sums, currents, membranes, one transposed copy.
_OUTPUT_COPIES = 4
#: Copies of a service: as computed, in the tables, in the clock's memory.
_SERVICE_COPIES = 3
#: int64 fields of a recorded token.
_RECORD_BYTES = 6 * _INT64


def check_memory(
    mapping: Mapping, *, n_images: int, cycle_images: int, pipelined: bool = False, recorded: bool = False
) -> None:
    """Refuse a run whose arrays would take more than ``MAX_BYTES``; more images alone never make it too large.

    An estimate: measured, the growth with images is up to 1.6 times it, beside half a GiB that every run takes.

    Args:
        mapping: network on its crossbars.
        n_images: images computed, as many at once as ``images_at_once`` says.
        cycle_images: images whose activity is kept for the clock.
        pipelined: as for ``clock_bytes``.
        recorded: as for ``clock_bytes``.

    Raises:
        MappingError: the sentence gives the estimate and the layer that needs most.
    """
    n_timesteps = mapping.network.n_timesteps
    kept = sum(_activity_bytes(item, n_timesteps) for item in mapping.layers) * cycle_images
    at_once = min(n_images, images_at_once(mapping))
    working = [at_once * need for need in _image_bytes(mapping)]
    clock = clock_bytes(mapping, cycle_images=cycle_images, pipelined=pipelined, recorded=recorded)
    total = kept + max(*working, sum(clock) if pipelined else max(clock))
    if total > MAX_BYTES:
        need = clock if sum(clock) > max(working) else working
        largest = mapping.layers[need.index(max(need))].layer
        raise MappingError(
            f"network {mapping.network.name}: {max(at_once, cycle_images)} images of {n_timesteps} time steps would "
            f"take about {total / 2**30:.3g} GiB (most in {largest.name}), at most {MAX_BYTES / 2**30:g} GiB are "
            "allowed; run the clock on fewer images, use fewer time steps, larger crossbars or a smaller input"
        )


def images_at_once(mapping: Mapping) -> int:
    """Images that a functional run computes together: those whose arrays take about ``PART_BYTES``, at least one."""
    return max(1, PART_BYTES // max(_image_bytes(mapping)))


def _image_bytes(mapping: Mapping) -> list[int]:
    """Bytes of one image's arrays while a layer is computed, by layer."""
    held = _held_bytes(mapping)
    return [
        _layer_bytes(item, mapping.network.n_timesteps) + waiting
        for item, waiting in zip(mapping.layers, held, strict=True)
    ]


def clock_bytes(mapping: Mapping, *, cycle_images: int, pipelined: bool, recorded: bool = False) -> list[int]:
    """Bytes of the clock's tables that grow with the tokens, for each layer.

    A service for each token and distinct row part (reads, conversions, their sums) and tile (bus, accumulator).
    Phases are as long as one layer of one image unless ``pipelined``: then all layers and images are one phase.

    Args:
        mapping: network on its crossbars.
        cycle_images: images that the clock runs.
        pipelined: ``dataflow.order`` is layer_pipelined.
        recorded: start and end of every token are kept, for the critical path.
    """
    n_timesteps = mapping.network.n_timesteps
    found = []
    for item in mapping.layers:
        tokens = _runs(item, n_timesteps) * item.layer.n_positions * item.reads_per_vector
        parts = len({(item.blocks[pe.block].group, pe.first_row_block) for pe in item.pes})
        rows = 3 * parts + 2 * len(item.tiles)
        # Every unit has a token for each run of its replica's share of the positions.
        units = (3 * len(item.pes) + 3 * len(item.tiles)) // item.n_replicas
        bytes_per_token = rows * _INT64 * _SERVICE_COPIES + recorded * units * _RECORD_BYTES
        found.append(tokens * bytes_per_token * (cycle_images if pipelined else 1))
    return found


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


def _held_bytes(mapping: Mapping) -> list[int]:
    """Bytes an image, at each layer, of values that wait in earlier layers for later ones: residuals."""
    last: dict[Signal, int] = {}
    for item in mapping.layers:
        residuals = (signal for op in item.layer.ops for signal in op.residuals)
        for signal in (item.layer.input_signal, *residuals):
            last[signal] = item.layer.index
    held = [0] * len(mapping.layers)
    for signal, reader in last.items():
        for index in range(signal.layer + 1, reader):
            held[index] += _signal_bytes(mapping, signal)
    return held


def _signal_bytes(mapping: Mapping, signal: Signal) -> int:
    if signal == INPUT:
        return math.prod(mapping.network.input.shape) * mapping.network.n_timesteps * _INT64
    op = mapping.layers[signal.layer].layer.ops[signal.op]
    return math.prod(op.shape) * mapping.network.n_timesteps * (1 if op.kind == "lif" else _INT64)
