"""The report of a study that another process is writing."""

from __future__ import annotations

import csv
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from spikeloop.codesign.ledger import is_unwritten, open_ledger

pytestmark = pytest.mark.e2e


def test_front_and_report_can_be_had_at_any_time(tmp_path: Path) -> None:
    """The sweep stops after 50 of 200 points, its ledger open, until the report of these has been written."""
    out, go = tmp_path / "out", tmp_path / "go"
    code = (
        "import sys, time, pathlib; from spikeloop.codesign import analytic_stage, search\n"
        "price, go = analytic_stage.price_points, pathlib.Path(sys.argv.pop(1))\n"
        "def slow(jobs):\n"
        "    while jobs[0].index >= 50 and not go.exists(): time.sleep(0.05)\n"
        "    return price(jobs)\n"
        "search.price_points = slow; search.TASK_POINTS = 10; search.COMMIT_POINTS = 10\n"
        "from spikeloop.codesign.cli import main; sys.exit(main(sys.argv[1:]))"
    )
    path = tmp_path / "sweep.yaml"
    path.write_text(SWEEP)
    command = [sys.executable, "-c", code, str(go), "explore", str(path), "--out", str(out)]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as driver:
        end = time.monotonic() + 120
        while is_unwritten(out / "ledger.sqlite") or finished(out) < 50:
            assert driver.poll() is None, "the study ended before it was looked at"
            assert time.monotonic() < end, "the study does not begin"
            time.sleep(0.05)
        try:
            assert report(out) == 50
            assert driver.poll() is None
        finally:
            go.touch()
        assert driver.wait(timeout=120) == 0
    assert finished(out) == report(out) == 200


def finished(out: Path) -> int:
    with open_ledger(out / "ledger.sqlite") as ledger:
        return len(ledger.keys())


def report(out: Path) -> int:
    """Write the report by the command, as a user would; returns how many points it shows."""
    command = [
        sys.executable,
        "-c",
        "import sys; from spikeloop.codesign.cli import main; sys.exit(main(sys.argv[1:]))",
    ]
    done = subprocess.run([*command, "report", str(out)], capture_output=True, text=True, env=os.environ, check=False)
    assert done.returncode == 0, done.stderr
    with (out / "front.csv").open() as stream:
        assert len(list(csv.DictReader(stream))) >= 1
    text = (out / "report.html").read_text("utf-8").rsplit('id="shown">', 1)[1]
    return int(text.split(" ", 1)[0].replace(",", ""))


SWEEP = """
schema_version: 1
name: slow
stage: analytic
network: {random: demo}
hardware: demo
space:
  hw.adc.bits: {range: [3, 7]}
  hw.crossbar.size: {log2: [16, 128]}
  hw.noc.flit_bits: [16, 32]
  hw.neuron.lanes: [1, 2, 4, 8, 16]
objectives:
  - {metric: energy_fJ, goal: min}
  - {metric: area_um2, goal: min}
"""
