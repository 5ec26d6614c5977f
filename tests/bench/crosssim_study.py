"""Crossbar arithmetic and speed beside CrossSim (Sandia, 3.2.0), on the field's reference layer.

Run: ``PYTHONPATH=CROSS_SIM OMP_NUM_THREADS=1 python tests/bench/crosssim_study.py``, CROSS_SIM a checkout of
sandialabs/cross-sim. Both programs get the same weights, spikes, cell and ADC widths and ADC range; one thread, CPU
seconds.

CrossSim rounds a sum that lies half way between two codes to the even one, ours up. The table counts the outputs that
differ, and those that still differ when its range starts 1e-3 lsb lower, which sends such ties up as well.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.analog_study import CELL, hardware, spikes_of
from bench.bench_functional import reference_network
from networks import design

try:
    from simulator.parameters.core_parameters import BitSlicedCoreStyle, CoreStyle
    from simulator.parameters.xbar_parameters import ADCRangeLimits

    from simulator import AnalogCore, CrossSimParameters
except ImportError:
    sys.exit("crosssim_study: CrossSim is not on PYTHONPATH; check out sandialabs/cross-sim and put its folder there")

from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.functional.analog import AnalogChip
from spikeloop.simulator.functional.chip_reads import ChipRun
from spikeloop.simulator.functional.crossbar import read_layer
from spikeloop.simulator.mapping.tiles import map_network

LARGEST = 15  # of a 5-bit weight
TIES_UP = 1e-3  # lsb by which the range starts lower
#: CrossSim leaves the lowest of 32 levels of a cell unused and its result in units of the narrower range.
OFFSET_SCALE = 31 / 30


def core_of(
    weights: np.ndarray,
    *,
    rows: int,
    cell_bits: int,
    scheme: str,
    adc_bits: int,
    lsb: float,
    ties: float = 0.0,
    noise: float = 0.0,
    ohm: float = 0.0,
) -> AnalogCore:
    """(outputs, inputs) weights on CrossSim's arrays: a column and an ADC a sign and slice, range in cell codes.

    With ``noise`` or ``ohm`` the cells conduct 1 to 100 uS; without, the lowest conductance is 0.
    """
    p = CrossSimParameters()
    n_slices = 1 if scheme == "offset" else -(-4 // cell_bits)
    p.core.style = {"offset": CoreStyle.OFFSET}.get(scheme, CoreStyle.BALANCED)
    if n_slices > 1:
        p.core.style = CoreStyle.BITSLICED
        p.core.bit_sliced.style = BitSlicedCoreStyle.BALANCED
        p.core.bit_sliced.num_slices = n_slices
    p.core.balanced.subtract_current_in_xbar = False
    p.core.rows_max = p.core.cols_max = rows
    p.core.weight_bits = 5
    p.core.mapping.weights.min, p.core.mapping.weights.max = -LARGEST, LARGEST
    p.core.mapping.weights.percentile = None
    p.core.mapping.inputs.mvm.min, p.core.mapping.inputs.mvm.max = -1.0, 1.0
    p.xbar.device.cell_bits = cell_bits
    p.xbar.device.infinite_on_off_ratio = not (noise or ohm)
    p.xbar.device.Rmin, p.xbar.device.Rmax = 1e6 / CELL["conductance_max_uS"], 1e6 / CELL["conductance_min_uS"]
    if noise:
        p.xbar.device.read_noise.enable = True
        p.xbar.device.read_noise.model = "NormalProportionalDevice"
        p.xbar.device.read_noise.magnitude = noise
    if ohm:
        p.xbar.array.parasitics.enable = True
        p.xbar.array.parasitics.Rp_row = p.xbar.array.parasitics.Rp_col = ohm
    code = lsb / (2**cell_bits - 1)  # one lsb in conductances of which the largest is 1
    low, high = -ties * code, (2**adc_bits - 1 - ties) * code
    # Each assignment makes a new ``mvm`` out of the old one: it must be spelt out.
    p.xbar.adc.mvm.model = "QuantizerADC"
    p.xbar.adc.mvm.bits = adc_bits
    p.xbar.adc.mvm.signed = False
    p.xbar.adc.mvm.adc_range_option = ADCRangeLimits.CALIBRATED
    p.xbar.adc.mvm.calibrated_range = [[low, high]] * n_slices if n_slices > 1 else [low, high]
    return AnalogCore(weights.astype(np.float64), p)


def windows_of(spikes: np.ndarray) -> np.ndarray:
    """(images, C, 16, 16) -> (C * 9, images * 256), 3x3 with padding 1."""
    padded = np.pad(spikes, ((0, 0), (0, 0), (1, 1), (1, 1)))
    view = np.lib.stride_tricks.sliding_window_view(padded, (3, 3), axis=(2, 3))  # (images, C, 16, 16, 3, 3)
    return np.ascontiguousarray(view.transpose(1, 4, 5, 0, 2, 3).reshape(spikes.shape[1] * 9, -1))


def truth() -> None:
    network, spikes = reference_network(), spikes_of(0.15)[:1, :2]
    weights = network.node("conv").weight.reshape(128, -1)
    windows = windows_of(spikes[0]).astype(np.float64)
    print("| mapping | rows | ADC bits | lsb | outputs | differ | with ties sent up | clipped |")
    print("|---|---|---|---|---|---|---|---|")
    for scheme, rows, cell_bits in (
        ("differential", 128, 4),
        ("differential", 64, 1),
        ("differential", 64, 2),
        ("offset", 128, 5),
    ):
        for adc_bits in (4, 6, 8):
            for shift in (0, 1, 3):
                hw = design(
                    rows=rows, cols=rows, cell_bits=cell_bits, adc_bits=adc_bits, columns_per_adc=8, scheme=scheme
                )
                mapped = map_network(network, hw).layers[0]
                reads = read_layer(mapped, spikes, adc_shift=shift, adc_bits=adc_bits)
                mine = reads.psum.reshape(2, 128, 256).transpose(1, 0, 2).reshape(128, -1)
                differ = []
                for ties in (0.0, TIES_UP):
                    core = core_of(
                        weights,
                        rows=rows,
                        cell_bits=cell_bits,
                        scheme=scheme,
                        adc_bits=adc_bits,
                        lsb=2.0**shift,
                        ties=ties,
                    )
                    theirs = core.matmat(windows) * (OFFSET_SCALE if scheme == "offset" else 1.0)
                    differ.append(int((np.abs(theirs - mine) > 0.25).sum()))
                share = reads.clipped.sum() / reads.conversions.sum()
                print(
                    f"| {scheme}, {cell_bits}-bit cells | {rows} | {adc_bits} | {2**shift} | {mine.size} | "
                    f"{differ[0]} | {differ[1]} | {100 * share:.2f} % |",
                    flush=True,
                )


def cpu_s(work: Callable[[], object], times: int = 3) -> float:
    found = []
    for _ in range(times):
        start = time.process_time()
        work()
        found.append(time.process_time() - start)
    return float(np.median(found))


def speed() -> None:
    network, spikes, images = reference_network(), spikes_of(0.15), np.arange(16)
    weights = network.node("conv").weight.reshape(128, -1)
    windows = windows_of(spikes.reshape(64, 128, 16, 16)).astype(np.float32)
    n = windows.shape[1]
    print("\n| 128x128, 4-bit cells, 6-bit ADC | CrossSim, CPU s (windows run) | ours, CPU s | ratio |")
    print("|---|---|---|---|")
    for label, noise, ohm, some in (
        ("ideal cells", 0.0, 0.0, n),
        ("read noise", 0.05, 0.0, 256),
        ("wires of 1 ohm a cell", 0.0, 1.0, 16),
        ("read noise and wires", 0.05, 1.0, 16),
    ):
        core = core_of(weights, rows=128, cell_bits=4, scheme="differential", adc_bits=6, lsb=4.0, noise=noise, ohm=ohm)
        part = np.ascontiguousarray(windows[:, 5000 : 5000 + some] if some < n else windows)
        theirs = cpu_s(lambda c=core, x=part: c.matmat(x), 3 if some == n else 1) * n / some
        hw: HardwareConfig = hardware(128, 4, 6, noise=noise if noise or ohm else None, ohm=ohm)
        mapped = map_network(network, hw).layers[0]
        run = ChipRun(chip=AnalogChip(hw=hw, seed=0), images=images) if noise or ohm else None

        def read(mapped=mapped, run=run) -> object:
            return read_layer(mapped, spikes, adc_shift=2, adc_bits=6, run=run)

        read()  # compilation, and wires once per weights
        mine = cpu_s(read)
        ran = "all" if some == n else f"{some}, scaled"
        print(f"| {label} | {theirs:.3g} ({ran}) | {mine:.3f} | {theirs / mine:.3g} |", flush=True)


if __name__ == "__main__":
    truth()
    speed()
