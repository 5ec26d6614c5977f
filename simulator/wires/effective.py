"""Effective conductances of a crossbar with wires: linear cells make column currents linear in the row voltages.

The network is a chain: the nodes of a wordline touch only the bitline nodes of the same row, and those touch the rows
above and below. So wordlines are eliminated first (tridiagonal matrices, inverted in closed form), and what is left is
a block tridiagonal system in the bitline voltages, solved row by row from the top with dense blocks of cols x cols:
O(rows cols^3) operations of dense linear algebra, exact but for rounding.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.linalg.lapack import dpotrf, dpotri

from ..errors import ConfigError, SimulationError
from .config import WiresConfig

FloatArray = NDArray[np.float64]
BoolArray = NDArray[np.bool_]

#: Largest exact solution, so that a design is refused on every machine or on none.
MAX_BYTES = 4 * 2**30
_PER_OHM_uS = 1e6


@dataclass(frozen=True, kw_only=True, eq=False)
class EffectiveCrossbar:
    """What replaces the conductances of a crossbar.

    Attributes:
        transfer_uS: (rows, cols) current of a column per volt on a row.
        input_uS: (rows, rows) current that row a delivers per volt on row b, mean over the multiplexer phases.
        cell_share: (rows, cols) voltage of a cell per volt on its own row when no other row is driven.
        noise_share: (rows, cols) share of a current injected at a cell that leaves through its own column.
    """

    transfer_uS: FloatArray
    input_uS: FloatArray
    cell_share: FloatArray
    noise_share: FloatArray


def effective_crossbar(
    conductance_uS: FloatArray,
    wires: WiresConfig,
    *,
    columns_per_adc: int = 1,
    row_groups: list[slice] | None = None,
) -> EffectiveCrossbar:
    """Transform of a crossbar of linear cells, exact for every pattern of driven rows.

    With floating bitlines there is one solution for each phase of the multiplexer (columns that are c modulo
    ``columns_per_adc``), with floating rows one for each row group: its wordlines are driven, at 0 V where the input
    is 0, all others float.

    Args:
        conductance_uS: (rows, cols), at least 0.
        wires: resistances; ``access`` must be ``selector_less``.
        columns_per_adc: phases of the multiplexer; matters with floating bitlines only.
        row_groups: rows of each read; None: all rows at once.

    Raises:
        ConfigError: gated cells, negative or non-finite conductances, or more memory than ``MAX_BYTES``.
    """
    check_conductances(conductance_uS)
    if wires.access != "selector_less":
        raise ConfigError("wires.access=gated: inputs connect and disconnect cells, so that there is no one transform")
    rows, cols = conductance_uS.shape
    check_bytes(rows, cols)
    phases = columns_per_adc if wires.unselected_bitlines == "floating" else 1
    groups = row_groups if row_groups is not None and wires.inactive_rows == "floating" else [slice(0, rows)]
    transfer, shares, noise = np.zeros((rows, cols)), np.zeros((rows, cols)), np.zeros((rows, cols))
    inputs = np.zeros((rows, rows))
    for group in groups:
        driven = np.zeros(rows, dtype=bool)
        driven[group] = True
        for phase in range(phases):
            selected = np.arange(cols) % phases == phase
            chain = _Chain(conductance_uS, wires, driven, selected)
            bitlines = chain.bitline_voltages()
            transfer[np.ix_(driven, selected)] = chain.transfer(bitlines)[np.ix_(driven, selected)]
            inputs[np.ix_(driven, driven)] += chain.inputs(bitlines)[np.ix_(driven, driven)] / phases
            shares[np.ix_(driven, selected)] = chain.cell_shares(bitlines)[np.ix_(driven, selected)]
            noise[np.ix_(driven, selected)] = chain.noise_shares()[np.ix_(driven, selected)]
    return EffectiveCrossbar(transfer_uS=transfer, input_uS=inputs, cell_share=shares, noise_share=noise)


def approximate_crossbar(conductance_uS: FloatArray, wires: WiresConfig) -> EffectiveCrossbar:
    """Product of two ladders: every wordline with its bitlines at 0 V, every bitline with its wordlines at 0 V.

    Exact if only wordlines or only bitlines have resistance; it leaves out that the current of one wire moves the
    voltages that load the other (docs/wires.md states the error). O(rows cols); rows and bitlines count as grounded.

    Raises:
        ConfigError: as ``effective_crossbar``, but for memory.
    """
    check_conductances(conductance_uS)
    if wires.access != "selector_less":
        raise ConfigError("wires.access=gated: inputs connect and disconnect cells, so that there is no one transform")
    row = _ladder(conductance_uS, wires.row_ohm, wires.driver_ohm)
    column = _ladder(conductance_uS.T[:, ::-1], wires.column_ohm, wires.sense_ohm)[:, ::-1].T
    transfer = conductance_uS * row * column
    return EffectiveCrossbar(
        transfer_uS=transfer,
        input_uS=np.diag((conductance_uS * row).sum(axis=1)),
        cell_share=row * column,
        noise_share=row * column,
    )


def _ladder(cells_uS: FloatArray, link_ohm: float, end_ohm: float) -> FloatArray:
    """(wires, cells) voltage along each wire per volt behind its first node, cells to 0 V."""
    share = np.ones_like(cells_uS)
    if link_ohm == 0:
        return np.asarray(share / (1.0 + cells_uS.sum(axis=1, keepdims=True) * end_ohm / _PER_OHM_uS))
    link = _per_ohm(link_ohm)
    behind = np.zeros_like(cells_uS)
    for j in range(cells_uS.shape[1] - 2, -1, -1):
        behind[:, j] = _series(behind[:, j + 1] + cells_uS[:, j + 1], link)
    load = behind + cells_uS
    share[:, 0] = 1.0 / (1.0 + load[:, 0] * (link_ohm + end_ohm) / _PER_OHM_uS)
    for j in range(1, cells_uS.shape[1]):
        share[:, j] = share[:, j - 1] * link / (link + load[:, j])
    return share


def check_conductances(conductance_uS: FloatArray) -> None:
    """Refuse an array that is no crossbar.

    Raises:
        ConfigError: one sentence.
    """
    if conductance_uS.ndim != 2 or conductance_uS.size == 0:
        raise ConfigError(f"conductance_uS: got shape {conductance_uS.shape}; a crossbar is (rows, cols), at least 1x1")
    if not np.isfinite(conductance_uS).all() or conductance_uS.min() < 0:
        finite = conductance_uS[np.isfinite(conductance_uS)]
        raise ConfigError(
            f"conductance_uS: the least is {finite.min(initial=np.inf):g} uS and {conductance_uS.size - finite.size} "
            "are not finite; every cell conducts 0 uS or more"
        )


def exact_bytes(rows: int, cols: int) -> int:
    """Bytes of the exact solution: dense blocks of bitlines and all their voltages for every row."""
    return 8 * rows * cols * (4 * cols + 2 * rows)


def check_bytes(rows: int, cols: int) -> None:
    """Refuse an exact solution that would not fit a usual machine.

    Raises:
        ConfigError: the sentence gives the estimate.
    """
    if exact_bytes(rows, cols) > MAX_BYTES:
        raise ConfigError(
            f"crossbar.wires: the exact solution of {rows} x {cols} cells would take about "
            f"{exact_bytes(rows, cols) / 2**30:.1f} GiB, at most {MAX_BYTES / 2**30:g} GiB are allowed; use smaller "
            "crossbars, or wires.method: approximate"
        )


class _Chain:
    """Elimination of one crossbar with given driven rows and sensed columns; private to this module."""

    def __init__(self, conductance_uS: FloatArray, wires: WiresConfig, driven: BoolArray, selected: BoolArray) -> None:
        self.cells = conductance_uS
        self.rows, self.cols = conductance_uS.shape
        self.driven, self.selected = driven, selected
        self.row_uS = _per_ohm(wires.row_ohm)
        self.column_uS = _per_ohm(wires.column_ohm)
        # From the driver to the first cell, and from the last cell to the sense amplifier, lies one wire segment more.
        self.driver_uS = np.where(driven, _per_ohm(wires.row_ohm + wires.driver_ohm), 0.0)
        self.sense_uS = np.where(selected, _per_ohm(wires.column_ohm + wires.sense_ohm), 0.0)
        self.row_inverse, self.row_drive = self._wordlines()
        scaled = self.cells[:, :, None] * self.row_inverse
        self.load = -scaled * self.cells[:, None, :]
        self.load[:, np.arange(self.cols), np.arange(self.cols)] += self.cells
        self.blocks = np.zeros((0, self.cols, self.cols))
        #: (rows, cols) current into the bitline nodes of a row per volt on it, bitlines at 0 V.
        self.drive = self.cells * self.row_drive

    def _wordlines(self) -> tuple[FloatArray, FloatArray]:
        """Inverse (rows, cols, cols) of every wordline with its cells, and (rows, cols) its voltages per volt driven.

        ``r = inverse @ (G * c) + drive * V`` with bitline voltages c.
        """
        shape = (self.rows, self.cols, self.cols)
        if np.isinf(self.row_uS):
            if np.isinf(self.driver_uS[self.driven]).all():
                # An ideal wordline: driven rows have the voltage of their drivers, others that of no current.
                inverse = np.zeros(shape)
                total = self.cells.sum(axis=1)
                floating = ~self.driven & (total > 0)
                inverse[floating] = 1.0 / total[floating, None, None]
                return inverse, np.where(self.driven[:, None], np.ones((self.rows, self.cols)), 0.0)
            total = self.cells.sum(axis=1) + self.driver_uS
            alone = np.divide(1.0, total, out=np.zeros(self.rows), where=total > 0)
            inverse = np.broadcast_to(alone[:, None, None], shape).copy()
            return inverse, np.repeat((alone * self.driver_uS)[:, None], self.cols, axis=1)
        inverse = _tridiagonal_inverse(self.cells, self.row_uS, self.driver_uS)
        return inverse, inverse[:, :, 0] * self.driver_uS[:, None]

    def bitline_voltages(self) -> FloatArray:
        """(rows, cols, rows): voltage of every bitline node per volt on each row."""
        if np.isinf(self.column_uS):
            return self._short_bitlines()
        if np.isinf(self.sense_uS).any():
            raise AssertionError("a bitline with wires has a resistance in front of its sense amplifier")
        link = self.column_uS
        self.blocks = blocks = np.empty((self.rows, self.cols, self.cols))
        forced = np.zeros((self.rows, self.cols, self.rows))
        diagonal = np.arange(self.cols)
        for i in range(self.rows):
            block = self.load[i].copy()
            block[diagonal, diagonal] += link * ((i > 0) + (i < self.rows - 1))
            if i == self.rows - 1:
                block[diagonal, diagonal] += self.sense_uS
            if i > 0:
                block -= link**2 * blocks[i - 1]
                forced[i, :, :i] = link * (blocks[i - 1] @ forced[i - 1, :, :i])
            forced[i, :, i] += self.drive[i]
            blocks[i] = _inverse(block)
        voltages = np.empty_like(forced)
        voltages[-1] = blocks[-1] @ forced[-1]
        for i in range(self.rows - 2, -1, -1):
            voltages[i] = blocks[i] @ (forced[i] + link * voltages[i + 1])
        return voltages

    def _short_bitlines(self) -> FloatArray:
        """Bitlines without resistance: one node each, at 0 V where the sense amplifier has none either."""
        column = np.zeros((self.cols, self.rows))
        ideal = np.isinf(self.sense_uS)
        free = ~ideal
        if free.any():
            block = self.load.sum(axis=0) + np.diag(np.where(ideal, 0.0, self.sense_uS))
            column[free] = _inverse(block[np.ix_(free, free)]) @ self.drive.T[free]
        return np.broadcast_to(column, (self.rows, self.cols, self.rows)).copy()

    def transfer(self, bitlines: FloatArray) -> FloatArray:
        """(rows, cols) column current per volt on a row."""
        if np.isinf(self.sense_uS).any():
            into = -np.einsum("ijk,ikv->vj", self.load, bitlines) + self.drive
            return np.where(np.isinf(self.sense_uS), into, 0.0)
        return np.asarray((self.sense_uS[:, None] * bitlines[-1]).T, dtype=np.float64)

    def wordline_voltages(self, bitlines: FloatArray) -> FloatArray:
        """(rows, cols, rows): voltage of every wordline node per volt on each row."""
        voltages = self.row_inverse @ (self.cells[:, :, None] * bitlines)
        each = np.arange(self.rows)
        voltages[each, :, each] += self.row_drive
        return np.asarray(voltages)

    def inputs(self, bitlines: FloatArray) -> FloatArray:
        """(rows, rows) current delivered by row a per volt on row b: what its cells pass on to the bitlines."""
        currents = -np.einsum("ijk,ikv->iv", self.load, bitlines)
        currents[np.arange(self.rows), np.arange(self.rows)] += self.drive.sum(axis=1)
        return np.asarray(currents, dtype=np.float64)

    def cell_shares(self, bitlines: FloatArray) -> FloatArray:
        """(rows, cols) voltage of a cell per volt on its own row."""
        each = np.arange(self.rows)
        own = bitlines[each, :, each]
        word = np.einsum("ijk,ik->ij", self.row_inverse, self.cells * own) + self.row_drive
        return np.asarray(word - own)

    def sensed_voltages(self) -> FloatArray:
        """(rows, cols, cols): voltage of every bitline node per volt behind each sense amplifier, all rows at 0 V.

        Call it after ``bitline_voltages``, whose elimination it uses.
        """
        if np.isinf(self.column_uS):
            return self._short_sensed()
        voltages = np.empty((self.rows, self.cols, self.cols))
        voltages[-1] = self.blocks[-1] * self.sense_uS
        for i in range(self.rows - 2, -1, -1):
            voltages[i] = self.column_uS * (self.blocks[i] @ voltages[i + 1])
        return voltages

    def _short_sensed(self) -> FloatArray:
        ideal = np.isinf(self.sense_uS)
        column = np.diag(np.where(ideal, 1.0, 0.0))
        free = ~ideal
        if free.any():
            load = self.load.sum(axis=0)
            block = load[np.ix_(free, free)] + np.diag(self.sense_uS[free])
            forced = np.diag(np.where(ideal, 0.0, self.sense_uS))[free] - load[free] @ column
            column[free] = _inverse(block) @ forced
        return np.broadcast_to(column, (self.rows, self.cols, self.cols)).copy()

    def noise_shares(self) -> FloatArray:
        """(rows, cols) share, of a current that a cell drives from wordline to bitline, that its own column senses.

        A network of resistors is reciprocal: it is the voltage from bitline to wordline across the cell per volt behind
        the sense amplifier.
        """
        sensed = self.sensed_voltages()
        each = np.arange(self.cols)
        own = sensed[:, each, each]
        word = np.einsum("ijl,il,ilj->ij", self.row_inverse, self.cells, sensed, optimize=True)
        return np.asarray(own - word)


def _per_ohm(ohm: float) -> float:
    return float("inf") if ohm == 0 else _PER_OHM_uS / ohm


def _tridiagonal_inverse(cells_uS: FloatArray, link_uS: float, end_uS: FloatArray) -> FloatArray:
    """Inverses (rows, cols, cols) of wordlines: neighbours joined by ``link_uS``, node 0 held by ``end_uS``.

    With pivots d from the left and e from the right, inverse_jj = 1 / (d_j + e_j - a_j) and
    inverse_jk = inverse_j,k-1 * link / e_k for k > j. Every number is positive, so nothing cancels but in d and e.
    A wordline that nothing holds (floating, all its cells at 0 uS) has inverse 0: no current flows through it.
    """
    rows, cols = cells_uS.shape
    left, right = np.zeros((rows, cols)), np.zeros((rows, cols))
    # Conductance to ground seen from node j into its left and right neighbours: series of link and what lies there.
    for j in range(1, cols):
        behind = left[:, j - 1] + cells_uS[:, j - 1] + (end_uS if j == 1 else 0.0)
        left[:, j] = _series(behind, link_uS)
    for j in range(cols - 2, -1, -1):
        right[:, j] = _series(right[:, j + 1] + cells_uS[:, j + 1], link_uS)
    total = left + right + cells_uS
    total[:, 0] += end_uS
    diagonal = np.divide(1.0, total, out=np.zeros_like(total), where=total > 0)
    inverse = np.zeros((rows, cols, cols))
    seen = right + cells_uS
    for k in range(cols):
        if k:
            inverse[:, :k, k] = inverse[:, :k, k - 1] * (link_uS / (link_uS + seen[:, k]))[:, None]
        inverse[:, k, k] = diagonal[:, k]
    upper = np.triu_indices(cols, 1)
    inverse[:, upper[1], upper[0]] = inverse[:, upper[0], upper[1]]
    return inverse


def _series(load_uS: FloatArray, link_uS: float | FloatArray) -> FloatArray:
    return np.asarray(load_uS * link_uS / (load_uS + link_uS))


def _inverse(block: FloatArray) -> FloatArray:
    """Inverse of a symmetric positive definite matrix.

    Raises:
        SimulationError: not positive definite: a column that nothing holds.
    """
    factor, info = dpotrf(block, lower=1, clean=1)
    if info == 0:
        inverse, info = dpotri(factor, lower=1)
    if info != 0:
        raise SimulationError(
            "crossbar.wires: the nodal equations of a crossbar are singular (a floating column whose cells do not "
            "conduct); use unselected_bitlines: grounded, or cells that conduct"
        )
    return np.asarray(inverse + np.tril(inverse, -1).T, dtype=np.float64)
