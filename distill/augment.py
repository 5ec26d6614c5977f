"""Random shifts and flips of input codes, a function of (seed, epoch, image) and of nothing else."""

from __future__ import annotations

import numpy as np
import torch
from torch.nn.functional import pad

from .config import AugmentationSpec


class Augmenter:
    """Shows training pictures shifted and flipped; draws for all pictures of an epoch at once.

    So what a picture looks like does not depend on the batch size or on the order of visits.
    """

    def __init__(self, spec: AugmentationSpec, *, seed: int, n_images: int) -> None:
        self._spec = spec
        self._seed = seed
        self._n_images = n_images
        self._epoch: int | None = None
        self._shift = torch.zeros((n_images, 2), dtype=torch.int64)
        self._flip = torch.zeros(n_images, dtype=torch.bool)

    def shown(self, codes: torch.Tensor, batch: torch.Tensor, epoch: int) -> torch.Tensor:
        """Pictures ``batch`` of ``codes`` ((N, C, H, W) or (T, N, C, H, W)) as they look in this epoch."""
        chosen = codes[..., batch, :, :, :]
        if self._spec == AugmentationSpec():
            return chosen
        if epoch != self._epoch:
            self._draw(epoch)
        return _moved(chosen, self._shift[batch], self._flip[batch], self._spec.max_shift)

    def _draw(self, epoch: int) -> None:
        draws = np.random.Generator(np.random.Philox(key=[self._seed, epoch]))
        most = self._spec.max_shift
        self._shift = torch.from_numpy(draws.integers(-most, most + 1, size=(self._n_images, 2)))
        flip = draws.integers(0, 2, size=self._n_images).astype(bool)
        self._flip = torch.from_numpy(flip & self._spec.horizontal_flip)
        self._epoch = epoch


def _moved(codes: torch.Tensor, shift: torch.Tensor, flip: torch.Tensor, most: int) -> torch.Tensor:
    """Codes (..., B, C, H, W) with picture b mirrored where ``flip``, then moved down and right by ``shift[b]``."""
    height, width = codes.shape[-2:]
    column = torch.arange(width)
    columns = torch.where(flip[:, None], column.flip(0), column) - torch.where(flip, -shift[:, 1], shift[:, 1])[:, None]
    rows = torch.arange(height) - shift[:, :1]
    padded = pad(codes, (most, most, most, most))
    image = torch.arange(len(shift))[:, None, None, None]
    channel = torch.arange(codes.shape[-3])[None, :, None, None]
    return padded[..., image, channel, rows[:, None, :, None] + most, columns[:, None, None, :] + most]
