"""Axes, points in a fixed order, and the one sentence that a wrong space gets."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from oracles.fake_study import HARDWARE, FakeTraining, fake_study

from spikeloop.codesign import space, study
from spikeloop.codesign.axis_spec import RangeAxis
from spikeloop.codesign.plan import make_plan
from spikeloop.codesign.space import Space, apply_hardware, compile_space
from spikeloop.codesign.study import resolve_study
from spikeloop.simulator.config import HardwareConfig, UniformAdc
from spikeloop.simulator.errors import ConfigError

BASE = HardwareConfig.model_validate(HARDWARE)


@pytest.fixture(autouse=True)
def fake_training(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (study, space):
        monkeypatch.setattr(module, "training_spec", lambda: FakeTraining)


def make_space(axes: dict[str, Any], **changes: Any) -> Space:
    return compile_space(resolve_study(fake_study(space=axes, **changes)))


def test_points_are_all_combinations_in_a_fixed_order_with_students_slowest() -> None:
    found = make_space({"hw.adc.bits": [4, 3], "student.weight_bits": {"range": [2, 6], "step": 2}})
    values = [tuple(point.values.items()) for point in found.points()]
    expected = [(("student.weight_bits", weight), ("hw.adc.bits", adc)) for weight in (2, 4, 6) for adc in (4, 3)]
    assert values == expected
    assert [point.index for point in found.points()] == list(range(6))
    assert found.n_points == 6


def test_log2_axis_and_tied_size() -> None:
    found = make_space({"hw.crossbar.size": {"log2": [32, 128]}})
    designs = [found.hardware_of(point).crossbar for point in found.points()]
    assert [(crossbar.rows, crossbar.cols) for crossbar in designs] == [(32, 32), (64, 64), (128, 128)]


def test_own_tie() -> None:
    found = make_space(
        {"student.bits": [2, 8]}, tied={"student.bits": ["student.weight_bits", "student.membrane_bits"]}
    )
    students = [found.student_of(point).resolved()["quantisation"] for point in found.points()]
    assert students == [{"weight_bits": bits, "membrane_bits": bits} for bits in (2, 8)]


def test_a_field_may_take_others_along() -> None:
    found = make_space(
        {"student.weight_bits": [2, 8]}, tied={"student.weight_bits": ["student.weight_bits", "student.membrane_bits"]}
    )
    students = [found.student_of(point).resolved()["quantisation"] for point in found.points()]
    assert students == [{"weight_bits": bits, "membrane_bits": bits} for bits in (2, 8)]


def test_a_point_changes_its_axes_and_nothing_else() -> None:
    changed = apply_hardware(BASE, {"hw.adc.bits": 3, "hw.dataflow.loop": "layer_major"}).resolved()
    expected = BASE.resolved()
    expected["adc"]["bits"] = 3
    expected["dataflow"]["loop"] = "layer_major"
    assert changed == expected
    assert BASE.adc_bits == 6


def test_adc_kind_is_an_axis() -> None:
    lossless = apply_hardware(BASE, {"hw.adc.kind": "lossless"})
    assert lossless.adc.kind == "lossless"
    assert lossless.adc.columns_per_adc == 8
    back = apply_hardware(lossless, {"hw.adc.kind": "uniform", "hw.adc.bits": 4})
    assert isinstance(back.adc, UniformAdc)
    assert back.adc_bits == 4


def test_adc_bits_of_a_lossless_adc_are_infeasible_points_not_a_wrong_study() -> None:
    plan = make_plan(resolve_study(fake_study(space={"hw.adc.kind": ["uniform", "lossless"], "hw.adc.bits": [3, 4]})))
    assert [bool(planned.reason) for planned in plan.points] == [False, False, True, True]


@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ({"hw.adc.bitz": [3]}, r"no axis 'hw.adc.bitz'; did you mean 'hw.adc.bits'\?"),
        ({"student.weight_bit": [3]}, r"did you mean 'student.weight_bits'\?"),
        ({"hw.technology": ["a"]}, "no axis 'hw.technology'"),
        ({"student.seed": [1]}, "no axis 'student.seed'"),
        ({"student.network.size": [16]}, "no axis 'student.network.size'"),
        ({"student.width": [0.5]}, "no axis 'student.width'"),
        ({"hw.adc.bits": [4, 99]}, r"space: hw.adc.bits=99: adc.bits: got 99; .*less than or equal to 14"),
        ({"hw.crossbar.rows": [0]}, "greater than or equal to 1"),
        ({"hw.dataflow.loop": ["sideways"]}, "'timestep_major' or 'layer_major'"),
        ({"student.membrane_bits": ["two"]}, "valid integer"),
        ({"hw.adc.bits": [4, 4]}, "4 is given twice"),
        ({"hw.adc.bits": []}, "no values"),
        ({"hw.crossbar.size": [32], "hw.crossbar.rows": [32]}, "both set hw.crossbar.rows"),
        ({"hw.neuron.lanes": {"range": [1, 2000]}, "hw.noc.flit_bits": {"range": [1, 2000]}}, "4000000 points"),
    ],
)
def test_a_wrong_space_is_one_sentence(axes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence) as caught:
        make_space(axes)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tied", "sentence"),
    [
        ({"hw.pair": ["hw.adc.bits", "hw.adc.bit"]}, r"no axis 'hw.adc.bit'; did you mean"),
        ({"hw.pair": ["student.weight_bits"]}, "no axis 'student.weight_bits'"),
        ({"hw.adc.bits": ["hw.crossbar.rows"]}, "is a field already"),
        ({"pair": ["hw.adc.bits"]}, "must start with"),
        ({"hw.pair": []}, "'hw.pair' ties nothing"),
    ],
)
def test_a_wrong_tie_is_one_sentence(tied: dict[str, list[str]], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        make_space({"hw.adc.bits": [3]}, tied=tied)


def test_an_axis_like_no_other_gets_a_short_list_of_its_own_kind() -> None:
    with pytest.raises(ConfigError, match=r"no axis 'hw\.zzzz'; allowed: hw\.") as caught:
        make_space({"hw.zzzz": [3]})
    assert "student." not in str(caught.value)
    assert len(str(caught.value)) < 600


def test_a_combination_that_is_no_hardware_is_an_infeasible_point() -> None:
    """48 columns take ADCs of 8 and 16 columns, 40 only those of 8."""
    plan = make_plan(
        resolve_study(
            fake_study(space={"hw.crossbar.cols": [48, 40], "hw.adc.columns_per_adc": [8, 16], "hw.adc.bits": [3]})
        )
    )
    reasons = [planned.reason for planned in plan.points]
    assert reasons[:3] == ["", "", ""]
    assert "crossbar.cols=40 is not a multiple of adc.columns_per_adc=16" in reasons[3]
    assert "hw.crossbar.cols=40, hw.adc.columns_per_adc=16" in reasons[3]
    assert plan.n_infeasible == 1
    assert len({planned.key for planned in plan.points}) == 4


def test_students_are_shared_by_all_hardware() -> None:
    plan = make_plan(resolve_study(fake_study()))
    assert len(plan.points) == 36
    assert len(plan.students) == 4
    by_student = [[planned.student_key for planned in plan.points[start : start + 9]] for start in range(0, 36, 9)]
    assert [set(keys) for keys in by_student] == [{student.key} for student in plan.students]


CHANGES: tuple[dict[str, Any], ...] = (
    {},
    {"images": 99},
    {"calibration_images": 5},
    {"cycle_images": 2},
    {"seeds": {"training": 2}},
    {"seeds": {"simulation": 2}},
    {"teacher": {"role": "teacher", "epochs": 2}},
    {"student": {"role": "student", "epochs": 2, "quantisation": {}}},
    {"hardware": {**HARDWARE, "clock_GHz": 0.25}},
)


def test_every_input_of_a_result_is_in_its_key() -> None:
    keys = [{planned.key for planned in make_plan(resolve_study(fake_study(**change))).points} for change in CHANGES]
    for one, other in itertools.combinations(keys, 2):
        assert not one & other


def test_names_are_not_in_the_key() -> None:
    plain = make_plan(resolve_study(fake_study()))
    renamed = make_plan(resolve_study(fake_study(name="other", hardware={**HARDWARE, "name": "other"})))
    assert [planned.key for planned in plain.points] == [planned.key for planned in renamed.points]


def test_model_version_and_technology_are_in_the_key(monkeypatch: pytest.MonkeyPatch) -> None:
    from spikeloop.codesign import plan

    before = plan.make_plan(resolve_study(fake_study())).points[0].key
    monkeypatch.setattr(plan, "MODEL_VERSION", 99)
    assert plan.make_plan(resolve_study(fake_study())).points[0].key != before
    monkeypatch.undo()
    for module in (study, space):
        monkeypatch.setattr(module, "training_spec", lambda: FakeTraining)

    class Dearer:
        def content_hash(self) -> str:
            return "other prices"

    monkeypatch.setattr(plan, "load_technology", lambda _: Dearer())
    assert plan.make_plan(resolve_study(fake_study())).points[0].key != before


@given(low=st.integers(1, 20), span=st.integers(0, 20), step=st.integers(1, 5))
@settings(max_examples=50, deadline=None)
def test_range_axis_holds_exactly_its_steps(low: int, span: int, step: int) -> None:
    axis = RangeAxis(range=[low, low + span], step=step)
    assert axis.values() == [value for value in range(low, low + span + 1) if (value - low) % step == 0]


def real_space(axes: dict[str, Any], **changes: Any) -> Space:
    """A space whose students are trained for real: only such a training file names a network with layers."""
    training = {"network": "demo", "n_timesteps": 2, "epochs": 1, "lr": 0.01}
    quantisation = {"weight_bits": 4, "membrane_bits": 4}
    return compile_space(
        resolve_study(
            fake_study(
                space=axes,
                teacher={"role": "teacher", "dataset": "digits", **training},
                student={"role": "student", "dataset": "digits", "quantisation": quantisation, **training},
                **changes,
            )
        )
    )


@pytest.fixture
def real_training(monkeypatch: pytest.MonkeyPatch) -> None:
    from spikeloop.distill.config import TrainingConfig

    for module in (study, space):
        monkeypatch.setattr(module, "training_spec", lambda: TrainingConfig)


@pytest.mark.usefixtures("real_training")
def test_a_mapping_by_layer_is_an_axis_a_layer() -> None:
    found = real_space({"student.layer_bits": {"per_layer": [2, 3]}, "hw.adc.bits": [4]})
    names = ["student.layer_bits.conv1", "student.layer_bits.conv2", "student.layer_bits.fc", "hw.adc.bits"]
    assert [axis.name for axis in found.axes] == names
    assert found.n_points == 8
    students = [found.student_of(point).resolved()["quantisation"]["layer_bits"] for point in found.points()]
    expected = [{"conv1": a, "conv2": b, "fc": c} for a, b, c in itertools.product((2, 3), repeat=3)]
    assert students == expected


@pytest.mark.usefixtures("real_training")
def test_layers_can_be_chosen_tied_and_made_conditional() -> None:
    found = real_space(
        {
            "student.layer_bits": {"per_layer": [2, 3], "layers": ["fc"]},
            "student.convolutions": [4, 5],
            "student.membrane_layer_bits": {"per_layer": [3, 6], "layers": ["conv2"]},
        },
        tied={"student.convolutions": ["student.layer_bits.conv1", "student.layer_bits.conv2"]},
        conditions={"student.membrane_layer_bits.conv2": {"student.layer_bits.fc": [3]}},
    )
    students = [found.student_of(point).resolved()["quantisation"] for point in found.points()]
    assert found.n_points == len(students) == 6
    assert students[0]["layer_bits"] == {"conv1": 4, "conv2": 4, "fc": 2}
    assert "membrane_layer_bits" not in students[0]
    assert students[-1]["membrane_layer_bits"] == {"conv2": 6}


@pytest.mark.usefixtures("real_training")
@pytest.mark.parametrize(
    ("axes", "sentence"),
    [
        ({"student.layer_bits": [2, 3]}, r"is a mapping by layer; write \{per_layer: \[...\]\}"),
        ({"student.weight_bits": {"per_layer": [2, 3]}}, "no mapping by layer; list its values"),
        ({"student.layer_bits": {"per_layer": [2], "layers": ["conv9"]}}, "no layer 'conv9'; did you mean 'conv"),
        ({"student.layer_bits": {"per_layer": [2], "layers": ["fc", "fc"]}}, "'fc' is given twice"),
        ({"student.layer_bits": {"per_layer": [2, "x"]}}, "layer_bits.conv1=x"),
        ({"student.layer_bits.conv1": [2], "student.layer_bits": {"per_layer": [3]}}, "both set"),
    ],
)
def test_wrong_axes_by_layer_are_one_sentence(axes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigError, match=sentence):
        real_space(axes)
