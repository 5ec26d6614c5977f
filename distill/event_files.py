"""Event files in their published layouts: 40-bit events (N-MNIST, N-Caltech101), AEDAT 2.0 and AEDAT 3.1."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from spikeloop.simulator.errors import DatasetError

from .events import Events

#: Bytes of an event of N-MNIST, and the highest timestamp that its 23 bits hold.
_EVENT_BYTES = 5
MAX_TIMESTAMP_US = 2**23 - 1
#: Address in y that the recorder of N-MNIST uses for "the timestamp overflowed"; no sensor of ours has that row.
_OVERFLOW_ROW = 240
_OVERFLOW_US = 2**13

_AEDAT3_HEADER = 28
_AEDAT3_POLARITY, _AEDAT3_EVENT_BYTES = 1, 8
_AEDAT3_END = b"#!END-HEADER"


def read_events_40bit(content: bytes, sensor: tuple[int, int], where: str) -> Events:
    """Events of a file of N-MNIST or N-Caltech101.

    Five bytes an event, big-endian: x (8 bits), y (8), polarity (1; 1 is ON), microseconds (23). An event of row 240 is
    no event: every later timestamp grows by 2^13 us. Source: Orchard et al., Frontiers in Neuroscience 9 (2015) 437,
    and the readers published with the data.

    Raises:
        DatasetError: a length that is no number of events, or an event outside the sensor.
    """
    if len(content) % _EVENT_BYTES:
        raise DatasetError(
            f"{where}: has {len(content)} bytes; a recording is a whole number of events of {_EVENT_BYTES} bytes, "
            "fetch it again"
        )
    byte = np.frombuffer(content, dtype=np.uint8).reshape(-1, _EVENT_BYTES).astype(np.int64)
    timestamp_us = (byte[:, 2] & 127) << 16 | byte[:, 3] << 8 | byte[:, 4]
    overflow = byte[:, 1] == _OVERFLOW_ROW
    timestamp_us += _OVERFLOW_US * np.cumsum(overflow)
    real = ~overflow
    return _made(where, sensor, byte[real, 0], byte[real, 1], byte[real, 2] >> 7, timestamp_us[real])


def write_events_40bit(events: Events, where: str) -> bytes:
    """Content of a file of N-MNIST with these events.

    Raises:
        DatasetError: a timestamp or an address that the format cannot hold.
    """
    if (
        events.n_events
        and not 0 <= int(events.timestamp_us.min()) <= int(events.timestamp_us.max()) <= MAX_TIMESTAMP_US
    ):
        raise DatasetError(
            f"{where}: timestamps from {int(events.timestamp_us.min())} to {int(events.timestamp_us.max())} us; the "
            f"format holds 0 to {MAX_TIMESTAMP_US}, shorten the recording"
        )
    if max(events.sensor) > _OVERFLOW_ROW:
        raise DatasetError(
            f"{where}: a sensor of {events.sensor[0]}x{events.sensor[1]}; the format holds addresses below "
            f"{_OVERFLOW_ROW}"
        )
    t = events.timestamp_us
    columns = (events.x, events.y, events.polarity << 7 | t >> 16, t >> 8 & 255, t & 255)
    return np.stack(columns, axis=1).astype(np.uint8).tobytes()


def read_aedat2(content: bytes, where: str) -> Events:
    """Events of a recording of CIFAR10-DVS (AEDAT 2.0 of a DVS128).

    Header lines that start with ``#``, then big-endian pairs of 32 bits: address and microseconds. Address: bit 0
    polarity (0 is ON), bits 1 to 7 x, bits 8 to 14 y, bit 31 set where the word is no event. As the readers published
    for this set do, the picture is turned upright: column 127 - y, row 127 - x. Source: Li et al., Frontiers in
    Neuroscience 11 (2017) 309.

    Raises:
        DatasetError: no header, or a body that is no number of events.
    """
    if not content.startswith(b"#!AER-DAT2"):
        raise DatasetError(f"{where}: does not start with #!AER-DAT2.0 as a recording of AEDAT 2; fetch it again")
    start = 0
    while content[start : start + 1] == b"#":
        end = content.find(b"\n", start)
        start = len(content) if end < 0 else end + 1
    if (len(content) - start) % 8:
        raise DatasetError(
            f"{where}: has {len(content) - start} bytes after its header; AEDAT 2 has 8 bytes an event, fetch it again"
        )
    words = np.frombuffer(content, dtype=">u4", offset=start).reshape(-1, 2).astype(np.int64)
    address, timestamp_us = words[:, 0], words[:, 1]
    real = address >> 31 == 0
    address, timestamp_us = address[real], timestamp_us[real]
    x, y = address >> 1 & 127, address >> 8 & 127
    return _made(where, (128, 128), 127 - y, 127 - x, 1 - (address & 1), timestamp_us)


def read_aedat3(content: bytes, where: str) -> Events:
    """Polarity events of a recording of DVS128 Gesture (AEDAT 3.1), all packets one after the other.

    Text up to ``#!END-HEADER``, then packets: a header of 28 bytes (little-endian; type u16, source u16, then u32 each:
    size of an event, offset of its timestamp, timestamp overflow, capacity, number, valid) and ``capacity`` events. A
    polarity event is two words of 32 bits: valid bit 0, polarity bit 1, y bits 2 to 16, x bits 17 to 31; then
    microseconds, above which the packet's overflow counts 2^31. Packets of other types and events that are not valid
    are passed over. Source: the AEDAT 3.1 format of inilabs; Amir et al., CVPR 2017.

    Raises:
        DatasetError: no header, a packet that is cut, or an event outside 128x128.
    """
    start = _after_header(content, where)
    parts: list[NDArray[np.int64]] = []
    while start < len(content):
        head = content[start : start + _AEDAT3_HEADER]
        if len(head) < _AEDAT3_HEADER:
            raise DatasetError(f"{where}: ends inside the header of a packet at byte {start}; fetch it again")
        kind = int.from_bytes(head[:2], "little")
        size, _, overflow, capacity, number = (int(n) for n in np.frombuffer(head, dtype="<u4", count=5, offset=4))
        stop = start + _AEDAT3_HEADER + size * capacity
        if stop > len(content) or number > capacity or (kind == _AEDAT3_POLARITY and size != _AEDAT3_EVENT_BYTES):
            raise DatasetError(
                f"{where}: packet at byte {start} says {number} of {capacity} events of {size} bytes, "
                f"{len(content) - start - _AEDAT3_HEADER} bytes are left; it is cut or damaged, fetch it again"
            )
        if kind == _AEDAT3_POLARITY:
            words = np.frombuffer(content, dtype="<u4", count=2 * number, offset=start + _AEDAT3_HEADER)
            pairs = words.reshape(-1, 2).astype(np.int64)
            pairs[:, 1] += overflow << 31
            parts.append(pairs[pairs[:, 0] & 1 == 1])
        start = stop
    data = np.concatenate(parts) if parts else np.zeros((0, 2), dtype=np.int64)
    word = data[:, 0]
    return _made(where, (128, 128), word >> 17 & 0x7FFF, word >> 2 & 0x7FFF, word >> 1 & 1, data[:, 1])


def _after_header(content: bytes, where: str) -> int:
    """Offset of the first packet of an AEDAT 3 file."""
    mark = content.find(_AEDAT3_END)
    end = content.find(b"\n", mark)
    if not content.startswith(b"#!AER-DAT3") or mark < 0 or end < 0:
        raise DatasetError(
            f"{where}: does not start with #!AER-DAT3.1 and a header that ends in #!END-HEADER; fetch it again"
        )
    return end + 1


def _made(
    where: str,
    sensor: tuple[int, int],
    x: NDArray[np.int64],
    y: NDArray[np.int64],
    polarity: NDArray[np.int64],
    timestamp_us: NDArray[np.int64],
) -> Events:
    try:
        return Events(sensor=sensor, x=x, y=y, polarity=polarity, timestamp_us=timestamp_us)
    except DatasetError as error:
        raise DatasetError(f"{where}: {error}") from None
