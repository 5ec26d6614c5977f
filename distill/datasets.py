"""Data sets as arrays with one axis order and one range; splits are fixed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from spikeloop.simulator.errors import DatasetError, closest

from .data_files import Bytes, data_folder, read_cifar10, read_cifar100, read_idx
from .event_sets import EventDataset, Split, load_cifar10_dvs, load_dvs_gesture, load_ncaltech101, load_nmnist
from .tiny_imagenet import read_tiny_imagenet

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

    def images(self, split: Split) -> FloatImages:
        """(N, C, H, W) images of a split."""
        return self.train_images if split == "train" else self.test_images

    def labels(self, split: Split) -> Labels:
        """(N,) labels of a split."""
        return self.train_labels if split == "train" else self.test_labels


AnyDataset = Dataset | EventDataset


def load_dataset(name: str, root: Path | None = None) -> AnyDataset:
    """Data set of that name: images, or recordings of an event camera; ``root`` is by default ``data_folder()``.

    Raises:
        DatasetError: unknown; the sentence lists the nearest name and all of them.
    """
    check_dataset_name(name)
    return _LOADERS[name](data_folder() if root is None else root)


def check_dataset_name(name: str) -> None:
    """Refuse a name that no data set has.

    Raises:
        DatasetError: unknown; the sentence lists the nearest name and all of them.
    """
    if name not in _LOADERS:
        close = closest(name, _LOADERS)
        hint = f"did you mean '{close}'? " if close else ""
        raise DatasetError(f"data set '{name}' is not known; {hint}available: {', '.join(_LOADERS)}")


def available_datasets() -> tuple[str, ...]:
    """Names that ``load_dataset`` takes."""
    return tuple(_LOADERS)


def _load_digits(_: Path) -> Dataset:
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


def _load_fashion_mnist(root: Path) -> Dataset:
    """Fashion-MNIST (Xiao, Rasul and Vollgraf 2017): 60,000 + 10,000 images of 28x28 in ``fashion-mnist``."""
    folder = root / "fashion-mnist"
    train, test = (
        (read_idx(folder, f"{split}-images-idx3-ubyte", 3)[:, None], read_idx(folder, f"{split}-labels-idx1-ubyte", 1))
        for split in ("train", "t10k")
    )
    return _of_bytes("fashion_mnist", train, test, (1, 28, 28))


def _load_cifar10(root: Path) -> Dataset:
    """CIFAR-10 (Krizhevsky 2009): 50,000 + 10,000 images of 32x32 in ``cifar-10-batches-bin``."""
    folder = root / "cifar-10-batches-bin"
    train = read_cifar10(folder, tuple(f"data_batch_{i}.bin" for i in range(1, 6)))
    return _of_bytes("cifar10", train, read_cifar10(folder, ("test_batch.bin",)), (3, 32, 32))


def _load_cifar100(root: Path) -> Dataset:
    """CIFAR-100 (Krizhevsky 2009): 50,000 + 10,000 images of 32x32 in ``cifar-100-binary``; the 100 fine labels."""
    folder = root / "cifar-100-binary"
    return _of_bytes("cifar100", read_cifar100(folder, "train.bin"), read_cifar100(folder, "test.bin"), (3, 32, 32))


def _load_tiny_imagenet(root: Path) -> Dataset:
    """Tiny-ImageNet: 100,000 + 10,000 images of 64x64 in ``tiny-imagenet-200``; its validation images are the test."""
    folder = root / "tiny-imagenet-200"
    return _of_bytes(
        "tiny_imagenet", read_tiny_imagenet(folder, "train"), read_tiny_imagenet(folder, "val"), (3, 64, 64)
    )


def _of_bytes(name: str, train: tuple[Bytes, Bytes], test: tuple[Bytes, Bytes], shape: tuple[int, int, int]) -> Dataset:
    """Data set of (images, labels) in bytes.

    Raises:
        DatasetError: images of another shape, or not one label an image.
    """
    for images, labels in (train, test):
        if images.shape[1:] != shape or labels.shape != images.shape[:1]:
            raise DatasetError(
                f"{name}: images of shape {images.shape[1:]} with {labels.size} labels for {len(images)}; allowed are "
                f"{shape} and one label an image, fetch it again"
            )
    return Dataset(
        name=name,
        train_images=train[0].astype(np.float32) / np.float32(255),
        train_labels=train[1].astype(np.int64),
        test_images=test[0].astype(np.float32) / np.float32(255),
        test_labels=test[1].astype(np.int64),
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


_LOADERS: Mapping[str, Callable[[Path], AnyDataset]] = MappingProxyType(
    {
        "digits": _load_digits,
        "fashion_mnist": _load_fashion_mnist,
        "cifar10": _load_cifar10,
        "cifar100": _load_cifar100,
        "tiny_imagenet": _load_tiny_imagenet,
        "nmnist": load_nmnist,
        "synthetic_nmnist": lambda root: load_nmnist(root, "synthetic_nmnist", "synthetic-n-mnist"),
        "ncaltech101": load_ncaltech101,
        "cifar10_dvs": load_cifar10_dvs,
        "dvs_gesture": load_dvs_gesture,
    }
)
