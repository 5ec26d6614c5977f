"""Hardware description: what a YAML accelerator file says, checked once, then trusted.

A file of ``hwconfigs/accelerators`` is *free* (a design's own choices); the technology it names is *iso*
(equal between the designs of a fair comparison, see ``simulator/cost``). Nothing here is a physical
constant.
"""

from __future__ import annotations

import math
from importlib import resources
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from .adc_config import AdcConfig as AdcConfig
from .adc_config import Architecture as Architecture
from .adc_config import LosslessAdc as LosslessAdc
from .adc_config import UniformAdc as UniformAdc
from .cells.base import IdealCell
from .cells.registry import Cell
from .errors import ConfigError, name_cure
from .neuron_config import NeuronConfig as NeuronConfig
from .neuron_config import NeuronMemoryConfig as NeuronMemoryConfig
from .spec import Spec, canonical_hash, validate_spec
from .strict_yaml import read_yaml
from .wires.config import WiresConfig

Scheme = Literal["differential", "offset"]

#: Most tiles of a chip: the tables of the clock grow with them.
MAX_TILES = 65_536

_MeshSide = Annotated[int, Field(ge=1, le=MAX_TILES)]


class CrossbarConfig(Spec):
    """Array of ``rows x cols`` cells; a weight is spread over slices and signs of its columns.

    Attributes:
        rows_active: wordlines driven in one read; None drives all rows at once.
        cell: ideal, or a device with its conductances, variation and noise.
        cell_array: array of the technology file that prices the cells; None: one of the cell's kind, else its default.
        baseline: what becomes of the current of a cell with code 0: ``subtracted`` before the ADC (a reference column
            of such cells, taken as exact), or ``kept``, where it takes room in the ADC's range and cancels only
            between the columns of a differential pair.
        wires: resistances around the cells; None: ideal conductors.
        dummy_column: sum(x), which ``offset`` and affine weights subtract, is measured by a bitline of cells of code 1
            on every crossbar and its ADC; else it is counted digitally.
    """

    rows: int = Field(ge=1, le=4096)
    cols: int = Field(ge=1, le=4096)
    cell_bits: int = Field(default=1, ge=1, le=8)
    scheme: Scheme = "differential"
    rows_active: int | None = Field(default=None, ge=1)
    cell: Cell = IdealCell()
    cell_array: str | None = Field(default=None, min_length=1)
    baseline: Literal["subtracted", "kept"] = "subtracted"
    wires: WiresConfig | None = None
    dummy_column: bool = False

    @property
    def rows_per_read(self) -> int:
        """Wordlines driven in one read."""
        return self.rows if self.rows_active is None else self.rows_active

    @property
    def reads_per_vector(self) -> int:
        """Row groups of one full crossbar."""
        return math.ceil(self.rows / self.rows_per_read)

    @property
    def column_sum_max(self) -> int:
        """Largest column sum of one read in unit-cell counts (design rule 3 of the analog block), rounded up."""
        return math.ceil(self.rows_per_read * ((1 << self.cell_bits) - 1 + self.offset_counts))

    @property
    def is_ideal(self) -> bool:
        """Whether column sums are exact integers."""
        return isinstance(self.cell, IdealCell)

    @property
    def offset_counts(self) -> float:
        """What a driven cell of code 0 adds to a column sum, in unit-cell counts."""
        if isinstance(self.cell, IdealCell) or self.baseline == "subtracted":
            return 0.0
        return self.cell.conductance_min_uS / self.cell.unit_uS(self.cell_bits)

    @model_validator(mode="after")
    def _cell_holds_the_codes(self) -> CrossbarConfig:
        if isinstance(self.cell, IdealCell):
            if self.wires is not None:
                raise ValueError("wires need cells that conduct and cell.kind is ideal; name a device in crossbar.cell")
        else:
            self.cell.check_bits(self.cell_bits)
            if self.wires is not None and self.cell.nonlinearity_per_V > 0:
                self.wires.check_nonlinear()
        return self

    @model_validator(mode="after")
    def _dummy_column_fits(self) -> CrossbarConfig:
        if self.dummy_column and self.cols < 2:
            raise ValueError("dummy_column takes a bitline and cols=1 has no other; give cols at least 2")
        return self

    @model_validator(mode="after")
    def _rows_active_fits(self) -> CrossbarConfig:
        if self.rows_active is not None and self.rows_active > self.rows:
            raise ValueError(
                f"rows_active={self.rows_active} is more than rows={self.rows}; "
                f"allowed 1 to {self.rows}, or leave it out to drive all rows"
            )
        return self


class TileConfig(Spec):
    """Tile: input buffer, PEs, accumulator, neuron unit, spike output buffer.

    Attributes:
        pes_per_tile: PEs of a tile.
        crossbars_per_pe: crossbars read in lockstep inside a PE; they hold row blocks of the same columns.
        input_bus_bits: bits that the input buffer hands to the wordline drivers in a cycle.
        pe_accumulator_lanes: column sums of its crossbars that a PE adds in a cycle.
        output_bus_bits: bits of partial sums that the PEs of a tile hand to its accumulator in a cycle.
        accumulator_lanes: partial sums that the tile adds in a cycle.
        fifo_depth: slots of every queue between two units.
        input_buffer_positions: positions of a layer's input map that the input buffers of its tiles hold in
            ``layer_pipelined``, at least one receptive field; None: one receptive field and one row more. In
            ``layer_sequential`` the buffers hold the whole input.
        sharing: ``packed`` lets layers share a tile, ``exclusive`` starts each layer (and replica) on a new tile.
    """

    pes_per_tile: int = Field(default=8, ge=1, le=4096)
    crossbars_per_pe: int = Field(default=9, ge=1, le=4096)
    input_bus_bits: int = Field(default=256, ge=1, le=1_048_576)
    pe_accumulator_lanes: int = Field(default=64, ge=1, le=65_536)
    output_bus_bits: int = Field(default=1024, ge=1, le=1_048_576)
    accumulator_lanes: int = Field(default=64, ge=1, le=65_536)
    fifo_depth: int = Field(default=2, ge=1, le=65536)
    input_buffer_positions: int | None = Field(default=None, ge=1, le=16_777_216)
    sharing: Literal["exclusive", "packed"] = "exclusive"


class ChipConfig(Spec):
    """Chip: a mesh of tiles and, at router (0, 0), the global buffer.

    Attributes:
        tiles: tiles on the chip, idle ones too; None: as many as the mapping needs.
    """

    tiles: int | None = Field(default=None, ge=1, le=MAX_TILES)


class GlobalBufferConfig(Spec):
    """Buffer between the off-chip input and router (0, 0).

    Attributes:
        bus_bits: bits that it hands to its router in a cycle.
        slots: images (or steps, unless the input is static) that it holds.
    """

    bus_bits: int = Field(default=256, ge=1, le=1_048_576)
    slots: int = Field(default=2, ge=1, le=65_536)


class NocConfig(Spec):
    """Mesh of routers with XY routing, one router for each tile.

    Attributes:
        flit_bits: bits that a link moves in a cycle.
        header_bits: bits of a packet besides its payload.
        router_cycles: cycles until the head of a packet leaves a router.
        buffer_packets: packets that every queue of a router holds.
        input_bits_per_cycle: bits that the off-chip input delivers in a cycle.
        mesh: [width, height] in routers; None: the smallest near-square mesh that holds the tiles.
        placement: ``row_major`` puts tiles in order of their number; ``greedy`` takes the placement with the least
            traffic of a few orders that cost little to find; ``annealed`` improves the greedy placement by swaps.
        placement_seed: seed of the swaps of ``annealed``.
    """

    flit_bits: int = Field(default=64, ge=1, le=1_048_576)
    header_bits: int = Field(default=16, ge=0, le=1_048_576)
    router_cycles: int = Field(default=2, ge=1, le=65_536)
    buffer_packets: int = Field(default=2, ge=1, le=65_536)
    input_bits_per_cycle: int = Field(default=64, ge=1, le=1_048_576)
    # YAML has lists and no tuples: not strict about the pair, strict about its numbers.
    mesh: Annotated[tuple[_MeshSide, _MeshSide], Field(strict=False)] | None = None
    placement: Literal["row_major", "greedy", "annealed"] = "greedy"
    placement_seed: int = Field(default=0, ge=0, le=2**63 - 1)

    @field_validator("mesh", mode="before")
    @classmethod
    def _mesh_is_a_pair(cls, value: Any) -> Any:
        if value is not None and not (isinstance(value, list | tuple) and len(value) == 2):
            raise ValueError(f"got {value!r}; give [width, height], two whole numbers, or leave it out")
        return value

    @model_validator(mode="after")
    def _mesh_is_not_too_large(self) -> NocConfig:
        if self.mesh is not None and self.mesh[0] * self.mesh[1] > MAX_TILES:
            raise ValueError(
                f"mesh={list(self.mesh)} has {self.mesh[0] * self.mesh[1]} routers; at most {MAX_TILES} are simulated"
            )
        return self


class DataflowConfig(Spec):
    """Order of the work, and how many copies of a layer's weights do it.

    ``order``: ``layer_sequential`` runs one layer at a time; in ``layer_pipelined`` all layers run at once,
    each as soon as a receptive field of its input has arrived.
    ``loop``: ``timestep_major`` runs all layers of a step before the next step and keeps membranes in memory;
    ``layer_major`` runs all steps of a position at once and keeps its membranes in registers.
    ``zero_skipping``: ``none`` reads everything, ``vector`` skips an input vector that is all zero,
    ``row_group`` skips each silent row group of a PE, plane by plane.
    ``skip_cycles``: cycles of a plane that is skipped.
    ``replication``: ``none`` writes each layer once; ``balanced`` fills ``chip.tiles`` with more copies of the
    slowest layers.
    """

    order: Literal["layer_sequential", "layer_pipelined"] = "layer_sequential"
    loop: Literal["timestep_major", "layer_major"] = "timestep_major"
    zero_skipping: Literal["none", "vector", "row_group"] = "row_group"
    skip_cycles: int = Field(default=1, ge=1, le=65_536)
    replication: Literal["none", "balanced"] = "none"


class HardwareConfig(Spec):
    """One accelerator design. ``technology`` names the iso file that prices it."""

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    source: str = Field(min_length=1)
    technology: str = Field(min_length=1)
    clock_GHz: float = Field(gt=0, le=10)
    crossbar: CrossbarConfig
    adc: AdcConfig
    tile: TileConfig = TileConfig()
    neuron: NeuronConfig = NeuronConfig()
    chip: ChipConfig = ChipConfig()
    global_buffer: GlobalBufferConfig = GlobalBufferConfig()
    noc: NocConfig = NocConfig()
    dataflow: DataflowConfig = DataflowConfig()

    @property
    def adc_bits(self) -> int:
        """Width of the ADC; for a lossless one the smallest that holds every column sum."""
        if isinstance(self.adc, UniformAdc):
            return self.adc.bits
        return self.crossbar.column_sum_max.bit_length()

    @property
    def adc_architecture(self) -> Architecture:
        """Architecture of the ADC; a lossless one is taken as successive approximation."""
        return self.adc.architecture if isinstance(self.adc, UniformAdc) else "sar"

    @property
    def cycle_ns(self) -> float:
        """Length of a clock cycle."""
        return 1.0 / self.clock_GHz

    @model_validator(mode="after")
    def _adc_groups_are_whole(self) -> HardwareConfig:
        cols, shared = self.crossbar.cols, self.adc.columns_per_adc
        if cols % shared:
            raise ValueError(
                f"crossbar.cols={cols} is not a multiple of adc.columns_per_adc={shared}; the last ADC would "
                f"serve a partial group, choose a divisor of {cols}"
            )
        return self

    @model_validator(mode="after")
    def _dataflow_fits_the_chip(self) -> HardwareConfig:
        if self.dataflow.order == "layer_pipelined" and self.tile.sharing == "packed":
            raise ValueError(
                "dataflow.order=layer_pipelined does not go with tile.sharing=packed: two layers would run on one "
                "tile's bus and neuron unit at once; use sharing: exclusive, or order: layer_sequential"
            )
        if self.dataflow.replication == "balanced" and self.chip.tiles is None:
            raise ValueError(
                "dataflow.replication=balanced fills the tiles of the chip and chip.tiles is null; give chip.tiles "
                "a number, or use replication: none"
            )
        if self.noc.mesh is not None and self.chip.tiles is not None:
            width, height = self.noc.mesh
            if width * height < self.chip.tiles:
                raise ValueError(
                    f"noc.mesh=[{width}, {height}] has {width * height} routers for chip.tiles={self.chip.tiles}; "
                    "every tile needs a router, enlarge the mesh or leave it out"
                )
        return self

    def content_hash(self) -> str:
        """sha256 of every field but the name and the sources (of the design, its cells and its wires)."""
        fields = _without_sources(self.resolved())
        fields.pop("name")
        return canonical_hash(fields)


def _without_sources(fields: dict[str, Any]) -> dict[str, Any]:
    """The same fields, nested ones too, but those that only say where a number comes from."""
    return {
        key: _without_sources(value) if isinstance(value, dict) else value
        for key, value in fields.items()
        if key != "source"
    }


def shipped_files(folder: str) -> dict[str, Path]:
    """Name -> path of the YAML files that ship in ``hwconfigs/<folder>``."""
    root = resources.files("spikeloop.hwconfigs").joinpath(folder)
    return {
        entry.name.removesuffix(".yaml"): Path(str(entry))
        for entry in sorted(root.iterdir(), key=lambda item: item.name)
        if entry.name.endswith(".yaml")
    }


def resolve_yaml(name_or_path: str, folder: str) -> Path:
    """Path of a YAML file given by path or by the name of a shipped one.

    Raises:
        ConfigError: neither a file nor a shipped name; the sentence lists the nearest names.
    """
    shipped = shipped_files(folder)
    if name_or_path in shipped:
        return shipped[name_or_path]
    path = Path(name_or_path)
    if path.is_file():
        return path
    cure = name_cure(name_or_path, shipped, listed="shipped")
    raise ConfigError(f"{name_or_path}: neither a file nor a preset of hwconfigs/{folder}; {cure}")


def load_hardware(name_or_path: str) -> HardwareConfig:
    """Accelerator from a YAML path or the name of a preset of ``hwconfigs/accelerators``.

    Raises:
        ConfigError: one sentence that says what is wrong, where, and what is allowed.
    """
    path = resolve_yaml(name_or_path, "accelerators")
    return validate_spec(HardwareConfig, read_yaml(path), where=str(path))
