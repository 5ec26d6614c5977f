"""From images to the codes that enter a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeloop.simulator.errors import DatasetError
from spikeloop.simulator.network.graph import InputNode
from spikeloop.simulator.network.quant import round_half_up
from spikeloop.simulator.network.spikes import SpikeTrain


def pixel_codes(images: NDArray[np.float32], node: InputNode) -> NDArray[np.int64]:
    """Unsigned codes floor(x * (2^bits - 1) + 1/2) of pixels in [0, 1]; (N, C, H, W).

    Raises:
        DatasetError: the network does not take static unsigned pixels, or the shape or range does not fit.
    """
    if node.signed or not node.static:
        kind = "signed codes" if node.signed else "codes that change from step to step"
        raise DatasetError(f"input '{node.name}' takes {kind}, images give static unsigned ones; use another network")
    if images.shape[1:] != node.shape:
        raise DatasetError(
            f"input '{node.name}' takes images of shape {node.shape}, the data set has {images.shape[1:]}; "
            "use a network of that size"
        )
    if images.size and not (float(images.min()) >= 0 and float(images.max()) <= 1):
        raise DatasetError(
            f"pixels from {float(images.min())} to {float(images.max())}; direct coding takes values in [0, 1]"
        )
    codes: NDArray[np.int64] = round_half_up(images.astype(np.float64) * (2**node.bits - 1)).astype(np.int64)
    return codes


def encode(
    images: NDArray[np.float32],
    labels: NDArray[np.int64] | None,
    indices: NDArray[np.int64],
    node: InputNode,
    name: str,
) -> SpikeTrain:
    """Directly coded batch: the images ``indices`` of ``images``, with their labels.

    Raises:
        DatasetError: see ``pixel_codes``; or an index outside the data set.
    """
    indices = np.asarray(indices, dtype=np.int64)
    if indices.size and not 0 <= int(indices.min()) <= int(indices.max()) < len(images):
        raise DatasetError(
            f"{name}: image indices {int(indices.min())} to {int(indices.max())}; allowed 0 to {len(images) - 1}"
        )
    return SpikeTrain(
        name=name,
        codes=pixel_codes(images[indices], node),
        labels=None if labels is None else labels[indices],
        indices=indices,
    )
