"""The wheel holds every package and every shipped file, and works away from the repository."""

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def run(*command, cwd, **env):
    done = subprocess.run(command, cwd=cwd, env={**os.environ, **env}, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_wheel_imports_and_finds_its_presets(tmp_path):
    sources, wheels, target = tmp_path / "src", tmp_path / "wheels", tmp_path / "target"
    run("git", "clone", "--quiet", "--depth", "1", f"file://{ROOT}", str(sources), cwd=tmp_path)
    pip = (sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check")
    run(*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(wheels), ".", cwd=sources)
    (wheel,) = wheels.glob("spikeloop-*.whl")
    run(*pip, "install", "--no-deps", "--no-index", "--target", str(target), str(wheel), cwd=tmp_path)
    code = (
        "import spikeloop.simulator as s, spikeloop.codesign.cli as c;"
        "from spikeloop.simulator.config import shipped_files;"
        "print(s.__file__); print(c.__file__); print(s.load_hardware('spikeflow_64').name);"
        "print(*[len(shipped_files(f)) for f in ('technology', 'accelerators', 'studies', 'training')])"
    )
    lines = run(sys.executable, "-c", code, cwd=tmp_path, PYTHONPATH=str(target)).splitlines()
    assert lines[0].startswith(str(target))
    assert lines[1].startswith(str(target))
    assert lines[2] == "spikeflow_64"
    assert all(int(count) >= 1 for count in lines[3].split())
