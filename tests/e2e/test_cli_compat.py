"""``spikeloop compat spikesim`` as a user runs it, and what it refuses."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from spikeloop.codesign.cli import main
from spikeloop.simulator.compat.spikesim_fixes import FIXES
from spikeloop.simulator.config import shipped_files

pytestmark = pytest.mark.e2e

DOCS = Path(__file__).parents[2] / "docs" / "compat.md"
SHIPPED = yaml.safe_load(shipped_files("compat")["vgg9_spikesim"].read_text())
#: The second table of the docs.
TOUCHED = {"out_dim_list": [32, 16, 16, 8, 8, 8, 2], "xbar_size": 100, "pe_per_tile": 4, "device": "sram"}


def _written(folder: Path, **changed: object) -> str:
    path = folder / "net.yaml"
    kept = {key: value for key, value in {**SHIPPED, **changed}.items() if value is not None}
    path.write_text(yaml.safe_dump(kept))
    return str(path)


def _ran(capfd: pytest.CaptureFixture[str], *arguments: str) -> tuple[str, str]:
    capfd.readouterr()
    assert main(["compat", "spikesim", *arguments]) == 0
    return capfd.readouterr()


def test_json_of_the_shipped_network(capfd):
    out, err = _ran(capfd, "vgg9_spikesim", "--json")
    found = json.loads(out)
    assert err == ""
    assert (found["n_pes"], found["n_tiles"]) == (48, 6)
    assert found["area_um2"] == pytest.approx(8425528.755833998, rel=1e-9)
    assert found["energy_pJ"] == pytest.approx(15906934.026240002, rel=1e-9)
    assert found["latency_ns"] == pytest.approx(62832640.0, rel=1e-9)
    assert found["energy_layerwise_pJ"][0] == pytest.approx(4241849.073664, rel=1e-9)
    assert sum(found["energy_by_component_pJ"].values()) == pytest.approx(found["energy_pJ"], rel=1e-12)
    assert sum(found["area_by_component_um2"].values()) == pytest.approx(found["area_um2"], rel=1e-12)
    assert found["fixes"] == []
    assert any(line.startswith("pre_pool_outputs: ") for line in found["warnings"])
    assert "each_fix" not in found


def test_fixes_of_the_file_are_on_and_no_longer_warned_of(tmp_path, capfd):
    path = _written(tmp_path, fix=["pre_pool_outputs", "spike_bits"])
    found = json.loads(_ran(capfd, path, "--json", "--each-fix")[0])
    assert found["fixes"] == ["pre_pool_outputs", "spike_bits"]
    assert found["energy_pJ"] == pytest.approx(25451094.441984005, rel=1e-9)
    assert not any(line.startswith(("pre_pool_outputs", "spike_bits")) for line in found["warnings"])
    names = [effect["fix"] for effect in found["each_fix"]]
    assert names == [*(name for name in FIXES if name not in found["fixes"]), "all fixes"]


def test_table_says_totals_layers_components_and_notes(capfd):
    out, err = _ran(capfd, "vgg9_spikesim")
    for words in ("48 in 6 tiles", "8.426 mm2", "15.91 uJ per image", "62.83 ms", "none, as the program prints it"):
        assert words in out
    rows = {line.split()[0]: line.split() for line in out.splitlines() if line.strip()}
    assert rows["htree"][1:3] == ["2.60196e+06", "30.88%"]
    assert rows["7"][1:4] == ["256", "256", "16"]
    notes = err.splitlines()
    assert all(line.startswith("note: ") for line in notes)
    assert len(notes) == 9


def test_docs_show_what_each_fix_changes(tmp_path, capfd):
    text = DOCS.read_text(encoding="utf-8")
    for file in ("vgg9_spikesim", _written(tmp_path, **TOUCHED)):
        out = _ran(capfd, file, "--each-fix")[0]
        table = out[out.index("\nfix ") :].strip()
        assert len(table.splitlines()) == len(FIXES) + 2
        assert table in text


def test_docs_name_every_fix_with_its_cure():
    text = DOCS.read_text(encoding="utf-8")
    for name, fix in FIXES.items():
        assert f"| `{name}` | {fix.defect} | {fix.cure} | {fix.where} |" in text


def test_shipped_network_is_checked(capfd):
    assert main(["check", str(shipped_files("compat")["vgg9_spikesim"])]) == 0
    assert "valid input of 'compat spikesim', 7 layers" in capfd.readouterr().out


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"out_ch_list": [64] * 6}, ("in_ch_list has 7", "out_ch_list has 6", "equally long")),
        ({"in_dim_list": []}, ("in_dim_list", "at least 1")),
        ({"fix": ["sram_enrgy"]}, ("fix", "sram_enrgy", "did you mean 'sram_energy'?")),
        ({"fix": ["zzz"]}, ("zzz", "allowed: sram_energy")),
        ({"fix": ["spike_bits", "spike_bits"]}, ("spike_bits", "twice")),
        ({"fix": "spike_bits"}, ("fix", "spike_bits", "list")),
        ({"device": "pcm"}, ("device", "pcm", "'rram' or 'sram'")),
        ({"device": None}, ("device", "missing")),
        ({"time_steps": None}, ("time_steps", "missing")),
        ({"xbar_size": 0}, ("xbar_size", "0", "greater than or equal to 1")),
        ({"pe_per_tile": -8}, ("pe_per_tile", "-8", "greater than or equal to 1")),
        ({"clk_freq": 0}, ("clk_freq", "0", "greater than or equal to")),
        ({"clk_freq": True}, ("clk_freq", "True", "number")),
        ({"clk_freq": "fast"}, ("clk_freq", "fast", "number")),
        ({"kernel_size": 2.5}, ("kernel_size", "2.5", "integer")),
        ({"xbar_size": "64"}, ("xbar_size", "64", "integer")),
        ({"in_ch_list": [3, 64, 64, -128, 128, 256, 256]}, ("in_ch_list.3", "-128", "greater than or equal to 1")),
        ({"out_dim_list": [32, 16, 16, 8, 8, 8, 4.5]}, ("out_dim_list.6", "4.5", "integer")),
        ({"in_ch_list": 3}, ("in_ch_list", "3", "list")),
        ({"xbar_sise": 64}, ("xbar_sise", "unknown field", "did you mean 'xbar_size'?")),
        ({"adc_bits": 4}, ("adc_bits", "unknown field")),
    ],
)
def test_bad_input_is_refused_in_one_sentence(tmp_path, capfd, changed, words):
    path = _written(tmp_path, **changed)
    capfd.readouterr()
    assert main(["compat", "spikesim", path, "--json"]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert err.startswith(f"spikeloop: {path}: ")
    for word in words:
        assert word in err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("spikesim", "absent.yaml"), "neither a file nor a preset of hwconfigs/compat"),
        (("spikesim", "vgg9_spikesm"), "did you mean 'vgg9_spikesim'?"),
        (("spikesim",), "Missing argument"),
        (("neurosim", "x.yaml"), "No such command"),
        ((), "Missing command"),
    ],
)
def test_a_wrong_command_is_refused_in_one_sentence(capfd, arguments, words):
    assert main(["compat", *arguments]) == 2
    out, err = capfd.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert words in err


def test_a_clock_may_be_a_fraction(tmp_path, capfd):
    found = json.loads(_ran(capfd, _written(tmp_path, clk_freq=62.5), "--json")[0])
    assert found["latency_ns"] == pytest.approx(4 * 62832640.0, rel=1e-12)


def test_a_run_imports_nothing_heavy():
    code = (
        "import sys; from spikeloop.codesign.cli import main;"
        "assert main(['compat', 'spikesim', 'vgg9_spikesim', '--json']) == 0;"
        "print([m for m in ('torch', 'numba', 'matplotlib') if m in sys.modules], file=sys.stderr)"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stderr.strip() == "[]"
