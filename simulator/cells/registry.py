"""Cells as a record holds them: from a preset, from fields, or from a model."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import BeforeValidator, SerializeAsAny

from ..errors import ConfigError
from .base import CellModel, IdealCell
from .kinds import cell_class as cell_class
from .kinds import cell_kinds as cell_kinds
from .kinds import register_cell as register_cell
from .presets import load_cell


def cell_from(value: Any) -> CellModel | IdealCell:
    """Cell of whatever stands at ``crossbar.cell``: a model, or the mapping of a file.

    Raises:
        ConfigError: one sentence.
    """
    if isinstance(value, CellModel | IdealCell):
        return value
    if not isinstance(value, dict):
        raise ConfigError(f"got {value!r}; expected a mapping such as {{preset: rram_neurram}}")
    return load_cell(value)


#: Field type for a cell in a record; serialises with every field of the model that is there.
Cell = Annotated[SerializeAsAny[CellModel | IdealCell], BeforeValidator(cell_from)]
