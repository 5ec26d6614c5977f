"""``spikeloop simulate`` with a trace, a timeline, a density a layer, and images in a row."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest

from spikeloop.codesign.cli import main

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("net") / "net.safetensors"
    arguments = ["export", "--random", "demo", "--seed", "0", "--weight-bits", "3", "--membrane-bits", "5"]
    assert main([*arguments, "--out", str(path)]) == 0
    return path


def result(capfd: pytest.CaptureFixture[str], *arguments: str) -> dict:
    capfd.readouterr()
    assert main(["simulate", *arguments, "--json"]) == 0
    return json.loads(capfd.readouterr().out)


def test_a_trace_without_data_runs_on_random_pixels_and_its_sums_match(
    network: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "t.json.gz"
    found = result(capfd, str(network), "--hw", "spikeflow_64", "--trace", str(path))
    content = json.loads(gzip.decompress(path.read_bytes()))
    busy = sum(event["dur"] for event in content["traceEvents"] if event.get("cat") == "busy")
    assert busy == sum(part["busy_cycles"] for part in found["by_component"].values())
    assert content["otherData"]["run_cycles"] == found["cycles"]
    assert content["otherData"]["left_out"] == {}
    assert found["accuracy"] == {"value": None, "n": 0, "ci95": None}
    assert sum(line["busy"] + line["wait"] for line in found["critical_path"]) == found["cycles"]


def test_the_same_seed_gives_the_same_files(network: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("a", "b"):
        files = ("--trace", str(tmp_path / f"{name}.json"), "--timeline", str(tmp_path / f"{name}.png"))
        result(capfd, str(network), "--hw", "demo", "--density", "0.2", *files)
    assert (tmp_path / "a.json").read_bytes() == (tmp_path / "b.json").read_bytes()
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    assert (tmp_path / "a.png").stat().st_size > 5_000


def test_text_names_the_critical_path_and_the_busiest_units(network: Path, capfd: pytest.CaptureFixture[str]) -> None:
    capfd.readouterr()
    assert main(["simulate", str(network), "--hw", "demo", "--density", "0.2"]) == 0
    out = capfd.readouterr().out
    assert "critical path: conv1: " in out
    assert "-bound, " in out
    assert "busiest units" in out


def test_images_in_a_row_overlap_in_a_pipeline(
    network: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    base = (str(network), "--hw", "spikeflow_64_pipelined", "--density", "0.2", "--clock-images")
    one, four = result(capfd, *base, "1"), result(capfd, *base, "4")
    assert one["interval_ns"] == one["latency_ns"]
    assert four["interval_ns"] < one["latency_ns"]
    assert four["tops"] > one["tops"]


def test_a_density_for_every_layer(network: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "density.yaml"
    path.write_text("conv1: 0.5\nconv2: 0.5\nfc: 0.0\n")
    found = result(capfd, str(network), "--hw", "demo", "--density", str(path))
    layers = {layer["name"]: layer for layer in found["by_layer"]}
    assert layers["fc"]["sops"] == 0
    assert layers["conv2"]["input_density"] > 0.2
