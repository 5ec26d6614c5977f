"""Shared test settings: no hypothesis deadline (kernels compile on first call), markers from the folder."""

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile("spikeloop", deadline=None, derandomize=True, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("spikeloop")

# A test neither reads nor fills the user's cache of crossbars with wires.
os.environ["SPIKELOOP_WIRE_CACHE"] = "off"

_MARKED_FOLDERS = {"published": "published", "e2e": "e2e", "bench": "bench"}


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for part in Path(item.path).parts:
            if part in _MARKED_FOLDERS:
                item.add_marker(_MARKED_FOLDERS[part])
