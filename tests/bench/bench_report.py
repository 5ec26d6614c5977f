"""Report and front of a ledger of a million made-up points: CPU seconds and memory of one process.

``python tests/bench/bench_report.py N FOLDER`` makes the ledger (some minutes for a million) and prints what the report
costs; the benchmark itself takes 50,000 points.
"""

from __future__ import annotations

import resource
import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from synthetic_ledger import many_rows, synthetic_folder

from spikeloop.codesign.cli_study import write_outputs
from spikeloop.codesign.results import read_results

N_POINTS = 50_000
AXES = {
    "hw.crossbar.size": [32, 64, 128, 256],
    "hw.crossbar.cell_bits": [1, 2, 3, 4],
    "hw.adc.bits": [3, 4, 5, 6, 7, 8],
    "hw.adc.columns_per_adc": [2, 4, 8, 16, 32],
    "hw.tile.pes_per_tile": [2, 4, 8],
    "hw.neuron.lanes": [4, 8, 16, 32, 64],
    "hw.noc.flit_bits": [16, 32, 64, 128],
    "hw.noc.link_width_bits": [16, 32, 64, 128],
    "hw.dataflow.zero_skipping": ["none", "vector", "row_group"],
    "hw.dataflow.loop": ["layer_major", "timestep_major"],
    "hw.tile.crossbars_per_pe": [4, 9, 16],
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return synthetic_folder(tmp_path_factory.mktemp("study"), many_rows(N_POINTS, AXES), space=AXES)


def bench_report(benchmark, folder):
    benchmark.pedantic(write_outputs, args=(folder,), rounds=3)
    benchmark.extra_info["points"] = N_POINTS


def bench_view(benchmark, folder):
    benchmark.pedantic(read_results, args=(folder,), rounds=3)
    benchmark.extra_info["points"] = N_POINTS


def main() -> None:
    """Make the ledger where there is none, write its report, say what that cost."""
    n_points, folder = int(sys.argv[1]), Path(sys.argv[2])
    if not (folder / "ledger.sqlite").is_file():
        synthetic_folder(folder, many_rows(n_points, AXES), space=AXES)
        print("ledger made; run again to measure the report alone")
        return
    wall_s, cpu_s = time.perf_counter(), time.process_time()
    results = write_outputs(folder)
    wall_s, cpu_s = time.perf_counter() - wall_s, time.process_time() - cpu_s
    view = results.view
    assert view is not None
    peak_MB = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    size_MB = (folder / "report.html").stat().st_size / 1e6
    print(
        f"{view.n_points} points, {len(view.front)} on the front, {len(view.rows)} shown one by one: "
        f"CPU {cpu_s:.1f} s, wall {wall_s:.1f} s, peak memory {peak_MB:.0f} MB, report {size_MB:.1f} MB"
    )


if __name__ == "__main__":
    main()
