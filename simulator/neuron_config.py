"""Neuron unit of a tile and its membrane memory."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from .spec import Spec


class NeuronMemoryConfig(Spec):
    """Membrane memory: ``banks`` interleaved banks of ``word_bits`` words with ``ports`` ports each, and its errors.

    Attributes:
        bit_error_ratio: probability that a bit is misread, drawn anew for each bit and read.
        stuck_at_0_fraction: bits that are 0 whatever is written, frozen on a chip.
        stuck_at_1_fraction: bits that are 1 whatever is written, frozen on a chip.
        retention_time_ns: eDRAM: time constant with which a stored bit is lost between write and read; with
            ``retention_sigma`` the median over the cells. None: static memory.
        retention_sigma: standard deviation of ln(retention time) between cells (lognormal): a cell then loses its bit
            at every read or never, frozen on a chip. None: exponential, drawn anew for each bit and read.
        decay_level: what a lost bit becomes.
    """

    word_bits: int = Field(default=64, ge=1, le=4096)
    banks: int = Field(default=2, ge=1, le=1024)
    ports: int = Field(default=1, ge=1, le=4)
    bit_error_ratio: float = Field(default=0.0, ge=0, le=1)
    stuck_at_0_fraction: float = Field(default=0.0, ge=0, le=1)
    stuck_at_1_fraction: float = Field(default=0.0, ge=0, le=1)
    retention_time_ns: float | None = Field(default=None, gt=0)
    retention_sigma: float | None = Field(default=None, gt=0, le=5)
    decay_level: Literal[0, 1] = 0

    @property
    def is_ideal(self) -> bool:
        """Whether every bit is read as it was written."""
        static = self.bit_error_ratio == 0.0 and self.stuck_at_0_fraction == 0.0 and self.stuck_at_1_fraction == 0.0
        return static and self.retention_time_ns is None

    @model_validator(mode="after")
    def _stuck_one_way(self) -> NeuronMemoryConfig:
        if self.stuck_at_0_fraction + self.stuck_at_1_fraction > 1.0:
            raise ValueError(
                f"stuck_at_0_fraction={self.stuck_at_0_fraction} and stuck_at_1_fraction={self.stuck_at_1_fraction} "
                "are more than all bits together; their sum is at most 1"
            )
        return self

    @model_validator(mode="after")
    def _spread_has_a_median(self) -> NeuronMemoryConfig:
        if self.retention_sigma is not None and self.retention_time_ns is None:
            raise ValueError("retention_sigma is a spread around retention_time_ns, which is missing; give both")
        return self


class NeuronConfig(Spec):
    """Neuron unit: ``lanes`` neurons updated in a cycle.

    Attributes:
        kind: ``digital``: lanes are shared and membranes lie in the memory; ``analog``: every neuron has a capacitor
            and a comparator of its own, and no memory that could fail. Time and energy are those of digital ones.
        comparator_offset_sigma: standard deviation of an analog neuron's threshold in thresholds, frozen on a chip.
        capacitor_leak_sigma: standard deviation of ln(leak rate) of an analog neuron (lognormal), frozen on a chip.
        capacitor_time_ns: time constant of the capacitor's own leakage, on top of the network's leak; None: none.
    """

    lanes: int = Field(default=16, ge=1, le=65536)
    kind: Literal["digital", "analog"] = "digital"
    comparator_offset_sigma: float = Field(default=0.0, ge=0, le=1)
    capacitor_leak_sigma: float = Field(default=0.0, ge=0, le=3)
    capacitor_time_ns: float | None = Field(default=None, gt=0)
    memory: NeuronMemoryConfig = NeuronMemoryConfig()

    @property
    def has_mismatch(self) -> bool:
        """Whether neurons differ from the network's, or from one another."""
        return bool(self.comparator_offset_sigma or self.capacitor_leak_sigma or self.capacitor_time_ns is not None)

    @model_validator(mode="after")
    def _faults_fit_the_kind(self) -> NeuronConfig:
        if self.kind == "digital" and self.has_mismatch:
            raise ValueError(
                "comparator_offset_sigma, capacitor_leak_sigma and capacitor_time_ns describe analog neurons and kind "
                "is digital; use kind: analog, or leave them out"
            )
        if self.kind == "analog" and not self.memory.is_ideal:
            raise ValueError(
                "kind is analog, whose membranes lie on capacitors, and memory has bit errors; use kind: digital, or "
                "leave the errors of the memory out"
            )
        return self
