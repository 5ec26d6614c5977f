"""``spikeloop data``, and a network of events from its export to its accuracy."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from spikeloop.codesign.cli import main
from spikeloop.distill import download

pytestmark = pytest.mark.e2e


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("SPIKELOOP_DATA", str(tmp_path / "data"))
    return tmp_path / "data"


def test_all_data_sets_are_listed(root, capfd):
    assert main(["data"]) == 0
    out = capfd.readouterr().out
    assert str(root) in out
    assert "nmnist" in out
    assert "not there" in out
    assert not root.exists()  # looking writes nothing


def test_a_typo_gets_the_nearest_name_and_exit_code_2(root, capfd):
    assert main(["data", "nmnst"]) == 2
    assert "did you mean 'nmnist'?" in capfd.readouterr().err
    assert main(["data", "nmnist", "--from", "digits"]) == 2
    assert "--from and --images make synthetic_nmnist, not nmnist" in capfd.readouterr().err


def test_without_a_network_the_sentence_names_address_folder_and_files(root, capfd, monkeypatch):
    def no_network(*_: object, **__: object) -> None:
        raise OSError("no network in tests")

    monkeypatch.setattr(download.urllib.request, "urlopen", no_network)
    assert main(["data", "cifar100"]) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    for part in ("cifar-100-binary.tar.gz", "https://www.cs.toronto.edu/~kriz/cifar.html", str(root), "no network"):
        assert part in said
    assert main(["data", "nmnist"]) == 1
    said = capfd.readouterr().err.splitlines()[-1]
    for part in ("Train.zip, Test.zip", "https://www.garrickorchard.com/datasets/n-mnist", str(root / "N-MNIST")):
        assert part in said
    assert main(["data", "cifar100", "--no-download"]) == 2
    assert "no such file; put the data set there" in capfd.readouterr().err


def test_a_damaged_set_is_found(root, capfd):
    (root / "N-MNIST" / "Train" / "3").mkdir(parents=True)
    (root / "N-MNIST" / "Test" / "3").mkdir(parents=True)
    (root / "N-MNIST" / "Test" / "3" / "00001.bin").write_bytes(bytes(5))
    (root / "N-MNIST" / "Train" / "3" / "00001.bin").write_bytes(bytes(7))
    assert main(["data", "nmnist"]) == 2
    assert "Train/3/00001.bin: has 7 bytes; a recording is a whole number" in capfd.readouterr().err
    (root / "N-MNIST" / "Train" / "3" / "00001.bin").write_bytes(bytes(10))
    assert main(["data", "nmnist"]) == 0
    assert "1 recordings of 60000 published: a subset" in capfd.readouterr().out


def test_check_knows_a_camera(capfd):
    from spikeloop.simulator.config import shipped_files

    assert main(["check", str(shipped_files("cameras")["saccades_34"])]) == 0
    assert "valid simulated event camera of 34x34 pixels" in capfd.readouterr().out


def test_digits_need_no_files(root, capfd):
    assert main(["data", "digits"]) == 0
    assert "1197 images" in capfd.readouterr().out


def test_synthetic_events_from_camera_to_accuracy(root, tmp_path, capfd):
    """Make a set, train a small student on it for an epoch, export it, run it on a chip; the random network too."""
    assert main(["data", "synthetic_nmnist", "--images", "20"]) == 0
    out = capfd.readouterr().out
    assert "SYNTHETIC" in out
    assert "20 recordings" in out
    assert main(["data", "synthetic_nmnist", "--images", "20"]) == 2  # never silently another one
    training = {
        "role": "student",
        "dataset": "synthetic_nmnist",
        "network": "nmnist",
        "n_timesteps": 2,
        "frames": "time",
        "augmentation": {"max_shift": 1},
        "quantisation": {"weight_bits": 3, "membrane_bits": 4},
        "epochs": 1,
        "batch_size": 10,
        "lr": 0.002,
    }
    (tmp_path / "t.yaml").write_text(yaml.safe_dump(training))
    assert main(["train", str(tmp_path / "t.yaml"), "--out", str(tmp_path / "student")]) == 0
    trained, untrained = tmp_path / "trained.safetensors", tmp_path / "random.safetensors"
    assert main(["export", str(tmp_path / "student"), "--out", str(trained)]) == 0
    assert main(["export", "--random", "nmnist", "--out", str(untrained)]) == 0
    capfd.readouterr()
    assert main(["simulate", str(trained), "--hw", "ideal_64", "--images", "2", "--json"]) == 0
    result = json.loads(capfd.readouterr().out)
    assert result["accuracy"]["n"] == 2
    assert result["energy_fJ"] > 0
    common = ["simulate", str(untrained), "--hw", "ideal_64", "--json"]
    assert main([*common, "--data", "synthetic_nmnist", "--images", "1", "--calibration-images", "1"]) == 0
    assert json.loads(capfd.readouterr().out)["accuracy"]["n"] == 1
    assert main([*common, "--data", "digits", "--images", "1"]) == 2
    assert "takes codes that change from step to step" in capfd.readouterr().err
