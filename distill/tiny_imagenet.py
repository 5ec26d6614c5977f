"""Tiny-ImageNet: 200 classes of 64x64 colour JPEG files, decoded with pillow (``pip install 'spikeloop[images]'``)."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeloop.simulator.errors import DatasetError

from .data_files import Bytes, read_file

_SIZE = 64
_LARGEST_FILE = 2**20


def read_tiny_imagenet(folder: Path, split: str) -> tuple[Bytes, Bytes]:
    """(images (N, 3, 64, 64), labels (N,)) of ``train`` or ``val``; grey files become colour.

    Label = line of the class in ``wnids.txt``, from 0. ``val`` serves as the test split: the labels of the published
    test images are secret. Source of the layout: the set of Stanford's course CS231n.

    Raises:
        DatasetError: pillow is missing, a file is missing or no JPEG of 64x64, or a class is unknown.
    """
    classes = {name: i for i, name in enumerate(read_file(folder / "wnids.txt").decode("ascii", "replace").split())}
    if not 0 < len(classes) <= 256:
        raise DatasetError(f"{folder / 'wnids.txt'}: names {len(classes)} classes; allowed 1 to 256")
    files = _train_files(folder, classes) if split == "train" else _val_files(folder, classes)
    images = np.empty((len(files), 3, _SIZE, _SIZE), dtype=np.uint8)
    for i, (path, _) in enumerate(files):
        images[i] = _decoded(path)
    return images, np.array([label for _, label in files], dtype=np.uint8)


def _train_files(folder: Path, classes: dict[str, int]) -> list[tuple[Path, int]]:
    files = [
        (path, label)
        for name, label in classes.items()
        for path in sorted((folder / "train" / name / "images").glob("*.JPEG"))
    ]
    if not files:
        raise DatasetError(
            f"{folder / 'train'}: holds no <class>/images/*.JPEG of the classes in wnids.txt; unpack it again"
        )
    return files


def _val_files(folder: Path, classes: dict[str, int]) -> list[tuple[Path, int]]:
    listing, files = folder / "val" / "val_annotations.txt", []
    for number, line in enumerate(read_file(listing).decode("ascii", "replace").splitlines(), 1):
        cells = line.split("\t")
        if len(cells) < 2 or cells[1] not in classes or Path(cells[0]).name != cells[0]:
            raise DatasetError(
                f"{listing}: line {number}: '{line[:60]}'; a line is a file name, a class of wnids.txt, a box"
            )
        files.append((folder / "val" / "images" / cells[0], classes[cells[1]]))
    if not files:
        raise DatasetError(f"{listing}: names no image; unpack the data set again")
    return files


def _decoded(path: Path) -> NDArray[np.uint8]:
    try:
        from PIL import Image, UnidentifiedImageError
    except ImportError as error:
        raise DatasetError(
            "tiny_imagenet: JPEG files need pillow; install it with pip install 'spikeloop[images]'"
        ) from error
    content = read_file(path)
    if not content.startswith(b"\xff\xd8") or len(content) > _LARGEST_FILE:
        raise DatasetError(f"{path}: is no JPEG file of up to {_LARGEST_FILE} bytes; unpack the data set again")
    try:
        with Image.open(io.BytesIO(content), formats=("JPEG",)) as image:
            if image.size != (_SIZE, _SIZE):
                raise DatasetError(f"{path}: has {image.size[0]}x{image.size[1]} pixels; allowed are {_SIZE}x{_SIZE}")
            return np.asarray(image.convert("RGB")).transpose(2, 0, 1)
    except (OSError, UnidentifiedImageError, SyntaxError) as error:
        raise DatasetError(f"{path}: is not a whole JPEG file ({error}); unpack the data set again") from error
