"""A training that is stopped goes on to the same bits; what is damaged or another run's is refused."""

import json
import math

import pytest
import small_trainings
import torch
from safetensors.torch import load_file, save_file

from spikeloop.codesign.training_display import epoch_lines
from spikeloop.distill.checkpoint import load_checkpoint, save_checkpoint, weights_sha256
from spikeloop.distill.config import TrainingConfig
from spikeloop.distill.datasets import Dataset, load_dataset
from spikeloop.distill.device import find_device
from spikeloop.distill.evaluate import evaluate
from spikeloop.distill.journal import append_event, events_length_bytes, read_events, rewind_events
from spikeloop.distill.optimiser import lr_at
from spikeloop.distill.reports import EpochReport
from spikeloop.distill.run_folder import check_run_folder, open_run
from spikeloop.distill.state_files import state_names
from spikeloop.distill.train import train_student, train_teacher
from spikeloop.models.layers import LayerGeometry, matrix_product
from spikeloop.simulator.config import load_hardware
from spikeloop.simulator.errors import ConfigError, NetworkError, SimulationError, StudyError
from spikeloop.simulator.spec import validate_spec

TEACHER = small_trainings.TEACHER
STUDENT = {**small_trainings.STUDENT, "losses": {"logit_kd": 1.0, "membrane_kd": 1.0, "kd_warmup_epochs": 2}}
ADAMW = {"quantisation": {"weight_bits": 3, "membrane_bits": 3, "weight_scale": "learned"}}
SGD = {"optimiser": "sgd", "lr": 0.05, "warmup_epochs": 1, "augmentation": {"max_shift": 1}}
PLAIN_SGD = {"optimiser": "sgd", "lr": 0.05, "momentum": 0.0}
#: Crossbars whose cells, reads and ADCs are drawn anew in every pass, with ranges that follow every three steps.
NOISY = load_hardware("rram_64_nonideal").resolved()
NOISY["crossbar"]["wires"] = None
NOISY["adc"] = {"kind": "uniform", "bits": 3, "full_scale": "calibrated", "gain_sigma": 0.02, "noise_sigma_lsb": 0.2}
HARDWARE = {"hardware": {"accelerator": NOISY, "recalibrate_every": 3, "calibration_images": 8, "from_epoch": 2}}


def config(base, **fields) -> TrainingConfig:
    return validate_spec(TrainingConfig, {**base, **fields}, where="training.yaml")


class Stop(Exception):
    """Stands for a process that dies."""


def stop_at(epoch, batch):
    def on_batch(*at):
        if at[:2] == (epoch, batch):
            raise Stop

    return on_batch


@pytest.fixture(scope="module")
def digits() -> Dataset:
    full = load_dataset("digits")
    return Dataset(
        name="digits",
        train_images=full.train_images[:130],  # 5 batches, the last of 2 images
        train_labels=full.train_labels[:130],
        test_images=full.test_images[:60],
        test_labels=full.test_labels[:60],
    )


@pytest.fixture(scope="module")
def teacher(digits):
    return train_teacher(config(TEACHER), digits).net


@pytest.fixture
def go(tmp_path, digits, teacher):
    """Trains a student in a folder until it ends, or until a moment; returns the result, and what was said."""

    def run(training, until=(0, 0), every_s=0.0, folder=tmp_path):
        said = []
        try:
            with open_run(
                folder, training, say=said.append, teacher_sha256="t", every_s=every_s, on_batch=stop_at(*until)
            ) as keeper:
                result = train_student(training, digits, teacher, keeper=keeper)
                keeper.finish(result)
        except Stop:
            return None, said
        return result, said

    return run


def same_weights(a, b):
    mine, its = a.state_dict(), b.state_dict()
    return mine.keys() == its.keys() and all(torch.equal(mine[key], its[key]) for key in mine)


@pytest.mark.parametrize("changes", [ADAMW, SGD, PLAIN_SGD, HARDWARE], ids=["adamw", "sgd", "plain_sgd", "hardware"])
def test_a_run_stopped_at_any_moment_ends_with_the_same_bits(tmp_path, digits, teacher, go, changes):
    """Before the first step, inside an epoch, at the end of one, and at the first batch with frozen statistics."""
    training = config(STUDENT, **changes)
    whole = train_student(training, digits, teacher)
    for until in ((1, 1), (1, 4), (1, 5), (2, 3), (3, 1), (3, 2)):
        assert go(training, until) == (None, [])
    assert len(state_names(tmp_path)) == 2
    result, said = go(training)
    assert said == []
    assert result.history == whole.history
    assert same_weights(result.net, whole.net)
    assert same_weights(load_checkpoint(tmp_path).net, whole.net)
    assert state_names(tmp_path) == []
    assert len(json.loads((tmp_path / "checkpoint.json").read_text())["environments"]) == 1
    events = read_events(tmp_path)
    assert [e["event"] for e in events if e["event"] in ("started", "resumed", "finished")] == (
        ["started"] + ["resumed"] * 6 + ["finished"]
    )
    assert [e["epoch"] for e in events if e["event"] == "epoch"] == [1, 2, 3]


def test_a_state_saved_after_an_epoch_only_goes_on_too(digits, teacher, go):
    training = config(STUDENT)
    assert go(training, (3, 4), every_s=None)[0] is None
    result, _ = go(training, every_s=None)
    assert same_weights(result.net, train_student(training, digits, teacher).net)


def test_a_run_that_died_before_its_checkpoint_trains_no_more(tmp_path, digits, teacher, go):
    training = config(STUDENT)
    with open_run(tmp_path, training, say=print, teacher_sha256="t") as keeper:
        whole = train_student(training, digits, teacher, keeper=keeper)
    with open_run(tmp_path, training, say=print, teacher_sha256="t", on_batch=stop_at(3, 1)) as keeper:
        again = train_student(training, digits, teacher, keeper=keeper)
    assert same_weights(again.net, whole.net)
    assert again.history == whole.history
    assert again.cpu_time_s > whole.cpu_time_s


def flip(path):
    raw = bytearray(path.read_bytes())
    raw[-1] ^= 1
    path.write_bytes(bytes(raw))


@pytest.mark.parametrize(
    ("damage", "sentence"),
    [
        (lambda folder, name: flip(folder / f"{name}.safetensors"), "another sha256"),
        (lambda folder, name: (folder / f"{name}.safetensors").unlink(), "cannot be read"),
        (lambda folder, name: (folder / f"{name}.json").write_text('{"format'), "not whole JSON"),
        (lambda folder, name: (folder / f"{name}.json").write_text("{}"), "not a training state"),
    ],
)
def test_a_damaged_state_is_named_and_the_one_before_taken(tmp_path, digits, teacher, go, damage, sentence):
    training = config(STUDENT, epochs=2)
    go(training, (2, 4))
    newest, older = state_names(tmp_path)
    damage(tmp_path, newest)
    assert check_run_folder(tmp_path, training, resume=True) == "unfinished"
    result, said = go(training)
    assert len(said) == 1
    assert sentence in said[0]
    assert said[0].endswith(f"going on from {older}")
    assert same_weights(result.net, train_student(training, digits, teacher).net)
    assert [e["epoch"] for e in read_events(tmp_path) if e["event"] == "epoch"] == [1, 2]


def test_without_a_whole_state_the_run_is_refused(tmp_path, go):
    go(config(STUDENT), (1, 4))
    for name in state_names(tmp_path):
        flip(tmp_path / f"{name}.safetensors")
    with pytest.raises(ConfigError, match="no whole state is left, train again into another folder"):
        go(config(STUDENT))


def test_files_of_a_save_that_was_cut_are_cleared_away(tmp_path, go):
    go(config(STUDENT), (1, 4))
    newest = int(state_names(tmp_path)[0][-8:])
    for name in (f".state-{newest + 1:08d}.json.x1", f"state-{newest + 1:08d}.safetensors"):
        (tmp_path / name).write_bytes(b"torn")
    result, said = go(config(STUDENT))
    assert said == []
    assert result is not None
    names = {path.name for path in tmp_path.iterdir()}
    assert names == {"checkpoint.json", "events.jsonl", *(n for n in names if n.startswith("weights-"))}


def replaced(change, tmp_path):
    """Put other numbers into the JSON of every state."""
    for name in state_names(tmp_path):
        path = tmp_path / f"{name}.json"
        fields = json.loads(path.read_text())
        change(fields["run"])
        path.write_text(json.dumps(fields))


def test_other_threads_are_told(tmp_path, go):
    go(config(STUDENT), (1, 4))
    replaced(lambda run: run["environments"][0].update(n_threads="99", torch="1.0"), tmp_path)
    _, said = go(config(STUDENT))
    assert len(said) == 2
    assert "trained with torch 1.0 before" in said[0]
    assert f"99 thread(s) before and goes on with {torch.get_num_threads()} thread(s); its bits may differ" in said[1]
    assert len(json.loads((tmp_path / "checkpoint.json").read_text())["environments"]) == 2


@pytest.mark.parametrize("change", [lambda run: run.update(epoch=9), lambda run: run.pop("correct")])
def test_a_state_that_contradicts_itself_is_refused(tmp_path, go, change):
    go(config(STUDENT), (1, 4))
    replaced(change, tmp_path)
    with pytest.raises(ConfigError, match=r"state-\d{8}\.json: damaged"):
        go(config(STUDENT))


def test_another_teacher_is_refused(tmp_path, go):
    go(config(STUDENT), (1, 4))
    with (
        pytest.raises(StudyError, match="the run began with another teacher"),
        open_run(tmp_path, config(STUDENT), say=print, teacher_sha256="u") as keeper,
    ):
        train_student(config(STUDENT, losses={}), load_dataset("digits"), None, keeper=keeper)


def test_the_folder_says_where_its_run_stands(tmp_path, go):
    folder, training = tmp_path / "run", config(STUDENT)
    assert check_run_folder(folder, training, resume=False) == "new"
    assert check_run_folder(folder, training, resume=True) == "new"
    go(training, (1, 4), folder=folder)
    assert check_run_folder(folder, training, resume=True) == "unfinished"
    with pytest.raises(StudyError, match="holds an interrupted training; continue it with --resume, or give another"):
        check_run_folder(folder, training, resume=False)
    with pytest.raises(StudyError, match=r"another training file \(losses.logit_kd is 1.0 there and 0.5 here\)"):
        check_run_folder(folder, config(STUDENT, losses={"logit_kd": 0.5, "membrane_kd": 1.0}), resume=True)
    with pytest.raises(ConfigError, match="an interrupted training; finish it with 'spikeloop train' and --resume"):
        load_checkpoint(folder)
    go(training, folder=folder)
    assert check_run_folder(folder, training, resume=True) == "finished"
    with pytest.raises(StudyError, match="it holds a finished training; give another --out folder"):
        check_run_folder(folder, training, resume=False)
    with pytest.raises(StudyError, match="seed is 0 there and 1 here"):
        check_run_folder(folder, config(STUDENT, seed=1), resume=True)


@pytest.mark.parametrize("resume", [False, True])
def test_a_folder_with_anything_else_is_left_alone(tmp_path, resume):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(StudyError, match=r"not an empty folder, it holds 'mine.txt'"):
        check_run_folder(tmp_path, config(STUDENT), resume=resume)
    with pytest.raises(StudyError, match="not an empty folder"):
        check_run_folder(tmp_path / "mine.txt", config(STUDENT), resume=resume)


def test_one_process_at_a_time(tmp_path):
    with (
        open_run(tmp_path, config(TEACHER), say=print),
        pytest.raises(StudyError, match="another run is writing it"),
        open_run(tmp_path, config(TEACHER), say=print),
    ):
        pass


def test_a_run_that_diverges_leaves_the_state_before_and_says_why(tmp_path, digits):
    training = config(TEACHER, lr=1e38, optimiser="sgd")
    with pytest.raises(SimulationError, match="not finite"), open_run(tmp_path, training, say=print) as keeper:
        train_teacher(training, digits, keeper=keeper)
    (name,) = state_names(tmp_path)
    tensors = load_file(tmp_path / f"{name}.safetensors")
    assert all(torch.isfinite(value).all() for value in tensors.values() if value.is_floating_point())
    last = read_events(tmp_path)[-1]
    assert last["event"] == "stopped"
    assert "not finite" in last["reason"]


def test_the_last_step_of_an_epoch_is_checked_before_it_is_saved(tmp_path, digits):
    """One batch an epoch: the loss of the step is finite, the weights after it are not."""
    training = config(TEACHER, lr=1e38, weight_decay=1e3, optimiser="sgd", batch_size=130)
    with (
        pytest.raises(SimulationError, match=r"epoch 1: layer \w+ is the first with values that are not finite"),
        open_run(tmp_path, training, say=print) as keeper,
    ):
        train_teacher(training, digits, keeper=keeper)
    assert state_names(tmp_path) == ["state-00000000"]


def test_a_checkpoint_with_weights_that_are_not_finite_is_refused(tmp_path, digits, teacher):
    import hashlib

    save_checkpoint(tmp_path, train_teacher(config(TEACHER, epochs=2), digits))
    (weights,) = tmp_path.glob("weights-*.safetensors")
    tensors = load_file(weights)
    tensors["blocks.conv2.weight"].view(-1)[3] = math.nan
    save_file(tensors, weights)
    index = json.loads((tmp_path / "checkpoint.json").read_text())
    index["weights"]["sha256"] = hashlib.sha256(weights.read_bytes()).hexdigest()
    (tmp_path / "checkpoint.json").write_text(json.dumps(index))
    with pytest.raises(NetworkError, match=r"tensor blocks\.conv2\.weight holds values that are not finite"):
        load_checkpoint(tmp_path)
    assert len(weights_sha256(teacher)) == 64


# --- events


def test_events_that_are_trained_again_are_dropped_and_a_torn_line_too(tmp_path):
    append_event(tmp_path, "started", epoch=1)
    append_event(tmp_path, "epoch", epoch=1)
    length = events_length_bytes(tmp_path)
    append_event(tmp_path, "epoch", epoch=2)
    append_event(tmp_path, "stopped", reason="interrupted")
    with (tmp_path / "events.jsonl").open("a") as stream:
        stream.write('{"event": "epo')
    assert [e["event"] for e in read_events(tmp_path)] == ["started", "epoch", "epoch", "stopped"]
    assert rewind_events(tmp_path, length)
    assert [e["event"] for e in read_events(tmp_path)] == ["started", "epoch", "stopped"]
    assert not rewind_events(tmp_path / "nothing", 0)


def test_an_epoch_is_noted_with_its_numbers(tmp_path, go):
    result, _ = go(config(STUDENT))
    epochs = [e for e in read_events(tmp_path) if e["event"] == "epoch"]
    last, report = epochs[-1], result.history[-1]
    assert (last["loss"], last["test_accuracy"]) == (report.loss, report.test_accuracy)
    assert last["firing_rate"].keys() == last["membrane_saturation"].keys() == {"conv1", "conv2"}
    # The last of 15 steps: (1 + cos(pi 14/15)) / 2 of 0.02.
    assert last["lr"] == pytest.approx(0.02 * 0.010926, rel=1e-4)
    assert 0 < epochs[0]["cpu_time_s"] < last["cpu_time_s"]
    assert 0 < epochs[0]["wall_time_s"] < last["wall_time_s"]


def test_lr_rises_then_falls():
    """Two epochs of two steps, one to rise: 1/2, 1, then the cosine of 0 and of a half turn's half: 1, 1/2."""
    training = config(TEACHER, epochs=2, warmup_epochs=1, lr=1.0)
    assert [lr_at(training, step, 2) for step in range(4)] == pytest.approx([0.5, 1.0, 1.0, 0.5])
    assert lr_at(config(TEACHER, cosine=False, lr=1.0), 7, 2) == 1.0


def test_an_epoch_is_one_line_with_the_time_left(capfd):
    times = iter((0.0, 10.0, 20.0))
    show = epoch_lines("teacher: ", clock_s=lambda: next(times))
    fields = {"n_epochs": 4, "loss": 0.5, "train_accuracy": 0.25, "test_accuracy": 0.5}
    for epoch in (3, 4):  # resumed after the second
        show(EpochReport(epoch=epoch, firing_rate={"a": 0.1, "b": 0.3}, membrane_saturation={"a": 0, "b": 0}, **fields))
    first, second = capfd.readouterr().err.splitlines()
    assert first == (
        "teacher: epoch 3/4: loss 0.5000, train accuracy 25.00 %, test accuracy 50.00 %, firing rate 20.0 %, "
        "saturated membranes 0.0 %, 10 s left"
    )
    assert second.endswith("saturated membranes 0.0 %")


# --- device and precision


def test_unknown_and_absent_devices_are_refused():
    with pytest.raises(ConfigError, match="device 'gpu' is unknown; allowed: auto, cpu, cuda"):
        find_device("gpu")
    assert find_device("cpu").type == "cpu"
    if not torch.cuda.is_available():
        assert find_device("auto").type == "cpu"
        with pytest.raises(ConfigError, match="device 'cuda': torch sees no GPU"):
            find_device("cuda")


def test_bfloat16_trains_and_is_evaluated_on_integers(digits, teacher):
    result = train_student(config(STUDENT, precision="bfloat16"), digits, teacher)
    assert result.history[-1].loss < result.history[0].loss
    assert all(value.dtype == torch.float32 for value in result.net.parameters())
    assert not same_weights(result.net, train_student(config(STUDENT), digits, teacher).net)
    assert evaluate(result.net, digits.test_images, digits.test_labels).accuracy == result.test_accuracy


def test_autocast_leaves_integer_layers_and_dtypes_alone(digits, teacher):
    net = train_student(config(STUDENT, epochs=2), digits, teacher).net
    codes = torch.floor(torch.from_numpy(digits.test_images) * 15 + 0.5)
    alone = net.integer_run(codes)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        inside, shown = net.integer_run(codes), net(codes)
        geometry = LayerGeometry(name="fc", weight_shape=(1, 1), stride=1, padding=0, code_max=1, input_scale=1.0)
        product = matrix_product(torch.full((1, 1, 1, 1, 1), 257.0), torch.ones(1, 1), geometry)
    assert torch.equal(alone.logits, inside.logits)
    assert torch.equal(alone.logits, (shown.logits.double().sum(0) / net.blocks["fc"].scale()).round().long())
    assert product.dtype == torch.float32
    assert float(product) == 256.0, "the product itself has the 8 bits of bfloat16, or autocast was off"
