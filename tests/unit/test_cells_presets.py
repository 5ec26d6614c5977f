"""Cells from files and mappings: nothing is lost on the way to a resolved record, and every mistake is one sentence."""

import json
import re
import sys
from importlib import metadata
from pathlib import Path
from typing import Literal

import pytest

from spikeloop.simulator.cells import kinds
from spikeloop.simulator.cells.base import CellModel, IdealCell
from spikeloop.simulator.cells.presets import device_names, read_device
from spikeloop.simulator.cells.registry import Cell, cell_class, cell_from, cell_kinds, load_cell, register_cell
from spikeloop.simulator.cells.rram import RramCell
from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.spec import Spec, validate_spec

PLAIN = {
    "kind": "rram",
    "source": "test",
    "conductance_min_uS": 10.0,
    "conductance_max_uS": 40.0,
    "read_voltage_V": 0.5,
    "read_time_ns": 10.0,
}


class Holder(Spec):
    """A record with a cell in it, as the crossbar is."""

    cell: Cell = IdealCell()


@pytest.fixture
def own_kinds():
    held = dict(kinds._MODELS)
    yield
    kinds._MODELS.clear()
    kinds._MODELS.update(held)


def test_the_expected_devices_ship():
    expected = {"rram_neurram", "rram_hfo2", "rram_neurosim", "sram_cim", "pcm_joshi", "fefet"}
    assert set(device_names()) >= expected


@pytest.mark.parametrize("name", device_names())
def test_a_resolved_record_says_everything_and_reads_back(name):
    held = Holder(cell={"preset": name})
    resolved = held.resolved()
    assert "preset" not in resolved["cell"]
    assert set(resolved["cell"]) == set(type(held.cell).model_fields)
    assert Holder.model_validate(resolved) == held
    assert Holder.model_validate_json(json.dumps(resolved)) == held
    assert Holder.model_validate(held.model_dump()) == held
    assert hash(Holder.model_validate(resolved)) == hash(held)
    assert Holder(cell=held.cell) == held


@pytest.mark.parametrize("name", device_names())
def test_every_number_of_a_device_file_has_a_source(name):
    _, device = read_device(name)
    assert device.name == name
    assert device.entries
    fields = cell_class(device.kind).model_fields
    for field in fields:
        default = fields[field].default
        assert default in (None, 0, 0.0, 1.0, 2) or isinstance(default, str) or fields[field].is_required(), (
            f"{field}: the default {default} is a physical number without a source"
        )


def test_ideal_stays_ideal():
    assert Holder(cell={}) == Holder() == Holder(cell={"kind": "ideal"}) == Holder.model_validate(Holder().resolved())


def test_inline_fields_replace_those_of_the_file():
    plain = load_cell({"preset": "rram_neurram"})
    changed = load_cell({"preset": "rram_neurram", "time_s": 86400, "kind": "rram"})
    assert changed.time_s == 86400.0
    assert changed.source == f"{plain.source} (replaced: time_s)"
    assert changed.model_copy(update={"time_s": 1.0, "source": plain.source}) == plain
    renamed = load_cell({"preset": "rram_neurram", "time_s": 5.0, "source": "mine"})
    assert renamed.source == "mine"


def test_an_optional_part_is_turned_off_with_null():
    cell = load_cell({"preset": "rram_neurram", "write_iterations": None, "write_tolerance_uS": None})
    assert cell.expected_pulses(2).tolist() == [1.0] * 4


def test_a_device_file_of_ones_own(tmp_path):
    path = tmp_path / "mine.yaml"
    entry = "{value: %s, source: measured, year: 2024, status: read}"
    path.write_text(
        "name: mine\nkind: rram\nsource: our lab\n"
        + "".join(
            f"{field}: {entry % value}\n"
            for field, value in (
                ("conductance_min_uS", 1.0),
                ("conductance_max_uS", 20),
                ("read_voltage_V", 0.2),
                ("read_time_ns", 10),
                ("relaxation_sigma_uS", [0.5, 1]),
                ("sigma_reference_uS", 20.0),
                ("relaxation_start_s", 1.0),
                ("levels", 16),
            )
        )
    )
    cell = load_cell({"preset": str(path)})
    assert (cell.source, cell.levels, cell.relaxation_sigma_uS) == ("mine: our lab", 16, (0.5, 1.0))
    text = path.read_text()
    for old, new, sentence in (
        ("levels", "levls", "mine.yaml: levls: unknown field; did you mean 'levels'?"),
        ("kind: rram", "kind: rrram", "mine.yaml: kind 'rrram' is no cell model; did you mean 'rram'?"),
        (entry % 16, "16", "mine.yaml: levels: got 16; a number of a device file stands with its source"),
        ("status: read", "status: doubted", "status 'doubted' without a note"),
        ("value: 20,", "value: 0.5,", "conductance_max_uS=0.5 is not above conductance_min_uS=1.0"),
        ("value: 0.2,", "value: -0.2,", "mine.yaml: read_voltage_V: got -0.2; input should be greater than 0"),
    ):
        path.write_text(text.replace(old, new))
        with pytest.raises(ConfigError) as caught:
            load_cell({"preset": str(path)})
        assert sentence in str(caught.value)
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("value", "sentence"),
    [
        (
            {"preset": "rram_neuram"},
            "crossbar: cell: rram_neuram: neither a file nor a preset of hwconfigs/devices; did",
        ),
        ({"preset": 3}, "preset: got 3; expected the name of a device or the path of a device file"),
        ({"preset": "pcm_joshi", "kind": "rram"}, "kind='rram' and preset 'pcm_joshi' is of kind 'pcm'; leave one out"),
        ({"preset": "rram_neurram", "tim_s": 3.0}, "cell: tim_s: unknown field; did you mean 'time_s'?"),
        ({"kind": "rrm"}, "kind 'rrm' is no cell model; did you mean 'rram'?"),
        ({"kind": 3}, "kind: got 3; allowed: fefet, ideal, pcm"),
        ({"levels": 4}, "'levels' without a cell; name a model by kind, or a device file by preset (shipped: fefet"),
        ("rram_neurram", "got 'rram_neurram'; expected a mapping such as {preset: rram_neurram}"),
        (
            {"kind": "rram", "source": "x"},
            "conductance_min_uS: missing; this field has no default, add it (and 3 more)",
        ),
        ({**PLAIN, "conductance_min_uS": -1.0}, "conductance_min_uS: got -1.0; input should be greater than or equal"),
        ({**PLAIN, "conductance_max_uS": 10.0}, "conductance_max_uS=10.0 is not above conductance_min_uS=10.0"),
        ({**PLAIN, "levels": 1}, "levels: got 1; input should be greater than or equal to 2"),
        ({**PLAIN, "time_s": float("nan")}, "time_s: got nan; input should be a finite number"),
        (
            {**PLAIN, "write_iterations": 3},
            "write_iterations and write_tolerance_uS go together; give both, or neither",
        ),
        ({**PLAIN, "stuck_on_fraction": 0.6, "stuck_off_fraction": 0.5}, "together above 1; a cell is stuck one way"),
        (
            {**PLAIN, "programming_sigma_ratio": 0.1, "programming_sigma_uS": [1.0], "sigma_reference_uS": 40.0},
            "programming_sigma_ratio and programming_sigma_uS both say how far a write scatters; set",
        ),
        ({**PLAIN, "programming_sigma_uS": [1.0]}, "is a polynomial of G / sigma_reference_uS; add sigma_reference_uS"),
        (
            {
                **PLAIN,
                "conductance_min_uS": 0.0,
                "distribution": "lognormal",
                "programming_sigma_uS": [1.0],
                "sigma_reference_uS": 40.0,
            },
            "distribution=lognormal cannot scatter a cell of conductance_min_uS=0",
        ),
        ({**PLAIN, "retention_exponent": 0.1}, "relaxation and retention count from relaxation_start_s; add it"),
        ({**PLAIN, "kind": "sram", "threshold_sigma_V": 0.02}, "turns into current by overdrive_V, overdrive_exponent"),
        ({**PLAIN, "kind": "sram", "levels": 4}, "levels: got 4; input should be less than or equal to 2"),
        ({**PLAIN, "kind": "fefet", "threshold_sigma_V": 0.02}, "into conductance by memory_window_V; add it"),
        ({**PLAIN, "kind": "pcm", "mean_drift_exponent": [0.05]}, "reference_uS is missing for the drift"),
        ({**PLAIN, "kind": "pcm", "mean_drift_exponent": [0.05, 0.1], "reference_uS": 1.0, "drift_start_s": 1.0}, "c1"),
        ({**PLAIN, "kind": "pcm", "flicker_ratio": 0.1}, "reference_uS is missing for the drift, the noise"),
    ],
    ids=lambda value: None,
)
def test_mistakes_are_one_sentence(value, sentence):
    with pytest.raises(ConfigError) as caught:
        validate_spec(Holder, {"cell": value}, where="crossbar")
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_model_from_outside_the_package(own_kinds):
    @register_cell
    class TestCell(RramCell):
        kind: Literal["mine"] = "mine"

    held = Holder(cell={**PLAIN, "kind": "mine"})
    assert type(held.cell) is TestCell
    assert Holder.model_validate(held.resolved()) == held
    assert "mine" in cell_kinds()
    register_cell(TestCell)
    with pytest.raises(ConfigError, match="kind 'mine' is taken by another cell model"):

        @register_cell
        class OtherCell(RramCell):
            kind: Literal["mine"] = "mine"

    with pytest.raises(ConfigError, match="says its name as a default"):

        @register_cell
        class NamelessCell(CellModel):
            pass


@pytest.mark.parametrize(
    ("target", "sentence"),
    [
        ("test_cells_plugin:PluginCell", None),
        ("test_cells_plugin:missing", "of an installed package does not load (AttributeError"),
        ("no_such_package_at_all:Cell", "of an installed package does not load (ModuleNotFoundError"),
        ("test_cells_plugin:NUMBER", "is no subclass of CellModel"),
    ],
)
def test_installed_packages_offer_models_by_entry_point(own_kinds, monkeypatch, target, sentence):
    class PluginCell(RramCell):
        kind: Literal["plugin"] = "plugin"

    module = type(sys)("test_cells_plugin")
    module.PluginCell, module.NUMBER = PluginCell, 3
    monkeypatch.setitem(sys.modules, "test_cells_plugin", module)
    point = metadata.EntryPoint("plugin", target, kinds.ENTRY_POINT_GROUP)
    monkeypatch.setattr(
        kinds.metadata,
        "entry_points",
        lambda *, group, name="plugin": [point] if name == "plugin" and group == "spikeloop.cells" else [],
    )
    assert "plugin" in cell_kinds()
    assert type(cell_from(PLAIN)) is RramCell
    if sentence is None:
        assert type(cell_from({**PLAIN, "kind": "plugin"})) is PluginCell
    else:
        with pytest.raises(ConfigError) as caught:
            cell_from({**PLAIN, "kind": "plugin"})
        assert sentence in str(caught.value)


DOCS = (Path(__file__).parents[2] / "docs" / "devices.md").read_text(encoding="utf-8")


def test_the_page_names_every_field_of_every_model():
    fields = {name for kind in ("rram", "sram", "pcm", "fefet") for name in cell_class(kind).model_fields}
    assert [name for name in sorted(fields - {"kind"}) if not re.search(rf"`{name}[`:]", DOCS)] == []
    assert [name for name in device_names() if f"| `{name}` |" not in DOCS] == []


def test_the_example_of_the_page_runs(own_kinds, capsys):
    """4,096 cells within 10 % of 20 uS: the mean is within five deviations, 5 x 20 x 0.1 / sqrt(3 x 4096)."""
    code = re.search(r"```python\n(.*?)```", DOCS, re.DOTALL).group(1)
    exec(compile(code, "docs/devices.md", "exec"), {"__name__": "example"})
    assert float(capsys.readouterr().out) == pytest.approx(20.0, abs=0.09)
