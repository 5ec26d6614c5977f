"""``spikeloop cost``: tables, JSON, comparison, sensitivity; and what a user can get wrong."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest

from spikeloop.codesign.cli import main
from spikeloop.models.random_export import random_network
from spikeloop.simulator.network.io import save_network

pytestmark = pytest.mark.e2e


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("network") / "net.safetensors"
    save_network(random_network("demo", seed=0, weight_bits=3, membrane_bits=4), path)
    return str(path)


def printed(capfd: pytest.CaptureFixture[str], *command: str) -> str:
    assert main(command) == 0
    return capfd.readouterr().out


@pytest.mark.parametrize("columns", [80, 120])
@pytest.mark.parametrize("options", [(), ("--compare", "spikeflow_128"), ("--sensitivity", "--network", "NET")])
def test_tables_fit_the_terminal(
    columns: int,
    options: tuple[str, ...],
    network: str,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("COLUMNS", str(columns))
    text = printed(capfd, "cost", "rram_64_nonideal", *(network if part == "NET" else part for part in options))
    assert max(len(line) for line in text.splitlines()) <= columns
    assert "\x1b" not in text


def test_table_has_totals_and_every_number_once_with_its_source(capfd: pytest.CaptureFixture[str]) -> None:
    table = json.loads(printed(capfd, "cost", "spikeflow_64", "--json"))
    assert table["total"]["area_um2"] == pytest.approx(math.fsum(row["area_um2"] for row in table["tile"]), rel=1e-12)
    mux = table["numbers"]["column_mux.conversion_fJ"]
    assert (mux["value"], mux["components"]) == (94.245, ["column_mux"])
    assert "SpikeSim" in mux["source"]
    used = {text.split(":")[0] for row in table["tile"] for text in row["sources"]}
    assert set(table["numbers"]) == used
    text = printed(capfd, "cost", "spikeflow_64")
    shares = [line.split() for line in text.splitlines() if line.startswith(("tile ", "adc "))]
    assert shares[1][2:] == ["100.0", shares[1][3], "100.0"]
    for key in used:
        assert sum(line[2:].startswith((f"{key} = ", f"{key} [")) for line in text.splitlines()) == 1, key


def test_comparison_ends_with_the_whole_tile(capfd: pytest.CaptureFixture[str]) -> None:
    text = printed(capfd, "cost", "spikeflow_64", "--compare", "spikeflow_128")
    last = text.splitlines()[-1].split()
    areas = [
        json.loads(printed(capfd, "cost", name, "--json"))["total"]["area_um2"]
        for name in ("spikeflow_64", "spikeflow_128")
    ]
    assert last == ["tile", "area", "(um2)", *(f"{area:,.0f}" for area in areas), f"{areas[1] / areas[0]:.3g}"]


def test_sensitivity_ranks_numbers_in_json_table_and_picture(
    network: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    figure = tmp_path / "new" / "tornado.png"
    command = ("cost", "demo", "--sensitivity", "--network", network, "--density", "0.2", "--factor", "3")
    found = json.loads(printed(capfd, *command, "--figure", str(figure), "--json"))
    assert figure.read_bytes().startswith(b"\x89PNG")
    assert (found["factor"], found["density"], found["network"]) == (3.0, 0.2, "demo")
    main(("simulate", network, "--hw", "demo", "--density", "0.2", "--json"))
    run = json.loads(capfd.readouterr().out)
    assert found["base"]["edap_J_s_mm2"] == run["edap_J_s_mm2"]
    assert found["latency_ns"] == run["latency_ns"]
    ends = [[1.0, *(end for end in row["edap_ratio"].values() if end is not None)] for row in found["numbers"]]
    spreads = [max(some) - min(some) for some in ends]
    assert spreads == pytest.approx(sorted(spreads, reverse=True), abs=1e-12)
    text = printed(capfd, *command)
    begins = [text.index(f"\n{row['key']}  ") for row in found["numbers"]]
    assert begins == sorted(begins)
    again = tmp_path / "again.png"
    printed(capfd, *command, "--figure", str(again))
    assert again.read_bytes() == figure.read_bytes()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--sensitivity", "--factor", "1"), ("factor=1", "give 1.01 to 1000")),
        (("--factor", "3"), ("--factor", "add --sensitivity")),
        (("--figure", "x.png"), ("--figure", "add --sensitivity")),
        (("--sensitivity", "--compare", "demo"), ("--sensitivity", "--compare", "leave one out")),
        (("--sensitivity", "--figure", "x.txt"), ("--figure x.txt", "'.txt'", ".png, .svg, .pdf")),
        (("--sensitivity", "--network", "no.safetensors"), ("no.safetensors",)),
        (("--sensitivity", "--density", "1.5"), ("--density 1.5", "0 to 1")),
        (("--compare", "no_such"), ("no_such",)),
    ],
)
def test_bad_options_end_with_2_and_one_sentence(
    options: tuple[str, ...],
    words: tuple[str, ...],
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(("cost", "spikeflow_64", *options)) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert all(word in err for word in words), err
    assert list(tmp_path.iterdir()) == []


def test_simulate_names_weak_numbers_in_text_and_json(network: str, capfd: pytest.CaptureFixture[str]) -> None:
    command = ("simulate", network, "--hw", "spikeflow_64", "--density", "0.2")
    found = json.loads(printed(capfd, *command, "--json"))
    assert any("stands behind" in text for text in found["warnings"])
    text = " ".join(printed(capfd, *command).split())
    assert "doubted numbers and assumptions behind more than 5 %:" in text
    assert all(warning in text for warning in found["warnings"])
    assert math.fsum(
        part["energy_fJ"] for layer in found["by_layer"] for part in layer["by_component"].values()
    ) == pytest.approx(found["energy_fJ"], rel=1e-12)


def test_density_on_cells_that_conduct_says_how_they_are_priced(
    network: str, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(("simulate", network, "--hw", "rram_64_nonideal", "--density", "0.2")) == 0
    assert "priced by their mean codes" in capfd.readouterr().err
