"""``spikeloop check`` knows every kind of file that ships."""

from __future__ import annotations

from pathlib import Path

import pytest

from spikeloop.codesign.cli_check import describe
from spikeloop.simulator.config import shipped_files

FOLDERS = {
    "accelerators": "accelerator",
    "calibration": "calibration",
    "cameras": "simulated event camera",
    "devices": "device",
    "macros": "macro",
    "memories": "memory table",
    "scaling": "scaling table",
    "studies": "study",
    "technology": "technology",
    "training": "training file",
}
FILES = [(FOLDERS[folder], path) for folder in FOLDERS for path in shipped_files(folder).values()]


def test_the_folders_are_those_that_ship():
    root = Path(FILES[0][1]).parents[1]
    # compat holds the constants of a program, datasets addresses and checksums: nobody edits them.
    assert {path.name for path in root.iterdir() if any(path.glob("*.yaml"))} == {*FOLDERS, "compat", "datasets"}


@pytest.mark.parametrize(("kind", "path"), FILES, ids=[f"{kind}-{Path(path).stem}" for kind, path in FILES])
def test_a_shipped_file_is_of_its_kind(kind, path):
    assert describe(Path(path)).startswith(f"{path}: valid {kind} ")
