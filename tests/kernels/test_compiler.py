"""The cache's key, a cold and a warm start, and kernels that take one signature only."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from streamlearn.kernels import compiler
from streamlearn.kernels.simd import splitmix

KERNELS = Path(compiler.__file__).parents[1]


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A copy of the kernels' source, to be edited."""
    return Path(shutil.copytree(KERNELS, tmp_path / "kernels", ignore=shutil.ignore_patterns("__pycache__")))


def key(kernels: Path) -> str:
    """The name of the cache directory that the compiler in ``kernels`` would use."""
    spec = importlib.util.spec_from_file_location("a_compiler", kernels / "compiler/__init__.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.cache_path().name


def test_same_source_same_key(copy):
    assert key(copy) == key(copy)
    assert key(KERNELS) == compiler.cache_path().name


def test_the_same_source_elsewhere_has_another_key(copy):
    assert key(copy) != compiler.cache_path().name


@pytest.mark.parametrize("name", sorted(str(path.relative_to(KERNELS)) for path in KERNELS.rglob("*.py")))
def test_an_edit_in_any_kernel_file_changes_the_key(copy, name):
    before = key(copy)
    source = copy / name
    source.write_text(source.read_text() + "\n# edited\n")
    assert key(copy) != before


def test_a_file_more_or_under_another_name_changes_the_key(copy):
    keys = {key(copy)}
    (copy / "another.py").write_text("")
    keys.add(key(copy))
    (copy / "another.py").rename(copy / "other.py")
    keys.add(key(copy))
    assert len(keys) == 3


START = """
import sys
from numba import njit
from streamlearn.kernels import compiler
from streamlearn.kernels.simd import splitmix
import numpy as np
compiler._registry[:] = [each for each in compiler._registry if each.name == "splitmix.fill_uniform"]
before = compiler.cached()
compiler.ready(splitmix)
splitmix.fill_uniform(np.zeros(1, np.uint64), np.float32(0), np.float32(1), np.empty(3, np.float32))
hits = sum(splitmix.fill_uniform.stats.cache_hits.values())
njit(lambda: 1)()
print(before, hits, compiler.cached())
"""


def start(clone: Path = KERNELS.parents[1], **environment: str | Path) -> list[str]:
    """Before, cache hits, after: what a process says that runs in ``clone``."""
    command = [sys.executable, "-c", START]
    env = {**os.environ, **{name: str(value) for name, value in environment.items()}}
    done = subprocess.run(command, env=env, capture_output=True, text=True, cwd=clone)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_cold_start_compiles_and_warm_start_loads(tmp_path):
    assert start(NUMBA_CACHE_DIR=tmp_path) == ["False", "0", "True"]
    assert start(NUMBA_CACHE_DIR=tmp_path) == ["True", "1", "True"]
    assert list(tmp_path.rglob("*.nbc"))


def test_what_others_compiled_does_not_make_a_start_warm(tmp_path):
    """Another clone of the same source, and the same clone on another CPU."""
    package = KERNELS.parent
    shutil.copytree(package, tmp_path / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    cache = tmp_path / "cache"
    assert start(NUMBA_CACHE_DIR=cache) == ["False", "0", "True"]
    assert start(tmp_path, NUMBA_CACHE_DIR=cache) == ["False", "0", "True"]
    assert start(NUMBA_CACHE_DIR=cache, NUMBA_CPU_NAME="generic") == ["False", "0", "True"]
    assert start(NUMBA_CACHE_DIR=cache) == ["True", "1", "True"]


def test_a_cache_that_cannot_be_written_is_replaced_by_one_that_can(tmp_path):
    file, temporary = tmp_path / "file", tmp_path / "tmp"
    file.write_text("not a directory")
    temporary.mkdir()
    environment = {"NUMBA_CACHE_DIR": file / "cache", "TMPDIR": temporary}
    assert start(**environment) == ["False", "0", "True"]
    assert start(**environment) == ["True", "1", "True"]
    assert list(temporary.rglob("*.nbc"))
    (own,) = temporary.iterdir()
    assert own.stat().st_mode & 0o077 == 0
    own.chmod(0o777)  # anybody may have written there, and what is in the cache is run
    assert start(**environment) == ["False", "0", "True"]


GOOD = (np.zeros(1, np.uint64), np.float32(0), np.float32(1), np.zeros(8, np.float32))
READ_ONLY = np.zeros(8, np.float32)
READ_ONLY.flags.writeable = False
WRONG = {
    "double output": (3, np.zeros(8)),
    "strided output": (3, np.zeros(16, np.float32)[::2]),
    "read-only output": (3, READ_ONLY),
    "two axes": (3, np.zeros((2, 4), np.float32)),
    "signed state": (0, np.zeros(1, np.int64)),
    "a list": (3, [0.0]),
    "no array": (0, 7),
}


@pytest.mark.parametrize("mistake", WRONG)
def test_other_argument_types_raise_and_compile_nothing(mistake):
    compiler.ready(splitmix)
    splitmix.fill_uniform(*GOOD)
    arguments = list(GOOD)
    place, value = WRONG[mistake]
    arguments[place] = value
    with pytest.raises(TypeError, match="No matching definition"):
        splitmix.fill_uniform(*arguments)
    assert len(splitmix.fill_uniform.signatures) == 1


def test_progress_is_told_of_every_kernel_in_order():
    told = []
    count = compiler.compile_all(lambda name, done, total: told.append((name, done, total)))
    assert [done for _, done, _ in told] == list(range(count))
    assert {total for _, _, total in told} == {count}
    assert {"som.learn", "units.predict", "splitmix.fill_uniform"} <= {name for name, _, _ in told}


def test_every_kernel_is_among_those_that_a_start_compiles():
    """Else a daemon would compile it in the middle of its work."""
    declared = {path.stem for path in KERNELS.rglob("*.py") if "\n@kernel" in path.read_text()}
    command = "import streamlearn.kernels as kernels; print(*kernels.compiler.names())"
    names = subprocess.run([sys.executable, "-c", command], capture_output=True, text=True, check=True).stdout
    assert {name.split(".")[0] for name in names.split()} == declared


HELPED = """
from streamlearn.kernels import compiler
from streamlearn.kernels.compiler import parallel
from streamlearn.kernels.simd import splitmix
from streamlearn.kernels.stream import keys, labels
told = []
few = ["splitmix.fill_uniform", "labels.predict", "keys.find"]
parallel.compile_all(few, lambda name, begun, total: told.append(name))
compiler.ready(keys, labels, splitmix)
loaded = [sum(each.stats.cache_hits.values()) for each in (splitmix.fill_uniform, labels.predict, keys.find)]
print(*sorted(told), *loaded)
"""


def test_helpers_fill_the_cache_that_a_start_loads_from(tmp_path):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    done = subprocess.run([sys.executable, "-c", HELPED], env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["keys.find", "labels.predict", "splitmix.fill_uniform", "1", "1", "1"]
