"""Training in several processes computes what one computes: statistics, losses, gradients, reports."""

import copy
import math

import pytest
import small_trainings
import torch
from hypothesis import given
from hypothesis import strategies as st
from thread_ranks import together

from spikeloop.distill.config import LossSpec, TrainingConfig
from spikeloop.distill.datasets import Dataset, load_dataset
from spikeloop.distill.device import find_device
from spikeloop.distill.losses import total_loss
from spikeloop.distill.parallel import ALONE, Launch, Ranks, Shard, find_launch, joined
from spikeloop.distill.reports import TrainResult
from spikeloop.distill.run_folder import open_run
from spikeloop.distill.state import Keeper
from spikeloop.distill.train import train_student, train_teacher
from spikeloop.models.batch_norm import shared_batch_norm
from spikeloop.models.layers import LayerOutput
from spikeloop.models.lif import NeuronSpec
from spikeloop.models.net import SpikingNet, build_student, build_teacher
from spikeloop.models.quantisers import QuantisationSpec
from spikeloop.models.zoo import architecture
from spikeloop.simulator.config import load_hardware
from spikeloop.simulator.errors import ConfigError, SimulationError
from spikeloop.simulator.spec import validate_spec

TEACHER = {**small_trainings.TEACHER, "epochs": 2}
STUDENT = {**small_trainings.STUDENT, "epochs": 2, "augmentation": {"max_shift": 1}}


def config(base, **fields) -> TrainingConfig:
    return validate_spec(TrainingConfig, {**base, **fields}, where="training.yaml")


@pytest.fixture(scope="module")
def digits() -> Dataset:
    full = load_dataset("digits")
    return Dataset(
        name="digits",
        train_images=full.train_images[:129],  # 5 batches, the last of a single image
        train_labels=full.train_labels[:129],
        test_images=full.test_images[:61],
        test_labels=full.test_labels[:61],
    )


@pytest.fixture(scope="module")
def teacher(digits) -> SpikingNet:
    return train_teacher(config(TEACHER), digits).net


# --- which process has what


@given(n_images=st.integers(0, 300), world_size=st.integers(1, 9))
def test_the_parts_are_all_images_once_in_order_and_as_even_as_can_be(n_images, world_size):
    parts = [range(n_images)[Ranks(rank=r, world_size=world_size).part(n_images)] for r in range(world_size)]
    assert [index for part in parts for index in part] == list(range(n_images))
    sizes = [len(part) for part in parts]
    assert max(sizes) - min(sizes) <= 1
    assert sizes == sorted(sizes, reverse=True)


SET = {"WORLD_SIZE": "4", "RANK": "3", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "29500"}


def test_the_variables_of_torchrun_say_which_process_this_is():
    assert find_launch(SET) == Launch(rank=3, local_rank=1, world_size=4)
    assert find_launch({**SET, "TORCHELASTIC_RUN_ID": "none"}).supervised
    assert find_launch({}) == find_launch({**SET, "WORLD_SIZE": "1", "RANK": "0"}) == Launch()
    with joined(Launch(), torch.device("cpu")) as ranks:
        assert ranks == ALONE
        assert not torch.distributed.is_initialized()


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"RANK": None}, "WORLD_SIZE is 4 and RANK is not set; start the processes with torchrun, or unset WORLD_SIZE"),
        ({"MASTER_PORT": None}, "WORLD_SIZE is 4 and MASTER_PORT is not set"),
        ({"RANK": "4"}, "RANK is 4; allowed 0 to 3"),
        ({"WORLD_SIZE": "two"}, "WORLD_SIZE is 'two'; allowed a whole number"),
        ({"LOCAL_RANK": "-1"}, "LOCAL_RANK is '-1'; allowed a whole number"),
    ],
)
def test_faulty_variables_are_refused(changes, sentence):
    environ = {key: value for key, value in {**SET, **changes}.items() if value is not None}
    with pytest.raises(ConfigError, match=sentence):
        find_launch(environ)


def test_each_process_of_a_machine_takes_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert find_device("cuda", Launch(rank=3, local_rank=1, world_size=4)) == torch.device("cuda", 1)
    assert find_device("auto", Launch(rank=2, local_rank=0, world_size=4)) == torch.device("cuda", 0)
    assert find_device("cuda", Launch()) == find_device("cuda") == torch.device("cuda")
    assert find_device("cpu", Launch(rank=3, local_rank=1, world_size=4)) == torch.device("cpu")
    with pytest.raises(
        ConfigError, match="process 2 of this machine needs a GPU of its own and torch sees 2; start at"
    ):
        find_device("cuda", Launch(rank=2, local_rank=2, world_size=4))


def test_what_the_first_process_knows_all_know():
    for data in (b"", b"\x00\xff finished"):
        told = together(3, lambda ranks, data=data: ranks.from_main(data * (1 + ranks.rank), torch.device("cpu")))
        assert told == [data] * 3
    assert ALONE.from_main(b"alone", torch.device("cpu")) == b"alone"


# --- batch norm


@pytest.mark.parametrize("sizes", [(4, 3), (5, 1, 1), (7, 0)])
def test_batch_norm_over_parts_is_that_of_torch_over_the_whole(sizes):
    generator = torch.Generator().manual_seed(0)
    values = 3 + 2 * torch.randn(7, 3, 2, 4, generator=generator, dtype=torch.float64)
    weights = torch.randn(values.shape, generator=generator, dtype=torch.float64)
    gamma, beta = torch.tensor([1.5, -0.5, 2.0]).double(), torch.tensor([0.1, 0.2, -0.3]).double()
    ends = [sum(sizes[: rank + 1]) for rank in range(len(sizes))]

    def whole():
        inputs = [part.clone().requires_grad_() for part in (values, gamma, beta)]
        mean, var = torch.zeros(3).double(), torch.ones(3).double()
        normal = torch.nn.functional.batch_norm(inputs[0], mean, var, *inputs[1:], True, 1.0, 1e-3)
        (normal.square() * weights).sum().backward()
        return normal.detach(), mean, var, *(part.grad for part in inputs)

    def part(ranks):
        own = slice(ends[ranks.rank] - sizes[ranks.rank], ends[ranks.rank])
        inputs = [values[own].clone().requires_grad_(), gamma.clone().requires_grad_(), beta.clone().requires_grad_()]
        normal, mean, var = shared_batch_norm(*inputs, 1e-3, ranks)
        (normal.square() * weights[own]).sum().backward()
        ranks.add_up([inputs[1].grad, inputs[2].grad])
        return normal.detach(), mean, var, *(part.grad for part in inputs)

    found = list(zip(*together(len(sizes), part), strict=True))
    close = {"rtol": 1e-12, "atol": 1e-12}
    for index, expected in enumerate(whole()):
        if index in (0, 3):  # output and gradient of the values: each process has its own images
            torch.testing.assert_close(torch.cat(found[index]), expected, **close)
        else:
            for mine in found[index]:
                torch.testing.assert_close(mine, expected, **close)
                assert torch.equal(mine, found[index][0])


def test_statistics_of_whole_numbers_have_the_same_bits_for_any_number_of_processes():
    generator = torch.Generator().manual_seed(1)
    sums = torch.randint(-(2**20), 2**20, (12, 5, 3, 3), generator=generator).float()
    one = torch.ones(5)
    runs = [
        together(n, lambda ranks: shared_batch_norm(sums[ranks.part(12)], one, one, 1e-5, ranks)) for n in (2, 3, 5, 12)
    ]
    first = runs[0][0]
    for run in runs:
        assert torch.equal(torch.cat([part[0] for part in run]), torch.cat([part[0] for part in runs[0]]))
        assert all(torch.equal(part[1], first[1]) and torch.equal(part[2], first[2]) for part in run)


# --- one step


def pair(network, neuron, quantisation) -> tuple[SpikingNet, SpikingNet]:
    """A float64 teacher, and the student that starts from it."""
    options = {"n_timesteps": 3, "neuron": NeuronSpec(**neuron)}
    teacher = build_teacher(architecture(network), seed=2, **options)
    student = build_student(
        architecture(network),
        seed=2,
        quantisation=QuantisationSpec(weight_bits=3, membrane_bits=4, **quantisation),
        **options,
    )
    student.start_from(teacher)
    return teacher.double().eval(), student.double().train()


def one_step(net, codes, labels, spec, teacher, ranks):
    """Loss, gradients and statistics after a step of ``ranks`` together."""
    net = copy.deepcopy(net)
    net.share_batches(ranks if ranks.world_size > 1 else None)
    shard = Shard(ranks=ranks, n_images=len(labels))
    shown, truth = codes[shard.own], labels[shard.own]
    with torch.no_grad():
        lesson = None if teacher is None else teacher(shown)
    loss = total_loss(
        net(shown), truth, spec, lesson, layers=net.lif_names(), spike_energy_fJ=None, reset="hard", shard=shard
    )
    loss.backward()
    named = [(name, value) for name, value in net.named_parameters() if value.grad is not None]
    ranks.add_up([value.grad for _, value in named])
    found = {name: value.grad for name, value in named} | dict(net.named_buffers())
    return {"loss": ranks.total(loss.detach()), **found}


LEARNED = {"leak_training": "power_of_two", "threshold_training": "learned"}
KD = {"logit_kd": 1.0, "membrane_kd": 1.0}
CASES = {
    "cross_entropy": ("demo", {}, {}, {}),
    "distillation": ("demo", {}, {}, {**KD, "label_smoothing": 0.1}),
    "tet_and_firing": ("demo", {}, {"weight_scale": "learned"}, {"label_loss": "tet", "firing_penalty": 0.5}),
    "relative": ("demo", {}, {}, {**KD, "membrane_form": "relative", "logit_match": "step"}),
    "gram": ("demo", {}, {}, {**KD, "membrane_form": "gram", "membrane_match": "mean"}),
    "after_reset": ("demo", {}, {}, {**KD, "membrane_point": "after_reset", "layer_weights": {"conv1": 0.2}}),
    "learned_neurons": ("demo", LEARNED, {"weight_quantiser": "rescaw"}, KD),
    "mint": ("demo", {}, {"weight_quantiser": "mint"}, KD),
    "ms_resnet": ("ms_resnet_tiny", LEARNED, {}, KD),
    "sew_resnet": ("sew_resnet_tiny", {}, {}, KD),
}


@pytest.mark.parametrize("n_images", [7, 1])
@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("role", ["teacher", "student"])
def test_a_step_of_several_is_that_of_one(role, case, world_size, n_images):
    """Loss, gradient of every parameter and statistics, of parts of 4 + 3 or 3 + 2 + 2 images, or of 1 and nothing."""
    network, neuron, quantisation, losses = CASES[case]
    lesson, student = pair(network, neuron, quantisation)
    spec = LossSpec(**losses)
    net, lesson = (student, lesson) if role == "student" else (lesson.train(), None)
    spec = spec if role == "student" else LossSpec(firing_penalty=0.5)
    generator = torch.Generator().manual_seed(3)
    codes = torch.randint(0, 16, (n_images, 1, 8, 8), generator=generator).double()
    labels = torch.randint(0, 10, (n_images,), generator=generator)
    one = one_step(net, codes, labels, spec, lesson, ALONE)
    for found in together(world_size, lambda ranks: one_step(net, codes, labels, spec, lesson, ranks)):
        assert found.keys() == one.keys()
        for name, value in one.items():
            scale = float(value.abs().max())
            torch.testing.assert_close(
                found[name], value, rtol=0, atol=1e-9 * scale + 1e-15, msg=lambda m, n=name: f"{n}: {m}"
            )
    assert math.isfinite(float(one["loss"]))


# --- a whole training

#: Crossbars whose cells and ADCs are drawn anew in every pass, and whose reads are noisy.
NOISY = load_hardware("rram_64_nonideal").resolved()
NOISY["crossbar"]["wires"] = None
NOISY["adc"] = {"kind": "uniform", "bits": 5, "full_scale": "calibrated", "gain_sigma": 0.02, "noise_sigma_lsb": 0.2}
LEARNED_STEPS = {"weight_bits": 3, "membrane_bits": 3, "weight_scale": "learned"}


def trained(training, digits, teacher, world_size, keeper=Keeper) -> list[TrainResult]:
    """A student trained by threads; each gets a keeper of its own."""

    def work(ranks):
        return train_student(training, digits, copy.deepcopy(teacher), keeper=keeper(), ranks=ranks)

    return together(world_size, work)


def same_weights(a: TrainResult, b: TrainResult) -> bool:
    mine, its = a.net.state_dict(), b.net.state_dict()
    return mine.keys() == its.keys() and all(torch.equal(mine[key], its[key]) for key in mine)


def distance(a: TrainResult, b: TrainResult) -> float:
    """Euclidean, over all weights, constants and statistics."""
    its = b.net.state_dict()
    return math.sqrt(
        sum(float((value - its[key]).double().square().sum()) for key, value in a.net.state_dict().items())
    )


@pytest.mark.parametrize("world_size", [2, 3])
@pytest.mark.parametrize(
    "changes",
    [
        {"optimiser": "sgd", "lr": 0.05},
        {"quantisation": LEARNED_STEPS, "frozen_epochs": 0, "epochs": 1},
        {"network": "ms_resnet_tiny", "losses": {}, "frozen_epochs": 0, "epochs": 1},
        {
            "hardware": {"accelerator": NOISY, "read_noise": False, "recalibrate_every": 3, "calibration_images": 8},
            "optimiser": "sgd",
        },
    ],
    ids=["sgd", "adamw", "residual", "hardware"],
)
def test_a_training_of_several_is_that_of_one_but_for_the_order_of_its_sums(digits, teacher, changes, world_size):
    """Ten steps in 32-bit floats, half of them with frozen statistics, or five; the fifth batch is a single image.

    The last bits of a sum, which differ by processor, may flip a spike, or a weight code where AdamW divides a
    gradient by its own size: measured are 1e-6 of the way that training went, and 2e-4 with a spike flipped.
    One step, in doubles, is compared to 1e-9 above.
    """
    training = config(STUDENT, **changes)
    lesson = teacher if training.losses.needs_teacher else None
    one = train_student(training, digits, lesson)
    start = train_student(training.model_copy(update={"lr": 1e-12}), digits, lesson)
    first, *others = trained(training, digits, lesson, world_size)
    assert all(same_weights(first, other) and first.history == other.history for other in others)
    way = distance(one, start)
    assert way > 0.1
    assert distance(one, first) < 2e-3 * way
    for mine, its in zip(first.history, one.history, strict=True):
        assert mine.loss == pytest.approx(its.loss, rel=1e-4)
        assert mine.train_accuracy == pytest.approx(its.train_accuracy, abs=0.02)
        assert mine.test_accuracy == pytest.approx(its.test_accuracy, abs=0.05)
        assert mine.firing_rate == pytest.approx(its.firing_rate, rel=1e-3)


def test_all_processes_go_on_from_where_the_first_one_stands(digits, teacher):
    """The first one stands elsewhere than where its file says, as after a resume; the others never see the folder."""

    class Moved(Keeper):
        def begin(self, run, *, n_images):
            if run.ranks.is_main:
                run.epoch, run.order, run.batch = 1, torch.randperm(n_images, generator=run.shuffle), 3
                with torch.no_grad():
                    run.net.blocks["fc"].bias += 0.25

    first, second = trained(config(STUDENT), digits, teacher, 2, Moved)
    assert same_weights(first, second)
    assert first.history == second.history
    assert first.history[0].loss != trained(config(STUDENT), digits, teacher, 2)[0].history[0].loss


def test_a_run_goes_on_with_another_number_of_processes_and_says_so(tmp_path, digits, teacher):
    training, said = config(STUDENT), []

    class Stop(Exception):
        """Stands for a process that dies."""

    def work(ranks, stops_at=None):
        def on_batch(*at):
            if at[:2] == stops_at:
                raise Stop

        def train(keeper):
            return train_student(training, digits, copy.deepcopy(teacher), keeper=keeper, ranks=ranks)

        if not ranks.is_main:
            return train(Keeper())
        with open_run(tmp_path, training, say=said.append, every_s=0.0, on_batch=on_batch) as keeper:
            return train(keeper)

    for world_size, stops_at in ((2, (1, 3)), (1, (1, 4)), (3, (2, 1))):
        with pytest.raises(Stop):
            together(world_size, lambda ranks, stops_at=stops_at: work(ranks, stops_at))
    assert [environment.get("world_size") for environment in work(ALONE).environments] == ["2", None, "3", None]
    sentences = [f"trained with {n} process(es) before and goes on with {m} " for n, m in ((2, 1), (2, 3), (1, 3))]
    assert all(sentence in one for sentence, one in zip(sentences, said, strict=False))
    assert all(one.endswith("its bits may differ from those of a run in one go") for one in said)


def test_processes_that_drift_apart_are_stopped(digits, teacher):
    class Drift(Keeper):
        def after_batch(self, run, *, n_batches):
            if run.ranks.rank == 1:
                with torch.no_grad():
                    run.net.blocks["fc"].bias[0] += 1e-6

    with pytest.raises(SimulationError, match="epoch 1: the processes no longer hold the same weights"):
        trained(config(STUDENT), digits, teacher, 2, Drift)


def test_values_that_are_not_finite_in_one_process_stop_all_with_one_sentence(digits):
    """Membranes of the second process alone: it has the pictures after the first half of the batch."""
    training = config(TEACHER, epochs=1, frozen_epochs=0, batch_size=129)
    sentences = []

    class Poisoned(Keeper):
        def begin(self, run, *, n_images):
            if run.ranks.rank == 1:
                block = run.net.blocks["conv1"]
                forward = block.forward

                def poisoned(codes):
                    output = forward(codes)
                    wrong = torch.zeros_like(output.membrane)
                    wrong[0, 0, 0, 0, 0] = math.nan
                    return LayerOutput(output.spikes + wrong, output.membrane + wrong)

                block.forward = poisoned

    def work(ranks):
        with pytest.raises(SimulationError) as caught:
            train_teacher(training, digits, keeper=Poisoned(), ranks=ranks)
        sentences.append(str(caught.value))

    together(2, work)
    assert sentences == ["epoch 1: layer conv1 is the first with values that are not finite; lower lr"] * 2


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"batch_size": 2}, "batch_size is 2 and 3 processes share each batch; give at least 3, or start fewer"),
        ({"hardware": {"accelerator": NOISY}}, "the noise of reads is drawn .* write hardware.read_noise: false, or"),
    ],
)
def test_what_several_processes_cannot_share_is_refused(digits, teacher, changes, sentence):
    with pytest.raises(ConfigError, match=sentence):
        train_student(config(STUDENT, **changes), digits, teacher, ranks=Ranks(rank=1, world_size=3))


def test_a_process_without_its_launcher_stops(digits):
    ranks = Ranks(rank=0, world_size=1, launcher=-1)
    with pytest.raises(SimulationError, match="torchrun, which started this process, is gone; go on with --resume"):
        train_teacher(config(TEACHER), digits, ranks=ranks)
