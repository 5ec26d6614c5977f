"""The simulated event camera against a pixel worked by hand, and its laws."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml

from spikeloop.distill.datasets import Dataset, load_dataset
from spikeloop.distill.event_camera import (
    EventCamera,
    load_camera,
    position_px,
    record_image,
    write_synthetic_nmnist,
)
from spikeloop.simulator.config import shipped_files
from spikeloop.simulator.errors import ConfigError, DatasetError

CAMERA = load_camera("saccades_34")
SMALL = replace(CAMERA, sensor_px=12, image_px=8, down_px=2.0, across_px=2.0, saccade_us=20_000)
DIGIT = load_dataset("digits").train_images[3]


def columns(events):
    return list(zip(events.timestamp_us, events.y, events.x, events.polarity, strict=True))


def test_the_movement_is_a_closed_triangle():
    """Corners at the ends of the saccades; half way a side is half done; slowest at its ends."""
    t = CAMERA.saccade_us
    times = np.array([0, t // 2, t, 2 * t, 3 * t])
    assert position_px(times, CAMERA).T.round(3).tolist() == [[0, 0], [3.5, 1.75], [7, 3.5], [0, 7], [0, 0]]
    step = np.diff(position_px(np.arange(0, t + 1, t // 10), CAMERA)[0])
    assert step[0] < step[4] > step[9]


def test_a_pixel_by_hand():
    """A white pixel that moves down by one row, then comes back.

    Dark level 1, threshold 0.3. (8 - 1 - 1) / 2 = 3 is its first row; (8 - 1) / 2 = 3.5 columns from the left, so
    columns 3 and 4 see half of it. Their light goes from 1.5 to 1 in row 3 and from 1 to 1.5 in row 4: ln 1.5 = 0.405,
    one event each, OFF above and ON below. The level is straight between the samples: 0.3 is reached after
    0.3 / 0.405 of the time.
    """
    camera = EventCamera(
        sensor_px=8,
        image_px=1,
        saccade_us=1000,
        down_px=1.0,
        across_px=0.0,
        contrast_threshold=0.3,
        threshold_sigma=0.0,
        noise_Hz=0.0,
        refractory_us=0,
        dark_level=1.0,
        sample_us=1000,
    )
    events = record_image(np.ones((1, 1, 1), dtype=np.float32), camera, seed=0, index=0)
    first = [row for row in columns(events) if row[0] <= 1000]
    at = int(0.3 / np.log(1.5) * 1000)
    assert first == [(at, 3, 3, 0), (at, 3, 4, 0), (at, 4, 3, 1), (at, 4, 4, 1)]
    back = [row for row in columns(events) if row[0] > 1000]
    assert {row[3] for row in back if row[1] == 3} == {1}
    assert {row[3] for row in back if row[1] == 4} == {0}


def test_a_picture_that_stands_still_or_is_black_makes_no_event():
    still = replace(SMALL, down_px=0.0, across_px=0.0)
    assert record_image(DIGIT, still, seed=0, index=0).n_events == 0
    assert record_image(np.zeros_like(DIGIT), SMALL, seed=0, index=0).n_events == 0


def test_on_and_off_cancel_along_a_closed_path():
    """Back at the start every level is what it was, so steps up and down differ by at most one."""
    events = record_image(DIGIT, SMALL, seed=0, index=0)
    assert events.n_events > 100
    net = np.zeros((12, 12), dtype=int)
    np.add.at(net, (events.y, events.x), 2 * events.polarity - 1)
    assert np.abs(net).max() <= 1
    assert (np.diff(events.timestamp_us) >= 0).all()
    assert events.timestamp_us.max() <= 3 * SMALL.saccade_us


def test_a_lower_threshold_sees_more():
    counts = [
        record_image(DIGIT, replace(SMALL, contrast_threshold=threshold), seed=0, index=0).n_events
        for threshold in (0.4, 0.2, 0.1)
    ]
    assert counts[0] < counts[1] < counts[2]


def test_finer_samples_change_little():
    """Crossings are interpolated: four times as many samples move the count by less than a tenth."""
    coarse, fine = (record_image(DIGIT, replace(SMALL, sample_us=us), seed=0, index=0).n_events for us in (800, 200))
    assert abs(fine - coarse) < 0.1 * fine


def test_the_same_seed_gives_the_same_bits_and_mismatch_belongs_to_the_sensor():
    noisy = replace(SMALL, threshold_sigma=0.05, noise_Hz=20.0)

    def run(seed, index, camera=noisy):
        return columns(record_image(DIGIT, camera, seed=seed, index=index))

    assert run(1, 0) == run(1, 0)
    assert run(1, 0) != run(1, 1)  # other noise
    assert run(1, 0) != run(2, 0)
    quiet = replace(noisy, noise_Hz=0.0)
    assert run(1, 0, quiet) == run(1, 1, quiet)  # the same pixels
    assert run(1, 0, quiet) != run(1, 0, SMALL)


def test_noise_has_its_rate():
    """144 pixels for 60 ms at 1 kHz: 8,640 events expected, standard deviation 93."""
    noisy = replace(SMALL, noise_Hz=1000.0)
    events = record_image(np.zeros_like(DIGIT), noisy, seed=5, index=0)
    assert abs(events.n_events - 8640) < 5 * 93
    assert abs(events.polarity.mean() - 0.5) < 0.03


def test_a_blind_pixel_loses_events():
    blind = record_image(DIGIT, replace(SMALL, refractory_us=5000), seed=0, index=0)
    assert 0 < blind.n_events < record_image(DIGIT, SMALL, seed=0, index=0).n_events
    for pixel in np.unique(blind.y * 12 + blind.x):
        at = blind.timestamp_us[blind.y * 12 + blind.x == pixel]
        assert (np.diff(at) > 5000).all()


def test_a_set_is_written_in_the_format_of_nmnist_and_says_that_it_is_synthetic(tmp_path):
    digits = load_dataset("digits")
    write_synthetic_nmnist(digits, tmp_path / "synthetic-n-mnist", CAMERA, seed=0, n_train=3, n_test=2)
    found = load_dataset("synthetic_nmnist", tmp_path)
    assert found.train_labels.tolist() == digits.train_labels[:3].tolist()
    assert found.test_labels.tolist() == digits.test_labels[:2].tolist()
    again = record_image(digits.train_images[1], CAMERA, seed=0, index=2)
    assert columns(found.events("train", 1)) == columns(again)
    about = json.loads((tmp_path / "synthetic-n-mnist" / "SYNTHETIC.json").read_text())
    assert (about["synthetic"], about["images"], about["camera"]["contrast_threshold"]) == (True, "digits", 0.2)
    with pytest.raises(DatasetError, match="exists; give another --dir"):
        write_synthetic_nmnist(digits, tmp_path / "synthetic-n-mnist", CAMERA, seed=0, n_train=1, n_test=1)


def test_what_cannot_be_recorded_is_refused(tmp_path):
    digits = load_dataset("digits")
    with pytest.raises(DatasetError, match="digits/test: 601 images asked for; allowed 1 to 600"):
        write_synthetic_nmnist(digits, tmp_path / "a", CAMERA, seed=0, n_train=1, n_test=601)
    many = Dataset(
        name="many",
        train_images=digits.train_images[:11],
        train_labels=np.arange(11),
        test_images=digits.test_images[:1],
        test_labels=np.zeros(1, dtype=np.int64),
    )
    with pytest.raises(DatasetError, match="has 11 classes; the layout of N-MNIST has folders 0 to 9"):
        write_synthetic_nmnist(many, tmp_path / "a", CAMERA, seed=0, n_train=1, n_test=1)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("sensor_px", 34.5, "got 34.5; allowed is a whole number from 8 to 240"),
        ("contrast_threshold", 0, "allowed is a number above 0"),
        ("noise_Hz", -1, "got -1; allowed is a number from 0"),
        ("saccade_us", [1, 2], "allowed is a whole number"),
    ],
)
def test_a_camera_that_makes_no_sense_is_refused(tmp_path, field, value, message):
    fields = yaml.safe_load(shipped_files("cameras")["saccades_34"].read_text())
    fields[field]["value"] = value
    (tmp_path / "c.yaml").write_text(yaml.safe_dump(fields))
    with pytest.raises(ConfigError, match=message):
        load_camera(str(tmp_path / "c.yaml"))
