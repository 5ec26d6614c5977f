"""Image files in their published layouts, and damaged ones."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest

from spikeloop.distill.data_files import data_folder, read_cifar10, read_idx
from spikeloop.distill.datasets import load_dataset
from spikeloop.simulator.errors import DatasetError


def _idx(values: np.ndarray) -> bytes:
    """Header by hand: zeros, type 8, dimensions, big-endian sizes."""
    head = bytes([0, 0, 8, values.ndim]) + b"".join(size.to_bytes(4, "big") for size in values.shape)
    return head + values.astype(np.uint8).tobytes()


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPIKELOOP_DATA", str(tmp_path))
    return tmp_path


def _write_fashion(root: Path, rng: np.random.Generator) -> dict[str, np.ndarray]:
    folder, kept = root / "fashion-mnist", {}
    folder.mkdir()
    for split, n in (("train", 30), ("t10k", 20)):
        kept[split] = rng.integers(0, 256, (n, 28, 28))
        (folder / f"{split}-images-idx3-ubyte.gz").write_bytes(gzip.compress(_idx(kept[split])))
        (folder / f"{split}-labels-idx1-ubyte").write_bytes(_idx(np.arange(n) % 10))
    return kept


def _write_cifar(root: Path, rng: np.random.Generator, n: int = 10) -> Path:
    folder = root / "cifar-10-batches-bin"
    folder.mkdir()
    for name in (*(f"data_batch_{i}" for i in range(1, 6)), "test_batch"):
        records = rng.integers(0, 256, (n, 3073)).astype(np.uint8)
        records[:, 0] = np.arange(n) % 10
        (folder / f"{name}.bin").write_bytes(records.tobytes())
    return folder


def test_fashion_mnist_in_plain_and_packed_files(root):
    kept = _write_fashion(root, np.random.default_rng(0))
    found = load_dataset("fashion_mnist")
    assert found.train_images.shape == (30, 1, 28, 28)
    np.testing.assert_array_equal(np.rint(found.test_images[:, 0] * 255), kept["t10k"])
    assert found.train_labels.tolist() == [i % 10 for i in range(30)]
    assert (found.train_images.dtype, found.train_labels.dtype) == (np.float32, np.int64)
    assert float(found.train_images.max()) <= 1.0


def test_cifar10_batches_in_order_with_planes_by_colour(root):
    folder = _write_cifar(root, np.random.default_rng(1))
    raw = (folder / "data_batch_3.bin").read_bytes()
    found = load_dataset("cifar10")
    assert found.train_images.shape == (50, 3, 32, 32)
    assert found.test_images.shape == (10, 3, 32, 32)
    image, row, column = 4, 7, 9
    for colour in range(3):
        byte = raw[image * 3073 + 1 + colour * 1024 + row * 32 + column]
        assert round(float(found.train_images[2 * 10 + image, colour, row, column]) * 255) == byte
    assert found.test_labels.tolist() == list(range(10))


def _cut(content: bytes) -> bytes:
    return content[:-7]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (_cut(_idx(np.zeros((2, 3, 3)))), "has 11 bytes of data, its header says 18"),
        (_idx(np.zeros((2, 3, 3))) + b"!", "has 19 bytes of data, its header says 18"),
        (_idx(np.zeros((2, 3))), "does not start as an IDX file of bytes with 3 dimensions"),
        (b"\x80\x04\x95", "does not start as an IDX file"),
        (b"", "does not start as an IDX file"),
        ((2**31).to_bytes(4, "big") * 4, "does not start as an IDX file"),
        (bytes((0, 0, 8, 3)) + b"\xff" * 12, "its header says"),
    ],
)
def test_a_damaged_idx_file_is_refused(tmp_path, content, message):
    (tmp_path / "x").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_idx(tmp_path, "x", 3)


# The time in the header would name the case otherwise in each process that collects it.
@pytest.mark.parametrize("content", [_cut(gzip.compress(_idx(np.zeros((2, 3, 3))), mtime=0)), b"not gzip at all"])
def test_a_damaged_gzip_file_is_refused(tmp_path, content):
    (tmp_path / "x.gz").write_bytes(content)
    with pytest.raises(DatasetError, match="is not a whole gzip file"):
        read_idx(tmp_path, "x", 3)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "has 0 bytes"),
        (b"\x00" * 3072, "has 3072 bytes; a batch is a whole number of records"),
        (b"\x0a" + b"\x00" * 3072, "has label 10"),
    ],
)
def test_a_damaged_batch_is_refused(tmp_path, content, message):
    (tmp_path / "b.bin").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_cifar10(tmp_path, ("b.bin",))


@pytest.mark.parametrize("name", ["fashion_mnist", "cifar10"])
def test_a_missing_data_set_says_where_it_belongs(root, name):
    with pytest.raises(DatasetError, match=r"no such file; put the data set there, or say with SPIKELOOP_DATA"):
        load_dataset(name)


def test_labels_that_do_not_match_the_images_are_refused(root):
    _write_fashion(root, np.random.default_rng(0))
    (root / "fashion-mnist" / "train-labels-idx1-ubyte").write_bytes(_idx(np.zeros(29)))
    with pytest.raises(DatasetError, match="with 29 labels for 30"):
        load_dataset("fashion_mnist")


def test_the_usual_folder_follows_the_desktop_standard(monkeypatch):
    monkeypatch.delenv("SPIKELOOP_DATA", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", "shared")
    assert data_folder() == Path("shared") / "spikeloop"
