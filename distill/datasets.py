"""Data sets as arrays with one axis order and one range; splits are fixed."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from spikeloop.simulator.errors import DatasetError

FloatImages = NDArray[np.float32]
Labels = NDArray[np.int64]

#: Seed and size of the digits' test split; a result names the split, so they never change.
_DIGITS_SPLIT_SEED = 20_240
_DIGITS_TEST = 600


@dataclass(frozen=True, kw_only=True, eq=False)
class Dataset:
    """Images (N, C, H, W) float32 in [0, 1] and labels (N,) int64, split into train and test."""

    name: str
    train_images: FloatImages
    train_labels: Labels
    test_images: FloatImages
    test_labels: Labels

    @property
    def n_classes(self) -> int:
        """Number of classes."""
        return int(max(self.train_labels.max(), self.test_labels.max())) + 1

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """(C, H, W)."""
        _, c, h, w = self.train_images.shape
        return c, h, w


def load_dataset(name: str) -> Dataset:
    """Data set of that name.

    Raises:
        DatasetError: unknown; the sentence lists the nearest name and all of them.
    """
    if name not in _LOADERS:
        close = difflib.get_close_matches(name, _LOADERS, n=1)
        hint = f"did you mean '{close[0]}'? " if close else ""
        raise DatasetError(f"data set '{name}' is not known; {hint}available: {', '.join(_LOADERS)}")
    return _LOADERS[name]()


def available_datasets() -> tuple[str, ...]:
    """Names that ``load_dataset`` takes."""
    return tuple(_LOADERS)


def _load_digits() -> Dataset:
    """scikit-learn's copy of the UCI optical digits (Alpaydin and Kaynak 1998): 1,797 images of 8x8, 17 levels."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    images = (bunch.data.reshape(-1, 1, 8, 8) / 16.0).astype(np.float32)
    labels = bunch.target.astype(np.int64)
    train, test = stratified_split(labels, n_test=_DIGITS_TEST, seed=_DIGITS_SPLIT_SEED)
    return Dataset(
        name="digits",
        train_images=images[train],
        train_labels=labels[train],
        test_images=images[test],
        test_labels=labels[test],
    )


def stratified_split(labels: Labels, *, n_test: int, seed: int) -> tuple[Labels, Labels]:
    """Indices (train, test), sorted; every class keeps its share, and the test split has ``n_test`` images."""
    rng = np.random.default_rng(seed)
    order = rng.permutation(labels.size)
    by_class = order[np.argsort(labels[order], kind="stable")]
    # Every class is one run of by_class, so evenly spaced picks take the same share of each.
    picks = (np.arange(n_test) * labels.size) // n_test
    test = np.sort(by_class[picks])
    train = np.setdiff1d(np.arange(labels.size), test)
    return train, test


_LOADERS: Mapping[str, Callable[[], Dataset]] = MappingProxyType({"digits": _load_digits})
