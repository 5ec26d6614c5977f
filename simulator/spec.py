"""Base of every record that is read from YAML, and how its errors become one sentence."""

from __future__ import annotations

import difflib
import hashlib
import json
import types
from typing import Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from .errors import ConfigError


class Spec(BaseModel):
    """Frozen record with no unknown fields: a typo in a file is an error, never a default."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def resolved(self) -> dict[str, Any]:
        """Every field with its value, defaults included, ready for JSON or YAML."""
        return self.model_dump(mode="json")


SpecT = TypeVar("SpecT", bound=Spec)


def canonical_hash(value: Any) -> str:
    """sha256 (hex) of a JSON-able value: sorted keys, no spaces, shortest float form."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def validate_spec(cls: type[SpecT], value: Any, *, where: str) -> SpecT:
    """Record of type ``cls`` made from parsed YAML.

    Raises:
        ConfigError: the first problem found, as one sentence that starts with ``where``.
    """
    try:
        return cls.model_validate(value)
    except ValidationError as error:
        raise ConfigError(f"{where}: {problem_sentence(cls, error)}") from None


def problem_sentence(cls: type[BaseModel], error: ValidationError) -> str:
    """The first problem of a failed validation as one sentence, and how many more there are."""
    details = error.errors(include_url=False)
    # A misspelt key is also a missing one: the misspelling is what the reader can see.
    first = min(details, key=lambda detail: detail["type"] != "extra_forbidden")
    rest = f" (and {len(details) - 1} more)" if len(details) > 1 else ""
    return f"{_sentence(cls, first)}{rest}"


def _sentence(cls: type[BaseModel], detail: ErrorDetails) -> str:
    loc = detail["loc"]
    path = ".".join(str(part) for part in _visible(cls, loc))
    kind = detail["type"]
    if kind == "extra_forbidden":
        names = _field_names_at(cls, loc[:-1])
        close = difflib.get_close_matches(str(loc[-1]), names, n=1)
        cure = f"did you mean '{close[0]}'?" if close else f"allowed: {', '.join(sorted(names))}"
        return f"{path}: unknown field; {cure}"
    if kind == "missing":
        return f"{path}: missing; this field has no default, add it"
    message = detail["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return f"{path}: {message}" if path else message
    return f"{path}: got {detail['input']!r}; {message[0].lower()}{message[1:]}"


def _visible(cls: type[BaseModel], loc: tuple[int | str, ...]) -> list[int | str]:
    """Path without the tags that a tagged union inserts."""
    shown: list[int | str] = []
    for i, part in enumerate(loc):
        last = i == len(loc) - 1
        if last or isinstance(part, int) or part in _field_names_at(cls, loc[:i]) or not shown:
            shown.append(part)
    return shown


def _field_names_at(cls: type[BaseModel], loc: tuple[int | str, ...]) -> list[str]:
    models: list[type[BaseModel]] = [cls]
    for part in loc:
        deeper: list[type[BaseModel]] = []
        for model in models:
            field = model.model_fields.get(str(part))
            deeper += _models_in(field.annotation) if field is not None else []
        # A tagged union puts the tag into the path: it names one of the candidates, not a field.
        models = deeper or models
    return sorted({name for model in models for name in model.model_fields})


def _models_in(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType, tuple, list, dict) or get_args(annotation):
        return [model for arg in get_args(annotation) for model in _models_in(arg)]
    return []
