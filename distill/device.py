"""Where a training computes and with how many bits; what environment gave its bits."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import version
from typing import Literal, get_args

import torch

from spikeloop.simulator.errors import ConfigError

from .config import Precision

DeviceName = Literal["auto", "cpu", "cuda"]


def find_device(name: str) -> torch.device:
    """Device by name; ``auto`` is the GPU where torch sees one.

    Raises:
        ConfigError: an unknown name, or ``cuda`` without a GPU.
    """
    if name not in get_args(DeviceName):
        raise ConfigError(f"device '{name}' is unknown; allowed: {', '.join(get_args(DeviceName))}")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ConfigError("device 'cuda': torch sees no GPU; take auto or cpu, or install torch with CUDA")
    return torch.device("cuda" if there and name != "cpu" else "cpu")


@contextmanager
def exact_convolutions(device: torch.device) -> Iterator[None]:
    """On a GPU: the same algorithm every time, and no TF32, whose 11 bits would round integer codes."""
    if device.type != "cuda":
        yield
        return
    cudnn, matmul = torch.backends.cudnn, torch.backends.cuda.matmul
    before = cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32
    cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = True, False, False, False
    try:
        yield
    finally:
        cudnn.deterministic, cudnn.benchmark, cudnn.allow_tf32, matmul.allow_tf32 = before


def mixed_precision(device: torch.device, precision: Precision) -> torch.autocast:
    """Products of the training's forward pass in bfloat16, sums after them in float32; or no change."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=precision == "bfloat16")


def environment(device: torch.device) -> dict[str, str]:
    """What the bits of a training depend on beside its file: software, threads, device."""
    names = ("spikeloop", "torch", "numpy", "safetensors")
    return {
        **{name: version(name) for name in names},
        "python": platform.python_version(),
        "n_threads": str(torch.get_num_threads()),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
    }
