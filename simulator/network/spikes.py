"""What goes into a network: input codes, and which images they are."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import DatasetError
from .graph import Network


@dataclass(frozen=True, kw_only=True, eq=False)
class SpikeTrain:
    """Input codes of a batch of images.

    Attributes:
        name: data set and split, for reports.
        codes: (B, C, H, W) for a static input, (T, B, C, H, W) otherwise; integer codes.
        labels: (B,) int64 class numbers, None without ground truth.
        indices: (B,) int64, index of each image in its data set: the key of per-read random numbers.
    """

    name: str
    codes: NDArray[np.integer]
    labels: NDArray[np.int64] | None
    indices: NDArray[np.int64]

    @property
    def n_images(self) -> int:
        """Images in the batch."""
        return int(self.indices.size)

    @classmethod
    def uniform(cls, network: Network, n_images: int, seed: int) -> SpikeTrain:
        """Seeded uniform input codes without labels: what a network sees when there is no data."""
        node = network.input
        low = -(2 ** (node.bits - 1)) if node.signed else 0
        lead = (n_images,) if node.static else (network.n_timesteps, n_images)
        draws = np.random.Generator(np.random.Philox(key=seed))
        return cls(
            name=f"uniform codes of seed {seed}",
            codes=draws.integers(low, low + 2**node.bits, size=(*lead, *node.shape)),
            labels=None,
            indices=np.arange(n_images, dtype=np.int64),
        )

    def take(self, start: int, stop: int) -> SpikeTrain:
        """Images ``start .. stop`` of the batch."""
        return SpikeTrain(
            name=self.name,
            codes=self.codes[..., start:stop, :, :, :],
            labels=None if self.labels is None else self.labels[start:stop],
            indices=self.indices[start:stop],
        )

    def check_fits(self, network: Network) -> None:
        """Refuse codes of the wrong shape or range.

        Raises:
            DatasetError: shape or range does not match the network's input; the sentence says both.
        """
        node = network.input
        lead = (self.n_images,) if node.static else (network.n_timesteps, self.n_images)
        if self.codes.shape != (*lead, *node.shape):
            raise DatasetError(
                f"{self.name}: codes of shape {self.codes.shape}, network {network.name} expects {(*lead, *node.shape)}"
            )
        low = -(2 ** (node.bits - 1)) if node.signed else 0
        high = 2 ** (node.bits - 1) - 1 if node.signed else 2**node.bits - 1
        if self.n_images and (int(self.codes.min()) < low or int(self.codes.max()) > high):
            raise DatasetError(
                f"{self.name}: codes from {int(self.codes.min())} to {int(self.codes.max())}, "
                f"network {network.name} takes {low} to {high}"
            )
