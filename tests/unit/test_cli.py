from __future__ import annotations

import json
import logging
import math
import os
import subprocess
import sys
from pathlib import Path

import pytest
import typer

from spikeloop.codesign import cli, cli_output
from spikeloop.codesign.cli_study import exit_code, progress_display
from spikeloop.codesign.explore import ProgressEvent, StudySummary
from spikeloop.codesign.run_record import read_record, run_record, write_record
from spikeloop.simulator.config import shipped_files
from spikeloop.simulator.errors import INPUT_ERRORS, SimulationError, StudyError

COMMANDS = ("demo", "train", "export", "simulate", "explore", "report", "cost", "check")
HEAVY = ("torch", "numba", "numpy", "scipy", "matplotlib", "plotly", "pydantic", "networkx", "sklearn", "rich", "yaml")


def _failing(monkeypatch: pytest.MonkeyPatch, error: BaseException) -> int:
    """Exit code of ``check`` when its body raises ``error``."""

    def body(_: Path) -> str:
        raise error

    monkeypatch.setattr("spikeloop.codesign.cli_check.describe", body)
    return cli.main(["check", "anything"])


def test_help_imports_nothing_heavy() -> None:
    code = (
        "import sys; from spikeloop.codesign.cli import main; code = main(['--help']);"
        f"print([m for m in {HEAVY!r} if m in sys.modules], code, file=sys.stderr)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stderr.strip() == "[] 0"
    assert all(f"  {name} " in done.stdout for name in COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main([command, "--help"]) == 0
    assert f"Usage: spikeloop {command}" in capfd.readouterr().out


def test_no_command_shows_the_help(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main([]) == 0
    assert "Commands:" in capfd.readouterr().out


def test_version_is_printed(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["--version"]) == 0
    assert capfd.readouterr().out.startswith("spikeloop ")


@pytest.mark.parametrize("kind", INPUT_ERRORS)
def test_input_errors_end_with_2(
    kind: type[Exception], monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _failing(monkeypatch, kind("file.yaml: wrong\nsecond line")) == 2
    assert capfd.readouterr().err == "spikeloop: file.yaml: wrong\\nsecond line\n"


def test_control_characters_of_a_name_do_not_reach_the_terminal(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _failing(monkeypatch, INPUT_ERRORS[0]("no node '\x1b[31mred'")) == 2
    assert capfd.readouterr().err == "spikeloop: no node '\\x1b[31mred'\n"


@pytest.mark.parametrize(
    ("error", "code", "text"),
    [
        (SimulationError("the clock stopped"), 1, "the clock stopped"),
        (OSError(28, "No space left on device"), 1, "No space left"),
        (MemoryError(), 1, "not enough memory"),
        (KeyError("x"), 1, "this is a bug"),
        (KeyboardInterrupt(), 130, "interrupted"),
        (typer.Abort(), 130, "interrupted"),
    ],
)
def test_other_errors_have_their_own_code_and_no_traceback(
    error: BaseException, code: int, text: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    assert _failing(monkeypatch, error) == code
    err = capfd.readouterr().err
    assert text in err
    assert err.count("\n") == 1
    assert "Traceback" not in err


def _summary(**changes: object) -> StudySummary:
    fields = {
        "n_ok": 5,
        "n_infeasible": 1,
        "n_failed": 0,
        "n_missing": 0,
        "n_resumed": 0,
        "interrupted": False,
        "choice": None,
        "wall_s": 1.0,
    }
    return StudySummary(**{**fields, **changes})


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({}, 0),
        ({"n_failed": 1}, 3),
        ({"n_failed": 5, "n_ok": 0}, 1),
        ({"n_infeasible": 5, "n_ok": 0}, 1),
        ({"interrupted": True, "n_missing": 3}, 130),
        ({"interrupted": True, "n_failed": 1}, 130),
    ],
)
def test_study_exit_codes(changes: dict[str, object], code: int) -> None:
    assert exit_code(_summary(**changes)) == code


def test_progress_without_a_terminal_is_a_few_plain_lines(capfd: pytest.CaptureFixture[str]) -> None:
    seen: list[ProgressEvent] = []
    with progress_display(seen.append) as show:
        for done in range(1001):
            show(ProgressEvent(stage="points", done=done, total=1000, message="[red]"))
    out, err = capfd.readouterr()
    lines = err.splitlines()
    assert out == ""
    assert lines[-1] == "design points: 1000/1000 [red]"
    assert len(lines) <= 22
    assert len(seen) == 1001


def test_json_refuses_numbers_that_json_does_not_have() -> None:
    with pytest.raises(ValueError, match="not JSON compliant"):
        cli_output.emit_json({"x": math.nan})


def test_tables_align_numbers_to_the_right(capfd: pytest.CaptureFixture[str]) -> None:
    cli_output.emit_table(("name", "value"), [("a", "1"), ("long name", "-"), ("b", "1234567")])
    lines = capfd.readouterr().out.splitlines()
    assert lines[1] == "a                1"
    assert lines[3] == "b          1234567"
    assert len({len(line) for line in lines}) == 1


def test_logging_is_quiet_unless_asked(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SPIKELOOP_DEBUG", "")
    root = logging.getLogger()
    held, level = list(root.handlers), root.level
    try:
        cli_output.configure_logging(verbose=False, debug=False)
        logging.getLogger("spikeloop.test").info("hidden")
        cli_output.configure_logging(verbose=True, debug=False)
        logging.getLogger("spikeloop.test").info("shown")
    finally:
        root.handlers[:] = held
        root.setLevel(level)
    out, err = capfd.readouterr()
    assert out == ""
    assert "shown" in err
    assert "hidden" not in err


def test_run_record_says_what_ran_and_survives_the_disk(tmp_path: Path) -> None:
    record = run_record("simulate", key="k", seed=3)
    write_record(tmp_path, record)
    assert read_record(tmp_path) == record
    assert record["versions"]["spikeloop"]
    assert record["versions"]["numpy"]
    assert read_record(tmp_path / "absent") == {}


def test_damaged_run_record_is_named(tmp_path: Path) -> None:
    (tmp_path / "run_record.json").write_text('{"kind": "simu')
    with pytest.raises(StudyError, match=r"run_record\.json: not a run record"):
        read_record(tmp_path)


def test_cost_json_has_every_component_with_its_sources(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cost", "demo", "--json"]) == 0
    table = json.loads(capfd.readouterr().out)
    rows = {row["component"]: row for row in table["tile"]}
    assert table["technology"] == "rram_65nm"
    assert rows["adc"]["area_um2"] > 0
    assert all(row["sources"] for row in rows.values() if row["area_um2"] or any(row["energy_fJ"].values()))
    assert rows["adc"]["latency_ns"] > 0


@pytest.mark.parametrize(
    ("folder", "words"),
    [("scaling", "valid scaling table"), ("memories", "of 140 macros"), ("technology", "valid technology")],
)
def test_check_knows_the_tables_of_technologies(folder: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    for path in shipped_files(folder).values():
        assert cli.main(["check", str(path)]) == 0
        assert words in capfd.readouterr().out


def test_cost_comparison_states_its_ratios(capfd: pytest.CaptureFixture[str]) -> None:
    assert cli.main(["cost", "spikeflow_64", "--compare", "spikeflow_128"]) == 0
    text = capfd.readouterr().out
    assert "ratios are B / A" in text
    assert cli.main(["cost", "spikeflow_64", "--compare", "spikeflow_64", "--json"]) == 0
    same = json.loads(capfd.readouterr().out)
    assert {row["area_ratio"] for row in same["tile"]} <= {1.0, None}


def test_closed_pipe_ends_quietly() -> None:
    code = "import sys; from spikeloop.codesign.cli import main; sys.exit(main(['cost', 'demo']))"
    reader, writer = os.pipe()
    os.close(reader)
    done = subprocess.run([sys.executable, "-c", code], stdout=writer, stderr=subprocess.PIPE, text=True)
    os.close(writer)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "BrokenPipe" not in done.stderr
