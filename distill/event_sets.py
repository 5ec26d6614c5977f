"""Data sets of event cameras, read recording by recording from their published layouts."""

from __future__ import annotations

import csv
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spikeloop.simulator.errors import DatasetError

from .archives import refuse_unsafe
from .data_files import DATA_VARIABLE, read_file
from .event_files import read_aedat2, read_aedat3, read_events_40bit
from .events import Events

Split = Literal["train", "test"]
#: Gives the events of recording i of a split.
EventReader = Callable[[int], Events]

#: Largest recording that is read; the longest of these sets have some tens of megabytes.
_MAX_RECORDING_BYTES = 2**30
NMNIST_SENSOR = (34, 34)
_CALTECH_SENSOR, _DVS128_SENSOR = (180, 240), (128, 128)
CIFAR10_CLASSES = ("airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck")
_GESTURES = 11


@dataclass(frozen=True, kw_only=True, eq=False)
class EventDataset:
    """Recordings of an event camera; events are read when they are asked for.

    Attributes:
        name: of the data set.
        sensor: (rows, columns).
        n_classes: number of classes, whether or not every one occurs.
        train_labels: (N,) int64.
        test_labels: (N,) int64.
        read_train: events of a training recording by index.
        read_test: events of a test recording by index.
    """

    name: str
    sensor: tuple[int, int]
    n_classes: int
    train_labels: NDArray[np.int64]
    test_labels: NDArray[np.int64]
    read_train: EventReader
    read_test: EventReader

    def events(self, split: Split, index: int) -> Events:
        """Events of recording ``index`` of a split."""
        return self.read_train(index) if split == "train" else self.read_test(index)

    def labels(self, split: Split) -> NDArray[np.int64]:
        """(N,) int64 labels of a split."""
        return self.train_labels if split == "train" else self.test_labels


@dataclass(frozen=True, kw_only=True, eq=False)
class _Folder:
    """Files below a folder or inside a zip of the same layout; names use ``/``."""

    where: Path
    names: tuple[str, ...]
    read: Callable[[str], bytes]


def load_nmnist(root: Path, name: str = "nmnist", folder: str = "N-MNIST") -> EventDataset:
    """N-MNIST: ``Train/<digit>/*.bin`` and ``Test/<digit>/*.bin``, as folders or as ``Train.zip`` and ``Test.zip``.

    Recordings are ordered by file name, which is the number of the MNIST image. Source: Orchard et al., Frontiers in
    Neuroscience 9 (2015) 437.

    Raises:
        DatasetError: nothing there, a folder that is no digit, or an unsafe name in the archive.
    """
    digits = tuple(str(digit) for digit in range(10))
    splits = []
    for split in ("Train", "Test"):
        files = _files(root / folder, split, ".bin")
        splits.append((files, _sorted_by_image(files, digits)))
    (train, train_files), (test, test_files) = splits
    return EventDataset(
        name=name,
        sensor=NMNIST_SENSOR,
        n_classes=10,
        train_labels=_labels(train_files),
        test_labels=_labels(test_files),
        read_train=_reader_40bit(train, train_files, NMNIST_SENSOR),
        read_test=_reader_40bit(test, test_files, NMNIST_SENSOR),
    )


def load_ncaltech101(root: Path) -> EventDataset:
    """N-Caltech101: ``Caltech101/<class>/*.bin``, a folder or ``Caltech101.zip``; 101 classes and a background.

    The set has no split: here the last tenth (rounded up) of the sorted files of every class is the test split. Labels
    number the sorted class names. Source: Orchard et al., Frontiers in Neuroscience 9 (2015) 437.

    Raises:
        DatasetError: nothing there, or an unsafe name in the archive.
    """
    files = _files(root, "Caltech101", ".bin")
    by_class = _by_class(files)
    train, test = [], []
    for label, members in enumerate(by_class.values()):
        n_test = -(-len(members) // 10)
        train += [(name, label) for name in members[:-n_test]]
        test += [(name, label) for name in members[-n_test:]]
    return EventDataset(
        name="ncaltech101",
        sensor=_CALTECH_SENSOR,
        n_classes=len(by_class),
        train_labels=_labels(train),
        test_labels=_labels(test),
        read_train=_reader_40bit(files, train, _CALTECH_SENSOR),
        read_test=_reader_40bit(files, test, _CALTECH_SENSOR),
    )


def load_cifar10_dvs(root: Path) -> EventDataset:
    """CIFAR10-DVS: ``CIFAR10-DVS/<class>/cifar10_<class>_<k>.aedat``, 1,000 recordings a class.

    The set has no split: k below 100 is the test split, as in TEBN (Duan et al., NeurIPS 2022). Source: Li et al.,
    Frontiers in Neuroscience 11 (2017) 309.

    Raises:
        DatasetError: nothing there, or a file that is not named so.
    """
    files = _files(root, "CIFAR10-DVS", ".aedat")
    found: dict[bool, list[tuple[int, str, int]]] = {True: [], False: []}
    for name in files.names:
        kind, number = PurePosixPath(name).parent.name, PurePosixPath(name).stem.rpartition("_")[2]
        if kind not in CIFAR10_CLASSES or not number.isdigit():
            raise DatasetError(
                f"{files.where / name}: no recording of CIFAR10-DVS; its files are "
                "<class>/cifar10_<class>_<number>.aedat"
            )
        found[int(number) < 100].append((int(number), name, CIFAR10_CLASSES.index(kind)))
    test, train = ([(name, label) for _, name, label in sorted(found[part])] for part in (True, False))
    return EventDataset(
        name="cifar10_dvs",
        sensor=_DVS128_SENSOR,
        n_classes=10,
        train_labels=_labels(train),
        test_labels=_labels(test),
        read_train=lambda i: read_aedat2(files.read(train[i][0]), train[i][0]),
        read_test=lambda i: read_aedat2(files.read(test[i][0]), test[i][0]),
    )


def load_dvs_gesture(root: Path) -> EventDataset:
    """DVS128 Gesture: ``DvsGesture/`` with trials of .aedat (3.1), ``*_labels.csv`` and the published split of users.

    A recording is one row of a labels file: the events with start <= timestamp < end. Label 0 is class 1. Source: Amir
    et al., CVPR 2017.

    Raises:
        DatasetError: a file is missing, or a row that is no class with start and end.
    """
    folder = root / "DvsGesture"
    train, test = (_gestures(folder, f"trials_to_{split}.txt") for split in ("train", "test"))
    return EventDataset(
        name="dvs_gesture",
        sensor=_DVS128_SENSOR,
        n_classes=_GESTURES,
        train_labels=np.array([row[1] for row in train], dtype=np.int64),
        test_labels=np.array([row[1] for row in test], dtype=np.int64),
        read_train=lambda i: _gesture(*train[i]),
        read_test=lambda i: _gesture(*test[i]),
    )


def _gestures(folder: Path, listing: str) -> list[tuple[Path, int, int, int]]:
    """(trial, label, start_us, end_us) of every row of the labels of the trials that ``listing`` names."""
    rows = []
    for trial in read_file(folder / listing).decode("ascii", "replace").split():
        refuse_unsafe(trial, folder / listing)
        path = folder / trial
        labels = path.with_name(f"{path.stem}_labels.csv")
        lines = read_file(labels).decode("ascii", "replace").splitlines()
        for number, line in enumerate(csv.reader(lines[1:]), 2):
            if not line:
                continue
            if len(line) != 3 or not all(cell.strip().isdigit() for cell in line):
                raise DatasetError(f"{labels}: line {number}: '{','.join(line)}'; a row is class, start and end in us")
            kind, start_us, end_us = (int(cell) for cell in line)
            if not 1 <= kind <= _GESTURES or start_us >= end_us:
                raise DatasetError(
                    f"{labels}: line {number}: class {kind} from {start_us} to {end_us} us; classes are 1 to "
                    f"{_GESTURES} and a gesture ends after it starts"
                )
            rows.append((path, kind - 1, start_us, end_us))
    return rows


def _gesture(path: Path, label: int, start_us: int, end_us: int) -> Events:
    events = _trial(path)
    return events.take((events.timestamp_us >= start_us) & (events.timestamp_us < end_us))


@lru_cache(maxsize=1)
def _trial(path: Path) -> Events:
    """A trial holds a dozen gestures in a row, so the last one is kept."""
    return read_aedat3(read_file(path), str(path))


def _files(root: Path, name: str, suffix: str) -> _Folder:
    """Files ``root/name/...`` that end in ``suffix``, from the folder, else from ``root/name.zip``."""
    folder, archive = root / name, root / f"{name}.zip"
    if folder.is_dir():
        names = sorted(path.relative_to(folder).as_posix() for path in folder.glob(f"*/*{suffix}"))
        found = _Folder(where=folder, names=tuple(names), read=lambda member: read_file(folder / member))
    elif archive.is_file():
        found = _inside_zip(archive, suffix)
    else:
        raise DatasetError(
            f"{folder}: no such folder, and no {archive.name} beside it; put the data set there, or say with "
            f"{DATA_VARIABLE} where its folder lies"
        )
    if not found.names:
        raise DatasetError(f"{found.where}: holds no {suffix} file in a folder of a class; unpack the data set there")
    return found


def _inside_zip(archive: Path, suffix: str) -> _Folder:
    try:
        packed = zipfile.ZipFile(archive)
    except (OSError, zipfile.BadZipFile) as error:
        raise DatasetError(f"{archive}: is not a whole zip archive ({error}); fetch it again") from error
    members: dict[str, zipfile.ZipInfo] = {}
    for entry in packed.infolist():
        refuse_unsafe(entry.filename, archive)
        path = PurePosixPath(entry.filename)
        if path.suffix == suffix and len(path.parts) >= 2:
            members["/".join(path.parts[-2:])] = entry

    def read(name: str) -> bytes:
        if members[name].file_size > _MAX_RECORDING_BYTES:
            raise DatasetError(
                f"{archive}: member '{name}' has {members[name].file_size} bytes; no recording is so long"
            )
        try:
            return packed.read(members[name])
        except (OSError, EOFError, zipfile.BadZipFile) as error:
            raise DatasetError(f"{archive}: member '{name}' cannot be read ({error}); fetch it again") from error

    return _Folder(where=archive, names=tuple(sorted(members)), read=read)


def _sorted_by_image(files: _Folder, classes: Sequence[str]) -> list[tuple[str, int]]:
    """(name, label) in the order of the file names; the folder of a file is its class."""
    found = []
    for name in files.names:
        kind, _, file = name.partition("/")
        if kind not in classes:
            raise DatasetError(f"{files.where}: folder '{kind}' is no class; allowed: {', '.join(classes)}")
        found.append((file, kind, name))
    return [(name, classes.index(kind)) for _, kind, name in sorted(found)]


def _by_class(files: _Folder) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for name in files.names:  # sorted, so the classes and their files are too
        found.setdefault(name.partition("/")[0], []).append(name)
    return found


def _labels(files: Sequence[tuple[str, int]]) -> NDArray[np.int64]:
    return np.array([label for _, label in files], dtype=np.int64)


def _reader_40bit(source: _Folder, files: Sequence[tuple[str, int]], sensor: tuple[int, int]) -> EventReader:
    def read(index: int) -> Events:
        name = files[index][0]
        return read_events_40bit(source.read(name), sensor, f"{source.where}/{name}")

    return read
