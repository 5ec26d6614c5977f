"""Published points of macros (tests/published/data) and what the macro model predicts for each of them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import yaml

from spikeloop.simulator.cost.macro import OperatingPoint, ValueStatistics, macro_area, macro_cost
from spikeloop.simulator.cost.macro_config import load_calibration, load_macro

DATA = Path(__file__).parent / "published" / "data"

#: Values of NeuRRAM's products, after the histogram of CiMLoop's model of it (weights and inputs -7 to 7, triangular):
#: half of the magnitude bits are 1; a cell holds on average 0.5 x 3.375 / 7 of full code, because one of two is 0.
NEURRAM = ValueStatistics(pulses=0.5, charges=0.5 * 0.5 * 3.375 / 7)
#: Inputs and weights of random bits: half of the inputs pulse; XNOR cells (Jia) charge in half of all cases,
#: products of uniform analog inputs and random bits (Wang) move a quarter of full charge.
JIA = ValueStatistics(pulses=0.5, charges=0.5)
WANG = ValueStatistics(pulses=0.5, charges=0.25)
#: Toggle rates that ZigZag-IMC assumes: all inputs and weights, in AIMC3 half of the columns.
AIMC = {
    "aimc1": (OperatingPoint(values=ValueStatistics(pulses=1.0, charges=1.0), input_bits=7, output_bits=6)),
    "aimc2": (OperatingPoint(values=ValueStatistics(pulses=1.0, charges=1.0), input_bits=8, output_bits=5)),
    "aimc3": (OperatingPoint(values=ValueStatistics(pulses=0.375, charges=0.5), input_bits=8, output_bits=3)),
}
WANG_AREA_MM2 = 0.124
#: Parts of the model behind each published group.
GROUPS = {
    "wordline": ("select_line",),
    "neuron": ("integrator", "sample", "adc"),
    "input": ("input_line", "cell"),
    "array": ("input_line", "cell"),
    "adc": ("adc",),
    "dac": ("dac",),
}


@dataclass(frozen=True, kw_only=True)
class Row:
    """One published number beside its prediction, in the same unit."""

    chip: str
    quantity: str
    label: str
    role: str
    published: float
    predicted: float

    @property
    def error(self) -> float:
        """Predicted over published, less 1."""
        return self.predicted / self.published - 1


def published(chip):
    """The published file of a chip."""
    return yaml.safe_load((DATA / f"{chip}.yaml").read_text(encoding="utf-8"))["series"]


def sinangil_values(output_value):
    """All 64 inputs and all weights equal, so that their product is the output value: each 15 x sqrt(value / 15)."""
    each = 15 * (output_value / 15) ** 0.5
    return ValueStatistics(pulses=each, charges=each * each / 15)


def neurram_point(point):
    return OperatingPoint(
        values=NEURRAM,
        input_bits=point["input_bits"],
        output_bits=point["output_bits"],
        one_phase=point.get("one_phase", False),
    )


def jia_point(point):
    return OperatingPoint(values=JIA, input_bits=1, output_bits=8, vdd_V=point["vdd_V"])


def wang_point(point, tops_per_mm2):
    cycle_ns = 2048 / (tops_per_mm2 * WANG_AREA_MM2 * 1000)
    return OperatingPoint(values=WANG, input_bits=8, output_bits=8, vdd_V=point["vdd_V"], cycle_ns=cycle_ns)


def sinangil_point(output_value, vdd_V=0.8):
    return OperatingPoint(values=sinangil_values(output_value), input_bits=4, output_bits=4, vdd_V=vdd_V)


def grouped(cost, group):
    """Energy of a published group of parts, fJ a product."""
    return sum(cost.energy_fJ.get(part, 0.0) for part in GROUPS[group])


def rows(*, calibrated):
    """Every published number of energy and area with its prediction."""
    return [
        *_neurram(calibrated),
        *_jia(calibrated),
        *_wang(calibrated),
        *_sinangil(calibrated),
        *_aimc(calibrated),
    ]


def _setup(macro, calibration, calibrated):
    return load_macro(macro), load_calibration(calibration) if calibrated else None


def _areas(chip, macro, calibration, names):
    areas = macro_area(macro, calibration)
    for point in published(chip)["area"]["points"]:
        if (part := names.get(point["part"])) is not None and part in areas:
            yield Row(
                chip=chip,
                quantity="area_um2",
                label=point["part"],
                role=point["role"],
                published=point["area_um2"],
                predicted=areas[part],
            )


def _neurram(calibrated):
    macro, calibration = _setup("neurram_core", "neurram_core", calibrated)
    series = published("neurram")
    for point in series["energy_split"]["points"]:
        cost = macro_cost(macro, neurram_point(point), calibration)
        for group in ("wordline", "neuron", "input"):
            yield Row(
                chip="neurram",
                quantity=f"{group}_fJ",
                label=f"{point['output_bits']}b out, {point['input_bits']}b in",
                role=point["role"],
                published=point[f"{group}_fJ"],
                predicted=grouped(cost, group) / macro.operations,
            )
    for point in series["efficiency"]["points"]:
        cost = macro_cost(macro, neurram_point(point), calibration)
        phase = ", one phase" if point["one_phase"] else ""
        yield Row(
            chip="neurram",
            quantity="total_fJ",
            label=f"{point['output_bits']}b out, {point['input_bits']}b in{phase}",
            role=point["role"],
            published=1000 / point["tops_per_W"],
            predicted=cost.total_fJ / macro.operations,
        )
    yield from _areas("neurram", macro, calibration, {"neuron": "adc", "drivers": "driver", "cells": "cell"})


def _jia(calibrated):
    macro, calibration = _setup("jia_2020", "jia_2020", calibrated)
    series = published("jia_2020")
    for point in series["energy_split"]["points"]:
        cost = macro_cost(macro, jia_point(point), calibration)
        for group in ("array", "adc"):
            yield Row(
                chip="jia_2020",
                quantity=f"{group}_fJ",
                label=f"{point['vdd_V']} V",
                role=point["role"],
                published=point[f"{group}_fJ"],
                predicted=grouped(cost, group) / macro.columns,
            )
    for point in series["efficiency"]["points"]:
        cost = macro_cost(macro, jia_point(point), calibration)
        yield Row(
            chip="jia_2020",
            quantity="total_fJ",
            label=f"{point['vdd_V']} V",
            role=point["role"],
            published=1000 / point["tops_per_W"],
            predicted=cost.total_fJ / macro.operations,
        )
    yield from _areas("jia_2020", macro, calibration, {"adc": "adc", "cells": "cell"})


def _wang(calibrated):
    macro, calibration = _setup("wang_2022", "wang_2022", calibrated)
    series = published("wang_2022")
    for point in series["energy_split"]["points"]:
        at = next(p for p in series["efficiency"]["points"] if p["vdd_V"] == point["vdd_V"])
        cost = macro_cost(macro, wang_point(point, at["tops_per_mm2"]), calibration)
        for group in ("adc", "dac", "array"):
            yield Row(
                chip="wang_2022",
                quantity=f"{group}_fJ",
                label=f"{point['vdd_V']} V",
                role=point["role"],
                published=point[f"{group}_share"] * 1000 / at["tops_per_W"],
                predicted=grouped(cost, group) / macro.operations,
            )
    for point in series["efficiency"]["points"]:
        cost = macro_cost(macro, wang_point(point, point["tops_per_mm2"]), calibration)
        yield Row(
            chip="wang_2022",
            quantity="total_fJ",
            label=f"{point['vdd_V']} V",
            role=point["role"],
            published=1000 / point["tops_per_W"],
            predicted=cost.total_fJ / macro.operations,
        )
    yield from _areas("wang_2022", macro, calibration, {"adc": "adc", "cells": "cell"})


def _sinangil(calibrated):
    macro, calibration = _setup("sinangil_2021", "sinangil_2021", calibrated)
    series = published("sinangil_2021")
    for point in series["energy_by_value"]["points"]:
        cost = macro_cost(macro, sinangil_point(point["output_value"]), calibration)
        yield Row(
            chip="sinangil_2021",
            quantity="value_fJ",
            label=f"value {point['output_value']}",
            role=point["role"],
            published=point["energy_fJ"],
            predicted=cost.total_fJ,
        )
    for point in series["energy_by_supply"]["points"]:
        cost = macro_cost(macro, sinangil_point(15, point["vdd_V"]), calibration)
        yield Row(
            chip="sinangil_2021",
            quantity="supply_fJ",
            label=f"{point['vdd_V']} V",
            role=point["role"],
            published=point["energy_fJ"],
            predicted=cost.total_fJ,
        )
    for point in series["efficiency"]["points"]:
        cost = macro_cost(macro, sinangil_point(point["output_value"], point["vdd_V"]), calibration)
        yield Row(
            chip="sinangil_2021",
            quantity="total_fJ",
            label=f"{point['vdd_V']} V, value {point['output_value']}",
            role=point["role"],
            published=1000 / point["tops_per_W"],
            predicted=cost.total_fJ / macro.operations,
        )
    yield from _areas("sinangil_2021", macro, calibration, {"adc": "adc", "cells": "cell"})


def _aimc(calibrated):
    series = published("zigzag_aimc")
    calibration = load_calibration("zigzag_aimc") if calibrated else None
    for point in series["efficiency"]["points"]:
        macro = load_macro(point["macro"])
        cost = macro_cost(macro, AIMC[point["macro"]], calibration)
        yield Row(
            chip=point["macro"],
            quantity="total_fJ",
            label=point["macro"],
            role=point["role"],
            published=1000 / point["tops_per_W"],
            predicted=cost.total_fJ / macro.operations,
        )
    for point in series["area"]["points"]:
        yield Row(
            chip=point["macro"],
            quantity="area_um2",
            label=point["macro"],
            role=point["role"],
            published=point["area_um2"],
            predicted=sum(macro_area(load_macro(point["macro"]), calibration).values()),
        )
