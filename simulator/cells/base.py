"""What every cell model is: the conductance that a code becomes on one chip, and how a read of it scatters."""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from ..draws import CellDraws
from ..spec import Spec

FloatArray = NDArray[np.float64]


class CellModel(Spec):
    """Cell that conducts. Codes lie on a line from ``conductance_min_uS`` to ``conductance_max_uS``.

    A cell of ``cell_bits`` holds codes 0 to 2^cell_bits - 1; code k is meant to conduct
    ``conductance_min_uS + k * unit_uS(cell_bits)``. A column sum in unit-cell counts is
    current / (read voltage * unit).

    Attributes:
        kind: name under which a hardware file asks for the model.
        source: where the numbers come from.
        conductance_min_uS, conductance_max_uS: conductances that codes are mapped onto.
        levels: distinct conductances that can be programmed; None: any number.
        read_voltage_V, read_time_ns: amplitude and length of a read pulse on a driven wordline.
        nonlinearity_per_V: a in I = G V_read sinh(a v) / sinh(a V_read); 0 is a linear cell. It acts where wires take
            part of the read voltage; G is what the cell conducts at the full one.
    """

    kind: str
    source: str = Field(min_length=1)
    conductance_min_uS: float = Field(ge=0)
    conductance_max_uS: float = Field(gt=0)
    levels: int | None = Field(default=None, ge=2, le=256)
    read_voltage_V: float = Field(gt=0, le=5)
    read_time_ns: float = Field(gt=0, le=1e6)
    nonlinearity_per_V: float = Field(default=0.0, ge=0, le=50)

    #: Whether codes stay integers: no conductances, no draws.
    is_ideal: ClassVar[bool] = False

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> CellModel:
        if self.conductance_max_uS <= self.conductance_min_uS:
            raise ValueError(
                f"conductance_max_uS={self.conductance_max_uS} is not above conductance_min_uS="
                f"{self.conductance_min_uS}; codes need a range to lie on"
            )
        return self

    def check_bits(self, cell_bits: int) -> None:
        """Refuse codes that the cell cannot hold apart.

        Raises:
            ValueError: more codes than levels.
        """
        if self.levels is not None and 2**cell_bits > self.levels:
            most = int(math.log2(self.levels))
            raise ValueError(
                f"cell_bits={cell_bits} needs {2**cell_bits} conductances and cell.levels={self.levels}; "
                f"allowed 1 to {most} bits, or a cell with more levels"
            )

    def unit_uS(self, cell_bits: int) -> float:
        """Conductance between two neighbouring codes."""
        return (self.conductance_max_uS - self.conductance_min_uS) / float(2**cell_bits - 1)

    def target_uS(self, codes: NDArray[np.uint8], cell_bits: int) -> FloatArray:
        """Conductances that the codes are meant to have, same shape, float64."""
        return self.conductance_min_uS + codes.astype(np.float64) * self.unit_uS(cell_bits)

    @abstractmethod
    def programmed_uS(self, codes: NDArray[np.uint8], cell_bits: int, draws: CellDraws) -> FloatArray:
        """Conductances (rows, cols) of one physical crossbar when it is read: never negative, never NaN.

        Args:
            codes: (rows, cols) uint8, cell codes; padding has code 0.
            cell_bits: bits of a cell.
            draws: random numbers of these cells.
        """

    def write_pulses(self, codes: NDArray[np.uint8], cell_bits: int, draws: CellDraws) -> NDArray[np.int64]:
        """Write-verify iterations (rows, cols) that programming each cell took; 1 where nothing is verified."""
        del cell_bits, draws
        return np.ones(codes.shape, dtype=np.int64)

    def expected_pulses(self, cell_bits: int) -> FloatArray:
        """Mean of ``write_pulses`` of a cell with each code, shape (2^cell_bits,), in closed form."""
        return np.ones(2**cell_bits, dtype=np.float64)

    @property
    def read_gain_ratio(self) -> float:
        """Gain of the periphery that ``programmed_uS`` holds already; a read draws that much less current."""
        return 1.0

    def read_sigma_uS(self, conductance_uS: FloatArray) -> FloatArray | None:
        """Standard deviation of the white Gaussian noise of one read of each cell; None: no such noise."""
        del conductance_uS
        return None

    def image_sigma_uS(self, conductance_uS: FloatArray) -> FloatArray | None:
        """Standard deviation of the noise that is frozen while one image is computed (1/f); None: none."""
        del conductance_uS
        return None


class IdealCell(Spec):
    """Cell that stores its code exactly and conducts in proportion to it; it has no units."""

    kind: str = "ideal"
    is_ideal: ClassVar[bool] = True

    @model_validator(mode="before")
    @classmethod
    def _kind_is_ideal(cls, value: Any) -> Any:
        if isinstance(value, dict) and value.get("kind", "ideal") != "ideal":
            raise ValueError(f"kind={value['kind']!r} is not 'ideal'")
        return value
