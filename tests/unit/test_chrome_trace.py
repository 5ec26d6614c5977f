"""The drawn trace: its spans add up to the counters, windows cut, the cap counts what it leaves out."""

from __future__ import annotations

import gzip
import json
from collections import Counter

import numpy as np
import pytest
from oracles.cycle_cases import random_machine

from spikeloop.simulator.cycle.chrome import ChromeTrace, TraceWindow
from spikeloop.simulator.cycle.path import CriticalPath
from spikeloop.simulator.cycle.run import run_cycles
from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.machine.units import KIND


def machine(seed):
    return random_machine(np.random.default_rng(seed))


def traced(seed, window=None, activity_too=True):
    program, activity = machine(seed)
    chrome = ChromeTrace(program, window, activity if activity_too else None)
    return program, run_cycles(program, activity, (chrome,)), chrome


def sums(program, chrome, category):
    found = np.zeros(program.n_units, dtype=np.int64)
    for event in chrome.events:
        if event.get("cat") == category:
            found[event["tid"] - 1] += event["dur"]
    return found


def test_spans_add_up_to_the_counters_in_every_dataflow():
    seen: Counter[str] = Counter()
    for seed in range(30):
        program, trace, chrome = traced(seed)
        assert not chrome.left_out
        assert sums(program, chrome, "busy").tolist() == trace.busy.tolist()
        assert sums(program, chrome, "stall").tolist() == trace.stalled.tolist()
        seen[program.hw.dataflow.order] += 1
        seen[program.hw.dataflow.loop] += 1
        seen["stalled"] += bool(trace.stalled.any())
        seen["links"] += program.n_links > 0
        seen["replicas"] += any(item.n_replicas > 1 for item in program.mapping.layers)
    assert min(seen.values()) >= 4, seen
    assert len(seen) == 7


def test_a_window_of_cycles_cuts_spans_at_its_ends():
    for seed in (0, 1, 2, 5):
        program, trace, whole = traced(seed)
        first, last = trace.total_cycles // 3, 2 * trace.total_cycles // 3
        _, _, part = traced(seed, TraceWindow(first_cycle=first, last_cycle=last))
        expected = np.zeros(program.n_units, dtype=np.int64)
        for event in whole.events:
            if event.get("cat") == "busy":
                begin, end = event["ts"], event["ts"] + event["dur"]
                expected[event["tid"] - 1] += max(0, min(end, last) - max(begin, first))
        assert sums(program, part, "busy").tolist() == expected.tolist()
        assert all(first <= event["ts"] < last for event in part.events if event["ph"] == "X")


def test_windows_of_steps_part_the_trace():
    for seed in range(12):
        program, trace, _ = traced(seed)
        steps = program.mapping.network.n_timesteps
        parts = [traced(seed, TraceWindow(first_step=step, last_step=step + 1))[2] for step in range(steps)]
        total = sum(sums(program, part, "busy") for part in parts)
        assert total.tolist() == trace.busy.tolist()
        for step, part in enumerate(parts):
            shown = {event["args"]["step"] for event in part.events if event.get("cat") == "busy"}
            assert shown <= {step}


def test_the_cap_counts_what_it_leaves_out():
    _, _, whole = traced(3, activity_too=False)
    _, _, capped = traced(3, TraceWindow(max_events=40), activity_too=False)
    assert len(capped.events) == 40
    assert capped.left_out["cap"] == len(whole.events) - 40
    assert capped.content()["otherData"]["left_out"] == {"cap": len(whole.events) - 40}


def test_positions_and_images_of_spans_cover_the_layer():
    """Every position of the first layer is fetched once a row group, run and image, at the step it says."""
    for seed in range(8):
        program, activity = machine(seed)
        chrome = ChromeTrace(program, None, activity)
        run_cycles(program, activity, (chrome,))
        mapped = program.mapping.layers[0]
        runs = 1 if mapped.layer.input.static else program.mapping.network.n_timesteps
        for replica in range(mapped.n_replicas):
            units = [u for u in program.units_of("fetch", 0) if program.unit_replica[u] == replica]
            for unit in units:
                places = sorted(
                    tuple(event["args"][key] for key in ("image", "step", "position", "row_group"))
                    for event in chrome.events
                    if event.get("cat") == "busy" and event["tid"] == unit + 1
                )
                wanted = sorted(
                    (image, step, int(position), read)
                    for image in range(activity.n_images)
                    for step in range(runs)
                    for position in mapped.positions(replica)
                    for read in range(mapped.reads_per_vector)
                )
                assert places == wanted


def test_queue_counters_never_exceed_the_peaks():
    _, trace, chrome = traced(4)
    held = [event for event in chrome.events if event["ph"] == "C" and event["name"].startswith("queue")]
    assert held
    assert max(event["args"]["held"] for event in held) <= trace.queue_peak.max()
    assert min(event["args"]["held"] for event in held) >= 0


def test_the_file_loads_and_names_every_process_and_thread(tmp_path):
    program, _, chrome = traced(1)
    path = tmp_path / "trace.json.gz"
    chrome.write(path)
    content = json.loads(gzip.decompress(path.read_bytes()))
    events = content["traceEvents"]
    named = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    assert {(event["pid"], event["tid"]) for event in events if event["ph"] != "M"} == named
    processes = {event["args"]["name"] for event in events if event["name"] == "process_name"}
    assert "network input" in processes
    assert "tile 0" in processes
    assert content["otherData"]["run_cycles"] == chrome.run_cycles
    chrome.write(tmp_path / "again.json.gz")
    assert (tmp_path / "again.json.gz").read_bytes() == path.read_bytes()
    plain = tmp_path / "trace.json"
    chrome.write(plain)
    assert json.loads(plain.read_text("utf-8")) == content
    assert program.unit_name(0) in {event["args"]["name"] for event in events if event["name"] == "thread_name"}


def test_a_window_outside_the_run_is_refused_and_writes_nothing(tmp_path):
    _, trace, chrome = traced(0, TraceWindow(first_cycle=10**9))
    with pytest.raises(ConfigError, match=f"the run has {trace.total_cycles} cycles; begin below that"):
        chrome.write(tmp_path / "trace.json")
    _, _, late = traced(0, TraceWindow(first_step=99))
    with pytest.raises(ConfigError, match=r"the network has \d time steps"):
        late.write(tmp_path / "trace.json")
    assert list(tmp_path.iterdir()) == []
    for wrong in ({"first_cycle": 5, "last_cycle": 5}, {"first_step": -1}, {"max_events": 0}):
        with pytest.raises(ConfigError, match="allowed"):
            TraceWindow(**wrong)


def test_the_critical_path_explains_every_cycle():
    seen: Counter[str] = Counter()
    for seed in range(80):
        program, activity = machine(500 + seed)
        path = CriticalPath(program)
        trace = run_cycles(program, activity, (path,))
        assert path.unexplained == 0
        assert path.busy.sum() + path.wait.sum() == trace.total_cycles
        assert path.layer_cycles().sum() == trace.total_cycles
        # An interface or link is also charged while its packet is under way to a far end.
        computing = program.unit_kind < KIND["inject"]
        assert (path.busy <= trace.busy)[computing].all()
        lines = path.bottlenecks()
        assert sum(line.busy + line.wait for line in lines) == trace.total_cycles
        seen[program.hw.dataflow.order] += 1
        seen["waits"] += bool(path.wait.any())
        seen[lines[0].kind] += 1
    assert seen["layer_sequential"] >= 10
    assert seen["layer_pipelined"] >= 10
    assert seen["waits"] >= 10
    assert len(seen) >= 7, seen
