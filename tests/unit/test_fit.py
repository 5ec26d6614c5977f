"""Data sets that do not fit a network: one sentence whose cure works; networks with parameters are trained and kept."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
import yaml

from spikeloop.distill.checkpoint import load_checkpoint, save_checkpoint, weights_sha256
from spikeloop.distill.config import TrainingConfig
from spikeloop.distill.datasets import Dataset
from spikeloop.distill.event_sets import EventDataset
from spikeloop.distill.fit import check_fit, used_part
from spikeloop.distill.train import train_student, train_teacher
from spikeloop.models.network_spec import NetworkSpec
from spikeloop.models.zoo import read_network
from spikeloop.simulator.errors import ConfigError, DatasetError
from spikeloop.simulator.spec import validate_spec


def images(shape=(3, 64, 64), classes=200) -> Dataset:
    labels = np.arange(classes, dtype=np.int64)
    pixels = np.zeros((classes, *shape), dtype=np.float32)
    return Dataset(name="pictures", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)


def recordings(sensor=(128, 128), classes=11) -> EventDataset:
    def nothing(_):
        raise AssertionError("a fit is judged without reading events")

    none = np.zeros(0, dtype=np.int64)
    return EventDataset(
        name="camera",
        sensor=sensor,
        n_classes=classes,
        train_labels=none,
        test_labels=none,
        read_train=nothing,
        read_test=nothing,
    )


def config_of(**fields) -> TrainingConfig:
    """A short training of a teacher."""
    return TrainingConfig.model_validate(
        {"role": "teacher", "dataset": "digits", "network": "demo", "epochs": 1, "lr": 0.01, **fields}
    )


@pytest.mark.parametrize(
    ("network", "dataset", "cure"),
    [
        ("vgg16", images(), "{name: vgg16, size: 64, classes: 200}"),
        ("vgg9", images((3, 32, 32), 100), "{name: vgg9, classes: 100}"),
        ("demo", images((3, 32, 32), 10), "{name: demo, size: 32, channels: 3}"),
        ("nmnist", images((3, 32, 32), 10), "{name: nmnist, events: false, size: 32}"),
        ("ms_resnet18", recordings(), "{name: ms_resnet18, events: true, classes: 11}"),
        ("nmnist", recordings((34, 34), 3), "{name: nmnist, classes: 3}"),
        ("nmnist", recordings((30, 40), 10), "{name: nmnist, size: 30}"),
        (
            NetworkSpec(name="vgg16", width=0.25, channels=1, bits=4),
            recordings((180, 240), 10),
            "{name: vgg16, events: true, bits: 4, width: 0.25}",
        ),
    ],
)
def test_the_sentence_names_a_network_that_fits(network, dataset, cure):
    with pytest.raises(DatasetError, match=re.escape(f"; write network: {cure}")) as caught:
        check_fit(network, dataset)
    assert "\n" not in str(caught.value)
    check_fit(read_network(yaml.safe_load(cure)), dataset)


def test_the_sentence_says_what_both_sides_have():
    takes, has = "network vgg9 takes 3x32x32 pixels and tells 10 classes apart", "data set pictures has 3x64x64 pixels"
    with pytest.raises(DatasetError, match=f"^{takes}; {has} of 200 classes; write"):
        check_fit("vgg9", images())


@pytest.mark.parametrize("shape", [(3, 32, 48), (1, 4, 4), (3, 256, 256)])
def test_pictures_that_no_network_takes_have_no_cure(shape):
    with pytest.raises(DatasetError, match=r"a network takes squares of 8 to 224 pixels a side$"):
        check_fit("vgg9", images(shape, 2))


def test_a_larger_sensor_is_shrunk():
    check_fit("nmnist", recordings((128, 128), 10))
    check_fit(NetworkSpec(name="vgg9", size=48, events=True), recordings((128, 128), 10))


TEACHER = {"role": "teacher", "dataset": "pictures", "epochs": 1, "lr": 0.01, "n_timesteps": 2, "batch_size": 4}
STUDENT = {**TEACHER, "role": "student", "quantisation": {"weight_bits": 3, "membrane_bits": 4}}
SMALL = {"name": "vgg16", "size": 9, "channels": 1, "classes": 4, "width": 0.0625}


def config(base, **fields) -> TrainingConfig:
    return validate_spec(TrainingConfig, {**base, "network": SMALL, **fields}, where="training.yaml")


def few() -> Dataset:
    labels = np.tile(np.arange(4, dtype=np.int64), 2)
    pixels = np.random.default_rng(0).random((8, 1, 9, 9)).astype(np.float32)
    return Dataset(name="pictures", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)


def test_a_network_with_parameters_is_trained_taught_and_kept(tmp_path):
    teacher = train_teacher(config(TEACHER), few())
    student = train_student(config(STUDENT), few(), teacher.net)
    save_checkpoint(tmp_path, student)
    loaded = load_checkpoint(tmp_path, network="vgg16-1x9x9-4classes-0.0625wide")
    assert loaded.config == student.config
    assert loaded.net.plan == student.net.plan
    for key, value in student.net.state_dict().items():
        assert torch.equal(loaded.net.state_dict()[key], value)
    with pytest.raises(
        ConfigError, match=r"the teacher is a 'vgg16-1x9x9.*' and the student a 'vgg16-1x9x9.*0.125wide'"
    ):
        train_student(config(STUDENT, network={**SMALL, "width": 0.125}), few(), teacher.net)


def test_training_on_pictures_of_another_size_is_refused_before_the_first_step():
    with pytest.raises(
        DatasetError, match=r"write network: \{name: vgg16, size: 9, channels: 1, classes: 4, width: 0.0625\}"
    ):
        train_teacher(config(TEACHER, network={**SMALL, "size": 12}), few())


def test_a_part_of_a_split_is_evenly_spaced_and_keeps_its_classes() -> None:
    """A split sorted by class, as recordings are: every class stays, images and recordings alike."""
    labels = np.repeat(np.arange(10, dtype=np.int64), 7)
    pixels = labels[:, None, None, None] * np.ones((1, 1, 8, 8), dtype=np.float32)
    dataset = Dataset(name="sorted", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)
    config = config_of(train_images=20, test_images=10)
    part = used_part(dataset, config)
    assert isinstance(part, Dataset)
    assert np.bincount(part.train_labels).tolist() == [2] * 10
    assert part.test_labels.tolist() == list(range(10))
    assert np.array_equal(part.train_images[:, 0, 0, 0], part.train_labels)
    assert np.array_equal(part.test_images[:, 0, 0, 0], part.test_labels)
    read: list[int] = []
    camera = replace(recordings((34, 34), 10), train_labels=labels, test_labels=labels, read_train=read.append)
    some = used_part(camera, config_of(network="nmnist", train_images=20))
    assert isinstance(some, EventDataset)
    for index in range(20):
        some.events("train", index)
    assert labels[read].tolist() == some.train_labels.tolist() == np.repeat(np.arange(10), 2).tolist()
    assert some.test_labels.size == 70


def test_more_images_than_there_are_is_one_sentence() -> None:
    """With how many there are."""
    with pytest.raises(DatasetError, match=r"^test_images=6 and data set pictures has 5; allowed 1 to 5$"):
        used_part(images((1, 8, 8), 5), config_of(network={"name": "demo", "classes": 5}, test_images=6))


def test_a_part_is_what_training_sees_and_old_files_keep_their_hash() -> None:
    """The same weights as from a data set that holds nothing else; fields that are not used change no key."""
    rng = np.random.default_rng(0)
    pixels, labels = rng.random((60, 1, 8, 8), dtype=np.float32), np.arange(60, dtype=np.int64) % 10
    whole = Dataset(name="d", train_images=pixels, train_labels=labels, test_images=pixels, test_labels=labels)
    half = replace(
        whole,
        train_images=pixels[::2],
        train_labels=labels[::2],
        test_images=pixels[::3],
        test_labels=labels[::3],
    )
    config = config_of(train_images=30, test_images=20)
    plain = config_of()
    part, alone = train_teacher(config, whole), train_teacher(plain, half)
    assert weights_sha256(part.net) == weights_sha256(alone.net)
    assert part.history == alone.history
    assert part.n_test == 20
    assert "train_images" not in plain.resolved()
    assert plain.content_hash() != config.content_hash()
