"""Crossbars with wires are kept on disk: the same bits, and never those of another design or a damaged file."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from networks import one_layer

from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.functional import programmed
from spikeloop.simulator.functional.analog import AnalogChip
from spikeloop.simulator.mapping.tiles import map_network


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.delenv("SPIKELOOP_WIRE_CACHE", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    return tmp_path / "spikeloop" / "wires"


def wired(row_ohm: float = 5.0) -> HardwareConfig:
    cell = {
        "kind": "rram",
        "source": "test",
        "conductance_min_uS": 1.0,
        "conductance_max_uS": 100.0,
        "read_voltage_V": 0.2,
        "read_time_ns": 10.0,
        "programming_sigma_ratio": 0.1,
        "read_noise_ratio": 0.05,
    }
    return HardwareConfig.model_validate(
        {
            "name": "wired",
            "source": "test",
            "technology": "rram_65nm",
            "clock_GHz": 0.25,
            "crossbar": {
                "rows": 8,
                "cols": 8,
                "cell": cell,
                "wires": {"source": "test", "row_ohm": row_ohm, "column_ohm": 5.0},
            },
            "adc": {"kind": "lossless"},
        }
    )


def cells(hw: HardwareConfig, seed: int = 0):
    weights = np.random.default_rng(3).integers(-3, 4, (5, 11))
    mapped = map_network(one_layer(weights, weight_bits=3), hw).layers[0]
    return AnalogChip(hw=hw, seed=seed).group_cells(mapped, 0, 0)


def count_solutions(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    solved: list[int] = []
    real = programmed.effective_crossbar

    def counting(conductance_uS, *arguments, **options):
        solved.append(1)
        return real(conductance_uS, *arguments, **options)

    monkeypatch.setattr(programmed, "effective_crossbar", counting)
    return solved


def test_a_second_process_reads_the_same_bits(folder, monkeypatch):
    solved = count_solutions(monkeypatch)
    first = cells(wired())
    there = len(solved)
    again = cells(wired())
    assert there > 0
    assert len(solved) == there
    for name, array in first.cells._asdict().items():
        assert np.array_equal(array, getattr(again.cells, name))
        assert array.dtype == getattr(again.cells, name).dtype
    assert len(list(folder.glob("*.npz"))) == 1


def test_other_wires_and_other_chips_are_solved_anew(folder, monkeypatch):
    solved = count_solutions(monkeypatch)
    first = cells(wired())
    there = len(solved)
    assert not np.array_equal(cells(wired(row_ohm=9.0)).cells.values, first.cells.values)
    assert not np.array_equal(cells(wired(), seed=1).cells.values, first.cells.values)
    assert len(solved) == 3 * there


@pytest.mark.parametrize("damage", [b"", b"not an archive", None])
def test_a_damaged_file_is_computed_again(folder, damage):
    first = cells(wired())
    (path,) = folder.glob("*.npz")
    path.write_bytes(path.read_bytes()[:-40] if damage is None else damage)
    assert np.array_equal(cells(wired()).cells.values, first.cells.values)


def test_a_file_of_objects_is_never_unpickled(folder):
    first = cells(wired())
    (path,) = folder.glob("*.npz")
    np.savez(path, values=np.array([print, 1], dtype=object), row_fJ=np.zeros(11))
    assert np.array_equal(cells(wired()).cells.values, first.cells.values)


def test_it_can_be_switched_off(folder, monkeypatch):
    monkeypatch.setenv("SPIKELOOP_WIRE_CACHE", "off")
    cells(wired())
    assert not folder.exists()
