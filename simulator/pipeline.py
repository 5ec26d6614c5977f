"""The whole flow on one screen: network + design + spikes -> what it computes, when, and what it costs."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .analytic.estimate import estimate
from .analytic.summary import summarise
from .config import HardwareConfig
from .cost.technology import Technology, load_technology
from .cycle.run import Observer, run_cycles
from .cycle.trace import Trace
from .errors import DatasetError
from .functional.activity import Activity
from .functional.adc import LayerShift
from .functional.analog import AnalogChip, needs_chip
from .functional.density import random_activity
from .functional.outputs import Outputs
from .functional.run import calibrate_adc, run_functional
from .limits import check_memory
from .mapping import tiles
from .mapping.tiles import map_network
from .metrics import Accuracy, Metrics, measure, wilson_interval
from .network.graph import Network
from .network.spikes import SpikeTrain
from .program import Program, compile_program
from .usage import AdcUse, adc_use, lif_use

#: Share of spikes at which the time of a step is estimated.
NOMINAL_DENSITY = 0.15


@dataclass(frozen=True, kw_only=True, eq=False)
class Evaluation:
    """Everything that one evaluation found; ``outputs`` is None when spikes were drawn at random.

    ``correct``: (B,) whether each image was classified right, None without labels.
    """

    metrics: Metrics
    mapping: tiles.Mapping
    outputs: Outputs | None
    trace: Trace
    correct: NDArray[np.bool_] | None


def evaluate(
    network: Network,
    hw: HardwareConfig,
    spikes: SpikeTrain,
    *,
    seed: int,
    calibration: SpikeTrain | None = None,
    cycle_images: int = 1,
    adc_shift: Sequence[LayerShift] | None = None,
    chip: int = 0,
    n_threads: int = 1,
    technology: Technology | None = None,
    observers: Callable[[Program, Activity], tuple[Observer, ...]] | None = None,
    outputs: Outputs | None = None,
) -> Evaluation:
    """Accuracy on the simulated hardware and cost of one network on one design. Deterministic given ``seed``.

    Args:
        network: quantised network.
        hw: design.
        spikes: input codes, with labels if accuracy is wanted.
        seed: enters the record and every random draw (ideal hardware draws none).
        chip: which chip of the design; every chip has cells and ADCs of its own.
        n_threads: threads of the functional run; the result does not depend on them.
        calibration: images that set the ADC range where it follows from data; default ``spikes`` itself.
        cycle_images: images that the clock runs; energy and latency are their means.
        adc_shift: log2 of every layer's ADC lsb, if already known.
        technology: prices; default the one that ``hw`` names.
        observers: makes what sees every phase of the clock, e.g. a ``CriticalPath`` or a ``ChromeTrace``.
        outputs: the functional run, if it is known from a design that computes the same (``computed_fields``), on
            the same images; nothing is computed then.

    Raises:
        DatasetError: no images, or images that do not fit the network.
        ConfigError, NetworkError, MappingError: the inputs do not go together.
    """
    if spikes.n_images == 0:
        raise DatasetError(f"{spikes.name}: no images; give at least one")
    prices = technology if technology is not None else load_technology(hw.technology)
    mapping = map_network(network, hw)  # tiles, slices, placement
    largest = max(spikes.n_images, calibration.n_images if calibration else 0)
    check_memory(
        mapping,
        n_images=largest,
        cycle_images=min(cycle_images, spikes.n_images),
        pipelined=hw.dataflow.order == "layer_pipelined",
        recorded=observers is not None,
    )
    program = compile_program(mapping, hw)  # struct-of-arrays tables for the clock
    if outputs is None:
        silicon = AnalogChip(hw=hw, seed=seed, chip=chip) if needs_chip(hw) else None
        shift = adc_shift or calibrate_adc(network, mapping, hw, calibration or spikes, chip=silicon)  # ADC ranges
        outputs = run_functional(
            network,
            mapping,
            hw,
            spikes,
            adc_shift=shift,
            cycle_images=cycle_images,
            chip=silicon,
            n_threads=n_threads,
            step_ns=step_time_ns(mapping, hw),
        )
    seen = observers(program, outputs.activity) if observers else ()
    trace = run_cycles(program, outputs.activity, seen)  # when it happens
    correct = None if spikes.labels is None else outputs.predictions() == spikes.labels
    metrics = measure(  # cycles and counts x cost library
        trace,
        mapping,
        hw,
        prices,
        program=program,
        activity=outputs.activity,
        accuracy=accuracy_of(correct),
        seed=seed,
        adc_use=adc_use(outputs),
        by_lif=lif_use(outputs, network),
    )
    return Evaluation(metrics=metrics, mapping=mapping, outputs=outputs, trace=trace, correct=correct)


def simulate_density(
    network: Network,
    hw: HardwareConfig,
    density: float | Mapping[str, float],
    *,
    seed: int,
    n_images: int = 1,
    technology: Technology | None = None,
    observers: Callable[[Program, Activity], tuple[Observer, ...]] | None = None,
) -> Evaluation:
    """Cost under seeded random spikes of the given density: no functional run, accuracy null.

    Raises:
        ConfigError: density outside [0, 1].
        MappingError: the network cannot be placed, or the run would take too much memory.
    """
    prices = technology if technology is not None else load_technology(hw.technology)
    mapping = map_network(network, hw, exact=False)  # nothing is computed
    check_memory(
        mapping,
        n_images=n_images,
        cycle_images=n_images,
        pipelined=hw.dataflow.order == "layer_pipelined",
        recorded=observers is not None,
    )
    program = compile_program(mapping, hw)
    activity = random_activity(mapping, density, n_images=n_images, seed=seed)
    trace = run_cycles(program, activity, observers(program, activity) if observers else ())
    metrics = measure(
        trace,
        mapping,
        hw,
        prices,
        program=program,
        activity=activity,
        accuracy=accuracy_of(None),
        seed=seed,
        adc_use=(AdcUse(),) * len(mapping.layers),
    )
    return Evaluation(metrics=metrics, mapping=mapping, outputs=None, trace=trace, correct=None)


def step_time_ns(mapping: tiles.Mapping, hw: HardwareConfig) -> float | None:
    """Time of one step, as the analytic mode estimates it at 15 % spikes; None where nothing depends on it.

    Membranes must be computed before the clock can run, and the clock needs what they do.
    """
    if hw.neuron.memory.retention_time_ns is None and hw.neuron.capacitor_time_ns is None:
        return None
    steps = mapping.network.n_timesteps
    summary = summarise([item.layer for item in mapping.layers], steps, NOMINAL_DENSITY)
    return estimate(summary, hw).latency_cycles * hw.cycle_ns / steps


def accuracy_of(correct: NDArray[np.bool_] | None) -> Accuracy:
    """Accuracy record of per-image outcomes."""
    if correct is None:
        return Accuracy(value=None, n=0, ci95=None)
    n, k = int(correct.size), int(correct.sum())
    return Accuracy(value=k / n, n=n, ci95=wilson_interval(k, n))
