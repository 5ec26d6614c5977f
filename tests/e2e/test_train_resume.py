"""``spikeloop train``: killed at any moment it goes on to the same bits; a student's teacher may be a file."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pytest
import small_trainings
import yaml

from spikeloop.codesign.cli import main
from spikeloop.distill.journal import read_events

TEACHER = small_trainings.TEACHER_FILE
STUDENT = small_trainings.STUDENT_FILE


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Working directory with training files, and ``whole``: a run in one go that saves after epochs only."""
    folder = tmp_path_factory.mktemp("training")
    (folder / "teacher.yaml").write_text(yaml.safe_dump(TEACHER))
    (folder / "student.yaml").write_text(yaml.safe_dump(STUDENT))
    done = _start(folder, "whole")
    assert done.wait(timeout=300) == 0
    return folder


def test_kills_while_training_and_while_saving_change_no_bit(undisturbed: Path) -> None:
    """Two kills of the teacher, then two of its student: in a save, and after a random while."""
    rng = random.Random(3)
    out = undisturbed / "killed"
    for part in (out / "teacher", out):
        for moment in ("a save", "a while"):
            seen = _n_events(part, "started", "resumed")
            run = _start(undisturbed, "killed", "--resume", "--checkpoint-every", "0")
            _wait_for(partial(_has_begun, part, seen), run)
            if moment == "a save":
                _wait_for(partial(_is_saving, part), run, pause_s=0.0002)  # a save takes milliseconds
            else:
                time.sleep(rng.uniform(0.0, 0.1))
            run.send_signal(signal.SIGKILL)
            assert run.wait() == -signal.SIGKILL, "the training was over before the kill: the test has lost its point"
    assert not (out / "checkpoint.json").exists()
    last = _start(undisturbed, "killed", "--resume")
    assert last.wait(timeout=300) == 0
    for part in ("teacher", "."):
        assert _weights(out / part) == _weights(undisturbed / "whole" / part)
        mine, its = (json.loads((run / part / "checkpoint.json").read_text()) for run in (out, undisturbed / "whole"))
        assert mine["history"] == its["history"]
        assert [e["epoch"] for e in read_events(out / part) if e["event"] == "epoch"] == [1, 2, 3]
    assert sum(e["event"] == "resumed" for e in read_events(out)) >= 2
    left = {path.name for path in out.iterdir()}
    assert left == {"teacher", "checkpoint.json", "events.jsonl", *_weights(out)}


def test_a_finished_run_says_so_and_another_file_is_refused(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(undisturbed)
    before = {path: path.read_bytes() for path in Path("whole").rglob("*") if path.is_file()}
    assert main(["train", "student.yaml", "--out", "whole", "--resume"]) == 0
    out, err = capfd.readouterr()
    assert err == "whole: this training is finished, nothing is left to do\n"
    assert out.startswith("whole: student demo, test accuracy ")
    Path("other.yaml").write_text(yaml.safe_dump({**STUDENT, "batch_size": 32}))
    assert main(["train", "other.yaml", "--out", "whole", "--resume"]) == 2
    assert "another training file (batch_size is 64 there and 32 here)" in capfd.readouterr().err
    assert main(["train", "student.yaml", "--out", "whole"]) == 2
    assert "not an empty folder, it holds a finished training" in capfd.readouterr().err
    assert before == {path: path.read_bytes() for path in Path("whole").rglob("*") if path.is_file()}
    assert main(["export", "whole", "--out", "net.safetensors"]) == 0


def test_a_folder_that_exists_wins_over_a_training_file(
    undisturbed: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(undisturbed)
    shutil.copytree("whole/teacher", "digits_teacher")
    Path("named.yaml").write_text(yaml.safe_dump({**STUDENT, "teacher": "digits_teacher"}))
    assert main(["--verbose", "train", "named.yaml", "--out", "named", "--device", "cpu"]) == 0
    err = capfd.readouterr().err
    assert "teacher: epoch" not in err
    assert "epoch 3/3: loss " in err
    assert "layer conv2: firing rate " in err
    assert not Path("named/teacher").exists()


@pytest.mark.parametrize(
    ("changes", "options", "words"),
    [
        ({"teacher": "digits_techer"}, (), "did you mean 'digits_teacher'?"),
        ({"teacher": "student.yaml"}, (), "'student.yaml' has role: student; name one of role teacher"),
        ({"teacher": "fashion_teacher"}, (), "the teacher is a 'fashion' and the student a 'demo'"),
        ({}, ("--device", "gpu"), "device 'gpu' is unknown; allowed: auto, cpu, cuda"),
        ({}, ("--checkpoint-every", "-1"), "--checkpoint-every"),
        ({"precision": "float16"}, (), "precision"),
    ],
)
def test_bad_input_is_one_sentence_before_anything_is_written(
    undisturbed: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
    changes: dict[str, str],
    options: tuple[str, ...],
    words: str,
) -> None:
    monkeypatch.chdir(undisturbed)
    Path("bad.yaml").write_text(yaml.safe_dump({**STUDENT, **changes}))
    assert main(["train", "bad.yaml", "--out", "bad", *options]) == 2
    err = capfd.readouterr().err
    assert words in err
    assert err.count("\n") == 1
    assert not Path("bad").exists()


def test_ctrl_c_tells_how_to_go_on(undisturbed: Path, capfd: pytest.CaptureFixture[str]) -> None:
    run = _start(undisturbed, "interrupted", stderr=subprocess.PIPE)
    _wait_for(lambda: _n_events(undisturbed / "interrupted" / "teacher", "epoch") > 0, run)
    run.send_signal(signal.SIGINT)
    _, err = run.communicate(timeout=120)
    assert run.returncode == 130
    assert b"go on with --resume" in err
    assert main(["check", str(undisturbed / "interrupted" / "teacher")]) == 2
    assert "an interrupted training; finish it with 'spikeloop train' and --resume" in capfd.readouterr().err
    assert read_events(undisturbed / "interrupted" / "teacher")[-1]["reason"] == "interrupted"


def _start(folder: Path, out: str, *options: str, stderr: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    command = [sys.executable, "-m", "spikeloop.codesign.cli", "train", "student.yaml", "--out", out, *options]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command,
        cwd=folder,
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=stderr,
        # A shell's background jobs ignore Ctrl-C, and so would their children.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def _n_events(folder: Path, *events: str) -> int:
    path = folder / "events.jsonl"
    return sum(e["event"] in events for e in read_events(folder)) if path.is_file() else 0


def _has_begun(folder: Path, seen: int) -> bool:
    return _n_events(folder, "started", "resumed") > seen


def _is_saving(folder: Path) -> bool:
    return any(folder.glob(".state-*"))


def _weights(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("weights-*.safetensors")}


def _wait_for(condition: Callable[[], bool], run: subprocess.Popen[bytes], pause_s: float = 0.02) -> None:
    end = time.monotonic() + 120.0
    while not condition() and run.poll() is None:
        assert time.monotonic() < end, "waited in vain"
        time.sleep(pause_s)
