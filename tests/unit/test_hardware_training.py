"""Training files that name a design: what they refuse, what they hash, and that the simulator agrees with them."""

import json

import pytest
import torch
import yaml

from spikeloop.distill.config import TrainingConfig, load_training_config
from spikeloop.distill.datasets import load_dataset
from spikeloop.distill.encode import split_spikes
from spikeloop.distill.firing import firing_penalty, readers_of, spike_energy_fJ
from spikeloop.distill.train import train_student
from spikeloop.models.export import to_network
from spikeloop.models.zoo import architecture
from spikeloop.simulator.config import load_hardware
from spikeloop.simulator.errors import ConfigError
from spikeloop.simulator.pipeline import evaluate
from spikeloop.simulator.spec import validate_spec


def config_of(**changes):
    plain = {**load_training_config("digits_student").resolved(), "teacher": None, "epochs": 2, "frozen_epochs": 1}
    plain["losses"] = {"cross_entropy": 1.0, **changes.pop("losses", {})}
    return validate_spec(TrainingConfig, {**plain, **changes}, where="test")


def design_file(tmp_path, **adc):
    fields = load_hardware("spikeflow_128").resolved()
    fields["crossbar"]["cell_bits"] = 2
    fields["adc"].update(bits=3, **adc)
    path = tmp_path / "design.yaml"
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    return path


def test_training_reports_what_the_simulator_finds(tmp_path):
    path, digits = design_file(tmp_path), load_dataset("digits")
    result = train_student(config_of(hardware={"accelerator": str(path)}), digits, None)
    network = to_network(result.net, "student")
    test, calibration = (
        split_spikes(digits, split, n, network.input, n_timesteps=4) for split, n in (("test", 600), ("train", 64))
    )
    found = evaluate(network, load_hardware(str(path)), test, seed=0, calibration=calibration).metrics
    assert found.accuracy.value == result.test_accuracy
    assert sum(layer.clipped_fraction for layer in found.by_layer) > 0
    assert all(getattr(block, "reader", None) is None for block in result.net.blocks.values())


def test_the_same_seed_trains_the_same_network_on_scattering_cells(tmp_path):
    digits = load_dataset("digits")
    path = design_file(tmp_path, gain_sigma=0.02, offset_sigma_lsb=0.2, noise_sigma_lsb=0.2)
    fields = yaml.safe_load(path.read_text("utf-8"))
    fields["crossbar"].update(cell={"preset": "rram_neurram", "read_noise_ratio": 0.02}, baseline="subtracted")
    path.write_text(yaml.safe_dump(fields), encoding="utf-8")
    config = config_of(hardware={"accelerator": str(path)}, epochs=1, frozen_epochs=0)
    first, second = (train_student(config, digits, None).net.state_dict() for _ in range(2))
    assert all(torch.equal(first[key], second[key]) for key in first)


def test_a_student_starts_from_a_student_of_its_kind_only():
    digits = load_dataset("digits")
    start = train_student(config_of(epochs=1, frozen_epochs=0), digits, None).net
    still = config_of(epochs=1, frozen_epochs=0, lr=1e-12, weight_decay=0.0)
    tuned = train_student(still, digits, None, start=start).net
    assert torch.allclose(tuned.blocks["conv2"].weight, start.blocks["conv2"].weight, atol=1e-6)
    wider = config_of(network="ms_resnet_tiny", epochs=1, frozen_epochs=0)
    with pytest.raises(ConfigError, match=r"start holds another student of network demo"):
        train_student(wider, digits, None, start=start)


def test_a_design_that_training_cannot_compute_is_refused_until_it_is_named():
    config = config_of(hardware={"accelerator": "rram_64_nonideal"})
    with pytest.raises(ConfigError, match=r"has wires, adc_steps, which training cannot compute; write hardware\."):
        train_student(config, load_dataset("digits"), None)
    idle = config_of(hardware={"accelerator": "spikeflow_128", "leave_out": ["wires"]})
    with pytest.raises(ConfigError, match=r"names wires and hardware spikeflow_128 has no such departure"):
        train_student(idle, load_dataset("digits"), None)


def test_the_hash_follows_the_content_of_the_hardware_file(tmp_path):
    path = design_file(tmp_path)
    config = config_of(hardware={"accelerator": str(path)})
    before = config.content_hash()
    twin = path.rename(tmp_path / "elsewhere.yaml")
    assert config_of(hardware={"accelerator": str(twin)}).content_hash() == before
    design_file(tmp_path, gain_sigma=0.1)
    assert config.content_hash() != before
    assert config_of().content_hash() != before


def test_fields_without_an_effect_are_refused():
    with pytest.raises(ConfigError, match=r"energy_from weighs spikes and firing_penalty is 0"):
        config_of(losses={"energy_from": "metrics.json"})
    with pytest.raises(ConfigError, match=r"hardware\.from_epoch=3 is after the last of epochs=2; allowed 1 to 2"):
        config_of(hardware={"accelerator": "spikeflow_128", "from_epoch": 3})


def test_the_penalty_of_two_layers_by_hand():
    """4 neurons that fire once and 2 that fire twice: 3/6 of all; at 1 fJ and 4 fJ (1 + 8) / (4 + 8)."""
    one, two = torch.tensor([1.0, 0.0, 0.0, 0.0]), torch.tensor([1.0, 1.0])
    assert firing_penalty((one, two)).item() == 0.5
    assert firing_penalty((one, two), (1.0, 4.0)).item() == 0.75


def test_the_energy_of_a_spike_by_hand(tmp_path):
    """Demo: conv2 reads 8x4x4 pooled sums of 3 bits at 4 steps; at density 1/2 that is 768 ones, fc likewise 384."""
    part = {"adc": {"energy_fJ": 700.0}, "noc": {"energy_fJ": 68.0}, "neuron": {"energy_fJ": 5000.0}}
    rows = [{"name": name, "input_density": 0.5, "by_component": part} for name in ("conv1", "conv2", "fc")]
    path = tmp_path / "metrics.json"
    path.write_text(json.dumps({"by_layer": rows}), encoding="utf-8")
    plan = architecture("demo")
    assert readers_of(plan) == {"conv1": ("conv2",), "conv2": ("fc",)}
    assert spike_energy_fJ(path, plan, 4) == (1.0, 2.0)
    path.write_text("{}", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"has no by_layer; give the file of 'simulate --json'"):
        spike_energy_fJ(path, plan, 4)


def test_readers_are_found_through_sums_of_spikes():
    readers = readers_of(architecture("sew_resnet_tiny"))
    assert all(found for found in readers.values())
    assert any(len(found) > 1 for found in readers.values())
