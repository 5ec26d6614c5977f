"""Every float of every schema and result record says its unit, or is known to have none."""

from __future__ import annotations

import dataclasses
import importlib
import pkgutil
import typing
from collections.abc import Iterator

import numpy as np
import pytest

import spikeloop.simulator
from spikeloop.simulator.cost.technology import Entry
from spikeloop.simulator.spec import Spec
from spikeloop.simulator.units import UNIT_SUFFIXES, format_si

#: Floats without a unit, and why: shares and ratios, counts of operations a second, coefficients of fits.
DIMENSIONLESS = {
    "percentile",  # share of the sums in percent
    "clipped_fraction",
    "clipped_worst",  # fraction of the worst crossbar
    "accuracy",  # shares of images
    "accuracy_loss",
    "agreement",
    "values",  # ChipSpread: accuracies, and what follows from them
    "mean",
    "std",
    "min",
    "max",
    "yield_at",
    "yield_share",
    "logit_error",  # relative
    "input_density",
    "tops",  # 1e12 operations a second
    "share",  # Bottleneck: of the critical path
    "planes",  # analytic: mean driven planes of a read
    "nonzero",  # analytic: share of inputs that are not zero
    "inside",  # analytic: share of a window that lies on the map
    "density",
    "factor",  # Sensitivity: by which numbers are divided and multiplied
    "action_counts",  # expected by the analytic mode
    "ci95",  # shares
    "value",  # Accuracy: a share; Entry: its unit ends the name of the field that holds the entry
    "clk_freq",  # SpikeSimInput: MHz, the name is the SpikeSim program's
    "n_adcs",  # counts of that program, which divides without rounding
    "n_reads",
    "n_conversions",
    "energy_square",  # scaling polynomial, relative
    "energy_linear",
    "energy_constant",
    "delay_cube",
    "delay_square",
    "delay_linear",
    "delay_constant",
    "area_constant",  # of the regression over the ADC survey, a logarithm
    "rows",  # SramTable: its columns are named in its docstring
    "area_ratio",
    "energy_ratio",
    "pulses",  # ValueStatistics: mean count of a plane
    "charges",  # the same, weighted by the stored code
}

#: Last part of a name that says that there is no unit.
DIMENSIONLESS_SUFFIXES = ("_ratio", "_fraction", "_exponent", "_sigma", "_share")


def _all_modules() -> None:
    for module in pkgutil.walk_packages(spikeloop.simulator.__path__, "spikeloop.simulator."):
        importlib.import_module(module.name)


def _subclasses(cls: type) -> Iterator[type]:
    for child in cls.__subclasses__():
        yield child
        yield from _subclasses(child)


def _specs() -> list[type]:
    return sorted(
        {cls for cls in _subclasses(Spec) if cls.__module__.startswith("spikeloop.simulator.")},
        key=lambda cls: cls.__qualname__,
    )


def _dataclasses() -> list[type]:
    import sys

    found = {
        value
        for name, module in list(sys.modules.items())
        if name.startswith("spikeloop.simulator.")
        for value in vars(module).values()
        if isinstance(value, type) and dataclasses.is_dataclass(value) and value.__module__ == name
    }
    return sorted(found, key=lambda cls: cls.__qualname__)


def _holds_floats(annotation: object) -> bool:
    """Whether a type is, or contains, a float, an array of floats, or an ``Entry``."""
    plain = typing.get_origin(annotation) or annotation
    if isinstance(plain, type) and issubclass(plain, float | np.floating | Entry):
        return True
    return any(_holds_floats(part) for part in typing.get_args(annotation))


def _float_fields(cls: type) -> list[str]:
    return [name for name, annotation in typing.get_type_hints(cls).items() if _holds_floats(annotation)]


def _records() -> list[type]:
    _all_modules()
    return [*_specs(), *_dataclasses()]


def test_the_walk_finds_the_records():
    names = {cls.__name__ for cls in _records()}
    assert {"HardwareConfig", "Technology", "CimFit", "Metrics", "LayerMetrics", "Component", "CostRow"} <= names
    assert {"PartMetrics", "Bill", "Figures", "Swing", "Sensitivity"} <= names
    assert _float_fields(next(cls for cls in _records() if cls.__name__ == "Component")) == [
        "layer_area_um2",
        "layer_leakage_uW",
        "action_fJ",
        "latency_ns",
    ]


@pytest.mark.parametrize("cls", _records(), ids=lambda cls: cls.__qualname__)
def test_every_float_names_its_unit(cls):
    unnamed = [
        name
        for name in _float_fields(cls)
        if not name.startswith("_")
        and name not in DIMENSIONLESS
        and not name.endswith((*UNIT_SUFFIXES, *DIMENSIONLESS_SUFFIXES))
    ]
    assert unnamed == [], f"{cls.__qualname__}: floats without a unit in their name"


def test_the_list_of_dimensionless_names_holds_no_dead_name():
    used = {name for cls in _records() for name in _float_fields(cls)}
    assert used >= DIMENSIONLESS


def test_values_are_written_in_readable_units():
    assert format_si(2.5e9, "fJ") == "2.5 uJ"
    assert format_si(0.25, "um2") == "0.25 um2"
    assert format_si(3.1e6, "um2") == "3.1 mm2"
    assert format_si(292_900.0, "um2") == "0.2929 mm2"
    assert format_si(9_999.0, "um2") == "9999 um2"
