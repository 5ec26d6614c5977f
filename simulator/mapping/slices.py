"""Bits over cells: how a weight becomes cell codes, and how column sums become the weight's product.

Source: design rule 2 (docs/model.md, "Weights on cells"); the affine form is QP-SNN's quantiser
(arXiv 2502.05905, Eq. 4), whose product is 2*sum(code*x) - (2^b-1)*sum(x).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..network.graph import WeightScheme

IntArray = NDArray[np.int64]
CellScheme = Literal["differential", "offset", "affine"]


@dataclass(frozen=True, kw_only=True)
class SliceScheme:
    """Columns of one output: ``n_slices`` slices of ``cell_bits`` for each of ``n_signs`` signs.

    The product is ``weight_gain * sum_s (positive - negative columns) << (s*cell_bits) - input_offset * sum(x)``. With
    ``dummy_columns`` 1 every crossbar has one bitline of cells of code 1 that measures sum(x); with 0 it is counted.
    """

    kind: CellScheme
    weight_bits: int
    cell_bits: int
    n_slices: int
    n_signs: int
    weight_gain: int
    input_offset: int
    dummy_columns: int = 0

    @property
    def columns_per_output(self) -> int:
        """Bitlines that one output occupies."""
        return self.n_slices * self.n_signs


def slice_scheme(
    weight_bits: int, weight_scheme: WeightScheme, cell_bits: int, crossbar_scheme: str, dummy_column: bool = False
) -> SliceScheme:
    """How a layer's weights lie on cells: symmetric weights follow the crossbar, affine ones stay affine."""
    if weight_scheme == "affine":
        kind: CellScheme = "affine"
        magnitude_bits, signs, gain, offset = weight_bits, 1, 2, 2**weight_bits - 1
    elif crossbar_scheme == "offset":
        kind = "offset"
        magnitude_bits, signs, gain, offset = weight_bits, 1, 1, 2 ** (weight_bits - 1)
    else:
        kind = "differential"
        magnitude_bits, signs, gain, offset = weight_bits - 1, 2, 1, 0
    return SliceScheme(
        kind=kind,
        weight_bits=weight_bits,
        cell_bits=cell_bits,
        n_slices=max(1, math.ceil(magnitude_bits / cell_bits)),
        n_signs=signs,
        weight_gain=gain,
        input_offset=offset,
        dummy_columns=int(dummy_column and offset != 0),
    )


def cell_codes(matrix: IntArray, scheme: SliceScheme) -> NDArray[np.uint8]:
    """Cell codes (..., outputs, n_slices, n_signs) uint8 of integer weights (..., outputs)."""
    weights = np.asarray(matrix, dtype=np.int64)
    if scheme.kind == "differential":
        stored = np.stack([np.maximum(weights, 0), np.maximum(-weights, 0)], axis=-1)
    elif scheme.kind == "offset":
        stored = (weights + scheme.input_offset)[..., None]
    else:
        stored = ((weights + scheme.input_offset) // 2)[..., None]
    mask = 2**scheme.cell_bits - 1
    slices = [(stored >> (s * scheme.cell_bits)) & mask for s in range(scheme.n_slices)]
    return np.stack(slices, axis=-2).astype(np.uint8)


def weights_from_cells(codes: NDArray[np.uint8], scheme: SliceScheme) -> IntArray:
    """Weights (..., outputs) that the cell codes stand for: the inverse of ``cell_codes``."""
    shifts = np.arange(scheme.n_slices, dtype=np.int64) * scheme.cell_bits
    stored = (codes.astype(np.int64) << shifts[:, None]).sum(axis=-2)
    if scheme.kind == "differential":
        return np.asarray(stored[..., 0] - stored[..., 1])
    return np.asarray(scheme.weight_gain * stored[..., 0] - scheme.input_offset)
