"""What a user can get wrong: exit code 2, one sentence naming file and field, nothing written."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from safetensors.numpy import load_file, save_file

from spikeloop.codesign.cli import main
from spikeloop.models.random_export import random_network
from spikeloop.simulator.config import shipped_files
from spikeloop.simulator.network.io import save_network

pytestmark = pytest.mark.e2e

HARDWARE = shipped_files("accelerators")["demo"].read_text()
TEACHER = {"role": "teacher", "dataset": "digits", "network": "demo", "epochs": 1, "lr": 0.01}
STUDENT = {**TEACHER, "role": "student", "quantisation": {"weight_bits": 3, "membrane_bits": 4}}
STUDY = {
    "name": "small",
    "hardware": "demo",
    "teacher": TEACHER,
    "student": STUDENT,
    "space": {"hw.adc.bits": [4, 5]},
}


@pytest.fixture(scope="module")
def network_bytes(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    path = tmp_path_factory.mktemp("network") / "net.safetensors"
    save_network(random_network("demo", seed=0, weight_bits=3, membrane_bits=4), path)
    return path.read_bytes()


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, network_bytes: bytes) -> Path:
    """Working directory with a good network, design, study and training file."""
    (tmp_path / "net.safetensors").write_bytes(network_bytes)
    (tmp_path / "hw.yaml").write_text(HARDWARE)
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(STUDY))
    (tmp_path / "student.yaml").write_text(yaml.safe_dump(STUDENT))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def _tree(folder: Path) -> dict[str, bytes]:
    """Every file but the two that SQLite itself makes beside a ledger that is read."""
    found = [path for path in sorted(folder.rglob("*")) if not path.name.endswith(("-shm", "-wal"))]
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else b"" for path in found}


def _refused(folder: Path, capfd: pytest.CaptureFixture[str], *command: str) -> str:
    """The one sentence with which a command was refused; checks exit code, streams and files."""
    before = _tree(folder)
    code = main(command)
    out, err = capfd.readouterr()
    assert code == 2, err
    assert out == ""
    assert len(err.splitlines()) == 1, err
    assert err.startswith("spikeloop: ")
    assert "Traceback" not in err
    assert _tree(folder) == before
    return err


def _replaced(text: str, old: str, new: str) -> str:
    assert text.count(old) == 1
    return text.replace(old, new)


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("  rows: 64", "  row: 64", ("crossbar.row", "unknown field", "'rows'")),
        ("  rows: 64", "  rows: 0", ("crossbar.rows", "0", "greater than or equal to 1")),
        ("  bits: 5", "  bits: 99", ("adc", "bits", "99", "less than or equal to 14")),
        ("  cols: 64", "  cols: 65", ("crossbar.cols=65", "adc.columns_per_adc=8", "choose a divisor")),
        ("clock_GHz: 0.25", "clock_GHz: 1e-9", ("1e-9", "line", "plain decimal")),
        ("name: demo", "name: on", ("'on'", "line", "quoted")),
        ("  cell_bits: 1", "  cell_bits: 1\n  cell_bits: 2", ("'cell_bits'", "twice", "line")),
        ("technology: rram_65nm", "technology: rram_66nm", ("rram_66nm", "rram_65nm")),
        ("clock_GHz: 0.25", "clock_GHz: .nan", ("line", "not a finite number")),
        ("  kind: uniform", "  kind: flash", ("adc", "flash", "uniform")),
    ],
)
@pytest.mark.parametrize("command", ["check", "cost", "simulate"])
def test_wrong_design_is_refused(
    folder: Path, capfd: pytest.CaptureFixture[str], command: str, old: str, new: str, words: tuple[str, ...]
) -> None:
    (folder / "hw.yaml").write_text(_replaced(HARDWARE, old, new))
    commands = {
        "check": ("check", "hw.yaml"),
        "cost": ("cost", "hw.yaml"),
        "simulate": ("simulate", "net.safetensors", "--hw", "hw.yaml", "--density", "0.1", "--out", "result"),
    }
    sentence = _refused(folder, capfd, *commands[command])
    assert all(word in sentence for word in (*words, *(() if "rram_66nm" in new else ("hw.yaml",))))


PRICES = shipped_files("technology")["rram_65nm"].read_text()


@pytest.mark.parametrize(
    ("old", "new", "words"),
    [
        ("\nnode_nm: 65\n", "\nnode_nm: 5\n", ("prices.yaml", "node_nm=5", "7 to 130 nm")),
        (
            "{value: 1.0, source: spikeloop assumption",
            "{value: 1.8, source: spikeloop assumption",
            ("vdd_V=1.8", "1.32 V"),
        ),
        ("  register_fJ_per_bit:", "  register_fJ:", ("prices.yaml", "logic.register_fJ", "register_fJ_per_bit")),
        ("column_mux:", "column_muxes:", ("prices.yaml", "column_muxes", "unknown field", "column_mux")),
        ("    fit: cim", "    fit: cims", ("prices.yaml", "adc.sar.fit", "cims", "survey")),
        ("    bits_max: 11", "    bits_max: 4", ("adc.sar", "an ADC of 5 bits", "1 to 4", "extrapolate: true")),
        ("table: cacti7_lstp", "table: cacti7", ("prices.yaml", "sram.table", "cacti7_lstp")),
    ],
)
def test_wrong_technology_is_refused(
    folder: Path, capfd: pytest.CaptureFixture[str], old: str, new: str, words: tuple[str, ...]
) -> None:
    (folder / "hw.yaml").write_text(_replaced(HARDWARE, "technology: rram_65nm", "technology: prices.yaml"))
    (folder / "prices.yaml").write_text(_replaced(PRICES, old, new))
    sentence = _refused(folder, capfd, "simulate", "net.safetensors", "--hw", "hw.yaml", "--density", "0.1")
    assert all(word in sentence for word in words), sentence


def test_extrapolated_adc_is_priced_and_named_in_the_report(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    narrow = _replaced(PRICES, "    bits_max: 11", "    bits_max: 4")
    (folder / "prices.yaml").write_text(_replaced(narrow, "\nnode_nm: 65\n", "\nnode_nm: 65\nextrapolate: true\n"))
    (folder / "hw.yaml").write_text(_replaced(HARDWARE, "technology: rram_65nm", "technology: prices.yaml"))
    assert main(("simulate", "net.safetensors", "--hw", "hw.yaml", "--density", "0.1", "--json")) == 0
    warnings = json.loads(capfd.readouterr().out)["warnings"]
    assert "adc.sar is extrapolated: got an ADC of 5 bits, the fit holds for 1 to 4" in warnings


def test_truncated_network_is_refused(folder: Path, capfd: pytest.CaptureFixture[str], network_bytes: bytes) -> None:
    for length in (0, 7, 100, len(network_bytes) // 2, len(network_bytes) - 1):
        (folder / "net.safetensors").write_bytes(network_bytes[:length])
        sentence = _refused(folder, capfd, "simulate", "net.safetensors", "--hw", "demo", "--density", "0.1")
        assert "net.safetensors" in sentence
        assert "not a whole safetensors file" in sentence


def test_network_of_another_schema_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = folder / "net.safetensors"
    save_file(load_file(path), path, metadata={"format": "spikeloop-network", "schema": "7", "network": "{}"})
    sentence = _refused(folder, capfd, "simulate", "net.safetensors", "--hw", "demo", "--density", "0.1")
    assert "net.safetensors" in sentence
    assert "schema 7" in sentence
    assert "schema 1" in sentence


def test_tensors_that_are_no_network_are_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = folder / "net.safetensors"
    save_file(load_file(path), path)
    assert "not a spikeloop network" in _refused(folder, capfd, "check", "net.safetensors")


def test_missing_network_and_missing_data_are_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    sentence = _refused(folder, capfd, "simulate", "gone.safetensors", "--hw", "demo", "--density", "0.1")
    assert "gone.safetensors" in sentence
    sentence = _refused(folder, capfd, "simulate", "net.safetensors", "--hw", "demo", "--data", "digit")
    assert "'digit'" in sentence
    assert "'digits'" in sentence


def test_trace_windows_and_files_that_make_no_sense_are_refused(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = ("simulate", "net.safetensors", "--hw", "demo", "--density", "0.1")
    for more, words in (
        (("--trace", "t.json", "--trace-cycles", "900000000:900000001"), ("the run has", "cycles; begin below")),
        (("--trace", "t.json", "--trace-steps", "99:100"), ("time steps; begin below",)),
        (("--trace", "t.json", "--trace-cycles", "9:3"), ("--trace-cycles 9:3", "0 <= A < B")),
        (("--trace", "t.json", "--trace-cycles", "ten"), ("expected A:B",)),
        (("--trace-steps", "0:1"), ("give --trace FILE",)),
        (("--trace", "t.txt"), (".json", ".gz")),
        (("--trace", "gone/t.json"), ("cannot be written there",)),
        (("--timeline", "t.bmp"), (".png",)),
    ):
        sentence = _refused(folder, capfd, *base, *more)
        assert all(word in sentence for word in words), sentence
        assert not (folder / "t.json").exists()


def test_density_files_are_checked(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    base = ("simulate", "net.safetensors", "--hw", "demo", "--density")
    (folder / "d.yaml").write_text("conv1: 0.1\nalien: 0.2\n")
    assert "alien" in _refused(folder, capfd, *base, "d.yaml")
    (folder / "d.yaml").write_text("conv1: much\n")
    assert "'much' is no density" in _refused(folder, capfd, *base, "d.yaml")
    assert "neither a number" in _refused(folder, capfd, *base, "gone.yaml")


def test_density_outside_its_range_or_beside_data_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    base = ("simulate", "net.safetensors", "--hw", "demo", "--out", "result")
    assert "1.5" in _refused(folder, capfd, *base, "--density", "1.5")
    assert "--density" in _refused(folder, capfd, *base, "--density", "0.5", "--data", "digits")
    for value in ("nan", "inf", "-1"):
        assert f"--density {value}" in _refused(folder, capfd, *base, "--density", value).replace("-1.0", "-1")


@pytest.mark.parametrize("out", ["/dev/full/x", "hw.yaml/x", "/dev/null"])
def test_a_folder_that_cannot_be_made_is_refused_before_the_work(
    folder: Path, capfd: pytest.CaptureFixture[str], out: str
) -> None:
    (folder / "teacher.yaml").write_text(yaml.safe_dump(TEACHER))
    for command in (
        ("train", "teacher.yaml"),
        ("explore", "study.yaml"),
        ("simulate", "net.safetensors", "--hw", "demo", "--density", "0.1"),
    ):
        assert out in _refused(folder, capfd, *command, "--out", out)


def test_seeds_and_names_beyond_every_limit_are_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    export = ("export", "--random", "demo", "--out", "x.safetensors", "--seed")
    assert "--seed" in _refused(folder, capfd, *export, str(2**70))
    _refused(folder, capfd, "simulate", "a" * 5000, "--hw", "demo", "--density", "0.1")


def test_membrane_of_one_bit_is_refused_wherever_it_is_asked_for(
    folder: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    thin = {**STUDENT, "quantisation": {"weight_bits": 3, "membrane_bits": 1}}
    (folder / "student.yaml").write_text(yaml.safe_dump(thin))
    sentence = _refused(folder, capfd, "train", "student.yaml", "--out", "trained")
    assert "student.yaml: quantisation.membrane_bits" in sentence
    assert "greater than or equal to 2" in sentence
    axis = {**STUDY, "space": {"student.quantisation.membrane_bits": [1]}}
    (folder / "study.yaml").write_text(yaml.safe_dump(axis))
    sentence = _refused(folder, capfd, "explore", "study.yaml", "--out", "study")
    assert "study.yaml" in sentence
    assert "membrane_bits" in sentence
    sentence = _refused(folder, capfd, "export", "--random", "demo", "--membrane-bits", "1", "--out", "x.safetensors")
    assert "--membrane-bits" in sentence


@pytest.mark.parametrize("network", ["vgg9", {"name": "demo", "size": 16, "width": 0.5}])
def test_networks_that_the_data_does_not_fit_are_refused_with_those_that_it_does(
    folder: Path, capfd: pytest.CaptureFixture[str], network: str | dict[str, object]
) -> None:
    study = {**STUDY, "teacher": {**TEACHER, "network": network}, "student": {**STUDENT, "network": network}}
    # JSON is YAML, and has no aliases.
    (folder / "study.yaml").write_text(json.dumps(study))
    (folder / "teacher.yaml").write_text(json.dumps(study["teacher"]))
    for command in (("explore", "study.yaml", "--out", "out"), ("train", "teacher.yaml", "--out", "out")):
        sentence = _refused(folder, capfd, *command)
        assert "data set digits has 1x8x8 pixels of 10 classes; write network: {name: " in sentence


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"space": {"hw.adc.bit": [4]}}, ("hw.adc.bit", "hw.adc.bits")),
        ({"spaces": {}}, ("spaces", "unknown field", "'space'")),
        ({"objectives": [{"metric": "accurcy", "goal": "max"}]}, ("accurcy", "'accuracy'")),
        ({"hardware": "nothing"}, ("nothing", "accelerators")),
    ],
)
def test_wrong_study_is_refused(
    folder: Path, capfd: pytest.CaptureFixture[str], change: dict[str, object], words: tuple[str, ...]
) -> None:
    (folder / "study.yaml").write_text(yaml.safe_dump({**STUDY, **change}))
    for command in (("explore", "study.yaml", "--out", "study"), ("check", "study.yaml")):
        sentence = _refused(folder, capfd, *command)
        assert "study.yaml" in sentence
        assert all(word in sentence for word in words)


def test_folder_with_another_study_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    from spikeloop.codesign.folder import open_folder
    from spikeloop.codesign.study import load_study

    with open_folder(load_study("study.yaml"), folder / "study", resume=False):
        pass
    (folder / "other.yaml").write_text(yaml.safe_dump({**STUDY, "name": "other"}))
    sentence = _refused(folder, capfd, "explore", "other.yaml", "--out", "study", "--resume")
    assert "another study" in sentence
    assert "small" in sentence
    assert "other here" in sentence
    sentence = _refused(folder, capfd, "explore", "study.yaml", "--out", "study")
    assert "--resume" in sentence
    sentence = _refused(folder, capfd, "demo", "--out", "study")
    assert "another study" in sentence


def test_folder_with_another_result_is_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    simulate = ("simulate", "net.safetensors", "--hw", "demo", "--density", "0.1")
    assert main([*simulate, "--out", "result"]) == 0
    capfd.readouterr()
    assert "another result" in _refused(folder, capfd, *simulate, "--seed", "1", "--out", "result")
    (folder / "notes").mkdir()
    (folder / "notes" / "mine.txt").write_text("mine")
    assert "not empty" in _refused(folder, capfd, *simulate, "--out", "notes")


def test_folder_that_is_no_study_has_no_report(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "empty").mkdir()
    for command in ("report", "check"):
        assert "study.yaml" in _refused(folder, capfd, command, "empty")


def test_unknown_files_and_formats_are_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (folder / "words.yaml").write_text("hello: world\n")
    (folder / "words.txt").write_text("hello")
    assert "hello" in _refused(folder, capfd, "check", "words.yaml")
    assert "'.txt'" in _refused(folder, capfd, "check", "words.txt")
    assert "gone.yaml" in _refused(folder, capfd, "check", "gone.yaml")
    assert "not available" in _refused(folder, capfd, "export", "--random", "demo", "--out", "x.nir")
    assert "zoo" in _refused(folder, capfd, "export", "--random", "vgg99", "--out", "x.safetensors")
    assert "--random" in _refused(folder, capfd, "export", "--out", "x.safetensors")


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--random", "vgg99"), ("'vgg99' is not in the zoo", "did you mean 'vgg9'")),
        (("--random", "vgg16", "--size", "7"), ("size: got 7", "8")),
        (("--random", "vgg16", "--size", "225"), ("size: got 225", "224")),
        (("--random", "vgg16", "--width", "0.001"), ("conv1 of 64 channels with 0", "0.0078125 and above")),
        (("--random", "vgg16", "--events", "--channels", "3"), ("channels=3", "2 polarities")),
        ((".", "--size", "16", "--pixels"), ("size, events: given for a checkpoint", "--random NAME")),
    ],
)
def test_networks_that_the_zoo_cannot_make_are_refused(
    folder: Path, capfd: pytest.CaptureFixture[str], options: tuple[str, ...], words: tuple[str, ...]
) -> None:
    sentence = _refused(folder, capfd, "export", *options, "--out", "x.safetensors")
    assert all(word in sentence for word in words), sentence


@pytest.mark.parametrize(
    "command",
    [
        ("simulat",),
        ("simulate",),
        ("simulate", "net.safetensors", "--hw"),
        ("explore", "study.yaml", "--out", "study", "--workers", "0"),
        ("demo", "--workerz", "2"),
    ],
)
def test_usage_error_is_one_sentence_with_a_way_to_help(
    folder: Path, capfd: pytest.CaptureFixture[str], command: tuple[str, ...]
) -> None:
    assert "--help'" in _refused(folder, capfd, *command)


def test_process_ends_with_code_2_and_a_clean_stdout(folder: Path) -> None:
    (folder / "hw.yaml").write_text(_replaced(HARDWARE, "  rows: 64", "  rows: 0"))
    done = subprocess.run(
        [sys.executable, "-m", "spikeloop.codesign.cli", "check", "hw.yaml"],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "SPIKELOOP_DEBUG": ""},
    )
    assert done.returncode == 2
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert "crossbar.rows" in done.stderr


def test_debug_shows_the_traceback(
    folder: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SPIKELOOP_DEBUG", "1")
    assert main(["check", "gone.yaml"]) == 2
    err = capfd.readouterr().err
    assert "Traceback" in err
    assert err.splitlines()[-1].startswith("spikeloop: ")


def test_good_files_are_not_refused(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name, word in (("hw.yaml", "accelerator"), ("net.safetensors", "network"), ("study.yaml", "study")):
        assert main(["check", name]) == 0
        assert f"valid {word}" in capfd.readouterr().out
    assert main(["check", "student.yaml"]) == 0
    assert "valid training file" in capfd.readouterr().out
    assert main(["explore", "study.yaml", "--out", "study", "--dry-run"]) == 0
    assert "points      2" in capfd.readouterr().out
    assert not (folder / "study").exists()


def test_json_stays_json_when_notes_are_said(folder: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["simulate", "net.safetensors", "--hw", "hw.yaml", "--density", "0.1", "--json"]) == 0
    out, _ = capfd.readouterr()
    result = json.loads(out)
    assert result["schema"] == 1
    assert result["accuracy"] == {"value": None, "n": 0, "ci95": None}
