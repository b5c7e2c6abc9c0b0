"""The templates of the guide "Adding a model" work as they are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PLACES = {
    "oracle.py": "tests/naive/template.py",
    "kernel.py": "streamlearn/kernels/maps/template.py",
    "model.py": "streamlearn/models/maps/template.py",
    "test.py": "tests/models/test_template.py",
}
ROW = '    Registration("template", "models.maps.template", "Template"),\n'
EXAMPLE = """    "template": Kind(
        usual={"dim": 5, "units": 20, "learning_rate": DECAY, "half_life": 50.0},
        smallest={"dim": 1, "units": 1},
        oversized={"dim": 1 << 20, "units": 1 << 24},
        variants=({"distance": "manhattan", "scale": "standard"},),
        depends_on_seed=_starts_random,
    ),
"""
FILES = ["tests/models/test_template.py"]
FILES += [f"tests/conformance/test_{name}.py" for name in ("arguments", "learning", "saving")]
SELECTED = "template and (test_template or test_arguments or any_split or oversized)"


def insert_after(file: Path, line: str, text: str) -> None:
    before, found, after = file.read_text().partition(line)
    assert found, f"{file} has no line {line!r}"
    file.write_text(before + found + text + after)


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package and its tests, with the template as one more kind of model."""
    for folder in ("streamlearn", "tests", "clients/python"):
        shutil.copytree(ROOT / folder, tmp_path / folder, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for template, place in PLACES.items():
        shutil.copy(ROOT / "docs/templates" / template, tmp_path / place)
    insert_after(tmp_path / "streamlearn/registry.py", "MODELS = (\n", ROW)
    insert_after(tmp_path / "tests/conformance/examples.py", "EXAMPLES = {\n", EXAMPLE)
    return tmp_path


def test_the_templates_are_a_model_that_passes_its_tests(package):
    paths = os.pathsep.join([str(package), str(package / "clients/python")])
    env = {**os.environ, "PYTHONPATH": paths, "NUMBA_CACHE_DIR": str(package / "cache")}
    for command in (
        ["ruff", "check", "--no-cache", *PLACES.values()],
        ["pytest", "-q", "-p", "no:cacheprovider", *FILES, "-k", SELECTED],
    ):
        done = subprocess.run(
            [sys.executable, "-m", *command], env=env, cwd=package, capture_output=True, text=True
        )
        assert done.returncode == 0, done.stdout + done.stderr
