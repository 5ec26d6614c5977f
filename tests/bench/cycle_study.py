"""What the clock costs: the tables of docs/results/cycle.md.

    OMP_NUM_THREADS=1 python tests/bench/cycle_study.py FOLDER

writes random networks of the zoo to FOLDER (``spikeloop export --random``) and prints the tables as Markdown. Every run
has a process of its own, so that its peak memory is its own; CPU seconds are those of the second of two runs.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

RUNS = (
    ("vgg9", 1, "spikeflow_64"),
    ("vgg9", 2, "spikeflow_64"),
    ("vgg9", 4, "spikeflow_64"),
    ("vgg9", 5, "spikeflow_64"),
    ("vgg9", 8, "spikeflow_64"),
    ("vgg9", 16, "spikeflow_64"),
    ("vgg9_wide", 5, "spikeflow_64"),
    ("vgg9", 5, "spikeflow_64_pipelined"),
    ("ms_resnet18", 4, "spikeflow_64"),
    ("ms_resnet18", 4, "spikeflow_64_pipelined"),
    ("sew_resnet18", 4, "spikeflow_64"),
)
#: Share of ones among the spikes of every layer.
DENSITY = 0.15


def export(folder: Path, name: str, n_timesteps: int) -> Path:
    """Network file of a random network; ``vgg9_wide`` has twice the channels."""
    path = folder / f"{name}_T{n_timesteps}.safetensors"
    if path.exists():
        return path
    from spikeloop.models import zoo
    from spikeloop.models.random_export import random_network
    from spikeloop.simulator.network.io import save_network

    if name == "vgg9_wide":
        zoo.ARCHITECTURES = {**zoo.ARCHITECTURES, name: widened(zoo.ARCHITECTURES["vgg9"], name)}
    save_network(random_network(name, seed=0, weight_bits=4, membrane_bits=8, n_timesteps=n_timesteps), path)
    return path


def widened(plan: Any, name: str) -> Any:
    """An architecture with twice the channels and features."""
    layers = []
    for layer in plan.layers:
        twice = {field: 2 * getattr(layer, field) for field in ("channels", "features") if hasattr(layer, field)}
        layers.append(replace(layer, **twice))
    return replace(plan, name=name, layers=tuple(layers))


def peak_MB() -> float:
    """Peak resident memory of this program (``getrusage`` would count what its parent held before it)."""
    lines = Path("/proc/self/status").read_text("utf-8").splitlines()
    return int(next(line for line in lines if line.startswith("VmHWM")).split()[1]) / 1024


def measure(path: Path, preset: str) -> dict[str, float]:
    """One run of one image in this process."""
    from spikeloop.simulator.config import load_hardware
    from spikeloop.simulator.cycle.run import run_cycles
    from spikeloop.simulator.functional.density import random_activity
    from spikeloop.simulator.mapping.tiles import map_network
    from spikeloop.simulator.network.io import load_network
    from spikeloop.simulator.program import compile_program

    hw = load_hardware(preset)
    mapping = map_network(load_network(path), hw)
    start = time.process_time()
    program = compile_program(mapping, hw)
    compiled = time.process_time()
    activity = random_activity(mapping, DENSITY, n_images=1, seed=0)
    run_cycles(program, activity)
    before = time.process_time()
    trace = run_cycles(program, activity)
    seconds = time.process_time() - before
    return {
        "compile_s": compiled - start,
        "run_s": seconds,
        "services": trace.token_services,
        "cycles": trace.total_cycles,
        "peak_MB": peak_MB(),
        "crossbar_reads": int(trace.action_counts["crossbar_read"].sum()),
        "conversions": int(trace.action_counts["adc_conversion"].sum()),
        "tiles": mapping.n_tiles,
        "units": program.n_units,
    }


def replication(path: Path) -> None:
    """More tiles for slow layers: pipelined, four images in a row."""
    from spikeloop.simulator.config import ChipConfig, load_hardware
    from spikeloop.simulator.cycle.run import run_cycles
    from spikeloop.simulator.functional.density import random_activity
    from spikeloop.simulator.mapping.tiles import map_network
    from spikeloop.simulator.network.io import load_network
    from spikeloop.simulator.program import compile_program

    network, preset = load_network(path), load_hardware("spikeflow_64_pipelined")
    print("| chip tiles | replicas of each layer | latency, cycles | interval, cycles | critical path |")
    print("|---|---|---|---|---|")
    for tiles in (145, 150, 160, 200, 256):
        dataflow = preset.dataflow.model_copy(update={"replication": "balanced"})
        hw = preset.model_copy(update={"chip": ChipConfig(tiles=tiles), "dataflow": dataflow})
        mapping = map_network(network, hw)
        activity = random_activity(mapping, DENSITY, n_images=4, seed=0)
        trace = run_cycles(compile_program(mapping, hw), activity)
        replicas = " ".join(str(item.n_replicas) for item in mapping.layers)
        reasons = "; ".join(line.sentence() for line in trace.path.bottlenecks()[:2])
        print(f"| {tiles} | {replicas} | {trace.latency_cycles:,.0f} | {trace.interval_cycles:,.0f} | {reasons} |")


def placement(paths: list[Path]) -> None:
    """Flits times links an image, and cycles, by placement."""
    from spikeloop.simulator.config import load_hardware
    from spikeloop.simulator.cycle.run import run_cycles
    from spikeloop.simulator.functional.density import random_activity
    from spikeloop.simulator.mapping.place import traffic_cost
    from spikeloop.simulator.mapping.tiles import map_network
    from spikeloop.simulator.mapping.traffic import network_traffic
    from spikeloop.simulator.network.io import load_network
    from spikeloop.simulator.program import compile_program

    preset = load_hardware("spikeflow_64")
    print("| network | placement | flit hops an image | cycles | map, CPU s |")
    print("|---|---|---|---|---|")
    for path in paths:
        network = load_network(path)
        for kind in ("row_major", "greedy", "annealed"):
            hw = preset.model_copy(update={"noc": preset.noc.model_copy(update={"placement": kind})})
            start = time.process_time()
            mapping = map_network(network, hw)
            seconds = time.process_time() - start
            cost = traffic_cost(mapping.placement, network_traffic(mapping.layers, hw, network.n_timesteps))
            activity = random_activity(mapping, DENSITY, n_images=1, seed=0)
            cycles = run_cycles(compile_program(mapping, hw), activity).total_cycles
            print(f"| {path.stem} | {kind} | {cost:,} | {cycles:,} | {seconds:.2f} |")


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--one", nargs=2, metavar=("FILE", "PRESET"))
    arguments = parser.parse_args()
    if arguments.one:
        print(json.dumps(measure(Path(arguments.one[0]), arguments.one[1])))
        return
    arguments.folder.mkdir(parents=True, exist_ok=True)
    print("| network | T | design | tiles | cycles | token services | CPU s | M services/s | compile s | peak MB |")
    print("|---|---|---|---|---|---|---|---|---|---|")
    for name, n_timesteps, preset in RUNS:
        path = export(arguments.folder, name, n_timesteps)
        command = [sys.executable, __file__, str(arguments.folder), "--one", str(path), preset]
        r = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
        print(
            f"| {name} | {n_timesteps} | {preset} | {r['tiles']} | {r['cycles']:,} | {r['services']:,} | "
            f"{r['run_s']:.2f} | {r['services'] / r['run_s'] / 1e6:.1f} | {r['compile_s']:.2f} | {r['peak_MB']:.0f} |"
        )
    print()
    replication(export(arguments.folder, "vgg9", 5))
    print()
    placement([export(arguments.folder, "vgg9", 5), export(arguments.folder, "ms_resnet18", 4)])


if __name__ == "__main__":
    main()
