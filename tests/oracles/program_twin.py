"""A whole run on the naive clock: every phase of a program, and the times of its images, steps and layers."""

from __future__ import annotations

from dataclasses import dataclass

from oracles.cycle_twin import TwinResult, run_twin

from spikeloop.simulator.phases import bind_phase, phases


@dataclass
class TwinRun:
    """Counters of a whole run, in the names of ``Trace``; ``phase_start`` and ``phase_end`` by (image, step, layer)."""

    total_cycles: int
    image_start: list[int]
    image_end: list[int]
    phase_start: dict[tuple[int, int, int], int]
    phase_end: dict[tuple[int, int, int], int]
    busy: list[int]
    stalled: list[int]
    stalled_by: list[int]
    waited: list[int]
    queue_peak: list[int]
    arrived: list[int]
    tokens: list[int]
    phases: list[TwinResult]


def run_program(program, activity) -> TwinRun:
    """Every phase, one after the other."""
    units, channels = len(program.unit_kind), len(program.channel_src)
    steps, layers = program.mapping.network.n_timesteps, len(program.mapping.layers)
    cubes = [{}, {}]
    run = TwinRun(
        *(0, [], [], *cubes, [0] * units, [0] * units, [-1] * units),
        *([0] * channels, [0] * channels, [0] * channels, [0] * units, []),
    )
    for phase in phases(program, activity.n_images):
        tables = bind_phase(program, activity, phase)
        result = run_twin(tables)
        assert not result.deadlock
        start, end = run.total_cycles, run.total_cycles + result.end
        if phase.image is None:
            add_pipelined_times(run, result, activity.n_images, steps, layers)
        else:
            if phase.image == len(run.image_end):
                run.image_start.append(start)
                run.image_end.append(0)
            run.image_end[phase.image] = end
            for step in range(steps) if phase.step is None else [phase.step]:
                if phase.layer >= 0:
                    run.phase_start[phase.image, step, phase.layer] = start
                    run.phase_end[phase.image, step, phase.layer] = end
        run.total_cycles = end
        add_counters(run, tables, result)
    for unit in range(units):
        own = [c for c in range(channels) if program.channel_src[c] == unit and run.waited[c] > 0]
        if own:
            run.stalled_by[unit] = min(own, key=lambda c: (-run.waited[c], c))
    return run


def add_counters(run, tables, result):
    run.phases.append(result)
    for i, unit in enumerate(tables.unit.tolist()):
        run.busy[unit] += result.busy[i]
        run.stalled[unit] += result.stalled[i]
        run.tokens[unit] += result.served[i]
    for i, channel in enumerate(tables.channel.tolist()):
        run.waited[channel] += result.waited[i]
        run.arrived[channel] += result.arrived[i]
        run.queue_peak[channel] = max(run.queue_peak[channel], result.queue_peak[i])


def add_pipelined_times(run, result, images, steps, layers):
    """Rows of the spans: of each layer (the input first) what runs once a step, then what runs once an image.

    What runs once an image belongs to its first step, or, where nothing runs once a step, to all its steps.
    """

    def span(layer, image, step):
        once_a_step = 2 * (layer + 1)
        groups = []
        if any(edge >= 0 for edge in result.span_start[once_a_step]):
            groups = [(once_a_step, image * steps + step)]
        if step == 0 or not groups:
            groups.append((once_a_step + 1, image))
        times = [(result.span_start[row][group], result.span_end[row][group]) for row, group in groups]
        times = [(start, end) for start, end in times if start >= 0]
        return min(start for start, _ in times), max(end for _, end in times)

    for image in range(images):
        run.image_start.append(span(-1, image, 0)[0])
        run.image_end.append(max(span(layers - 1, image, step)[1] for step in range(steps)))
        for step in range(steps):
            for layer in range(layers):
                key = (image, step, layer)
                run.phase_start[key], run.phase_end[key] = span(layer, image, step)
