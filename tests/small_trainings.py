"""Training files that take seconds: the digits, the demo network, two time steps."""

from __future__ import annotations

from typing import Any

_DEMO: dict[str, Any] = {"dataset": "digits", "network": "demo", "n_timesteps": 2, "lr": 0.02}
#: Three epochs in batches of 32, the last one with frozen statistics.
TEACHER: dict[str, Any] = {"role": "teacher", **_DEMO, "epochs": 3, "frozen_epochs": 1, "batch_size": 32}
STUDENT: dict[str, Any] = {
    **TEACHER,
    "role": "student",
    "quantisation": {"weight_bits": 3, "membrane_bits": 3},
    "losses": {"logit_kd": 1.0, "membrane_kd": 1.0},
}
#: For the command line, as ``teacher.yaml`` and ``student.yaml`` beside each other: learned steps and shifted pictures.
TEACHER_FILE: dict[str, Any] = {"role": "teacher", **_DEMO, "epochs": 3}
STUDENT_FILE: dict[str, Any] = {
    **TEACHER_FILE,
    "role": "student",
    "teacher": "teacher.yaml",
    "frozen_epochs": 1,
    "quantisation": {"weight_bits": 3, "membrane_bits": 3, "weight_scale": "learned"},
    "losses": {"logit_kd": 1.0, "membrane_kd": 0.1},
    "augmentation": {"max_shift": 1},
}
