"""The tokens of every phase: measured activity bound to the program's units.

A phase is one (image, step, layer), or one (image, layer) in ``layer_major``; a barrier separates phases.
Tokens are ordered by position, then step, then row group. docs/machine.md states the formulas.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from .errors import SimulationError
from .functional.activity import Activity
from .mapping.tiles import MappedLayer
from .program import UNIT_KINDS, PhaseTables, Program

IntArray = NDArray[np.int64]

_PE_KINDS = (UNIT_KINDS.index("read"), UNIT_KINDS.index("convert"))
_PER_READ_KINDS = (UNIT_KINDS.index("fetch"), *_PE_KINDS, UNIT_KINDS.index("accumulate"))
_NEURON = UNIT_KINDS.index("neuron")
_POOL = UNIT_KINDS.index("pool")
_ACCUMULATE = UNIT_KINDS.index("accumulate")


class Phase(NamedTuple):
    """Which work a phase does; ``step`` is None where all steps run in one phase."""

    image: int
    step: int | None
    layer: int


class RowPart(NamedTuple):
    """Row blocks that a PE reads in lockstep; PEs of the same part see the same activity."""

    group: int
    first_row_block: int
    n_crossbars: int


def phases(program: Program, n_images: int) -> Iterator[Phase]:
    """Every phase in execution order."""
    mapping = program.mapping
    steps: tuple[int | None, ...] = tuple(range(mapping.network.n_timesteps))
    if program.hw.dataflow.loop == "layer_major":
        steps = (None,)
    for image in range(n_images):
        for step in steps:
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


def row_parts(mapped: MappedLayer) -> tuple[tuple[RowPart, ...], IntArray]:
    """Distinct row parts of a layer, ascending, and the part number of each PE."""
    of_pe = [RowPart(mapped.blocks[pe.block].group, pe.first_row_block, pe.n_crossbars) for pe in mapped.pes]
    parts = tuple(sorted(set(of_pe)))
    number = {part: i for i, part in enumerate(parts)}
    return parts, np.array([number[part] for part in of_pe], dtype=np.int64)


def mapped_crossbars(mapped: MappedLayer, part: RowPart) -> IntArray:
    """(reads,) crossbars of a part that hold mapped rows in each read."""
    blocks = range(part.first_row_block, part.first_row_block + part.n_crossbars)
    return np.array(
        [sum(mapped.rows_in_group(block, read) > 0 for block in blocks) for read in range(mapped.reads_per_vector)],
        dtype=np.int64,
    )


def driven_planes(program: Program, layer: int, active_rows: NDArray[np.uint16]) -> IntArray:
    """Planes driven, (parts, ..., positions, reads) int64, of active rows (..., positions, planes, row groups).

    ``none`` drives every plane of a read that has mapped rows, ``vector`` those of input vectors that are
    not all zero, ``row_group`` the planes in which any row of the part is active.
    """
    mapped = program.mapping.layers[layer]
    skipping = program.hw.dataflow.zero_skipping
    lead, planes = active_rows.shape[:-2], active_rows.shape[-2]
    split = (mapped.layer.n_groups, mapped.row_blocks, mapped.reads_per_vector)
    active = (active_rows > 0).reshape(*lead, planes, *split)
    parts, _ = row_parts(mapped)
    driven = np.zeros((len(parts), *lead, mapped.reads_per_vector), dtype=np.int64)
    for i, part in enumerate(parts):
        of_group = active[..., part.group, :, :]
        if skipping == "row_group":
            rows = of_group[..., part.first_row_block : part.first_row_block + part.n_crossbars, :]
            driven[i] = rows.any(axis=-2).sum(axis=-2)
            continue
        read = np.where(mapped_crossbars(mapped, part) > 0, planes, 0)
        driven[i] = read
        if skipping == "vector":
            driven[i] *= np.asarray(of_group.any(axis=(-3, -2, -1)))[..., None]
    return driven


class _Patterns:
    """Collects repeated values and says where each pattern starts."""

    def __init__(self, first: IntArray) -> None:
        self._pieces = [first]
        self._size = first.size

    def add(self, values: IntArray) -> int:
        start = self._size
        self._pieces.append(values)
        self._size += values.size
        return start

    def values(self) -> IntArray:
        return np.concatenate(self._pieces)


def bind_phase(program: Program, activity: Activity, phase: Phase) -> PhaseTables:
    """Units, queues and tokens of one phase.

    A layer with static input runs its crossbars at the first step only; later steps hold just its neurons,
    which then consume nothing.
    """
    mapped = program.mapping.layers[phase.layer]
    static = mapped.layer.input.static
    first, last = np.searchsorted(program.unit_layer, [phase.layer, phase.layer + 1])
    unit = np.arange(first, last, dtype=np.int64)
    if static and phase.step is not None and phase.step > 0:
        unit = unit[program.unit_kind[unit] >= _NEURON]
    channel = np.flatnonzero(np.isin(program.channel_src, unit))
    src = np.searchsorted(unit, program.channel_src[channel])
    dst = np.searchsorted(unit, program.channel_dst[channel])
    inner = program.mapping.network.n_timesteps if phase.step is None else 1
    runs = 1 if static else inner
    kind = program.unit_kind[unit]
    n_tokens = _token_counts(mapped, kind, inner, runs)
    service_start, service_period, service_values = _services(program, activity, phase, unit, n_tokens)
    flags = _Patterns(np.ones(1, dtype=np.int64))
    emit = _emissions(mapped, kind, inner, flags)
    consume = np.zeros((2, kind.size), dtype=np.int64)
    consume[1] = 1
    if static and inner > 1:
        # The held current arrives with the first of a position's steps.
        consume[:, kind == _NEURON] = [[flags.add(np.eye(1, inner, dtype=np.int64)[0])], [inner]]
    return PhaseTables(
        unit=unit,
        lanes=program.unit_lanes[unit],
        n_tokens=n_tokens,
        service_start=service_start,
        service_period=service_period,
        service_values=service_values,
        channel=channel,
        src=src,
        dst=dst,
        depth=program.channel_depth[channel],
        emit_start=emit[0, src],
        emit_period=emit[1, src],
        consume_start=consume[0, dst],
        consume_period=consume[1, dst],
        flag_values=flags.values(),
    )


def _token_counts(mapped: MappedLayer, kind: IntArray, inner: int, runs: int) -> IntArray:
    """(units,) tokens: a read each, a run of a position each, a step of a position each, or a packet each."""
    layer = mapped.layer
    sent = layer.sent_shape[1] * layer.sent_shape[2]
    per_kind = {
        **dict.fromkeys(_PER_READ_KINDS, layer.n_positions * runs * mapped.reads_per_vector),
        UNIT_KINDS.index("psum_link"): layer.n_positions * runs,
        _NEURON: layer.n_positions * inner,
        _POOL: layer.n_positions * inner,
        UNIT_KINDS.index("spike_link"): (sent if layer.pool else layer.n_positions) * inner,
    }
    counts = np.array([per_kind[code] for code in range(len(UNIT_KINDS))], dtype=np.int64)
    return counts[kind]


def _emissions(mapped: MappedLayer, kind: IntArray, inner: int, flags: _Patterns) -> IntArray:
    """(2, units) start and period of the emit flags: accumulators send a position's last row group only."""
    emit = np.zeros((2, kind.size), dtype=np.int64)
    emit[1] = 1
    reads = mapped.reads_per_vector
    if reads > 1:
        emit[:, kind == _ACCUMULATE] = [[flags.add(np.eye(1, reads, reads - 1, dtype=np.int64)[0])], [reads]]
    if mapped.layer.pool is not None:
        windows = np.repeat(window_ends(mapped), inner)
        emit[:, kind == _POOL] = [[flags.add(windows)], [windows.size]]
    return emit


def window_ends(mapped: MappedLayer) -> IntArray:
    """(positions,) 1 where a position, in raster order, completes a pooling window."""
    layer = mapped.layer
    if layer.pool is None:
        return np.ones(layer.n_positions, dtype=np.int64)
    pool = layer.pool

    def ends(length: int, windows: int) -> IntArray:
        flags = np.zeros(length, dtype=np.int64)
        flags[pool.kernel - 1 :: pool.stride][:windows] = 1
        return flags

    rows = ends(layer.out_shape[1], layer.sent_shape[1])
    columns = ends(layer.out_shape[2], layer.sent_shape[2])
    return np.outer(rows, columns).ravel()


def _services(
    program: Program, activity: Activity, phase: Phase, unit: IntArray, n_tokens: IntArray
) -> tuple[IntArray, IntArray, IntArray]:
    """Start, period and values of the service patterns."""
    kind = program.unit_kind[unit]
    base = program.base_cycles[unit]
    steps = program.step_cycles[unit]
    if phase.step is not None:
        base = base + steps[:, phase.step]
    start = np.arange(unit.size, dtype=np.int64)
    period = np.ones(unit.size, dtype=np.int64)
    values = _Patterns(np.maximum(base, 1))
    if phase.step is None:
        for i in np.flatnonzero(kind == _NEURON):
            start[i], period[i] = values.add(base[i] + steps[i]), steps.shape[1]
    at_pe = np.flatnonzero(np.isin(kind, _PE_KINDS))
    if at_pe.size:
        tokens = int(n_tokens[at_pe[0]])
        pe_values, row = _pe_services(program, activity, phase, unit[at_pe])
        start[at_pe] = values.add(pe_values.ravel()) + row * tokens
        period[at_pe] = tokens
    return start, period, values.values()


def _pe_services(program: Program, activity: Activity, phase: Phase, unit: IntArray) -> tuple[IntArray, IntArray]:
    """Service rows (rows, tokens) of read and convert units, and the row of each unit.

    A token costs ``driven * plane_cycles + (planes - driven) * skip_cycles``.
    """
    mapped = program.mapping.layers[phase.layer]
    active = activity.layers[phase.layer].active_rows[phase.image]
    # (runs, positions, planes, row groups) of this phase; tokens run over positions, then runs, then reads.
    driven = driven_planes(program, phase.layer, active if phase.step is None else active[[phase.step]])
    tokens = driven.swapaxes(1, 2).reshape(driven.shape[0], -1)
    _, part_of_pe = row_parts(mapped)
    pairs = np.stack([part_of_pe[program.unit_pe[unit]], program.plane_cycles[unit]])
    rows, row = np.unique(pairs, axis=1, return_inverse=True)
    skip = program.hw.dataflow.skip_cycles
    planes = mapped.layer.input.n_planes
    return planes * skip + tokens[rows[0]] * (rows[1][:, None] - skip), row.reshape(-1)
