"""Data sets and the codes that enter a network."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spikeloop.distill.datasets import available_datasets, load_dataset, stratified_split
from spikeloop.distill.encode import encode, pixel_codes
from spikeloop.models.random_export import random_network
from spikeloop.simulator.errors import DatasetError
from spikeloop.simulator.network.graph import InputNode

PIXELS = InputNode(name="input", shape=(1, 8, 8), bits=4, static=True)


def test_digits_have_the_promised_shapes_and_every_image_once():
    digits = load_dataset("digits")
    assert digits.train_images.shape == (1197, 1, 8, 8)
    assert digits.test_images.shape == (600, 1, 8, 8)
    assert digits.train_images.dtype == np.float32
    assert digits.train_labels.dtype == np.int64
    assert (digits.train_images.min(), digits.train_images.max()) == (0.0, 1.0)
    assert digits.n_classes == 10
    assert digits.image_shape == (1, 8, 8)
    everything = np.concatenate([digits.train_images, digits.test_images]).reshape(1797, -1)
    assert len(np.unique(everything, axis=0)) == 1797
    counts = np.bincount(digits.test_labels)
    assert counts.max() - counts.min() <= 3


def test_the_split_never_moves():
    first, second = load_dataset("digits"), load_dataset("digits")
    np.testing.assert_array_equal(first.test_images, second.test_images)
    # A result names this split: its first labels are pinned.
    assert first.test_labels[:12].tolist() == [0, 2, 3, 5, 6, 8, 2, 6, 9, 4, 0, 6]


@settings(max_examples=50, deadline=None)
@given(
    counts=st.lists(st.integers(1, 40), min_size=2, max_size=8), share=st.floats(0.1, 0.9), seed=st.integers(0, 1000)
)
def test_every_class_keeps_its_share(counts, share, seed):
    labels = np.random.default_rng(seed).permutation(np.repeat(np.arange(len(counts)), counts))
    n_test = max(1, int(share * labels.size))
    train, test = stratified_split(labels, n_test=n_test, seed=seed)
    assert test.size == n_test
    np.testing.assert_array_equal(np.sort(np.concatenate([train, test])), np.arange(labels.size))
    for label, count in enumerate(counts):
        assert abs((labels[test] == label).sum() - count * n_test / labels.size) <= 1


def test_an_unknown_data_set_names_the_nearest():
    with pytest.raises(DatasetError, match=r"'digit' is not known; did you mean 'digits'\? available: digits, fash"):
        load_dataset("digit")
    assert available_datasets()[:3] == ("digits", "fashion_mnist", "cifar10")
    with pytest.raises(DatasetError, match="did you mean 'synthetic_nmnist'"):
        load_dataset("synthetic-nmnist")


def test_pixels_round_half_up():
    images = np.zeros((1, 1, 8, 8), dtype=np.float32)
    images[0, 0, 0, :4] = [1.0, 0.5, 0.1, 1 / 30]
    codes = pixel_codes(images, PIXELS)
    assert codes[0, 0, 0, :4].tolist() == [15, 8, 2, 1]


def test_a_batch_fits_the_network_and_keeps_its_indices():
    digits = load_dataset("digits")
    network = random_network("demo", seed=0, weight_bits=2, membrane_bits=2)
    indices = np.array([5, 2, 9])
    train = encode(digits.test_images, digits.test_labels, indices, network.input, "digits/test")
    train.check_fits(network)
    np.testing.assert_array_equal(train.indices, indices)
    np.testing.assert_array_equal(train.labels, digits.test_labels[indices])
    np.testing.assert_array_equal(train.codes[1], pixel_codes(digits.test_images[2:3], network.input)[0])
    assert encode(digits.test_images, None, indices, network.input, "x").labels is None


@pytest.mark.parametrize(
    ("images", "node", "sentence"),
    [
        (np.zeros((1, 3, 8, 8), np.float32), PIXELS, "takes images of shape (1, 8, 8), the data set has (3, 8, 8)"),
        (np.full((1, 1, 8, 8), 1.5, np.float32), PIXELS, "direct coding takes values in [0, 1]"),
        (np.full((1, 1, 8, 8), np.nan, np.float32), PIXELS, "direct coding takes values in [0, 1]"),
        (
            np.zeros((1, 1, 8, 8), np.float32),
            InputNode(name="input", shape=(1, 8, 8), bits=1),
            "codes that change from step to step",
        ),
    ],
)
def test_images_that_do_not_fit_are_refused(images, node, sentence):
    with pytest.raises(DatasetError) as caught:
        pixel_codes(images, node)
    assert sentence in str(caught.value)


def test_an_index_outside_the_data_set_is_refused():
    with pytest.raises(DatasetError, match="indices 3 to 3; allowed 0 to 1"):
        encode(np.zeros((2, 1, 8, 8), np.float32), None, np.array([3]), PIXELS, "x")
