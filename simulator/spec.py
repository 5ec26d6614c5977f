"""Base of every record that is read from YAML, and how its errors become one sentence."""

from __future__ import annotations

import hashlib
import json
import types
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

from pydantic import BaseModel, ConfigDict, ValidationError
from pydantic_core import ErrorDetails

from .errors import ConfigError, name_cure


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


def first_difference(there: Any, here: Any, path: str = "") -> str:
    """Where two resolved records part, e.g. ``hardware.adc.bits is 5 there and 6 here``."""
    if isinstance(there, dict) and isinstance(here, dict):
        for name in dict.fromkeys((*there, *here)):
            inner = f"{path}.{name}" if path else str(name)
            if name not in there or name not in here:
                return f"{inner} is given only {'there' if name in there else 'here'}"
            if there[name] != here[name]:
                return first_difference(there[name], here[name], inner)
    return f"{path} is {_short(there)} there and {_short(here)} here"


def _short(value: Any) -> str:
    text = str(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


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
    shown, _ = _follow(cls, loc)
    path = ".".join(str(part) for part in shown)
    kind = detail["type"]
    if kind == "extra_forbidden":
        names = _field_names(_follow(cls, loc[:-1])[1])
        return f"{path}: unknown field; {name_cure(str(loc[-1]), sorted(names))}"
    if kind == "missing":
        return f"{path}: missing; this field has no default, add it"
    message = detail["msg"].removeprefix("Value error, ")
    if kind == "value_error":
        return f"{path}: {message}" if path else message
    if kind == "union_tag_invalid":
        context = detail["ctx"]
        field = str(context["discriminator"]).strip("'")
        return f"{path}.{field}: got '{context['tag']}'; allowed: {str(context['expected_tags']).replace(chr(39), '')}"
    return f"{path}: got {detail['input']!r}; {message[0].lower()}{message[1:]}"


def _follow(cls: type[BaseModel], loc: tuple[int | str, ...]) -> tuple[list[int | str], list[Any]]:
    """A path without what pydantic inserts (tags of unions, marks of keys), and the types that stand at its end."""
    shown: list[int | str] = []
    kinds: list[Any] = [cls]
    for i, part in enumerate(loc):
        plain = [item for kind in kinds for item in _alternatives(kind)]
        models = [item for item in plain if isinstance(item, type) and issubclass(item, BaseModel)]
        inner = [get_args(item)[-1] for item in plain if get_origin(item) in (dict, list) and get_args(item)]
        fields = [model.model_fields[str(part)].annotation for model in models if str(part) in model.model_fields]
        if part == "[key]":
            continue
        tagged = [model for model in models if _has_tag(model, str(part))] if not (fields or inner) else []
        if tagged or not (isinstance(part, int) or fields or inner or not shown or i == len(loc) - 1):
            # A tagged union puts the tag into the path: it names one of the candidates, not a field.
            kinds = tagged or models
        else:
            shown.append(part)
            kinds = fields or inner or kinds
    return shown, kinds


def _has_tag(model: type[BaseModel], tag: str) -> bool:
    return any(get_args(field.annotation) == (tag,) for field in model.model_fields.values())


def _field_names(kinds: list[Any]) -> list[str]:
    models = [item for kind in kinds for item in _alternatives(kind)]
    return sorted({name for item in models for name in getattr(item, "model_fields", ())})


def _alternatives(annotation: Any) -> list[Any]:
    """Members of a union, without annotations."""
    if get_origin(annotation) in (Union, types.UnionType):
        return [item for arg in get_args(annotation) for item in _alternatives(arg)]
    if get_origin(annotation) is Annotated:
        return _alternatives(get_args(annotation)[0])
    return [annotation]
