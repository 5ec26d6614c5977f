"""Column ADCs: energy, area and time of a conversion, by architecture and by fit.

ADCs do not scale as logic does: a fit follows the node and supply by its own rule, or by none.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Annotated, Literal, NamedTuple

from pydantic import Field, model_validator

from .circuits import converter_area_um2, converter_fF, switched_fJ
from .entries import Sourced


class AdcSite(NamedTuple):
    """Where an ADC stands: its width, the rows of its bitlines, conversions a ns, supply and node of the file."""

    bits: int
    rows: int
    rate_GHz: float
    vdd_V: float
    node_nm: float


class AdcPrice(NamedTuple):
    """One conversion, one ADC, and how long a conversion takes; 0 ns where the fit says nothing about it."""

    conversion_fJ: float
    area_um2: float
    conversion_ns: float


class AdcFit(Sourced):
    """What every fit has: the node of its macros and the widths for which it holds."""

    node_nm: float = Field(gt=0)
    bits_min: int = Field(ge=1)
    bits_max: int = Field(ge=1, le=24)

    @model_validator(mode="after")
    def _range_is_not_empty(self) -> AdcFit:
        if self.bits_min > self.bits_max:
            raise ValueError(f"bits_min={self.bits_min} is more than bits_max={self.bits_max}")
        return self

    @abstractmethod
    def price(self, site: AdcSite) -> AdcPrice:
        """Energy, area and time at a site, whatever its width."""

    def outside(self, site: AdcSite) -> str | None:
        """What of a site lies outside the validity, as a clause; None inside."""
        if not self.bits_min <= site.bits <= self.bits_max:
            return f"got an ADC of {site.bits} bits, the fit holds for {self.bits_min} to {self.bits_max}"
        return None


class CimFit(AdcFit):
    """ADCs of compute-in-memory macros: E = (k1 b + k2 4^b) V^2, A = A0 10^(c b) 2^b, t = b (t_bit + t_row rows).

    Source: ZigZag-IMC, aimc_cost_model.py.

    Attributes:
        linear_fF, power_fF: k1, k2.
        vdd_V: V; None: the file's supply. Needed beside ``node_energy_exponent``, which holds the supply already.
        area_um2, area_decade_ratio: A0, c.
        bit_ns, row_ns: t_bit, t_row.
        node_energy_exponent, node_area_exponent: of (node of the file / node of the fit); 0: unscaled.
    """

    fit: Literal["cim"]
    linear_fF: float = Field(ge=0)
    power_fF: float = Field(ge=0)
    vdd_V: float | None = Field(default=None, gt=0, le=5)
    area_um2: float = Field(gt=0)
    area_decade_ratio: float
    bit_ns: float = Field(ge=0)
    row_ns: float = Field(ge=0)
    node_energy_exponent: float = 0.0
    node_area_exponent: float = 0.0

    @model_validator(mode="after")
    def _exponent_has_a_supply(self) -> CimFit:
        if self.node_energy_exponent and self.vdd_V is None:
            raise ValueError(
                f"node_energy_exponent={self.node_energy_exponent:g} scales from the supply of the fit and vdd_V is "
                "missing; add the supply of the fit's macros"
            )
        return self

    def price(self, site: AdcSite) -> AdcPrice:
        """Energy, area and time at a site."""
        b, vdd_V = site.bits, site.vdd_V if self.vdd_V is None else self.vdd_V
        node_ratio = site.node_nm / self.node_nm
        energy_fJ = switched_fJ(converter_fF(b, self.linear_fF, self.power_fF), vdd_V)
        energy_fJ *= node_ratio**self.node_energy_exponent
        area_um2 = converter_area_um2(b, self.area_um2, self.area_decade_ratio) * node_ratio**self.node_area_exponent
        return AdcPrice(float(energy_fJ), float(area_um2), b * (self.bit_ns + self.row_ns * site.rows))


class SurveyFit(AdcFit):
    """Regression over the ADC survey of Murmann: the best of published stand-alone ADCs, by width, rate and node.

    With b the effective bits (those of the ADC), f the rate in Hz and F the node in nm:
    SNDR = 20 b log10(2) + 10 log10(1.5); FOM = min(rate_dB ln f + rate_constant_dB, bits_constant_dB + bits_dB b);
    E = 0.5 10^((SNDR - FOM) / 10) exp(e0 + e_node ln F + e_bits ln b + e_residual) pJ;
    A = exp(a0 + a_node ln F + a_rate ln f + a_energy ln E) um2.

    Source: hwcomponents-adc, model.py and adc_data/model.yaml (Andrulis et al., "Modeling Analog-Digital-Converter
    Energy and Area for Compute-In-Memory Accelerator Design", arXiv 2404.06553).
    """

    fit: Literal["survey"]
    rate_dB: float
    rate_constant_dB: float
    bits_constant_dB: float
    bits_dB: float
    energy_constant: float
    energy_node_exponent: float
    energy_bits_exponent: float
    energy_residual_ratio: float
    area_constant: float
    area_node_exponent: float
    area_rate_exponent: float
    area_energy_exponent: float
    rate_max_GHz: float = Field(gt=0)
    node_min_nm: float = Field(gt=0)
    node_max_nm: float = Field(gt=0)

    def price(self, site: AdcSite) -> AdcPrice:
        """Energy and area at a site; a conversion takes one period of the rate."""
        bits, rate_Hz = site.bits, site.rate_GHz * 1e9
        sndr_dB = 20 * bits * math.log10(2) + 10 * math.log10(1.5)
        fom_dB = min(
            self.rate_dB * math.log(rate_Hz) + self.rate_constant_dB, self.bits_constant_dB + self.bits_dB * bits
        )
        energy_pJ = 0.5 * 10 ** ((sndr_dB - fom_dB) / 10)
        energy_pJ *= math.exp(self.energy_constant + self.energy_residual_ratio)
        energy_pJ *= site.node_nm**self.energy_node_exponent * bits**self.energy_bits_exponent
        area_um2 = math.exp(self.area_constant) * site.node_nm**self.area_node_exponent
        area_um2 *= rate_Hz**self.area_rate_exponent * energy_pJ**self.area_energy_exponent
        return AdcPrice(energy_pJ * 1000.0, area_um2, 1.0 / site.rate_GHz)

    def outside(self, site: AdcSite) -> str | None:
        """What of a site lies outside the validity."""
        if site.rate_GHz > self.rate_max_GHz:
            return f"got {site.rate_GHz:g} GHz, the regression holds up to {self.rate_max_GHz:g}"
        if not self.node_min_nm <= site.node_nm <= self.node_max_nm:
            return f"got {site.node_nm:g} nm, the regression holds from {self.node_min_nm:g} to {self.node_max_nm:g}"
        return super().outside(site)


class AdcPoint(Sourced):
    """Published ADC of one width; energies and areas of widths between two points lie on an exponential."""

    bits: int = Field(ge=1, le=24)
    conversion_fJ: float = Field(gt=0)
    area_um2: float = Field(gt=0)
    conversion_ns: float = Field(gt=0)


class PointsFit(AdcFit):
    """Published ADCs, taken as they are at their node and supply; one point holds for its width alone."""

    fit: Literal["points"]
    points: Annotated[list[AdcPoint], Field(min_length=1)]

    @model_validator(mode="after")
    def _points_span_the_range(self) -> PointsFit:
        bits = [point.bits for point in self.points]
        if sorted(set(bits)) != bits or (bits[0], bits[-1]) != (self.bits_min, self.bits_max):
            raise ValueError(
                f"points: widths {bits} must ascend from bits_min={self.bits_min} to bits_max={self.bits_max}"
            )
        return self

    def price(self, site: AdcSite) -> AdcPrice:
        """Energy, area and time at a site; beyond the points the last slope goes on."""
        if len(self.points) == 1:
            only = self.points[0]
            return AdcPrice(only.conversion_fJ, only.area_um2, only.conversion_ns)
        last = len(self.points) - 2
        i = next((i for i in range(last) if site.bits <= self.points[i + 1].bits), last)
        a, b = self.points[i], self.points[i + 1]
        share = (site.bits - a.bits) / (b.bits - a.bits)

        def between(low: float, high: float) -> float:
            return float(low ** (1 - share) * high**share)

        return AdcPrice(
            between(a.conversion_fJ, b.conversion_fJ),
            between(a.area_um2, b.area_um2),
            between(a.conversion_ns, b.conversion_ns),
        )


class FlashFit(AdcFit):
    """Flash ADC: 2^b - 1 comparators with their share of ladder and encoder; one conversion takes one decision."""

    fit: Literal["flash"]
    comparator_fJ: float = Field(gt=0)
    comparator_area_um2: float = Field(gt=0)
    conversion_ns: float = Field(gt=0)

    def price(self, site: AdcSite) -> AdcPrice:
        """Energy, area and time at a site."""
        comparators = 2.0**site.bits - 1
        return AdcPrice(comparators * self.comparator_fJ, comparators * self.comparator_area_um2, self.conversion_ns)


class RampFit(AdcFit):
    """Ramp or charge-counting ADC: a sample, then one decision a step.

    Attributes:
        sample_fJ: once a conversion (sampling, integration).
        step_fJ, step_ns: one step of the ramp.
        area_um2: of the ADC, whatever its width.
        sign_first: the sign is decided first, and the ramp has 2^(b-1) steps instead of 2^b.
        mean_steps_ratio: steps taken over the steps of a full ramp; below 1 where conversions stop early.
    """

    fit: Literal["ramp"]
    sample_fJ: float = Field(ge=0)
    step_fJ: float = Field(gt=0)
    step_ns: float = Field(gt=0)
    area_um2: float = Field(gt=0)
    sign_first: bool = False
    mean_steps_ratio: float = Field(default=1.0, gt=0, le=1)

    def price(self, site: AdcSite) -> AdcPrice:
        """Energy, area and time at a site; the time is that of a full ramp."""
        steps = 2.0 ** (site.bits - int(self.sign_first))
        energy_fJ = self.sample_fJ + self.step_fJ * steps * self.mean_steps_ratio
        return AdcPrice(energy_fJ, self.area_um2, steps * self.step_ns)


Fit = Annotated[CimFit | SurveyFit | PointsFit | FlashFit | RampFit, Field(discriminator="fit")]
