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
from .parallel import Launch

DeviceName = Literal["auto", "cpu", "cuda"]


def find_device(name: str, launch: Launch | None = None) -> torch.device:
    """Device by name; ``auto`` is the GPU where torch sees one.

    Args:
        name: auto, cpu or cuda.
        launch: of several processes each takes the GPU of its number on the machine.

    Raises:
        ConfigError: an unknown name, or ``cuda`` without a GPU, or with fewer than processes.
    """
    if name not in get_args(DeviceName):
        raise ConfigError(f"device '{name}' is unknown; allowed: {', '.join(get_args(DeviceName))}")
    there = torch.cuda.is_available()
    if name == "cuda" and not there:
        raise ConfigError("device 'cuda': torch sees no GPU; take auto or cpu, or install torch with CUDA")
    if not there or name == "cpu":
        return torch.device("cpu")
    if launch is None or launch.world_size == 1:
        return torch.device("cuda")
    n_gpus = torch.cuda.device_count()
    if launch.local_rank >= n_gpus:
        raise ConfigError(
            f"process {launch.local_rank} of this machine needs a GPU of its own and torch sees {n_gpus}; start at "
            f"most {n_gpus} processes, or take --device cpu"
        )
    return torch.device("cuda", launch.local_rank)


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


def environment(device: torch.device, world_size: int = 1) -> dict[str, str]:
    """What the bits of a training depend on beside its file: software, threads, device, processes.

    ``world_size`` is there for several processes only, as runs of one are older than it.
    """
    names = ("spikeloop", "torch", "numpy", "safetensors")
    return {
        **{name: version(name) for name in names},
        "python": platform.python_version(),
        "n_threads": str(torch.get_num_threads()),
        "device": torch.cuda.get_device_name(device) if device.type == "cuda" else device.type,
        **({"world_size": str(world_size)} if world_size > 1 else {}),
    }
