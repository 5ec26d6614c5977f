"""Cells of a design for training: conductances drawn from a pool that the simulator's own cell model filled.

A cell's conductance depends on its code and on draws of its own, so one draw from many of the same code has the law of
the model, whatever that is (normal, lognormal, write-verified, aged, stuck). The pool is the empirical distribution of
2^16 cells a code: its mean is off by 0.4 % of a standard deviation, its variance by about 0.6 % (one standard error).
"""

from __future__ import annotations

import numpy as np
import torch

from spikeloop.simulator.cells.base import CellModel
from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.draws import CellDraws, folded

#: Cells of each code in a pool.
POOL_SIZE = 2**16
#: Word that keeps the draws of pools apart from those of chips.
_POOL = 101


class CellPool:
    """Conductances and noise of cells by code, in unit-cell counts as the kernels take them."""

    def __init__(self, cell: CellModel, hw: HardwareConfig, *, seed: int, device: torch.device) -> None:
        """Fill the pool.

        Args:
            cell: cell model of ``hw``.
            hw: design.
            seed: of the draws.
            device: where training draws from it.
        """
        bits = hw.crossbar.cell_bits
        codes = np.repeat(np.arange(2**bits, dtype=np.uint8)[:, None], POOL_SIZE, axis=1)
        draws = CellDraws(key=folded(_POOL, seed), rows=codes.shape[0], cols=POOL_SIZE)
        unit_uS = cell.unit_uS(bits)
        base_uS = cell.conductance_min_uS if hw.crossbar.baseline == "subtracted" else 0.0
        self.values, self.variance = _counts(cell, cell.programmed_uS(codes, bits, draws), base_uS, unit_uS, device)
        exact, noise = _counts(cell, cell.target_uS(codes[:, :1], bits), base_uS, unit_uS, device)
        self.exact, self.exact_variance = exact[:, 0], None if noise is None else noise[:, 0]

    def drawn(self, cells: torch.Tensor, generator: torch.Generator) -> tuple[torch.Tensor, torch.Tensor | None]:
        """Values and variances (float32, None without read noise) of newly programmed cells, shape of ``cells``."""
        which = torch.randint(POOL_SIZE, cells.shape, generator=generator, device=cells.device)
        place = cells * POOL_SIZE + which
        noise = None if self.variance is None else self.variance.flatten()[place]
        return self.values.flatten()[place], noise

    def meant(self, cells: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The same for cells that hold what they are meant to hold."""
        return self.exact[cells], None if self.exact_variance is None else self.exact_variance[cells]


def _counts(
    cell: CellModel, conductance_uS: np.ndarray, base_uS: float, unit_uS: float, device: torch.device
) -> tuple[torch.Tensor, torch.Tensor | None]:
    values = torch.from_numpy(((conductance_uS - base_uS) / unit_uS).astype(np.float32)).to(device)
    sigma_uS = cell.read_sigma_uS(conductance_uS)
    if sigma_uS is None:
        return values, None
    return values, torch.from_numpy(((sigma_uS / unit_uS) ** 2).astype(np.float32)).to(device)
