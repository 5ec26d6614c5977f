"""``torchrun ... spikeloop train``: two processes on the CPU, stopped in every way, end with the same bits."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
import small_trainings
import yaml

from spikeloop.codesign.cli import main
from spikeloop.distill.journal import read_events

TEACHER = {**small_trainings.TEACHER_FILE, "epochs": 2}
STUDENT = {**small_trainings.STUDENT_FILE, "epochs": 2}
#: Nothing here may take longer; a process that waits for another in vain is a failure.
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working directory with training files, and ``whole``: a run of two processes in one go."""
    folder = tmp_path_factory.mktemp("torchrun")
    _write_files(folder)
    with _torchrun(folder, "student.yaml", "whole") as run:
        said = run.communicate(timeout=PATIENCE_S)
        assert run.returncode == 0, said[1]
    return folder


def test_a_run_of_two_is_noted_as_such_once(undisturbed: Path) -> None:
    for part in (undisturbed / "whole" / "teacher", undisturbed / "whole"):
        index = json.loads((part / "checkpoint.json").read_text())
        assert index["versions"]["world_size"] == "2"
        events = read_events(part)
        assert [e["event"] for e in events if e["event"] != "checkpoint"] == ["started", *["epoch"] * 2, "finished"]
        assert events[0]["environment"]["world_size"] == "2"
    left = {path.name for path in (undisturbed / "whole").iterdir()}
    assert left == {"teacher", "checkpoint.json", "events.jsonl", *_weights(undisturbed / "whole")}


def test_the_first_epoch_is_that_of_one_process(undisturbed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """19 steps, the last of 45 images; the sums differ in the last bits, and steps of the optimiser make that grow."""
    monkeypatch.chdir(undisturbed)
    monkeypatch.setenv("WORLD_SIZE", "1")  # torchrun with one process sets it, and nothing is different then
    assert main(["train", "teacher.yaml", "--out", "one"]) == 0
    folders = (Path("one"), Path("whole") / "teacher")
    one, two = (next(e for e in read_events(folder) if e["event"] == "epoch") for folder in folders)
    assert two["loss"] == pytest.approx(one["loss"], rel=1e-4)
    assert two["train_accuracy"] == pytest.approx(one["train_accuracy"], abs=0.002)
    assert two["test_accuracy"] == pytest.approx(one["test_accuracy"], abs=0.01)
    assert two["firing_rate"] == pytest.approx(one["firing_rate"], rel=1e-2)


def test_killed_and_interrupted_it_goes_on_to_the_same_bits(undisturbed: Path, tmp_path: Path) -> None:
    """Launcher and first process are killed, then the second one gets Ctrl-C: the one that is left never waits on.

    The second process of what follows has a folder of its own, as without a shared disk, where nothing appears.
    """
    out = undisturbed / "killed"
    _write_files(tmp_path)
    with _torchrun(undisturbed, "student.yaml", "killed", "--checkpoint-every", "0") as run:
        _wait_for(lambda: _n_events(out / "teacher", "checkpoint") > 3, run)
        workers = _workers(run)
        assert sorted(workers) == [0, 1]
        for pid in (run.pid, workers[0]):
            os.kill(pid, signal.SIGKILL)
        _wait_for(lambda: not any(map(_is_alive, workers.values())))

    first, second = _two_by_hand((undisturbed, tmp_path), "student.yaml", "killed", "--resume")
    _wait_for(lambda: _n_events(out, "epoch") > 0, first)
    second.send_signal(signal.SIGINT)
    said = [run.communicate(timeout=PATIENCE_S) for run in (first, second)]
    assert (first.returncode, second.returncode) == (1, 130), said
    assert said[0][1].endswith("spikeloop: another process of this training is gone; its own message says why\n")
    assert "another process" in read_events(out)[-1]["reason"]
    assert not (out / "checkpoint.json").exists()

    runs = _two_by_hand((undisturbed, tmp_path), "student.yaml", "killed", "--resume")
    said = [run.communicate(timeout=PATIENCE_S) for run in runs]
    assert [run.returncode for run in runs] == [0, 0], said
    assert said[0][0].startswith("killed: student demo, test accuracy ")
    assert said[1] == ("", "")
    assert {path.name for path in tmp_path.iterdir()} == {"teacher.yaml", "student.yaml"}
    for part in ("teacher", "."):
        assert _weights(out / part) == _weights(undisturbed / "whole" / part)
        assert [e["epoch"] for e in read_events(out / part) if e["event"] == "epoch"] == [1, 2]


def test_a_training_that_diverges_stops_both_processes(undisturbed: Path) -> None:
    text = yaml.safe_dump({**TEACHER, "optimiser": "sgd"}).replace("lr: 0.02", "lr: 1" + "0" * 38)
    (undisturbed / "diverges.yaml").write_text(text)
    runs = _two_by_hand((undisturbed, undisturbed), "diverges.yaml", "diverges")
    said = [run.communicate(timeout=PATIENCE_S)[1] for run in runs]
    assert [run.returncode for run in runs] == [1, 1], said
    sentence = said[0].removeprefix("spikeloop: ")
    assert "not finite" in sentence
    assert said[1] == f"spikeloop: process 1: {sentence}"
    assert read_events(undisturbed / "diverges")[-1]["reason"] == sentence.strip()
    assert (undisturbed / "diverges" / "state-00000000.json").is_file()


def _write_files(folder: Path) -> None:
    (folder / "teacher.yaml").write_text(yaml.safe_dump(TEACHER))
    (folder / "student.yaml").write_text(yaml.safe_dump(STUDENT))


def _torchrun(folder: Path, *arguments: str) -> subprocess.Popen[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m"]
    return _start([*launcher, "spikeloop.codesign.cli", "train", *_named(arguments)], folder, {})


def _two_by_hand(folders: tuple[Path, Path], *arguments: str) -> tuple[subprocess.Popen[str], subprocess.Popen[str]]:
    """What torchrun would start, each process in a folder of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        where = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free.getsockname()[1]), "WORLD_SIZE": "2"}
    command = [sys.executable, "-m", "spikeloop.codesign.cli", "train", *_named(arguments)]
    ranks = ({**where, "RANK": str(rank), "LOCAL_RANK": str(rank)} for rank in (0, 1))
    first, second = (_start(command, folder, rank) for folder, rank in zip(folders, ranks, strict=True))
    return first, second


def _named(arguments: tuple[str, ...]) -> list[str]:
    training, out, *options = arguments
    return [training, "--out", out, *options]


def _start(command: list[str], folder: Path, environ: dict[str, str]) -> subprocess.Popen[str]:
    kept = {key: value for key, value in os.environ.items() if key not in ("RANK", "LOCAL_RANK", "WORLD_SIZE")}
    return subprocess.Popen(
        command,
        cwd=folder,
        env={**kept, "OMP_NUM_THREADS": "1", **environ},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _workers(run: subprocess.Popen[Any]) -> dict[int, int]:
    """Processes that the launcher started, by rank; the second field behind a name in /proc is the parent's id."""
    found = {}
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            if int(stat.read_text().rpartition(")")[2].split()[1]) == run.pid:
                environ = dict(entry.partition("=")[::2] for entry in (stat.parent / "environ").read_text().split("\0"))
                found[int(environ["RANK"])] = int(stat.parent.name)
    return found


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def _n_events(folder: Path, *events: str) -> int:
    path = folder / "events.jsonl"
    return sum(e["event"] in events for e in read_events(folder)) if path.is_file() else 0


def _weights(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("weights-*.safetensors")}


def _wait_for(condition: Callable[[], bool], run: subprocess.Popen[str] | None = None) -> None:
    end = time.monotonic() + PATIENCE_S
    while not condition():
        assert run is None or run.poll() is None, f"the training was over too early: {run.communicate()[1]}"
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.02)
