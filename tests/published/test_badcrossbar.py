"""Wires against badcrossbar (Joksas and Mehonic, SoftwareX 12, 2020), which solves every node by sparse elimination.

Runs where badcrossbar is installed (extra ``oracle``). It has one wire segment between a driver and the first cell and
between the last cell and ground, as here, and neither driver nor amplifier resistance.
"""

from __future__ import annotations

import importlib.util
import warnings

import numpy as np
import pytest

from spikeloop.simulator.wires.config import WiresConfig
from spikeloop.simulator.wires.effective import effective_crossbar

pytestmark = [
    pytest.mark.published,
    pytest.mark.skipif(importlib.util.find_spec("badcrossbar") is None, reason="badcrossbar is not installed"),
]


def largest_difference(size: tuple[int, int], cell_ohm: tuple[float, float], wire_ohm: tuple[float, float]) -> float:
    """Largest difference of a column current, over the largest column current, of 5 inputs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import badcrossbar

    rng = np.random.default_rng([*size, int(cell_ohm[0]), int(10 * wire_ohm[0])])
    resistance = np.exp(rng.uniform(np.log(cell_ohm[0]), np.log(cell_ohm[1]), size))
    volts = 0.2 * (rng.random((size[0], 5)) < 0.5)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = badcrossbar.compute(volts, resistance, r_i_word_line=wire_ohm[0], r_i_bit_line=wire_ohm[1])
    wires = WiresConfig(source="test", row_ohm=wire_ohm[0], column_ohm=wire_ohm[1])
    mine = volts.T @ effective_crossbar(1e6 / resistance, wires).transfer_uS * 1e-6
    return float(np.abs(found.currents.output - mine).max() / np.abs(found.currents.output).max())


@pytest.mark.parametrize("size", [(1, 1), (3, 7), (16, 16), (32, 64), (64, 64)])
@pytest.mark.parametrize("cell_ohm", [(1e4, 1e6), (1e3, 1e4)])
@pytest.mark.parametrize("wire_ohm", [(1.0, 1.0), (0.2, 5.0), (50.0, 10.0)])
def test_column_currents_equal_those_of_badcrossbar(size, cell_ohm, wire_ohm):
    assert largest_difference(size, cell_ohm, wire_ohm) < 1e-9
