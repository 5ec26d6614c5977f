"""Image files in their published layouts: IDX (MNIST, Fashion-MNIST) and the binary records of CIFAR."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from spikeloop.simulator.errors import DatasetError

Bytes = NDArray[np.uint8]

#: Environment variable that names the folder of all data sets.
DATA_VARIABLE = "SPIKELOOP_DATA"
#: 1,024 red, green and blue pixels, row by row, after the label bytes.
_CIFAR_PIXELS = 3 * 32 * 32


def data_folder() -> Path:
    """Folder of all data sets: ``$SPIKELOOP_DATA``, else ``$XDG_DATA_HOME/spikeloop``, else the usual place of that."""
    given = os.environ.get(DATA_VARIABLE)
    if given:
        return Path(given)
    base = os.environ.get("XDG_DATA_HOME")
    return (Path(base) if base else Path.home() / ".local" / "share") / "spikeloop"


def read_idx(folder: Path, name: str, ndim: int) -> Bytes:
    """Array of unsigned bytes in an IDX file, plain or with ``.gz``.

    Source of the format: LeCun, "The MNIST database of handwritten digits": bytes 0, 0, type (8: unsigned byte), number
    of dimensions, then each size as a big-endian 32-bit number, then the data.

    Raises:
        DatasetError: no such file; not an IDX file of bytes with ``ndim`` dimensions; too short or too long.
    """
    path = _first_of(folder, (f"{name}.gz", name))
    content = _content(path)
    head = 4 + 4 * ndim
    if len(content) < head or content[:4] != bytes((0, 0, 8, ndim)):
        raise DatasetError(f"{path}: does not start as an IDX file of bytes with {ndim} dimensions; fetch it again")
    shape = tuple(int(n) for n in np.frombuffer(content, dtype=">u4", count=ndim, offset=4))
    size = math.prod(shape)
    if len(content) != head + size:
        raise DatasetError(
            f"{path}: has {len(content) - head} bytes of data, its header says {size}; it is cut or damaged, fetch it "
            "again"
        )
    return np.frombuffer(content, dtype=np.uint8, offset=head).reshape(shape)


def read_cifar10(folder: Path, names: tuple[str, ...]) -> tuple[Bytes, Bytes]:
    """(images (N, 3, 32, 32), labels (N,)) of binary batches of CIFAR-10.

    Source of the format: Krizhevsky, "The CIFAR-10 dataset", binary version: records of a label byte and 3,072 pixels,
    the red ones first, row by row. The version for Python is a pickle, and is never read.

    Raises:
        DatasetError: no such file; a length that is no number of records; a label above 9.
    """
    return _read_cifar(folder, names, "CIFAR-10", (10,))


def read_cifar100(folder: Path, name: str) -> tuple[Bytes, Bytes]:
    """(images (N, 3, 32, 32), fine labels (N,)) of a binary file of CIFAR-100.

    Source of the format: Krizhevsky, "The CIFAR-100 dataset", binary version: as CIFAR-10, with a coarse label (20
    superclasses) before the fine one (100 classes).

    Raises:
        DatasetError: no such file; a length that is no number of records; a label that does not exist.
    """
    return _read_cifar(folder, (name,), "CIFAR-100", (20, 100))


def _read_cifar(folder: Path, names: tuple[str, ...], title: str, classes: tuple[int, ...]) -> tuple[Bytes, Bytes]:
    """Images and the last label of each record; ``classes`` says how many values each label byte takes."""
    record, records = len(classes) + _CIFAR_PIXELS, []
    for name in names:
        path = _first_of(folder, (name,))
        content = _content(path)
        if not content or len(content) % record:
            raise DatasetError(
                f"{path}: has {len(content)} bytes; a batch is a whole number of records of {record} bytes, "
                "fetch it again"
            )
        batch = np.frombuffer(content, dtype=np.uint8).reshape(-1, record)
        for column, limit in enumerate(classes):
            if int(batch[:, column].max()) >= limit:
                raise DatasetError(
                    f"{path}: has label {int(batch[:, column].max())}; {title} has 0 to {limit - 1}, fetch it again"
                )
        records.append(batch)
    every = np.concatenate(records)
    return every[:, len(classes) :].reshape(-1, 3, 32, 32), every[:, len(classes) - 1]


def read_file(path: Path) -> bytes:
    """Content of a file of a data set.

    Raises:
        DatasetError: no such file, or it cannot be read.
    """
    return _content(_first_of(path.parent, (path.name,)))


def _first_of(folder: Path, names: tuple[str, ...]) -> Path:
    for name in names:
        if (folder / name).is_file():
            return folder / name
    raise DatasetError(
        f"{folder / names[0]}: no such file; put the data set there, or say with {DATA_VARIABLE} where its folder lies"
    )


def _content(path: Path) -> bytes:
    try:
        if path.suffix == ".gz":
            with gzip.open(path) as stream:
                return stream.read()
        return path.read_bytes()
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DatasetError(f"{path}: is not a whole gzip file ({error}); fetch it again") from error
    except OSError as error:
        raise DatasetError(f"{path}: cannot be read ({error.strerror or error}); check it") from error
