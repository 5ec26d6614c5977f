"""The one coherent unit set, and how a value is written for a reader.

Inside spikeloop a name ends in its unit: ``V uA uS Mohm fF ns GHz fJ uW um2 bit``. They are coherent:
V*uS = uA, uA*V*ns = fJ, fF*V^2 = fJ, Mohm*fF = ns, fJ/ns = uW, so no formula needs a power of ten. Wires are given in
``ohm``, as everyone gives them; ADC errors in ``lsb`` and column sums in ``counts`` of a unit cell.
"""

from __future__ import annotations

import math

#: Last part of a name -> what it measures. Compound units are written as in ``edap_J_s_mm2``.
UNIT_SUFFIXES: tuple[str, ...] = (
    "_V",
    "_uA",
    "_uS",
    "_Mohm",
    "_ohm",
    "_lsb",
    "_counts",
    "_fF",
    "_ns",
    "_GHz",
    "_fJ",
    "_uW",
    "_um2",
    "_F2",
    "_dB",
    "_um",
    "_nm",
    "_bits",
    "_bit",
    "_K",
    "_J_s_mm2",
    "_per_W",
    "_per_mm2",
    "_fJ_per_bit",
    "_um2_per_bit",
    "_uW_per_bit",
    "_uW_per_um2",
    "_fF_per_um",
    "_s",
    "_cycles",
)

_REPORT_UNITS: dict[str, tuple[tuple[float, str], ...]] = {
    "fJ": ((1e12, "mJ"), (1e9, "uJ"), (1e6, "nJ"), (1e3, "pJ"), (1.0, "fJ")),
    "ns": ((1e9, "s"), (1e6, "ms"), (1e3, "us"), (1.0, "ns")),
    "um2": ((1e6, "mm2"), (1.0, "um2")),
    "uW": ((1e6, "W"), (1e3, "mW"), (1.0, "uW")),
}
#: Units written for values below 1 as well: 292900 um2 reads better as 0.2929 mm2, beside an EDAP in J s mm2.
_SHOWN_FROM: dict[str, float] = {"mm2": 1e4}


def format_si(value: float, unit: str, *, digits: int = 4) -> str:
    """Text of a value in the most readable report unit, e.g. ``format_si(2.5e9, "fJ") == "2.5 uJ"``.

    Raises:
        KeyError: ``unit`` is not one of fJ, ns, um2, uW.
    """
    scales = _REPORT_UNITS[unit]
    if not math.isfinite(value):
        return f"{value} {unit}"
    for scale, name in scales:
        if abs(value) >= _SHOWN_FROM.get(name, scale):
            return f"{value / scale:.{digits}g} {name}"
    return f"{value:.{digits}g} {unit}"
