"""CIFAR-100 and Tiny-ImageNet in their published layouts."""

import io
from pathlib import Path

import numpy as np
import pytest

from spikeloop.distill.data_files import read_cifar100
from spikeloop.distill.datasets import load_dataset
from spikeloop.simulator.errors import DatasetError

Image = pytest.importorskip("PIL.Image")


def test_cifar100_records_hold_a_coarse_and_a_fine_label(tmp_path):
    records = np.random.default_rng(0).integers(0, 256, (6, 3074)).astype(np.uint8)
    records[:, 0], records[:, 1] = 19, np.arange(6) * 19
    for name in ("train", "test"):
        (tmp_path / "cifar-100-binary").mkdir(exist_ok=True)
        (tmp_path / "cifar-100-binary" / f"{name}.bin").write_bytes(records.tobytes())
    found = load_dataset("cifar100", tmp_path)
    assert found.train_images.shape == (6, 3, 32, 32)
    assert found.test_labels.tolist() == [0, 19, 38, 57, 76, 95]
    colour, row, column = 2, 4, 30
    assert (
        round(float(found.train_images[5, colour, row, column]) * 255)
        == records[5, 2 + colour * 1024 + row * 32 + column]
    )


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x00" * 3073, "has 3073 bytes; a batch is a whole number of records of 3074 bytes"),
        (b"\x14" + b"\x00" * 3073, "has label 20; CIFAR-100 has 0 to 19"),
        (b"\x00\x64" + b"\x00" * 3072, "has label 100; CIFAR-100 has 0 to 99"),
        (b"\x80\x04\x95pickle", "whole number of records"),
    ],
)
def test_a_damaged_file_is_refused(tmp_path, content, message):
    (tmp_path / "train.bin").write_bytes(content)
    with pytest.raises(DatasetError, match=message):
        read_cifar100(tmp_path, "train.bin")


def jpeg(value, mode="RGB", size=64) -> bytes:
    held = io.BytesIO()
    Image.new(mode, (size, size), value).save(held, "JPEG", quality=95)
    return held.getvalue()


def write(path: Path, content: bytes | str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def a_tiny_imagenet(root: Path) -> Path:
    folder = root / "tiny-imagenet-200"
    write(folder / "wnids.txt", "n02\nn01\n")
    write(folder / "train" / "n01" / "images" / "n01_0.JPEG", jpeg((255, 0, 0)))
    write(folder / "train" / "n02" / "images" / "n02_0.JPEG", jpeg(128, "L"))
    write(folder / "train" / "n02" / "images" / "n02_1.JPEG", jpeg((0, 0, 255)))
    write(folder / "val" / "images" / "val_0.JPEG", jpeg((0, 255, 0)))
    write(folder / "val" / "val_annotations.txt", "val_0.JPEG\tn01\t0\t0\t62\t62\n")
    return folder


def test_tiny_imagenet_labels_are_lines_of_wnids_and_grey_becomes_colour(tmp_path):
    a_tiny_imagenet(tmp_path)
    found = load_dataset("tiny_imagenet", tmp_path)
    assert found.train_labels.tolist() == [0, 0, 1]
    assert found.test_labels.tolist() == [1]
    assert found.image_shape == (3, 64, 64)
    middle = np.rint(found.train_images[:, :, 32, 32] * 255)
    np.testing.assert_allclose(middle, [[128, 128, 128], [0, 0, 255], [255, 0, 0]], atol=4)  # JPEG loses a little


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("train/n01/images/n01_0.JPEG", jpeg(0, "L", 32), "has 32x32 pixels; allowed are 64x64"),
        ("train/n01/images/n01_0.JPEG", b"\x80\x04\x95", "is no JPEG file"),
        ("train/n01/images/n01_0.JPEG", jpeg(0, "L")[:200], "is not a whole JPEG file"),
        ("val/val_annotations.txt", "../../x.JPEG\tn01\n", "a line is a file name, a class of wnids.txt"),
        ("val/val_annotations.txt", "val_0.JPEG\tn03\n", "a line is a file name, a class of wnids.txt"),
        ("wnids.txt", "", "names 0 classes"),
    ],
)
def test_a_damaged_tiny_imagenet_is_refused(tmp_path, file, content, message):
    write(a_tiny_imagenet(tmp_path) / file, content)
    with pytest.raises(DatasetError, match=message):
        load_dataset("tiny_imagenet", tmp_path)
