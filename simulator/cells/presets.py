"""Device files: cell models with a source for every number."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Field, ValidationError, model_validator

from ..errors import ConfigError
from ..spec import Spec, problem_sentence, validate_spec
from ..strict_yaml import read_yaml
from .base import CellModel, IdealCell
from .kinds import cell_class, cell_kinds

Status = Literal["read", "derived", "doubted", "assumption"]

_Numbers = Annotated[list[float], Field(min_length=1, max_length=8)]


class DeviceEntry(Spec):
    """Number, or coefficients of a polynomial, and where it comes from; its field says the unit.

    Attributes:
        status: ``read`` in the source, ``derived`` from it by the arithmetic in ``note``, ``doubted`` for a reason in
            ``note`` (a second-hand reading too), or an ``assumption``.
    """

    value: int | float | _Numbers
    source: str = Field(min_length=1)
    year: int = Field(ge=1950, le=2100)
    status: Status
    note: str = ""

    @model_validator(mode="after")
    def _doubt_has_a_reason(self) -> DeviceEntry:
        if self.status != "read" and not self.note:
            raise ValueError(f"status '{self.status}' without a note; write what was derived, doubted or assumed")
        return self


class DeviceFile(Spec):
    """File of ``hwconfigs/devices``: a model's fields, every number with its source.

    Attributes:
        name: of the device.
        kind: cell model.
        source: the publications, in short.
        entries: field of the model -> number.
        words: field of the model -> a choice that is no number.
    """

    schema_version: Literal[1] = 1
    name: str = Field(min_length=1)
    kind: str = Field(min_length=1)
    source: str = Field(min_length=1)
    entries: dict[str, DeviceEntry]
    words: dict[str, str]

    def values(self) -> dict[str, Any]:
        """Fields of the model."""
        numbers = {name: entry.value for name, entry in self.entries.items()}
        return {"kind": self.kind, "source": f"{self.name}: {self.source}", **self.words, **numbers}


_HEADER = ("schema_version", "name", "kind", "source")


def read_device(name_or_path: str) -> tuple[Path, DeviceFile]:
    """Device file by path or by the name of a shipped one, and where it lies.

    Raises:
        ConfigError: no such file, not strict YAML, or a number without a source; one sentence.
    """
    # Here because the configuration holds a cell, and so imports this package.
    from ..config import resolve_yaml

    path = resolve_yaml(name_or_path, "devices")
    raw = read_yaml(path)
    header = {name: raw[name] for name in _HEADER if name in raw}
    fields = {name: value for name, value in raw.items() if name not in _HEADER}
    words = {name: value for name, value in fields.items() if isinstance(value, str)}
    entries = {name: value for name, value in fields.items() if name not in words}
    for name, value in entries.items():
        if not isinstance(value, dict):
            raise ConfigError(
                f"{path}: {name}: got {value!r}; a number of a device file stands with its source, "
                f"{{value: ..., source: ..., year: ..., status: ...}}"
            )
    return path, validate_spec(DeviceFile, {**header, "entries": entries, "words": words}, where=str(path))


def load_cell(value: dict[str, Any]) -> CellModel | IdealCell:
    """Cell of a mapping: ``{preset: NAME or FILE, field: value, ...}`` or ``{kind: ..., field: value, ...}``.

    Fields beside ``preset`` replace those of the device file; the result holds every number, and its ``source``
    names the fields that were replaced.

    Raises:
        ConfigError: one sentence.
    """
    if "preset" in value:
        return _from_preset(value)
    if "kind" not in value and value:
        raise ConfigError(
            f"'{next(iter(value))}' without a cell; name a model by kind, or a device file by preset "
            f"(shipped: {', '.join(device_names())})"
        )
    kind = value.get("kind", "ideal")
    if not isinstance(kind, str):
        raise ConfigError(f"kind: got {kind!r}; allowed: {', '.join(cell_kinds())}")
    return _validated(cell_class(kind), value)


def device_names() -> list[str]:
    """Devices that ship in ``hwconfigs/devices``."""
    from ..config import shipped_files

    return list(shipped_files("devices"))


def _from_preset(value: dict[str, Any]) -> CellModel | IdealCell:
    preset = value["preset"]
    if not isinstance(preset, str) or not preset:
        raise ConfigError(f"preset: got {preset!r}; expected the name of a device or the path of a device file")
    path, device = read_device(preset)
    try:
        cls = cell_class(device.kind)
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    shipped = validate_spec(cls, device.values(), where=str(path))
    changes = {name: field for name, field in value.items() if name != "preset"}
    if changes.get("kind", device.kind) != device.kind:
        raise ConfigError(f"kind={changes['kind']!r} and preset '{preset}' is of kind '{device.kind}'; leave one out")
    replaced = sorted(name for name in changes if name not in ("kind", "source"))
    if not changes:
        return shipped
    fields = {**device.values(), **changes}
    if replaced and "source" not in changes:
        fields["source"] = f"{fields['source']} (replaced: {', '.join(replaced)})"
    return _validated(cls, fields)


def _validated(cls: type[CellModel] | type[IdealCell], fields: dict[str, Any]) -> CellModel | IdealCell:
    try:
        return cls.model_validate(fields)
    except ValidationError as error:
        raise ConfigError(problem_sentence(cls, error)) from None
