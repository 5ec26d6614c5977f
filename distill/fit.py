"""Whether a data set fits a network of the zoo, and which parameters would make it fit."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from spikeloop.models.network_spec import MAX_SIZE, MIN_SIZE, NetworkSpec
from spikeloop.models.plan import Architecture
from spikeloop.models.zoo import architecture, changed
from spikeloop.simulator.errors import DatasetError

from .config import TrainingConfig
from .datasets import AnyDataset
from .event_sets import EventDataset, EventReader, Split
from .events import POLARITIES


def check_fit(network: str | NetworkSpec, dataset: AnyDataset) -> None:
    """Refuse a data set whose pictures, events or classes are not what the network takes.

    A sensor larger than the network's input fits: its events are shrunk.

    Raises:
        DatasetError: what the two have, and the network to write instead.
        NetworkError: as for ``architecture``.
    """
    plan = architecture(network)
    wanted = _wanted(plan, dataset)
    if dataset.n_classes != plan.classifier.classes:
        wanted["classes"] = dataset.n_classes
    if not wanted:
        return
    takes = _shown(plan.input.shape, "pixels" if plan.input.static else "events")
    has = f"data set {dataset.name} has {_shown(*_given(dataset))} of {dataset.n_classes} classes"
    wrong = f"network {plan.name} takes {takes} and tells {plan.classifier.classes} classes apart; {has}"
    size = wanted.get("size", MIN_SIZE)
    square = isinstance(dataset, EventDataset) or dataset.image_shape[1] == dataset.image_shape[2]
    if not (MIN_SIZE <= size <= MAX_SIZE and square):
        raise DatasetError(f"{wrong}, and a network takes squares of {MIN_SIZE} to {MAX_SIZE} pixels a side")
    raise DatasetError(f"{wrong}; write network: {changed(network, **wanted)}")


def used_part(dataset: AnyDataset, config: TrainingConfig) -> AnyDataset:
    """What a training file asks for of a data set: ``train_images`` and ``test_images``, evenly spaced.

    Raises:
        DatasetError: the data set does not fit the network, or has fewer.
    """
    check_fit(config.network, dataset)
    train = _spaced(dataset, "train", config.train_images)
    test = _spaced(dataset, "test", config.test_images)
    train_labels, test_labels = dataset.train_labels[train], dataset.test_labels[test]
    if isinstance(dataset, EventDataset):
        return replace(
            dataset,
            train_labels=train_labels,
            test_labels=test_labels,
            read_train=_picked(dataset.read_train, train),
            read_test=_picked(dataset.read_test, test),
        )
    return replace(
        dataset,
        train_labels=train_labels,
        test_labels=test_labels,
        train_images=dataset.train_images[train],
        test_images=dataset.test_images[test],
    )


def _spaced(dataset: AnyDataset, split: Split, wanted: int | None) -> slice | NDArray[np.int64]:
    there = dataset.labels(split).size
    if wanted is None:
        return slice(None)
    if wanted > there:
        raise DatasetError(f"{split}_images={wanted} and data set {dataset.name} has {there}; allowed 1 to {there}")
    return np.arange(wanted, dtype=np.int64) * there // wanted


def _picked(read: EventReader, places: slice | NDArray[np.int64]) -> EventReader:
    return read if isinstance(places, slice) else lambda index: read(int(places[index]))


def _wanted(plan: Architecture, dataset: AnyDataset) -> dict[str, Any]:
    """Parameters of the input that must change, with their values."""
    node, found = plan.input, dict[str, Any]()
    if isinstance(dataset, EventDataset):
        if node.static:
            found["events"] = True
        if node.shape[1] > min(dataset.sensor):
            found["size"] = min(*dataset.sensor, MAX_SIZE)
        return found
    if not node.static:
        found["events"] = False
    if node.shape[0] != dataset.image_shape[0]:
        found["channels"] = dataset.image_shape[0]
    if node.shape[1:] != dataset.image_shape[1:]:
        found["size"] = dataset.image_shape[1]
    return found


def _given(dataset: AnyDataset) -> tuple[tuple[int, ...], str]:
    if isinstance(dataset, EventDataset):
        return (POLARITIES, *dataset.sensor), "events"
    return dataset.image_shape, "pixels"


def _shown(shape: tuple[int, ...], kind: str) -> str:
    return f"{'x'.join(map(str, shape))} {kind}"
