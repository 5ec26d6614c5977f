"""Hardware files: traps refused, one sentence each, presets valid."""

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from networks import design

from spikeloop.simulator.config import ChipConfig, HardwareConfig, NocConfig, load_hardware, shipped_files
from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.spec import validate_spec
from spikeloop.simulator.strict_yaml import parse_strict, read_yaml

GOOD = """
name: a
source: made for tests
technology: rram_65nm
clock_GHz: 0.25
crossbar: {rows: 64, cols: 64}
adc: {kind: uniform, bits: 4, columns_per_adc: 8}
"""


def load_text(tmp_path, text):
    path = tmp_path / "hw.yaml"
    path.write_text(text)
    return load_hardware(str(path))


def test_defaults_are_filled_in(tmp_path):
    hw = load_text(tmp_path, GOOD)
    assert hw.crossbar.scheme == "differential"
    assert hw.adc_bits == 4
    assert hw.cycle_ns == 4.0


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("rows: 64", "rows: 0", "crossbar.rows: got 0; input should be greater than or equal to 1"),
        ("bits: 4", "bits: 99", "adc.bits: got 99; input should be less than or equal to 14"),
        ("rows: 64", "rosw: 64", "did you mean 'rows'"),
        ("clock_GHz", "clock_Ghz", "did you mean 'clock_GHz'"),
        ("columns_per_adc: 8", "columns_per_adc: 7", "crossbar.cols=64 is not a multiple of adc.columns_per_adc=7"),
        ("bits: 4", "bitz: 4", "did you mean 'bits'"),
        ("rows: 64", "rows: 64, rows_active: 65", "rows_active=65 is more than rows=64"),
        ("kind: uniform", "kind: unifrom", "unifrom"),
        ("clock_GHz: 0.25", "clock_GHz: 2.5e-1", "line 5: 2.5e-1 has an exponent"),
        ("clock_GHz: 0.25", "clock_GHz: on", "line 5: 'on' is a boolean"),
        ("clock_GHz: 0.25", "clock_GHz: .inf", "line 5: .inf is not a finite number"),
        ("clock_GHz: 0.25", "clock_GHz: 0.25\nclock_GHz: 0.5", "key 'clock_GHz' is given twice"),
        ("rows: 64", "rows: '64'", "crossbar.rows: got '64'"),
        ("rows: 64", "rows: 64.0", "crossbar.rows: got 64.0"),
        ("name: a", "name: [", "not valid YAML"),
        ("name: a", "name: &x a\nsource2: *x", "aliases"),
        ("name: a", "1: a", "key 1 is not text"),
        ("name: a", "name: a\ntile: {fifo_depth: 0}", "tile.fifo_depth: got 0; input should be greater than or"),
        ("name: a", "name: a\nnoc: {buffer_packets: 0}", "noc.buffer_packets: got 0; input should be greater than or"),
        ("name: a", "name: a\nglobal_buffer: {slots: 0}", "global_buffer.slots: got 0; input should be greater"),
        ("name: a", "name: a\nchip: {tiles: 0}", "chip.tiles: got 0; input should be greater than or equal to 1"),
        ("name: a", "name: a\ntile: {input_buffer_positions: 0}", "tile.input_buffer_positions: got 0; input should"),
        ("name: a", "name: a\nnoc: {mesh: [4]}", "noc.mesh: got [4]; give [width, height], two whole numbers"),
        ("name: a", "name: a\nnoc: {mesh: 44}", "noc.mesh: got 44; give [width, height], two whole numbers"),
        ("name: a", "name: a\nnoc: {mesh: [4.0, 4]}", "noc.mesh.0: got 4.0; input should be a valid integer"),
        ("name: a", "name: a\nnoc: {mesh: [4, 0]}", "noc.mesh.1: got 0; input should be greater than or equal to 1"),
        ("name: a", "name: a\nnoc: {mesh: [999, 999]}", "noc: mesh=[999, 999] has 998001 routers; at most 65536 are"),
        (
            "name: a",
            "name: a\nnoc: {mesh: [2, 3]}\nchip: {tiles: 7}",
            "noc.mesh=[2, 3] has 6 routers for chip.tiles=7; every tile needs a router, enlarge the mesh",
        ),
        (
            "name: a",
            "name: a\nnoc: {placement: anealed}",
            "noc.placement: got 'anealed'; input should be 'row_major', ",
        ),
        (
            "name: a",
            "name: a\ndataflow: {order: layer_pipelined}\ntile: {sharing: packed}",
            "dataflow.order=layer_pipelined does not go with tile.sharing=packed: two layers would run on one tile's "
            "bus and neuron unit at once; use sharing: exclusive, or order: layer_sequential",
        ),
        (
            "name: a",
            "name: a\ndataflow: {replication: balanced}",
            "dataflow.replication=balanced fills the tiles of the chip and chip.tiles is null; give chip.tiles",
        ),
    ],
)
def test_bad_input_is_one_sentence_with_the_place(tmp_path, old, new, message):
    with pytest.raises(ConfigError) as caught:
        load_text(tmp_path, GOOD.replace(old, new, 1))
    assert message in str(caught.value)
    assert "hw.yaml" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_unknown_preset_names_the_nearest():
    with pytest.raises(ConfigError, match="did you mean 'spikeflow_64'"):
        load_hardware("spikeflow_46")


@pytest.mark.parametrize("name", sorted(shipped_files("accelerators")))
def test_every_shipped_accelerator_is_valid_and_says_its_source(name):
    hw = load_hardware(name)
    assert hw.name == name
    assert len(hw.source) > 20


@pytest.mark.parametrize(
    "more", [{}, {"noc": NocConfig(mesh=(3, 2), placement="annealed")}, {"chip": ChipConfig(tiles=6)}]
)
def test_resolved_config_reads_back_as_itself(more):
    hw = design(adc_bits=3, **more)
    assert validate_spec(HardwareConfig, hw.resolved(), where="again") == hw


def test_hash_ignores_the_name_and_nothing_else():
    assert design(rows=8).content_hash() != design(rows=16).content_hash()
    hw = design(rows=8)
    assert hw.model_copy(update={"name": "b"}).content_hash() == hw.content_hash()


def test_hash_ignores_where_a_number_comes_from_at_any_depth():
    hw = load_hardware("rram_64_nonideal")
    cell = hw.crossbar.cell

    def with_cell(**changed):
        crossbar = hw.crossbar.model_copy(update={"cell": cell.model_copy(update=changed)})
        return hw.model_copy(update={"crossbar": crossbar})

    assert with_cell(source="another paper").content_hash() == hw.content_hash()
    assert with_cell(conductance_max_uS=cell.conductance_max_uS + 1).content_hash() != hw.content_hash()


@given(text=st.text(max_size=60))
def test_any_text_gives_a_value_or_one_sentence(text):
    caught = None
    try:
        parse_strict(text)
    except ConfigError as error:
        caught = str(error)
    assert caught is None or (caught and "\n" not in caught)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: " + "[" * 3000 + "]" * 3000, "nested deeper than 40"),
        ("a: !!int 'abc'", "line 1: YAML tags"),
        ("a: 1\nb: !!python/object/apply:os.system ['true']", "line 2: YAML tags"),
        ("a: 2001-99-99", "line 1: 2001-99-99 cannot be read"),
        ("a: " + "9" * 5000, "line 1: 9999.* cannot be read"),
    ],
)
def test_hostile_yaml_is_one_sentence(text, message):
    with pytest.raises(ConfigError, match=message) as caught:
        parse_strict(text)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 300


def test_a_pipe_and_an_endless_device_are_not_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.yaml")
    (tmp_path / "zero.yaml").symlink_to("/dev/zero")
    for name in ("pipe.yaml", "zero.yaml"):
        with pytest.raises(ConfigError, match="a device or a pipe"):
            read_yaml(tmp_path / name)


@pytest.mark.parametrize("field", ["noc: {router_cycles: ", "dataflow: {skip_cycles: ", "tile: {input_bus_bits: "])
def test_numbers_that_would_overflow_the_clock_are_refused(tmp_path, field):
    with pytest.raises(ConfigError, match="less than or equal to"):
        load_text(tmp_path, f"{GOOD}{field}1000000000000000000}}\n")
