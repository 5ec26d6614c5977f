"""Receptive fields in streams: which elements of a map a window needs, and when the last one is done with.

Elements (positions of a producer's map) arrive in raster order. In ``layer_pipelined`` a window may be fetched
when its last element has arrived, and an element's slot is freed when the last window that uses it is fetched
(docs/machine.md, "Streams").
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int64]


class Geometry(NamedTuple):
    """Windows of a consumer on a map of ``in_size`` (rows, columns): as of a convolution, one each output position."""

    in_size: tuple[int, int]
    out_size: tuple[int, int]
    kernel: tuple[int, int]
    stride: int
    padding: int


def whole_map(in_size: tuple[int, int]) -> Geometry:
    """One window that needs everything: a linear layer."""
    return Geometry(in_size, (1, 1), in_size, 1, 0)


def pointwise(size: tuple[int, int]) -> Geometry:
    """Each position needs the same position: an add."""
    return Geometry(size, size, (1, 1), 1, 0)


@dataclass(frozen=True, kw_only=True, eq=False)
class Stream:
    """One producer's elements as one consumer takes them, within one run.

    Attributes:
        emit: (sent,) 1 where the producer's element is used by any window, in the producer's order.
        need: (windows,) elements that must have arrived before each window starts, never falling.
        free: (windows,) elements done with once it has started; free <= need.
    """

    emit: IntArray
    need: IntArray
    free: IntArray

    def depth_needed(self) -> int:
        """Elements that must fit at once: at least the largest receptive field."""
        before = np.append(0, self.free[:-1])
        return max(1, int((self.need - before).max(initial=1)))


def stream(geometry: Geometry, sent_columns: IntArray, window_columns: IntArray) -> Stream:
    """Elements and windows of one producer and one consumer, each of which has some columns of its map.

    Args:
        geometry: windows on the whole map.
        sent_columns: ascending columns of the map that the producer sends.
        window_columns: ascending output columns that the consumer computes.
    """
    rows = geometry.in_size[0]
    row_hi, row_last = _axis(geometry, 0, np.arange(geometry.out_size[0]), np.arange(rows))
    col_hi, col_last = _axis(geometry, 1, window_columns, sent_columns)
    used = (row_last[:, None] >= 0) & (col_last[None, :] >= 0)
    count = np.append(0, np.cumsum(used.ravel()))
    # The last element of a window is its last row's last column; none if either side has none.
    n_sent, n_windows = sent_columns.size, window_columns.size
    last = row_hi[:, None] * n_sent + col_hi[None, :]
    none = (row_hi[:, None] < 0) | (col_hi[None, :] < 0)
    need = np.maximum.accumulate(count[np.where(none, 0, last + 1)].ravel())
    last_use = (row_last[:, None] * n_windows + col_last[None, :])[used]
    free = np.cumsum(np.bincount(last_use, minlength=geometry.out_size[0] * n_windows))
    return Stream(emit=used.ravel().astype(np.int64), need=need.astype(np.int64), free=free.astype(np.int64))


def _axis(geometry: Geometry, axis: int, windows: IntArray, elements: IntArray) -> tuple[IntArray, IntArray]:
    """Along one axis: the last element (index into ``elements``) of each window, and the last window of each element.

    -1 where a window touches none of the elements, or an element is touched by no window.
    """
    first = windows * geometry.stride - geometry.padding
    touches = (elements[None, :] >= first[:, None]) & (elements[None, :] < (first + geometry.kernel[axis])[:, None])
    n_windows, n_elements = touches.shape
    if touches.size == 0:
        # A replica behind a pool may have no columns left.
        return np.full(n_windows, -1, dtype=np.int64), np.full(n_elements, -1, dtype=np.int64)
    hi = np.where(touches.any(axis=1), n_elements - 1 - touches[:, ::-1].argmax(axis=1), -1)
    last = np.where(touches.any(axis=0), n_windows - 1 - touches[::-1].argmax(axis=0), -1)
    return hi.astype(np.int64), last.astype(np.int64)


def interleave_steps(per_run: Stream, steps: int) -> Stream:
    """The same stream where every element and window comes ``steps`` times in a row, once each step.

    A window of step t needs its last element's step t; an element's slots are freed step by step.
    """
    t = np.arange(steps)
    need = np.where(per_run.need[:, None] > 0, (per_run.need[:, None] - 1) * steps + t + 1, 0)
    before = np.append(0, per_run.free[:-1])
    free = before[:, None] * steps + (per_run.free - before)[:, None] * (t + 1)
    return Stream(
        emit=np.repeat(per_run.emit, steps),
        need=np.maximum.accumulate(need.ravel()),
        free=np.minimum(free.ravel(), np.maximum.accumulate(need.ravel())),
    )
