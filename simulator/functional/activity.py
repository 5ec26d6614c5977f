"""What a functional run leaves for the clock and the cost: active rows of every read."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True, eq=False)
class LayerActivity:
    """Measured activity of one layer.

    Attributes:
        active_rows: (images, runs, positions, planes, row groups) uint16, driven wordlines of each read;
            runs = 1 for a layer computed once per image, else T. Row groups are numbered by
            ``MappedLayer.row_group``.
        input_ones: (images, runs) int64, input bits that are 1, summed over channels and planes, without
            window overlap: what a spike encoder would send.
        spikes_out: (images, T) int64, spikes that the layer's neurons sent (0 for the classifier).
        read_fJ: (images, runs) energy of the driven cells, from their conductances; None where cells are ideal and
            have a price a cell.
    """

    active_rows: NDArray[np.uint16]
    input_ones: NDArray[np.int64]
    spikes_out: NDArray[np.int64]
    read_fJ: NDArray[np.float64] | None = None

    @property
    def n_runs(self) -> int:
        """Times the layer's crossbars run per image."""
        return int(self.active_rows.shape[1])


@dataclass(frozen=True, kw_only=True, eq=False)
class Activity:
    """Activity of every mapped layer, in layer order, for the images that the clock will run."""

    layers: tuple[LayerActivity, ...]
    #: "measured" on data, or "density D" when drawn at random (then there is no accuracy).
    origin: str

    @property
    def n_images(self) -> int:
        """Images covered."""
        return int(self.layers[0].active_rows.shape[0])
