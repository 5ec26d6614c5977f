"""Which cell models there are: those of this package, and those that installed packages or scripts register."""

from __future__ import annotations

from importlib import metadata
from typing import TypeVar

from ..errors import ConfigError, name_cure
from .base import CellModel, IdealCell
from .fefet import FefetCell
from .pcm import PcmCell
from .rram import RramCell
from .sram import SramCell

#: Entry points of installed packages: name = kind, value = class.
ENTRY_POINT_GROUP = "spikeloop.cells"

CellT = TypeVar("CellT", bound=CellModel)

_MODELS: dict[str, type[CellModel]] = {}


def register_cell(cls: type[CellT]) -> type[CellT]:
    """Make a model known under the default of its ``kind``; usable as a decorator.

    Raises:
        ConfigError: no kind, or a kind that another class has.
    """
    field = cls.model_fields.get("kind")
    kind = field.default if field is not None else None
    if not isinstance(kind, str) or not kind:
        raise ConfigError(f'{cls.__name__}: a cell model says its name as a default, kind: Literal["..."] = "..."')
    holder = _MODELS.get(kind, cls)
    if kind == "ideal" or (holder.__module__, holder.__qualname__) != (cls.__module__, cls.__qualname__):
        raise ConfigError(f"{cls.__name__}: kind '{kind}' is taken by another cell model; choose another name")
    _MODELS[kind] = cls
    return cls


for _cls in (RramCell, SramCell, PcmCell, FefetCell):
    register_cell(_cls)


def cell_kinds() -> list[str]:
    """Names under which a file may ask for a model, those of installed packages included."""
    installed = {point.name for point in metadata.entry_points(group=ENTRY_POINT_GROUP)}
    return sorted({"ideal", *_MODELS, *installed})


def cell_class(kind: str) -> type[CellModel] | type[IdealCell]:
    """Class of a kind.

    Raises:
        ConfigError: unknown, or the installed package that offers it does not load.
    """
    if kind == "ideal":
        return IdealCell
    if kind in _MODELS:
        return _MODELS[kind]
    for point in metadata.entry_points(group=ENTRY_POINT_GROUP, name=kind):
        return _installed(point)
    raise ConfigError(f"kind '{kind}' is no cell model; {name_cure(kind, cell_kinds())}")


def _installed(point: metadata.EntryPoint) -> type[CellModel]:
    try:
        cls = point.load()
    except Exception as error:  # whatever a foreign package does at import
        raise ConfigError(
            f"kind '{point.name}': {point.value} of an installed package does not load "
            f"({type(error).__name__}: {error}); repair or remove that package"
        ) from None
    if not (isinstance(cls, type) and issubclass(cls, CellModel)):
        raise ConfigError(f"kind '{point.name}': {point.value} is no subclass of CellModel; repair that package")
    if cls.model_fields["kind"].default != point.name:
        raise ConfigError(f"kind '{point.name}': {point.value} calls itself otherwise; repair that package")
    return register_cell(cls)
