"""What is installed is what is in the folders, and importing the face costs nothing."""

import subprocess
import sys
import tomllib
from importlib import resources
from pathlib import Path

import pytest

from spikeloop import simulator

ROOT = Path(__file__).resolve().parents[2]
FOLDERS = ("simulator", "models", "distill", "codesign", "hwconfigs")


def test_every_package_folder_is_listed():
    listed = set(tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"])
    found = {
        "spikeloop." + str(init.parent.relative_to(ROOT)).replace("/", ".")
        for folder in FOLDERS
        for init in (ROOT / folder).rglob("__init__.py")
    }
    assert listed == found


def test_shipped_yaml_is_reachable_as_package_data():
    names = {entry.name for entry in resources.files("spikeloop.hwconfigs").joinpath("accelerators").iterdir()}
    assert "spikeflow_64.yaml" in names


@pytest.mark.parametrize("name", simulator.__all__)
def test_every_public_name_exists(name):
    assert getattr(simulator, name).__doc__


def test_unknown_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="alien"):
        _ = simulator.alien


def test_importing_the_face_loads_no_heavy_library():
    code = (
        "import sys, spikeloop.simulator, spikeloop.codesign.cli;"
        "print([m for m in ('torch', 'numba', 'numpy', 'matplotlib', 'plotly', 'scipy') if m in sys.modules])"
    )
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert out.stdout.strip() == "[]"
