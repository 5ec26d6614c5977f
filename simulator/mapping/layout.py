"""Where a layer's logical columns lie: crossbar, bitline and ADC of every slice and sign of every output.

On a crossbar the columns of an output lie side by side, slices from the lowest up, the two signs of a slice next to
each other: bitline = (output * n_slices + slice) * n_signs + sign, cut every ``cols`` bitlines where an output is
wider than a crossbar. Crossbars of a layer are numbered by replica, output block, span, row block.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .tiles import MappedLayer

IntArray = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class ColumnLayout:
    """Physical place of the logical columns [sign][slice][output] of one convolution group.

    With a dummy column the last ``n_outputs`` columns are those that each output's sum(x) is measured by: one bitline,
    the last one, for all outputs of a crossbar.

    Attributes:
        crossbar: (row blocks, columns) number of the crossbar in replica 0 of the layer.
        bitline: (columns,) place on that crossbar.
        own: (columns,) column whose conversion a column is: itself, but for a dummy column that outputs share.
        n_crossbars: crossbars of one replica of the whole layer.
    """

    crossbar: IntArray
    bitline: IntArray
    own: IntArray
    n_crossbars: int

    def adc(self, columns_per_adc: int, cols: int) -> IntArray:
        """(row blocks, columns) number of the ADC in replica 0: neighbouring bitlines share one."""
        return self.crossbar * (cols // columns_per_adc) + self.bitline // columns_per_adc


def column_layout(mapped: MappedLayer, group: int) -> ColumnLayout:
    """Places of the columns of a convolution group."""
    scheme, n_outputs = mapped.scheme, mapped.layer.n_outputs
    cols = mapped.cols_per_crossbar - scheme.dummy_columns
    per_block = max(1, cols // scheme.columns_per_output)
    n_spans = -(-scheme.columns_per_output // cols)
    blocks_per_group = -(-n_outputs // per_block)
    sign, piece, output = np.meshgrid(
        np.arange(scheme.n_signs), np.arange(scheme.n_slices), np.arange(n_outputs), indexing="ij"
    )
    inside = ((output % per_block) * scheme.n_slices + piece) * scheme.n_signs + sign
    block = group * blocks_per_group + output // per_block
    stack = ((block * n_spans + inside // cols) * mapped.row_blocks).reshape(-1)
    bitline = (inside % cols).reshape(-1)
    own = np.arange(stack.size)
    if scheme.dummy_columns:
        outputs = np.arange(n_outputs)
        first = outputs - outputs % per_block
        own = np.concatenate([own, stack.size + first])
        stack, bitline = np.concatenate([stack, stack[first]]), np.concatenate([bitline, np.full(n_outputs, cols)])
    row_blocks = np.arange(mapped.row_blocks, dtype=np.int64)
    return ColumnLayout(
        crossbar=np.asarray(stack[None, :] + row_blocks[:, None], dtype=np.int64),
        bitline=np.asarray(bitline, dtype=np.int64),
        own=np.asarray(own, dtype=np.int64),
        n_crossbars=mapped.layer.n_groups * blocks_per_group * n_spans * mapped.row_blocks,
    )
