"""From images and events to the codes that enter a network."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeloop.simulator.errors import DatasetError
from spikeloop.simulator.network.graph import InputNode, Network
from spikeloop.simulator.network.quant import round_half_up
from spikeloop.simulator.network.spikes import SpikeTrain

from .datasets import AnyDataset
from .event_sets import EventDataset, Split
from .events import POLARITIES, FrameRule, clip_counts, event_counts


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


def event_codes(
    dataset: EventDataset,
    split: Split,
    indices: NDArray[np.int64],
    node: InputNode,
    *,
    n_timesteps: int,
    frames: FrameRule,
) -> NDArray[np.integer]:
    """Codes (T, N, 2, H, W) of recordings: events a step, polarity and pixel, saturating at ``node.bits``.

    Kept in the narrowest type: the frames of all of N-MNIST are hundreds of megabytes as bytes.

    Raises:
        DatasetError: the network does not take two channels of unsigned codes that change, or a larger picture than
            the sensor's; a recording is damaged.
    """
    if node.signed or node.static or node.shape[0] != POLARITIES:
        kind = (
            "signed codes" if node.signed else "codes that never change" if node.static else f"{node.shape[0]} channels"
        )
        raise DatasetError(
            f"input '{node.name}' takes {kind}, {dataset.name} gives unsigned codes of two polarities that change from "
            "step to step; use a network for events, such as 'nmnist'"
        )
    codes = np.empty((n_timesteps, indices.size, *node.shape), dtype=np.uint8 if node.bits <= 8 else np.int32)
    for place, index in enumerate(indices):
        counts = event_counts(dataset.events(split, int(index)), n_timesteps, frames, node.shape[1:])
        codes[:, place] = clip_counts(counts, node.bits)
    return codes


def frame_rule(network: Network) -> FrameRule:
    """How the events of a recording are spread over the steps of a network: as in its training, else by number."""
    return "time" if network.notes.get("frames") == "time" else "number"


def split_codes(
    dataset: AnyDataset,
    split: Split,
    node: InputNode,
    *,
    n_timesteps: int,
    frames: FrameRule = "number",
    n_first: int | None = None,
) -> NDArray[np.integer]:
    """Codes of the first ``n_first`` (default all) of a split: (N, C, H, W) of images, (T, N, 2, H, W) of events.

    Raises:
        DatasetError: the data set does not fit the network's input.
    """
    n = len(dataset.labels(split)) if n_first is None else n_first
    if isinstance(dataset, EventDataset):
        return event_codes(dataset, split, np.arange(n), node, n_timesteps=n_timesteps, frames=frames)
    return pixel_codes(dataset.images(split)[:n], node).astype(np.uint8 if node.bits <= 8 else np.int32)


def split_spikes(
    dataset: AnyDataset, split: Split, n_first: int, node: InputNode, *, n_timesteps: int, frames: FrameRule = "number"
) -> SpikeTrain:
    """The first ``n_first`` of a split with their labels, coded for a network's input.

    Raises:
        DatasetError: the data set does not fit the network's input, or has fewer.
    """
    labels = dataset.labels(split)
    if not 0 <= n_first <= labels.size:
        raise DatasetError(f"{dataset.name}/{split}: {n_first} images asked for; there are {labels.size}")
    codes = split_codes(dataset, split, node, n_timesteps=n_timesteps, frames=frames, n_first=n_first)
    return SpikeTrain(
        name=f"{dataset.name}/{split}",
        codes=codes.astype(np.int64),
        labels=labels[:n_first],
        indices=np.arange(n_first),
    )
