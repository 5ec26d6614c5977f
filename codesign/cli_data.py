"""``spikeloop data``: what data sets are here, whether they are whole, and how they get here."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from spikeloop.simulator.errors import ConfigError

from . import cli_output as output

if TYPE_CHECKING:
    from spikeloop.distill.datasets import AnyDataset
    from spikeloop.distill.download import SourceSet
    from spikeloop.distill.event_sets import EventDataset, Split

_SPLITS: tuple[Split, Split] = ("train", "test")
#: Data set that the simulated event camera makes, and its folder.
SYNTHETIC = "synthetic_nmnist"
_SYNTHETIC_FOLDER = "synthetic-n-mnist"
_BUILT_IN = "digits"


def show_data(
    name: str | None,
    folder: Path | None,
    *,
    download: bool,
    images_of: str | None,
    n_images: int | None,
    camera: str,
    seed: int,
) -> int:
    """Body of the command; returns the exit code.

    Raises:
        SpikeloopError: an unknown name, a damaged file, or a data set that cannot be fetched.
    """
    from spikeloop.distill.data_files import data_folder
    from spikeloop.distill.datasets import check_dataset_name, load_dataset
    from spikeloop.distill.download import fetch, is_there, load_sources

    root = data_folder() if folder is None else folder
    sources = load_sources()
    if name is None:
        _list_all(root, sources)
        return 0
    check_dataset_name(name)
    if name != SYNTHETIC and (images_of is not None or n_images is not None):
        raise ConfigError(f"--from and --images make {SYNTHETIC}, not {name}; leave them out")
    source = sources.get(name)
    if source is not None and download and not is_there(source, root):
        fetch(name, source, root, output.say)
    if name == SYNTHETIC and not (root / _SYNTHETIC_FOLDER).exists():
        _make_synthetic(root, images_of or _BUILT_IN, n_images, camera, seed)
    elif name == SYNTHETIC and (images_of is not None or n_images is not None):
        raise ConfigError(f"{root / _SYNTHETIC_FOLDER}: exists; move it away to make another one, or give --dir")
    _describe(name, root, load_dataset(name, root), source)
    return 0


def _list_all(root: Path, sources: dict[str, SourceSet]) -> None:
    from spikeloop.distill.datasets import available_datasets
    from spikeloop.distill.download import is_there

    output.emit(f"data sets in {root}")
    rows = []
    for name in available_datasets():
        source = sources.get(name)
        if source is not None:
            rows.append((name, "there" if is_there(source, root) else "not there", source.folder, source.title))
        elif name == SYNTHETIC:
            state = "there" if (root / _SYNTHETIC_FOLDER).is_dir() else "not made"
            rows.append((name, state, _SYNTHETIC_FOLDER, "SYNTHETIC: still images seen by a simulated event camera"))
        else:
            rows.append((name, "built in", "(scikit-learn)", "UCI optical digits (Alpaydin and Kaynak 1998)"))
    output.emit_table(("name", "state", "folder", "what"), rows)


def _make_synthetic(root: Path, images_of: str, n_images: int | None, camera: str, seed: int) -> None:
    from spikeloop.distill.datasets import Dataset, load_dataset
    from spikeloop.distill.event_camera import load_camera, write_synthetic_nmnist

    spec, dataset = load_camera(camera), load_dataset(images_of, root)
    if not isinstance(dataset, Dataset):
        raise ConfigError(f"--from {images_of}: a set of events; the camera looks at images, such as {_BUILT_IN}")
    n_train, n_test = (len(labels) for labels in (dataset.train_labels, dataset.test_labels))
    if n_images is not None:
        n_train, n_test = min(n_train, n_images), min(n_test, n_images)
    output.say(f"{SYNTHETIC}: recording {n_train} + {n_test} images of {images_of}; these events are synthetic")
    write_synthetic_nmnist(dataset, root / _SYNTHETIC_FOLDER, spec, seed=seed, n_train=n_train, n_test=n_test)


def _describe(name: str, root: Path, dataset: AnyDataset, source: SourceSet | None) -> None:
    from spikeloop.distill.event_sets import EventDataset

    where = root / source.folder if source is not None else root / _SYNTHETIC_FOLDER if name == SYNTHETIC else None
    output.emit(f"{name}: {source.title if source is not None else 'SYNTHETIC events' if where else 'built in'}")
    output.emit(f"  folder    {where or 'inside scikit-learn'}")
    kind = "recordings" if isinstance(dataset, EventDataset) else "images"
    published_of = (None, None) if source is None else (source.n_train, source.n_test)
    for split, published in zip(_SPLITS, published_of, strict=True):
        n = len(dataset.labels(split))
        note = "" if published in (None, n) else f" of {published} published: a subset"
        output.emit(f"  {split:<10}{n} {kind}{note}")
    output.emit(f"  classes   {dataset.n_classes}")
    if isinstance(dataset, EventDataset):
        total, n = _count_events(dataset)
        output.emit(f"  sensor    {dataset.sensor[0]}x{dataset.sensor[1]}, two polarities")
        output.emit(f"  events    {total}, {total / n:.0f} a recording; every recording was read")
    else:
        channels, height, width = dataset.image_shape
        output.emit(f"  image     {height}x{width}, {channels} channel{'s' if channels > 1 else ''}")
    if source is not None:
        _check_published(source, root)


def _count_events(dataset: EventDataset) -> tuple[int, int]:
    """(events, recordings) of both splits: reads, and so checks, all of them."""
    total, n = 0, 0
    for split in _SPLITS:
        for index in range(len(dataset.labels(split))):
            total += dataset.events(split, index).n_events
            n += 1
    return total, n


def _check_published(source: SourceSet, root: Path) -> None:
    """Compare the files that lie here as published; repacked ones are said to be so, their content was read above."""
    from spikeloop.distill.download import md5_of

    for file in source.files:
        path = source.home(root) / file.name
        if path.is_file():
            same = md5_of(path) == file.md5
            output.emit(f"  MD5       {file.name}: {'as published' if same else 'not the published one (repacked?)'}")
    if source.packed or not any((source.home(root) / file.name).is_file() for file in source.files):
        output.emit("  MD5       is published for the archives; of unpacked files the layout and lengths were checked")
