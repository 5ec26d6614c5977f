"""Event files byte by byte, and damaged ones."""

import struct

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from spikeloop.distill.event_files import read_aedat2, read_aedat3, read_events_40bit, write_events_40bit
from spikeloop.distill.events import Events
from spikeloop.simulator.errors import DatasetError

DVS128 = (128, 128)


def columns(events: Events) -> list[tuple[int, int, int, int]]:
    rows = zip(events.x, events.y, events.polarity, events.timestamp_us, strict=True)
    return [tuple(int(n) for n in row) for row in rows]


def test_40_bit_events_by_hand():
    """x=3, y=33, ON, t=0x012345: the third byte is 1 and the top 7 bits of the time, 0x80 | 0x01."""
    content = bytes((3, 33, 0x81, 0x23, 0x45)) + bytes((0, 1, 0x7F, 0xFF, 0xFF))
    events = read_events_40bit(content, (34, 34), "x.bin")
    assert columns(events) == [(3, 33, 1, 0x012345), (0, 1, 0, 2**23 - 1)]
    assert write_events_40bit(events, "x.bin") == content


def test_an_event_of_row_240_moves_the_clock_on_and_is_no_event():
    content = bytes((1, 1, 0, 0, 9, 0, 240, 0, 0, 0, 2, 2, 0x80, 0, 5))
    assert columns(read_events_40bit(content, (34, 34), "x")) == [(1, 1, 0, 9), (2, 2, 1, 5 + 8192)]


EVENT = st.tuples(st.integers(0, 33), st.integers(0, 33), st.integers(0, 1), st.integers(0, 2**23 - 1))


@given(st.lists(EVENT, max_size=40))
def test_40_bit_events_survive_their_file(rows):
    x, y, polarity, t = (np.array(column, dtype=np.int64) for column in (zip(*rows, strict=True) if rows else [[]] * 4))
    events = Events(sensor=(34, 34), x=x, y=y, polarity=polarity, timestamp_us=t)
    content = write_events_40bit(events, "x")
    assert len(content) == 5 * len(rows)
    assert columns(read_events_40bit(content, (34, 34), "x")) == rows


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x01\x02\x03", "has 3 bytes; a recording is a whole number of events of 5 bytes"),
        (bytes((34, 0, 0, 0, 0)), "events with x from 34 to 34; allowed 0 to 33"),
        (bytes((0, 200, 0, 0, 0)), "events with y from 200 to 200"),
    ],
)
def test_a_damaged_recording_is_refused(content, message):
    with pytest.raises(DatasetError, match=message) as caught:
        read_events_40bit(content, (34, 34), "Train/3/00001.bin")
    assert str(caught.value).startswith("Train/3/00001.bin: ")


def test_what_40_bits_cannot_hold_is_not_written():
    one = np.ones(1, dtype=np.int64)
    late = Events(sensor=(34, 34), x=one, y=one, polarity=one, timestamp_us=one * 2**23)
    with pytest.raises(DatasetError, match="the format holds 0 to 8388607"):
        write_events_40bit(late, "x")
    wide = Events(sensor=(250, 34), x=one, y=one, polarity=one, timestamp_us=one)
    with pytest.raises(DatasetError, match="addresses below 240"):
        write_events_40bit(wide, "x")


def _aedat2(*words: int) -> bytes:
    return b"#!AER-DAT2.0\r\n# a comment\r\n" + b"".join(word.to_bytes(4, "big") for word in words)


def test_aedat2_by_hand():
    """Address x=5, y=9: 9 << 8 | 5 << 1 = 0x090A, bit 0 clear is ON; upright: column 127-9, row 127-5."""
    content = _aedat2(0x090A, 77, 0x0903, 99, 0x8000090A, 100)
    events = read_aedat2(content, "a.aedat")
    assert events.sensor == DVS128
    assert columns(events) == [(118, 122, 1, 77), (118, 126, 0, 99)]


def _packet(words: list[tuple[int, int]], *, kind=1, overflow=0, capacity=None, size=8) -> bytes:
    capacity = len(words) if capacity is None else capacity
    head = struct.pack("<HHIIIIII", kind, 0, size, 4, overflow, capacity, len(words), len(words))
    body = b"".join(struct.pack("<II", *pair) for pair in words)
    return head + body + bytes(size * capacity - len(body))


_HEAD3 = b"#!AER-DAT3.1\r\n#Format: RAW\r\n#!END-HEADER\r\n"


def test_aedat3_by_hand():
    """x=6, y=10, ON, valid: 6 << 17 | 10 << 2 | 1 << 1 | 1; an event that is not valid and a packet of type 0 go by."""
    content = _HEAD3 + _packet([(6 << 17 | 10 << 2 | 3, 1000), (1 << 17 | 2, 1001)], capacity=4)
    content += _packet([(0, 0)], kind=0) + _packet([(127 << 17 | 127 << 2 | 1, 4)], overflow=1)
    assert columns(read_aedat3(content, "g")) == [(6, 10, 1, 1000), (127, 127, 0, 4 + 2**31)]


@pytest.mark.parametrize(
    ("read", "content", "message"),
    [
        (read_aedat2, b"\x80\x04\x95pickle", "does not start with #!AER-DAT2.0"),
        (read_aedat2, _aedat2(1, 2, 3), "has 12 bytes after its header"),
        (read_aedat3, _aedat2(1, 2), "does not start with #!AER-DAT3.1"),
        (read_aedat3, b"#!AER-DAT3.1\r\nno end", "a header that ends in #!END-HEADER"),
        (read_aedat3, _HEAD3 + _packet([(1, 1)])[:-3], "it is cut or damaged"),
        (read_aedat3, _HEAD3 + b"\x01\x00\x00", "ends inside the header of a packet"),
        (read_aedat3, _HEAD3 + _packet([(1, 1)], capacity=2)[:-16] + bytes(8), "it is cut or damaged"),
        (read_aedat3, _HEAD3 + _packet([(1, 1)], size=12), "events of 12 bytes"),
        (read_aedat3, _HEAD3 + _packet([(200 << 17 | 1, 1)]), "events with x from 200 to 200"),
    ],
)
def test_damaged_aedat_files_are_refused(read, content, message):
    with pytest.raises(DatasetError, match=message):
        read(content, "x.aedat")
