"""The networks: a name, or a name with parameters, becomes the layers of teacher and student (``net.py``)."""

from __future__ import annotations

from types import MappingProxyType
from typing import Any, cast

from spikeloop.simulator.errors import NetworkError, closest
from spikeloop.simulator.network.graph import InputNode

from .network_spec import NetworkSpec, network_spec
from .plan import Architecture
from .recipes import RECIPES, Recipe, fitted_layers

#: Polarities of an event camera.
POLARITIES = 2
#: Pixels where an architecture of events is asked for static pixels.
_PIXEL_CHANNELS, _PIXEL_BITS = 3, 8
#: Ends of the parts of a title.
_UNITS = MappingProxyType({"bits": "bit", "classes": "classes", "width": "wide"})


def available_networks() -> tuple[str, ...]:
    """Names that ``architecture`` takes."""
    return tuple(RECIPES)


def architecture(network: str | NetworkSpec) -> Architecture:
    """Architecture of that name, or with those parameters.

    Raises:
        NetworkError: unknown name (the sentence lists the nearest and all of them), channels that do not go with
            events, or a width that leaves a layer without channels.
    """
    full = _in_full(network)
    recipe = RECIPES[full.name]
    size, channels, classes, bits = (cast("int", n) for n in (full.size, full.channels, full.classes, full.bits))
    return Architecture(
        name=_title(full),
        input=InputNode(
            name="input",
            shape=(channels, size, size),
            bits=bits,
            static=not full.events,
        ),
        layers=fitted_layers(recipe, size=size, width=full.width, classes=classes),
    )


def normal_form(network: str | NetworkSpec) -> str | NetworkSpec:
    """The one way to write a network: its bare name where every parameter is the default, else all of them.

    Equal networks so have equal hashes.

    Raises:
        NetworkError: as for ``architecture``.
    """
    full = _in_full(network)
    return full.name if full == _in_full(full.name) else full


def read_network(value: Any) -> str | NetworkSpec:
    """Network of a training file or study: a name, or a mapping with the fields of ``NetworkSpec``.

    Raises:
        NetworkError: neither, or as for ``architecture``.
    """
    if isinstance(value, dict):
        value = network_spec(value)
    if not isinstance(value, str | NetworkSpec):
        raise NetworkError(f"got {value!r}; give a name of the zoo, or {{name: vgg9, size: 64, classes: 200}}")
    return normal_form(value)


def changed(network: str | NetworkSpec, **parameters: Any) -> str:
    """The network with other parameters, as a training file says it: ``{name: vgg16, size: 64, classes: 200}``."""
    full = _in_full(network)
    kept = {**_differences(full), **parameters}
    if kept.get("events"):
        kept.pop("channels", None)
    found = _differences(_in_full(NetworkSpec(name=full.name, **kept)))
    return ", ".join(f"{key}: {str(value).lower()}" for key, value in {"name": full.name, **found}.items()).join("{}")


def _recipe(name: str) -> Recipe:
    if name not in RECIPES:
        close = closest(name, RECIPES)
        hint = f"did you mean '{close}'? " if close else ""
        raise NetworkError(f"network '{name}' is not in the zoo; {hint}available: {', '.join(RECIPES)}")
    return RECIPES[name]


def _in_full(network: str | NetworkSpec) -> NetworkSpec:
    """The network with every parameter written out."""
    spec = NetworkSpec(name=network) if isinstance(network, str) else network
    recipe = _recipe(spec.name)
    events = recipe.events if spec.events is None else spec.events
    channels, bits = (POLARITIES, 1) if events else (_PIXEL_CHANNELS, _PIXEL_BITS)
    if events == recipe.events:
        channels, bits = recipe.channels, recipe.bits
    if spec.channels is not None:
        channels = spec.channels
    if events and channels != POLARITIES:
        raise NetworkError(
            f"network {spec.name}: channels={channels} with events: true; events have the {POLARITIES} polarities of a "
            "camera, so leave channels out, or set events: false for static pixels"
        )
    return NetworkSpec(
        name=spec.name,
        size=recipe.size if spec.size is None else spec.size,
        channels=channels,
        classes=recipe.classes if spec.classes is None else spec.classes,
        events=events,
        bits=bits if spec.bits is None else spec.bits,
        width=spec.width,
    )


def _differences(full: NetworkSpec) -> dict[str, Any]:
    """Parameters that differ from those of the name alone, or of its form for events or pixels."""
    recipe = RECIPES[full.name]
    plain = _in_full(NetworkSpec(name=full.name, events=full.events))
    found = {name: value for name, value in full.resolved().items() if value != getattr(plain, name)}
    return found if full.events == recipe.events else {"events": full.events, **found}


def _title(full: NetworkSpec) -> str:
    """Name, and what differs from the default form: ``vgg16-3x64x64-200classes-0.5wide``."""
    found = _differences(full)
    parts = [full.name]
    if "size" in found or "channels" in found:
        parts.append(f"{full.channels}x{full.size}x{full.size}")
    if "events" in found:
        parts.append("events" if full.events else "pixels")
    parts += [f"{found[name]:g}{unit}" for name, unit in _UNITS.items() if name in found]
    return "-".join(parts)
