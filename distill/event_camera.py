"""A simulated event camera: still images seen in three saccades become events in the format of N-MNIST.

The movement is that of N-MNIST (Orchard et al., Frontiers in Neuroscience 9, 2015, 437): three saccades along a
triangle. A pixel remembers the logarithm of its light at its last event and reports every step of one threshold up
(ON) or down (OFF), as the sensor of Lichtsteiner, Posch and Delbruck (IEEE JSSC 43, 2008) does. Every number lies in a
file of ``hwconfigs/cameras`` with its source; left out: bandwidth of the pixel, arbitration of the bus, leak events.
"""

from __future__ import annotations

import json
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from spikeloop.simulator.cells.presets import DeviceEntry
from spikeloop.simulator.config import resolve_yaml
from spikeloop.simulator.errors import ConfigError, DatasetError
from spikeloop.simulator.spec import Spec, validate_spec
from spikeloop.simulator.strict_yaml import read_yaml

from .datasets import Dataset
from .event_files import write_events_40bit
from .event_sets import Split
from .events import Events

#: Beside the recordings: says that they are synthetic, and how they were made.
RECORD_FILE = "SYNTHETIC.json"
_SACCADES = 3
#: A threshold below this would fire for ever; a draw that low is held there (dimensionless, like the threshold).
_LEAST_THRESHOLD_SHARE = 0.05


class CameraFile(Spec):
    """File of ``hwconfigs/cameras``; the fields are those of ``EventCamera``, each with its source."""

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    source: str = Field(min_length=1)
    sensor_px: DeviceEntry
    image_px: DeviceEntry
    saccade_us: DeviceEntry
    down_px: DeviceEntry
    across_px: DeviceEntry
    contrast_threshold: DeviceEntry
    threshold_sigma: DeviceEntry
    noise_Hz: DeviceEntry
    refractory_us: DeviceEntry
    dark_level: DeviceEntry
    sample_us: DeviceEntry


@dataclass(frozen=True, kw_only=True)
class EventCamera:
    """Sensor and movement.

    Attributes:
        sensor_px: rows and columns of the sensor.
        image_px: rows and columns that the image covers.
        saccade_us: length of each of the three saccades.
        down_px: height of the triangle.
        across_px: base of the triangle.
        contrast_threshold: step of ln(light) that makes an event.
        threshold_sigma: standard deviation of that step from pixel to pixel, ON and OFF drawn apart.
        noise_Hz: rate of noise events a pixel.
        refractory_us: time after an event in which further events of the pixel are lost.
        dark_level: light of a black pixel; white gives 1 more.
        sample_us: step of the movement.
    """

    sensor_px: int
    image_px: int
    saccade_us: int
    down_px: float
    across_px: float
    contrast_threshold: float
    threshold_sigma: float
    noise_Hz: float
    refractory_us: int
    dark_level: float
    sample_us: int


def load_camera(name_or_path: str) -> EventCamera:
    """Camera of a YAML file or of the name of a shipped one.

    Raises:
        ConfigError: no such file, a number without a source or outside what is allowed; one sentence.
    """
    path = resolve_yaml(name_or_path, "cameras")
    file = validate_spec(CameraFile, read_yaml(path), where=str(path))
    values = {name: getattr(file, name).value for name in EventCamera.__annotations__}
    whole = {name: value for name, value in values.items() if EventCamera.__annotations__[name] == "int"}
    limits = {"sensor_px": (8, 240), "image_px": (1, 240), "saccade_us": (1000, 2_000_000), "sample_us": (10, 100_000)}
    positive = ("contrast_threshold", "dark_level")
    for name, value in values.items():
        low, high = limits.get(name, (0, 10_000_000))
        wrong = isinstance(value, list) or not low <= value <= high or (name in positive and value == 0)
        if wrong or (name in whole and value != int(value)):
            kind = "a whole number" if name in whole else "a number above 0" if name in positive else "a number"
            raise ConfigError(f"{path}: {name}.value: got {value!r}; allowed is {kind} from {low} to {high}")
    exact: dict[str, Any] = {name: int(value) if name in whole else float(value) for name, value in values.items()}
    return EventCamera(**exact)


def record_image(image: NDArray[np.floating], camera: EventCamera, *, seed: int, index: int) -> Events:
    """Events of an image (C, H, W) in [0, 1], sorted by time; pixels of the same microsecond stand row by row.

    Colours are averaged. Thresholds depend on ``seed`` alone (one sensor), noise on ``seed`` and ``index``.
    """
    levels, times_us = _light_levels(image.mean(axis=0, dtype=np.float64), camera)
    thresholds = _thresholds(camera, seed)
    found = _crossings(levels, times_us, thresholds, camera.refractory_us)
    found += [_noise(camera, seed, index)] if camera.noise_Hz else []
    t, place, polarity = (np.concatenate(column) for column in zip(*found, strict=True))
    order = np.lexsort((polarity, place, t))
    size = camera.sensor_px
    return Events(
        sensor=(size, size),
        x=place[order] % size,
        y=place[order] // size,
        polarity=polarity[order],
        timestamp_us=t[order],
    )


def position_px(times_us: NDArray[np.int64], camera: EventCamera) -> NDArray[np.float64]:
    """(2, T) rows down and columns right of the image since the start: a triangle, each side a half cosine in time.

    The side's share after a share u of the saccade is (1 - cos(pi u)) / 2: slow, fast, slow.
    """
    corners = np.array([(0.0, 0.0), (camera.down_px, camera.across_px / 2), (0.0, camera.across_px), (0.0, 0.0)])
    side = np.minimum(times_us // camera.saccade_us, _SACCADES - 1)
    share = (1 - np.cos(np.pi * (times_us - side * camera.saccade_us) / camera.saccade_us)) / 2
    place: NDArray[np.float64] = corners[side] + share[:, None] * (corners[side + 1] - corners[side])
    return place.T


def write_synthetic_nmnist(
    dataset: Dataset, folder: Path, camera: EventCamera, *, seed: int, n_train: int, n_test: int
) -> None:
    """Record the first images of a data set into a new ``folder`` in the layout of N-MNIST.

    ``SYNTHETIC.json`` beside the recordings says what they are. The folder appears when it is whole.

    Raises:
        DatasetError: more than ten classes, fewer images, or the folder exists.
    """
    if folder.exists():
        raise DatasetError(f"{folder}: exists; give another --dir, or move it away")
    if dataset.n_classes > 10:
        raise DatasetError(f"{dataset.name}: has {dataset.n_classes} classes; the layout of N-MNIST has folders 0 to 9")
    wanted: tuple[tuple[Split, str, int], ...] = (("train", "Train", n_train), ("test", "Test", n_test))
    for split, _, n in wanted:
        if not 1 <= n <= len(dataset.labels(split)):
            raise DatasetError(
                f"{dataset.name}/{split}: {n} images asked for; allowed 1 to {len(dataset.labels(split))}"
            )
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=f".{folder.name}.") as scratch:
        made = Path(scratch) / "set"
        for split, name, n in wanted:
            for i in range(n):
                # Even keys for training images, odd ones for test images: no two share their noise.
                events = record_image(dataset.images(split)[i], camera, seed=seed, index=2 * i + (split == "test"))
                target = made / name / str(dataset.labels(split)[i]) / f"{i + 1:05d}.bin"
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(write_events_40bit(events, str(target)))
        about = {"synthetic": True, "images": dataset.name, "n_train": n_train, "n_test": n_test, "seed": seed}
        (made / RECORD_FILE).write_text(json.dumps({**about, "camera": asdict(camera)}, indent=2) + "\n", "utf-8")
        made.replace(folder)


def _light_levels(grey: NDArray[np.float64], camera: EventCamera) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """ln(light) (T, rows, columns) at the samples, and their times in us; the image moves over black."""
    times_us = np.arange(0, _SACCADES * camera.saccade_us + 1, camera.sample_us, dtype=np.int64)
    spare = camera.sensor_px - camera.image_px
    middle = np.array([[spare - camera.down_px], [spare - camera.across_px]]) / 2
    offset = middle + position_px(times_us, camera)
    along = [_interpolation(offset[axis], grey.shape[axis], camera) for axis in (0, 1)]
    # Without BLAS, whose sums depend on the machine.
    rows = np.einsum("trh,hw->trw", along[0], grey, optimize=False)
    light = np.einsum("trw,tcw->trc", rows, along[1], optimize=False)
    return np.log(light + camera.dark_level), times_us


def _interpolation(offset: NDArray[np.float64], n_source: int, camera: EventCamera) -> NDArray[np.float64]:
    """(T, sensor_px, n_source) weights: what each line of pixels sees of each line of the image (linear, 0 outside)."""
    place = np.arange(camera.sensor_px) + 0.5 - offset[:, None]
    source = place * n_source / camera.image_px - 0.5
    return np.maximum(0.0, 1.0 - np.abs(source[:, :, None] - np.arange(n_source)))


def _thresholds(camera: EventCamera, seed: int) -> NDArray[np.float64]:
    """(2, pixels) thresholds, OFF and ON."""
    nominal = camera.contrast_threshold
    if camera.threshold_sigma == 0:
        return np.full((2, camera.sensor_px**2), nominal)
    draws = np.random.Generator(np.random.Philox(key=[seed, 0]))
    drawn = draws.normal(nominal, camera.threshold_sigma, size=(2, camera.sensor_px**2))
    return np.maximum(drawn, _LEAST_THRESHOLD_SHARE * nominal)


_Found = tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]


def _crossings(
    levels: NDArray[np.float64], times_us: NDArray[np.int64], thresholds: NDArray[np.float64], refractory_us: int
) -> list[_Found]:
    """(time, pixel, polarity) of every threshold that a level crosses; the level is linear between two samples."""
    flat = levels.reshape(len(levels), -1)
    held, last_us = flat[0].copy(), np.full(flat.shape[1], -refractory_us - 1, dtype=np.int64)
    none = np.zeros(0, dtype=np.int64)
    found: list[_Found] = [(none, none, none)]
    for step in range(1, len(flat)):
        before, now = flat[step - 1], flat[step]
        while True:
            brighter, darker = now - held >= thresholds[1], held - now >= thresholds[0]
            place = np.flatnonzero(brighter | darker)
            if not place.size:
                break
            on = brighter[place]
            held[place] += np.where(on, thresholds[1, place], -thresholds[0, place])
            # A threshold crossed before this sample is met at once (a level that turned round), hence the clip.
            rise = now[place] - before[place]
            safe = np.where(rise == 0, 1.0, rise)
            share = np.where(rise == 0, 0.0, np.clip((held[place] - before[place]) / safe, 0.0, 1.0))
            span_us = times_us[step] - times_us[step - 1]
            t = times_us[step - 1] + np.floor(share * span_us).astype(np.int64)
            seen = t > last_us[place] + refractory_us if refractory_us else np.ones(place.size, dtype=bool)
            last_us[place[seen]] = t[seen]
            found.append((t[seen], place[seen].astype(np.int64), on[seen].astype(np.int64)))
    return found


def _noise(camera: EventCamera, seed: int, index: int) -> _Found:
    """Noise events, a Poisson number of them, evenly over pixels, polarities and time."""
    draws = np.random.Generator(np.random.Philox(key=[seed, index + 1]))
    length_us, pixels = _SACCADES * camera.saccade_us, camera.sensor_px**2
    n = int(draws.poisson(camera.noise_Hz * 1e-6 * length_us * pixels))
    return draws.integers(0, length_us, n), draws.integers(0, pixels, n), draws.integers(0, 2, n)
