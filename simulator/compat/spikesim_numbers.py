"""The constants of the SpikeSim program, each beside the line it was read in (hwconfigs/compat/spikesim.yaml)."""

from __future__ import annotations

from typing import Literal

from pydantic import Field, model_validator

from ..config import shipped_files
from ..cost.technology import Entry, Status
from ..spec import Spec, validate_spec
from ..strict_yaml import read_yaml


class Count(Spec):
    """Whole number and where it comes from.

    Attributes:
        value: how many.
        status: as of ``Entry``; everything but ``read`` needs a note.
    """

    value: int = Field(ge=1)
    source: str = Field(min_length=1)
    status: Status
    note: str = ""

    @model_validator(mode="after")
    def _doubt_has_a_reason(self) -> Count:
        if self.status != "read" and not self.note:
            raise ValueError(f"status '{self.status}' without a note; write what was derived, doubted or assumed")
        return self


class EnergyNumbers(Spec):
    """Energies of the parts of one PE cycle."""

    crossbar_rram_fJ: Entry
    crossbar_sram_fJ: Entry
    adc_fJ: Entry
    mux_fJ: Entry
    subtractor_fJ: Entry
    temporary_buffer_fJ: Entry
    tile_buffer_fJ: Entry
    htree_fJ: Entry
    fetch_fJ: Entry
    neuron_fJ: Entry


class AreaNumbers(Spec):
    """Areas of the parts of a tile, and of a bit of memory."""

    crossbar_rram_um2: Entry
    crossbar_sram_um2: Entry
    adc_um2: Entry
    mux_um2: Entry
    subtractor_um2: Entry
    temporary_buffer_um2: Entry
    htree_um2: Entry
    memory_um2_per_bit: Entry


class CountNumbers(Spec):
    """Whole numbers that the program writes into its formulas, and the tile that its constants price."""

    columns_per_adc: Count
    subtractions: Count
    tile_buffer_bits: Count
    membrane_layers: Count
    membrane_bits: Count
    input_bits: Count
    clocks_per_pe_cycle: Count
    overlap_percent: Count
    listed_overlaps: Count
    crossbar_size: Count
    kernel_size: Count
    pe_per_tile: Count


class FixedNumbers(Spec):
    """What the fixes put in the place of the program's own numbers."""

    crossbar_sram_fJ: Entry
    subtractor_fJ: Entry
    spike_bits: Count
    image_bits: Count
    weight_bits: Count


class SpikeSimNumbers(Spec):
    """Every constant of the SpikeSim program, and those of the fixes."""

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    source: str = Field(min_length=1)
    energy: EnergyNumbers
    area: AreaNumbers
    counts: CountNumbers
    fixed: FixedNumbers


def load_spikesim_numbers() -> SpikeSimNumbers:
    """The constants that ship with spikeloop.

    Raises:
        ConfigError: the shipped file was edited and is not valid any more.
    """
    path = shipped_files("compat")["spikesim"]
    return validate_spec(SpikeSimNumbers, read_yaml(path), where=str(path))
