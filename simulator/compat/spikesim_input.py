"""A network and a chip in the SpikeSim program's own names, and which of its defects to cure."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, field_validator, model_validator

from ..config import resolve_yaml
from ..errors import name_cure
from ..spec import Spec, validate_spec
from ..strict_yaml import read_yaml
from .spikesim_fixes import FIXES

Channels = Annotated[int, Field(ge=1, le=1_000_000)]
Dim = Annotated[int, Field(ge=1, le=65_536)]


class SpikeSimInput(Spec):
    """What ``ela_spikesim.py`` is edited to hold; the names are its own.

    Attributes:
        in_ch_list: input channels of each layer.
        out_ch_list: output channels of each layer.
        in_dim_list: rows (= columns) of the input map of each layer.
        out_dim_list: rows (= columns) of the output map of each layer, after pooling.
        xbar_size: rows (= columns) of a crossbar.
        kernel_size: rows (= columns) of the kernel, the same for all layers.
        pe_per_tile: processing engines in a tile.
        time_steps: time steps of an image.
        clk_freq: clock in MHz.
        device: cells of the crossbars.
        fix: names of ``FIXES`` to switch on.
    """

    in_ch_list: list[Channels] = Field(min_length=1, max_length=10_000)
    out_ch_list: list[Channels] = Field(min_length=1, max_length=10_000)
    in_dim_list: list[Dim] = Field(min_length=1, max_length=10_000)
    out_dim_list: list[Dim] = Field(min_length=1, max_length=10_000)
    xbar_size: int = Field(ge=1, le=65_536)
    kernel_size: int = Field(ge=1, le=1024)
    pe_per_tile: int = Field(ge=1, le=1_000_000)
    time_steps: int = Field(ge=1, le=1_000_000)
    clk_freq: float = Field(ge=0.001, le=1_000_000)
    device: Literal["rram", "sram"]
    fix: list[str] = Field(default=[])

    @field_validator("fix")
    @classmethod
    def _fixes_are_known(cls, names: list[str]) -> list[str]:
        for i, name in enumerate(names):
            if name not in FIXES:
                raise ValueError(f"'{name}' is no fix; {name_cure(name, FIXES)}")
            if name in names[:i]:
                raise ValueError(f"'{name}' is given twice; keep one")
        return names

    @model_validator(mode="after")
    def _one_entry_a_layer(self) -> SpikeSimInput:
        names = ("in_ch_list", "out_ch_list", "in_dim_list", "out_dim_list")
        lengths = {name: len(getattr(self, name)) for name in names}
        if len(set(lengths.values())) > 1:
            given = ", ".join(f"{name} has {length}" for name, length in lengths.items())
            raise ValueError(f"the four lists need one entry a layer, but {given}; make them equally long")
        return self


def load_spikesim_input(name_or_path: str) -> SpikeSimInput:
    """Input from a YAML path or the name of a file of ``hwconfigs/compat``.

    Raises:
        ConfigError: one sentence that says what is wrong, where, and what is allowed.
    """
    path = resolve_yaml(name_or_path, "compat")
    return validate_spec(SpikeSimInput, read_yaml(path), where=str(path))
