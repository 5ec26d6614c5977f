"""YAML that says what it means: duplicate keys and YAML 1.1 traps are refused, with line numbers."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

from .errors import ConfigError

_MAX_BYTES = 4_000_000
_TRAP_WORDS = frozenset({"on", "off", "yes", "no", "y", "n"})
_EXPONENT = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)[eE][-+]?\d+")
_SEXAGESIMAL = re.compile(r"[-+]?[0-9]+(:[0-5]?[0-9])+(\.[0-9_]*)?")


class _StrictLoader(yaml.SafeLoader):
    """SafeLoader that refuses what a reader would misread."""


def _construct_mapping(loader: _StrictLoader, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
    seen: dict[Any, int] = {}
    for key_node, _ in node.value:
        key = loader.construct_object(key_node, deep=True)
        line = key_node.start_mark.line + 1
        if not isinstance(key, str):
            raise ConfigError(f"line {line}: key {key!r} is not text; write it in quotes")
        if key in seen:
            raise ConfigError(f"line {line}: key '{key}' is given twice (first on line {seen[key]}); keep one")
        seen[key] = line
    return yaml.SafeLoader.construct_mapping(loader, node, deep=deep)


def _construct_scalar(loader: _StrictLoader, node: yaml.ScalarNode) -> Any:
    line = node.start_mark.line + 1
    text = node.value
    if node.style is None:
        if text.lower() in _TRAP_WORDS:
            raise ConfigError(
                f"line {line}: '{text}' is a boolean to some YAML readers and text to others; "
                "write true, false or a quoted text"
            )
        if _EXPONENT.fullmatch(text):
            raise ConfigError(
                f"line {line}: {text} has an exponent, which YAML may read as text; write the plain decimal "
                "number (the unit set keeps exponents out of the files)"
            )
        if _SEXAGESIMAL.fullmatch(text):
            raise ConfigError(f"line {line}: {text} is a base-60 number to YAML; put it in quotes")
    try:
        value = yaml.SafeLoader.construct_object(loader, node)
    except ValueError as error:  # the thirteenth month, or a number of thousands of digits
        raise ConfigError(
            f"line {line}: {text[:40]} cannot be read ({error}); correct it or put it in quotes"
        ) from None
    if isinstance(value, float) and not math.isfinite(value):
        raise ConfigError(f"line {line}: {text} is not a finite number")
    return value


def _check_nodes(loader: _StrictLoader, node: yaml.Node, depth: int = 0) -> None:
    if depth > 40:
        raise ConfigError(f"line {node.start_mark.line + 1}: nested deeper than 40 levels")
    if isinstance(node, yaml.ScalarNode):
        _construct_scalar(loader, node)
    elif isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            _check_nodes(loader, key, depth + 1)
            _check_nodes(loader, value, depth + 1)
    elif isinstance(node, yaml.SequenceNode):
        for item in node.value:
            _check_nodes(loader, item, depth + 1)


_StrictLoader.add_constructor("tag:yaml.org,2002:map", _construct_mapping)


def parse_strict(text: str) -> Any:
    """Value of a YAML text.

    Raises:
        ConfigError: not YAML, a duplicate key, an alias, a tag, an exponent number, ``on``/``off``/``yes``/``no``,
            a non-finite number. The message starts with the line.
    """
    for token in _scan(text):
        if isinstance(token, yaml.AliasToken):
            raise ConfigError("YAML aliases (*name) are not accepted; write the value out")
        if isinstance(token, yaml.TagToken):
            line = token.start_mark.line + 1
            raise ConfigError(f"line {line}: YAML tags (!name) are not accepted; write the plain value")
    loader = _StrictLoader(text)
    try:
        node = loader.get_single_node()
        if node is None:
            return None
        _check_nodes(loader, node)
        return loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_sentence(error)) from None
    except RecursionError:
        raise ConfigError("nested deeper than 40 levels; a configuration file needs at most five") from None
    finally:
        loader.dispose()


def _scan(text: str) -> list[yaml.Token]:
    try:
        return list(yaml.scan(text, Loader=yaml.SafeLoader))
    except yaml.YAMLError as error:
        raise ConfigError(_yaml_sentence(error)) from None


def _yaml_sentence(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    where = f"line {mark.line + 1}: " if mark is not None else ""
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"{where}not valid YAML ({problem})"


def read_yaml(path: Path) -> dict[str, Any]:
    """Mapping stored in a YAML file.

    Raises:
        ConfigError: the file is missing, too large, not UTF-8, or not a strict YAML mapping.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise ConfigError(f"{path}: a device or a pipe; give the path of a YAML file")
    try:
        with path.open("rb") as stream:
            raw = stream.read(_MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read ({error.strerror}); give the path of a YAML file") from None
    if len(raw) > _MAX_BYTES:
        raise ConfigError(f"{path}: more than {_MAX_BYTES} bytes; that is no configuration file")
    try:
        value = parse_strict(raw.decode("utf-8"))
    except UnicodeDecodeError:
        raise ConfigError(f"{path}: not UTF-8 text; save it as UTF-8 YAML") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: holds {type(value).__name__}, expected a mapping of 'key: value' lines")
    return value
