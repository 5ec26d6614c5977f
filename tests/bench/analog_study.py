"""CPU seconds of analog reads on the field's reference layer, beside a matrix product per crossbar in torch.

Run: ``OMP_NUM_THREADS=1 python tests/bench/analog_study.py`` (a few minutes). Layer: conv 3x3, 128 -> 128, 16x16
outputs, batch 16, T = 4, random 5-bit weights. Medians of 5 runs, one thread unless said, after compilation. Wires are
solved anew, not taken from the cache on disk. Peak memory is that of a process of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1]))
from bench.bench_functional import reference_network
from networks import design, random_spikes

from spikeloop.simulator.config import HardwareConfig
from spikeloop.simulator.functional.analog import AnalogChip
from spikeloop.simulator.functional.chip_reads import ChipRun
from spikeloop.simulator.functional.crossbar import read_layer
from spikeloop.simulator.functional.geometry import layer_cells
from spikeloop.simulator.functional.run import calibrate_adc, run_functional
from spikeloop.simulator.mapping.tiles import MappedLayer, map_network

CELL = {
    "kind": "rram",
    "source": "study",
    "conductance_min_uS": 1.0,
    "conductance_max_uS": 100.0,
    "read_voltage_V": 0.2,
    "read_time_ns": 10.0,
    "programming_sigma_ratio": 0.05,
}


def spikes_of(density: float) -> np.ndarray:
    return (np.random.default_rng(1).random((4, 16, 128, 16, 16)) < density).astype(np.uint8)


def hardware(
    rows: int, cell_bits: int, adc_bits: int, *, noise: float | None = None, ohm: float = 0.0
) -> HardwareConfig:
    """Ideal cells unless ``noise`` (read noise, 0 for none) is given."""
    fields = design(rows=rows, cols=rows, cell_bits=cell_bits, adc_bits=adc_bits, columns_per_adc=8).resolved()
    if noise is not None:
        fields["crossbar"]["cell"] = {**CELL, "read_noise_ratio": noise}
    if ohm:
        fields["crossbar"]["wires"] = {"source": "study", "row_ohm": ohm, "column_ohm": ohm}
    return HardwareConfig.model_validate(fields)


def cpu_s(work: Callable[[], object], *, wall: bool = False) -> float:
    work()
    clock, times = time.perf_counter if wall else time.thread_time, []
    for _ in range(5):
        start = clock()
        work()
        times.append(clock() - start)
    return float(np.median(times))


def torch_per_crossbar(mapped: MappedLayer, spikes: np.ndarray, shift: int, code_max: int) -> np.ndarray:
    """The same sums by one matrix product a row block; chunks of one image keep them in near memory."""
    import torch

    torch.set_num_threads(1)
    cells = torch.from_numpy(layer_cells(mapped, 0).astype(np.float32))
    rows, scheme = mapped.rows_per_crossbar, mapped.scheme
    place = np.repeat([[1.0], [-1.0]], scheme.n_slices, axis=1) * 2.0 ** (np.arange(scheme.n_slices) * scheme.cell_bits)
    weight = torch.from_numpy(np.repeat(place.ravel(), 128).astype(np.float32)) * 2.0**shift
    out = []
    for image in spikes.reshape(-1, 128, 16, 16):
        windows = torch.nn.functional.unfold(torch.from_numpy(image[None].astype(np.float32)), 3, padding=1)[0].T
        total = torch.zeros(256, 128)
        for first in range(0, windows.shape[1], rows):
            sums = windows[:, first : first + rows] @ cells[first : first + rows]
            codes = torch.clamp(torch.floor(sums / 2.0**shift + 0.5), 0, code_max)
            total += (codes * weight).reshape(256, -1, 128).sum(dim=1)
        out.append(total.T)
    return torch.stack(out).numpy()


def vgg9() -> None:
    """Functional run of a whole network, per image in a batch of 16; untrained weights, about 15 % spikes, T = 5."""
    from spikeloop.models.random_export import random_network  # torch, which the memory figures leave out

    network = random_network("vgg9", seed=0, weight_bits=4, membrane_bits=8, n_timesteps=5)
    spikes = random_spikes(network, 16, 0)
    print("\n| VGG-9, 32x32x3, T = 5, 64x64, 1-bit cells, 4-bit ADC | CPU s an image | program, CPU s |")
    print("|---|---|---|")
    for label, noise in (("ideal cells", None), ("variation", 0.0), ("variation and read noise", 0.05)):
        hw = hardware(64, 1, 4, noise=noise)
        mapping = map_network(network, hw)
        chip = None if noise is None else AnalogChip(hw=hw, seed=0)
        start = time.thread_time()
        shift = calibrate_adc(network, mapping, hw, random_spikes(network, 2, 1), chip=chip)
        programmed = time.thread_time() - start

        def run(mapping=mapping, hw=hw, shift=shift, chip=chip) -> object:
            return run_functional(network, mapping, hw, spikes, adc_shift=shift, chip=chip)

        print(f"| {label} | {cpu_s(run) / 16:.3f} | {programmed:.2f} |", flush=True)


def peak_MB() -> float:
    """Of this process since it began; ``getrusage`` would count its parent's."""
    (line,) = (text for text in Path("/proc/self/status").read_text().splitlines() if text.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def memory(rows: int, cell_bits: int, bits: int, shift: int, noise: float | None) -> None:
    """Print what reading the layer adds to the peak of a process that has its packages, spikes and kernels."""
    network, spikes = reference_network(), spikes_of(0.15)
    hw = hardware(rows, cell_bits, bits, noise=noise)
    mapped = map_network(network, hw).layers[0]
    run = None if noise is None else ChipRun(chip=AnalogChip(hw=hw, seed=0), images=np.arange(16))
    read_layer(mapped, spikes[:, :1], adc_shift=shift, adc_bits=bits, run=run)
    before = peak_MB()
    read_layer(mapped, spikes, adc_shift=shift, adc_bits=bits, run=run)
    print(f"{peak_MB() - before:.0f} of {peak_MB():.0f}")


def main() -> None:
    os.environ["SPIKELOOP_WIRE_CACHE"] = "off"
    if len(sys.argv) > 1:
        rows, cell_bits, bits, shift, noise = sys.argv[1:]
        memory(int(rows), int(cell_bits), int(bits), int(shift), None if noise == "ideal" else float(noise))
        return
    network, spikes, images = reference_network(), spikes_of(0.15), np.arange(16)
    print("| case | CPU s | two threads, wall s |")
    print("|---|---|---|")
    for rows, cell_bits, bits, shift in ((64, 1, 4, 1), (128, 4, 6, 5)):
        name = f"{rows}x{rows}, {cell_bits}-bit cells, {bits}-bit ADC"
        for label, noise, ohm in (
            ("ideal cells", None, 0.0),
            ("variation", 0.0, 0.0),
            ("variation and read noise", 0.05, 0.0),
            ("variation, read noise, exact wires", 0.05, 1.0),
        ):
            hw = hardware(rows, cell_bits, bits, noise=noise, ohm=ohm)
            mapped = map_network(network, hw).layers[0]
            run = None if noise is None else ChipRun(chip=AnalogChip(hw=hw, seed=0), images=images)
            if run is not None:
                start = time.thread_time()
                run.chip.group_cells(mapped, 0, 0)
                label += f" (once: {time.thread_time() - start:.2f})"

            def read(threads: int = 1, run=run, mapped=mapped, shift=shift, bits=bits) -> object:
                return read_layer(mapped, spikes, adc_shift=shift, adc_bits=bits, run=run, n_threads=threads)

            print(f"| {name}: {label} | {cpu_s(read):.3f} | {cpu_s(lambda r=read: r(2), wall=True):.3f} |", flush=True)
        hw = hardware(rows, cell_bits, bits)
        mapped = map_network(network, hw).layers[0]
        mine = read_layer(mapped, spikes, adc_shift=shift, adc_bits=bits).psum.reshape(64, 128, 256)
        theirs = torch_per_crossbar(mapped, spikes, shift, 2**bits - 1)
        assert np.array_equal(mine, theirs), "the two do not compute the same"
        print(
            f"| {name}: torch, one product a row block, same sums | "
            f"{cpu_s(lambda m=mapped, s=shift, b=bits: torch_per_crossbar(m, spikes, s, 2**b - 1)):.3f} | |",
            flush=True,
        )
    print("\n| density | 64x64, 1-bit cells, 4-bit ADC | lossless (exact sums) | 128x128, 4-bit cells, 6-bit ADC |")
    print("|---|---|---|---|")
    for density in (0.01, 0.05, 0.15, 0.3, 0.6):
        some, cells = spikes_of(density), []
        for rows, cell_bits, bits, shift in ((64, 1, 4, 1), (64, 1, 7, 0), (128, 4, 6, 5)):
            mapped = map_network(network, hardware(rows, cell_bits, bits)).layers[0]
            cells.append(cpu_s(lambda m=mapped, s=shift, b=bits, x=some: read_layer(m, x, adc_shift=s, adc_bits=b)))
        print(f"| {100 * density:g} % | " + " | ".join(f"{value:.3f}" for value in cells) + " |", flush=True)
    vgg9()
    print("\n| layer read by one thread | added to the peak memory, MB |")
    print("|---|---|")
    for label, *given in (
        ("64x64, ideal cells", "64", "1", "4", "1", "ideal"),
        ("64x64, variation and read noise", "64", "1", "4", "1", "0.05"),
        ("128x128, ideal cells", "128", "4", "6", "5", "ideal"),
        ("128x128, variation and read noise", "128", "4", "6", "5", "0.05"),
    ):
        peak = subprocess.run([sys.executable, __file__, *given], check=True, capture_output=True, text=True).stdout
        print(f"| {label} | {peak.strip()} |", flush=True)


if __name__ == "__main__":
    main()
