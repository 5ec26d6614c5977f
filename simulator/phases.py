"""The tokens of every phase: measured activity bound to the program's units.

In ``layer_sequential`` a phase is one (image, step, layer), or one (image, layer) in ``layer_major``; a barrier
separates phases, and the network input has phases of its own. In ``layer_pipelined`` the whole run is one phase.
Tokens are ordered by image, then step and position (``layer_major``: position and step), then row group.
docs/machine.md states the formulas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

from .errors import SimulationError
from .functional.activity import Activity
from .machine.binding import Binder
from .program import Program
from .tables import PhaseTables


class Phase(NamedTuple):
    """Which work a phase does; None: all of them. Layer -1 is the network input."""

    image: int | None
    step: int | None
    layer: int | None


def phases(program: Program, n_images: int) -> Iterator[Phase]:
    """Every phase in execution order."""
    if program.hw.dataflow.order == "layer_pipelined":
        yield Phase(None, None, None)
        return
    mapping = program.mapping
    steps: tuple[int | None, ...] = tuple(range(mapping.network.n_timesteps))
    if program.hw.dataflow.loop == "layer_major":
        steps = (None,)
    for image in range(n_images):
        for step in steps:
            if not mapping.network.input.static or step in (None, 0):
                yield Phase(image, step, -1)
            for layer in range(len(mapping.layers)):
                yield Phase(image, step, layer)


def check_activity(program: Program, activity: Activity) -> None:
    """Refuse activity that was not made for this mapping.

    Raises:
        SimulationError: number of layers or the shape of a layer's active rows does not match.
    """
    layers = program.mapping.layers
    if len(activity.layers) != len(layers):
        raise SimulationError(f"activity of {len(activity.layers)} layers; the mapped network has {len(layers)}")
    for mapped, measured in zip(layers, activity.layers, strict=True):
        runs = 1 if mapped.layer.input.static else program.mapping.network.n_timesteps
        planes = mapped.layer.input.n_planes
        expected = (activity.n_images, runs, mapped.layer.n_positions, planes, mapped.n_row_groups)
        if measured.active_rows.shape != expected:
            raise SimulationError(
                f"activity of layer {mapped.layer.name} has shape {measured.active_rows.shape}; this mapping needs "
                f"{expected} (images, runs, positions, planes, row groups), run the functional part on this mapping"
            )


class PhaseBinder:
    """Makes the tables of phases; what does not depend on the spikes is made once."""

    def __init__(self, program: Program, activity: Activity) -> None:
        self._program = program
        self._binder = Binder(program, activity)

    def bind(self, phase: Phase) -> PhaseTables:
        """Units, queues, routes and tokens of one phase."""
        return self._binder.tables(phase.image, phase.step, phase.layer)


def bind_phase(program: Program, activity: Activity, phase: Phase) -> PhaseTables:
    """Tables of a single phase."""
    return PhaseBinder(program, activity).bind(phase)
