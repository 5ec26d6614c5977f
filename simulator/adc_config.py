"""ADCs of the crossbars: width, range, architecture and mismatch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from .spec import Spec

Architecture = Literal["sar", "ramp", "flash"]


class LosslessAdc(Spec):
    """ADC wide enough for every column sum: lsb = 1 and no clipping, so ``bits`` follows from the crossbar."""

    kind: Literal["lossless"] = "lossless"
    columns_per_adc: int = Field(default=8, ge=1, le=4096)
    sample_and_hold: bool = True


class UniformAdc(Spec):
    """ADC of a chosen width: code = clip(floor(S/lsb + 1/2), 0, 2^bits - 1), lsb a power of two.

    Attributes:
        bits: width of a code.
        full_scale: chooses the lsb: ``max`` reaches the largest possible sum, ``percentile`` the given percentile of
            the sums seen on calibration spikes, ``calibrated`` minimises the squared error of those sums.
        granularity: one lsb a ``layer`` or one a ``crossbar``.
        columns_per_adc: neighbouring bitlines that share an ADC through the column multiplexer.
        architecture: what mismatch means: in ``sar`` every binary-weighted capacitor is off, in ``ramp`` every step of
            the ramp, in ``flash`` every resistor of the reference ladder and every comparator.
        unit_sigma: relative mismatch of one unit capacitor, ramp step or ladder resistor.
        comparator_sigma_lsb: offset of each comparator of a ``flash`` ADC.
        offset_sigma_lsb: offset of each ADC.
        gain_sigma: relative gain error of each ADC.
        noise_sigma_lsb: noise of each conversion, at the input.
    """

    kind: Literal["uniform"] = "uniform"
    bits: int = Field(ge=1, le=14)
    full_scale: Literal["max", "percentile", "calibrated"] = "calibrated"
    percentile: float = Field(default=99.9, gt=0, le=100)
    granularity: Literal["layer", "crossbar"] = "layer"
    columns_per_adc: int = Field(default=8, ge=1, le=4096)
    sample_and_hold: bool = True
    architecture: Architecture = "sar"
    unit_sigma: float = Field(default=0.0, ge=0, le=0.5)
    comparator_sigma_lsb: float = Field(default=0.0, ge=0, le=16)
    offset_sigma_lsb: float = Field(default=0.0, ge=0, le=64)
    gain_sigma: float = Field(default=0.0, ge=0, le=0.5)
    noise_sigma_lsb: float = Field(default=0.0, ge=0, le=16)

    @property
    def has_thresholds(self) -> bool:
        """Whether the steps of the transfer curve are uneven."""
        return self.unit_sigma > 0 or self.comparator_sigma_lsb > 0

    @property
    def is_ideal(self) -> bool:
        """Whether every ADC converts alike and without noise."""
        return not (self.has_thresholds or self.offset_sigma_lsb or self.gain_sigma or self.noise_sigma_lsb)

    @model_validator(mode="after")
    def _comparators_belong_to_flash(self) -> UniformAdc:
        if self.comparator_sigma_lsb > 0 and self.architecture != "flash":
            raise ValueError(
                f"comparator_sigma_lsb={self.comparator_sigma_lsb} belongs to architecture flash and architecture is "
                f"{self.architecture}, which has one comparator; use offset_sigma_lsb"
            )
        return self


AdcConfig = Annotated[LosslessAdc | UniformAdc, Field(discriminator="kind")]
