"""Fit the factors of hwconfigs/calibration to the points that tests/published/data marks as fit, and print the files.

    python tests/bench/validation_fit.py [--write]

Least squares of the relative errors, no factor negative. Without --write it only prints.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

import numpy as np
import yaml
from scipy.optimize import nnls

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
import silicon_cases as s

from spikeloop.simulator.cost.macro import macro_area, macro_cost
from spikeloop.simulator.cost.macro_config import load_macro

FOLDER = Path(__file__).resolve().parents[2] / "hwconfigs" / "calibration"
YEARS = {"neurram_core": 2022, "jia_2020": 2020, "wang_2022": 2022, "sinangil_2021": 2021, "zigzag_aimc": 2023}


def fit(equations, tied):
    """Factor of each part from (part -> uncalibrated energy, published energy); ``tied`` parts share a factor."""
    design = np.array(
        [[sum(parts.get(part, 0.0) for part in group) / value for group in tied] for parts, value in equations]
    )
    factors, _ = nnls(design, np.ones(len(design)))
    if np.linalg.matrix_rank(design) < len(tied):
        raise ValueError(f"the fit points do not tell {tied} apart")
    return {part: float(factor) for group, factor in zip(tied, factors, strict=True) for part in group}


def fit_points(chip, series):
    return [point for point in s.published(chip)[series]["points"] if point["role"] == "fit"]


def neurram():
    macro = load_macro("neurram_core")
    points = fit_points("neurram", "energy_split")
    costs = [macro_cost(macro, s.neurram_point(point)).energy_fJ for point in points]
    found = {}
    for group, tied in (
        ("wordline", (("select_line",),)),
        ("neuron", (("integrator",), ("sample",), ("adc",))),
        ("input", (("input_line", "cell"),)),
    ):
        values = [point[f"{group}_fJ"] * macro.operations for point in points]
        found |= fit(list(zip(costs, values, strict=True)), tied)
    return found, {}, "3 and 1, 6 and 4, 8 and 6 output and input bits of Fig. 12b"


def jia():
    macro = load_macro("jia_2020")
    point = fit_points("jia_2020", "energy_split")[0]
    cost = macro_cost(macro, s.jia_point(point)).energy_fJ
    found = fit([(cost, point["array_fJ"] * macro.columns)], (("input_line", "cell"),))
    found |= fit([(cost, point["adc_fJ"] * macro.columns)], (("adc",),))
    return found, {}, "array and ADC of Table I at 0.85 V"


def wang():
    macro = load_macro("wang_2022")
    point = fit_points("wang_2022", "energy_split")[0]
    total = fit_points("wang_2022", "efficiency")[0]
    whole_fJ = 1000 * macro.operations / total["tops_per_W"]
    cost = macro_cost(macro, s.wang_point(point, total["tops_per_mm2"])).energy_fJ
    found = {}
    for group, tied in (("array", ("input_line", "cell")), ("dac", ("dac",)), ("adc", ("adc",))):
        found |= fit([(cost, point[f"{group}_share"] * whole_fJ)], (tied,))
    return found, {}, "ADC, DAC and array of Fig. 22a at 1.0 V"


def sinangil():
    macro = load_macro("sinangil_2021")
    points = fit_points("sinangil_2021", "energy_by_value")
    equations = [(macro_cost(macro, s.sinangil_point(p["output_value"])).energy_fJ, p["energy_fJ"]) for p in points]
    return fit(equations, (("input_line",), ("cell",), ("adc",))), {}, "output values 0, 6 and 15 of Fig. 13a at 0.8 V"


def zigzag():
    point = fit_points("zigzag_aimc", "efficiency")[0]
    macro = load_macro(point["macro"])
    cost = macro_cost(macro, s.AIMC[point["macro"]]).energy_fJ
    found = fit([(cost, 1000 * macro.operations / point["tops_per_W"])], (tuple(cost),))
    area = macro_area(macro)
    published = fit_points("zigzag_aimc", "area")[0]["area_um2"]
    return found, fit([(area, published)], (tuple(area),)), "efficiency and area of AIMC2"


FITS = {
    "neurram_core": neurram,
    "jia_2020": jia,
    "wang_2022": wang,
    "sinangil_2021": sinangil,
    "zigzag_aimc": zigzag,
}


def document(name):
    """The calibration file of a chip as a dictionary."""
    energy, area, points = FITS[name]()

    def factors(found):
        return {
            part: {
                "value": float(f"{value:.6g}"),
                "source": f"fitted on {points}",
                "year": YEARS[name],
                "status": "derived",
                "note": "measured over uncalibrated",
            }
            for part, value in found.items()
        }

    text = f"Factors fitted by tests/bench/validation_fit.py on {points}; no other point was used."
    return {"schema_version": 1, "name": name, "source": text, "energy": factors(energy), "area": factors(area)}


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--write", action="store_true", help="write hwconfigs/calibration/*.yaml")
    write = parser.parse_args().write
    for name in FITS:
        text = yaml.safe_dump(document(name), sort_keys=False, width=118)
        print(f"# {name}\n{text}")
        if write:
            (FOLDER / f"{name}.yaml").write_text(text, encoding="utf-8")


if __name__ == "__main__":
    main()
