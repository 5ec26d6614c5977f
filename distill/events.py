"""Event streams: a record of (x, y, polarity, timestamp), and their integration into frames of spike codes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spikeloop.simulator.errors import DatasetError

#: How the events of a recording are spread over the time steps.
FrameRule = Literal["number", "time"]
#: Channels of a frame: 0 OFF (darker), 1 ON (brighter).
POLARITIES = 2


@dataclass(frozen=True, kw_only=True, slots=True, eq=False)
class Events:
    """Events of one recording, in the order of the file.

    Attributes:
        sensor: (rows, columns) of the sensor.
        x: (N,) int64 column of each event.
        y: (N,) int64 row.
        polarity: (N,) int64, 0 OFF, 1 ON.
        timestamp_us: (N,) int64, microseconds since the start of the recording or an epoch of the sensor.
    """

    sensor: tuple[int, int]
    x: NDArray[np.int64]
    y: NDArray[np.int64]
    polarity: NDArray[np.int64]
    timestamp_us: NDArray[np.int64]

    def __post_init__(self) -> None:
        if not self.x.shape == self.y.shape == self.polarity.shape == self.timestamp_us.shape == (self.x.size,):
            raise DatasetError(
                f"events of {self.x.shape}, {self.y.shape}, {self.polarity.shape} and {self.timestamp_us.shape} "
                "values; x, y, polarity and timestamp_us are one number an event each"
            )
        for name, values, limit in (
            ("x", self.x, self.sensor[1]),
            ("y", self.y, self.sensor[0]),
            ("polarity", self.polarity, POLARITIES),
        ):
            if values.size and not 0 <= int(values.min()) <= int(values.max()) < limit:
                raise DatasetError(
                    f"events with {name} from {int(values.min())} to {int(values.max())}; allowed 0 to {limit - 1} "
                    f"on a sensor of {self.sensor[0]}x{self.sensor[1]}"
                )

    @property
    def n_events(self) -> int:
        """Number of events."""
        return int(self.x.size)

    def take(self, chosen: NDArray[np.bool_]) -> Events:
        """The events where ``chosen`` (N,) is true."""
        return Events(
            sensor=self.sensor,
            x=self.x[chosen],
            y=self.y[chosen],
            polarity=self.polarity[chosen],
            timestamp_us=self.timestamp_us[chosen],
        )


def frame_of_events(events: Events, n_timesteps: int, rule: FrameRule) -> NDArray[np.int64]:
    """Time step (N,) that each event falls into, 0 to ``n_timesteps - 1``.

    ``number``: every step takes floor(N / T) events in the order of the file, the last one the rest too. ``time``: the
    span from the first to the last timestamp is cut into T equal parts,
    step = floor((t - t_min) T / (t_max - t_min + 1)).
    Integer arithmetic in both; no event is lost.
    """
    if rule == "number":
        order = np.arange(events.n_events, dtype=np.int64)
        return np.minimum(order // max(1, events.n_events // n_timesteps), n_timesteps - 1)
    if not events.n_events:
        return np.zeros(0, dtype=np.int64)
    since = events.timestamp_us - events.timestamp_us.min()
    step: NDArray[np.int64] = since * n_timesteps // (since.max() + 1)
    return step


def event_counts(events: Events, n_timesteps: int, rule: FrameRule, size: tuple[int, int]) -> NDArray[np.int64]:
    """Events a step, polarity and pixel, (T, 2, H, W); their sum is the number of events.

    ``size`` (H, W) may be smaller than the sensor: pixel x goes to floor(x W / columns), so neighbours add up.

    Raises:
        DatasetError: ``size`` is larger than the sensor.
    """
    rows, columns = events.sensor
    height, width = size
    if height > rows or width > columns:
        raise DatasetError(
            f"events of a sensor of {rows}x{columns} for an input of {height}x{width}; a sensor can be shrunk, not "
            "grown, use a smaller network"
        )
    step = frame_of_events(events, n_timesteps, rule)
    y, x = events.y * height // rows, events.x * width // columns
    place = ((step * POLARITIES + events.polarity) * height + y) * width + x
    n_places = n_timesteps * POLARITIES * height * width
    return np.bincount(place, minlength=n_places).astype(np.int64).reshape(n_timesteps, POLARITIES, height, width)


def clip_counts(counts: NDArray[np.int64], bits: int) -> NDArray[np.int64]:
    """Counts as unsigned codes of ``bits``: what is more saturates; 1 bit says whether there was an event."""
    return counts.clip(max=2**bits - 1)
