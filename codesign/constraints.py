"""What a study demands of a design beside its objectives, and which demands contradict each other."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field, model_validator

from spikeloop.simulator.adc_config import UniformAdc
from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.spec import Spec

from .ledger import Row, StageRow
from .names import nearest
from .pareto import CSV_METRICS, value_of

#: Accuracy of the teacher minus that of the design.
ACCURACY_DROP = "accuracy_drop"
#: What a constraint may bound.
BOUNDED = ("accuracy", ACCURACY_DROP, *CSV_METRICS, "cycles")


class ConstraintSpec(Spec):
    """A bound on a metric (``at_most`` or ``at_least``), or ``adc: lossless | lossy``, exactly one of them.

    ``accuracy_drop`` is the teacher's accuracy minus the design's, as a share. ``lossless``: the ADC holds every
    column sum of a read, ``2^bits > rows_active * (2^cell_bits - 1)``.
    """

    metric: str | None = None
    at_most: float | None = Field(default=None)
    at_least: float | None = Field(default=None)
    adc: Literal["lossless", "lossy"] | None = None

    @model_validator(mode="after")
    def _is_one_demand(self) -> ConstraintSpec:
        if self.adc is not None:
            if (self.metric, self.at_most, self.at_least) != (None, None, None):
                raise ValueError("adc stands alone; write the bound of a metric as a constraint of its own")
            return self
        if self.metric is None or (self.at_most is None) == (self.at_least is None):
            raise ValueError("give a metric with at_most or at_least, or adc: lossless or lossy")
        if self.metric not in BOUNDED:
            raise ValueError(f"no metric '{self.metric}'; {nearest(self.metric, BOUNDED)}")
        if self.at_most is not None and self.at_most <= 0 and self.metric not in (ACCURACY_DROP, "accuracy"):
            raise ValueError(f"{self.metric} at_most {self.at_most:g} allows no design; give a number above 0")
        return self

    def __str__(self) -> str:
        if self.adc is not None:
            return f"adc {self.adc}"
        word, bound = ("at_most", self.at_most) if self.at_most is not None else ("at_least", self.at_least)
        return f"{self.metric} {word} {bound:g}"

    def allows_design(self, hw: HardwareConfig) -> bool:
        """Whether a design may be tried at all; bounds on metrics are known only afterwards."""
        return self.adc is None or is_lossless(hw) == (self.adc == "lossless")

    def excess(self, row: Row, reference: float | None) -> float:
        """How far a result is beyond the bound, as a share of it; 0 or less: it is kept, inf: it has no such metric.

        ``reference`` is the teacher's accuracy.
        """
        if self.metric is None:
            return 0.0
        value = value_of(row, "accuracy" if self.metric == ACCURACY_DROP else self.metric)
        if value is None or (self.metric == ACCURACY_DROP and reference is None):
            return math.inf
        if self.metric == ACCURACY_DROP and reference is not None:
            value = reference - value
        over = value - self.at_most if self.at_most is not None else (self.at_least or 0.0) - value
        return over / (abs(self.at_most or self.at_least or 0.0) or 1.0)


def contradiction(constraints: Sequence[ConstraintSpec]) -> tuple[ConstraintSpec, ConstraintSpec] | None:
    """The first two constraints that no design can keep together, if there are any."""
    for a, b in itertools.permutations(constraints, 2):
        if a.adc is not None and b.adc is not None and a.adc != b.adc:
            return a, b
        if a.metric == b.metric and a.at_least is not None and b.at_most is not None and a.at_least > b.at_most:
            return a, b
    return None


def is_lossless(hw: HardwareConfig) -> bool:
    """Whether the ADC holds every column sum of a read."""
    return not isinstance(hw.adc, UniformAdc) or hw.adc.bits >= hw.crossbar.column_sum_max.bit_length()


def reference_accuracy(stages: Iterable[StageRow]) -> float | None:
    """Accuracy of the study's teacher, None before it is trained."""
    return next((row.notes.get("accuracy") for row in stages if row.stage == "teacher"), None)


def admissible(rows: Sequence[Row], constraints: Sequence[ConstraintSpec], reference: float | None) -> tuple[Row, ...]:
    """Rows with a result that keeps every constraint; rows without a result are left out."""
    return tuple(
        row for row in rows if row.status == "ok" and all(item.excess(row, reference) <= 0 for item in constraints)
    )
