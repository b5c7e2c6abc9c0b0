"""The compile cache: its keys, cold and warm starts, a read-only cache; kernels take one signature only."""

from __future__ import annotations

import ast
import ctypes
import functools
import importlib.util
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
from numba.core.errors import NumbaError

from streamlearn import kernels
from streamlearn.kernels import compiler
from streamlearn.kernels.compiler import cache
from streamlearn.kernels.compiler.parallel import Compilation
from streamlearn.kernels.simd import splitmix

kernels.declare_all()

KERNELS = cache.KERNELS
FILES = sorted(str(path.relative_to(KERNELS)) for path in KERNELS.rglob("*.py"))
ENTRY_FILES = [name for name in FILES if re.search(r"\n@(called_)?kernel\(", (KERNELS / name).read_text())]
PR_CAPBSET_DROP, CAP_DAC_OVERRIDE = 24, 1  # of prctl(2) and capabilities(7)


def copy_package(directory: Path) -> Path:
    package = KERNELS.parent
    shutil.copytree(package, directory / package.name, ignore=shutil.ignore_patterns("__pycache__"))
    return directory


@pytest.fixture
def clone(tmp_path: Path) -> Path:
    """A directory with a copy of the package, whose files a test may edit."""
    return copy_package(tmp_path)


@pytest.fixture(scope="module")
def shared_kernels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The kernels of a copy of the package that tests share: each restores what it edits."""
    return copy_package(tmp_path_factory.mktemp("clone")) / "streamlearn/kernels"


@pytest.fixture(scope="module")
def shared_keys(shared_kernels: Path) -> dict[str, Path]:
    return keys(shared_kernels)


def load_cache_module(kernels: Path) -> ModuleType:
    """The module ``compiler/cache.py`` of the source tree ``kernels``, loaded afresh."""
    spec = importlib.util.spec_from_file_location("a_cache", kernels / "compiler/cache.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def keys(kernels: Path) -> dict[str, Path]:
    """The cache directory of every file with entry points."""
    module = load_cache_module(kernels)
    return {name: module.module_path(kernels / name) for name in ENTRY_FILES}


def edit(file: Path) -> None:
    file.write_text(file.read_text() + "\n# edited\n")


@pytest.fixture
def keys_after_edit(shared_kernels: Path) -> Callable[[str], dict[str, Path]]:
    """The keys in the shared copy while the named file is edited."""

    def edited_keys(name: str) -> dict[str, Path]:
        source = (shared_kernels / name).read_text()
        edit(shared_kernels / name)
        try:
            return keys(shared_kernels)
        finally:
            (shared_kernels / name).write_text(source)

    return edited_keys


def test_the_same_source_has_the_same_keys(clone):
    assert keys(clone / "streamlearn/kernels") == keys(clone / "streamlearn/kernels")
    assert keys(KERNELS) == {name: cache.module_path(KERNELS / name) for name in ENTRY_FILES}


def test_the_same_source_in_another_directory_has_other_keys(clone):
    original, copied = keys(KERNELS), keys(clone / "streamlearn/kernels")
    assert all(original[name] != copied[name] for name in ENTRY_FILES)


@functools.cache
def imports(file: Path) -> set[Path]:
    """The kernel files that ``file`` imports, by Python's parser and importer."""
    package = ["streamlearn", "kernels", *file.relative_to(KERNELS).parts[:-1]]
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.Import):
            assert not any(alias.name.startswith("streamlearn") for alias in node.names), "import relatively"
        elif isinstance(node, ast.ImportFrom) and not node.level:
            assert not (node.module or "").startswith("streamlearn"), "import relatively"
        elif isinstance(node, ast.ImportFrom):
            base = ".".join([*package[: len(package) + 1 - node.level], *filter(None, [node.module])])
            submodules = {name for alias in node.names if (name := f"{base}.{alias.name}") in sys.modules}
            found |= submodules | ({base} if node.module else set())
    return {Path(str(sys.modules[name].__file__)) for name in found}


def closure(file: Path) -> set[Path]:
    """``file`` and all kernel files that it imports, directly or indirectly."""
    found, pending = set(), {file}
    while pending:
        found.add(current := pending.pop())
        pending |= imports(current) - found
    return found


@pytest.mark.parametrize("name", ENTRY_FILES)
def test_an_import_closure_has_all_files_that_the_module_imports(name):
    assert cache.import_closure(KERNELS / name) == closure(KERNELS / name)


@pytest.mark.parametrize("name", [name for name in FILES if name != "__init__.py"])
def test_an_edit_changes_the_keys_of_the_modules_that_import_the_file(shared_keys, keys_after_edit, name):
    after = keys_after_edit(name)
    changed = {entry for entry in ENTRY_FILES if shared_keys[entry] != after[entry]}
    assert changed == {entry for entry in ENTRY_FILES if KERNELS / name in closure(KERNELS / entry)}


def test_an_edit_of_the_workers_changes_no_key(shared_keys, keys_after_edit):
    assert keys_after_edit("compiler/parallel.py") == shared_keys


@pytest.mark.parametrize("name", ["simd/lanes.py", "compiler/__init__.py", "compiler/cache.py"])
def test_an_edit_of_a_shared_file_changes_most_keys(shared_keys, keys_after_edit, name):
    after = keys_after_edit(name)
    same = {entry for entry in ENTRY_FILES if shared_keys[entry] == after[entry]}
    assert same <= (
        {"simd/splitmix.py", "stream/keys.py", "stream/labels.py", "stream/receiving.py"}
        if name == "simd/lanes.py"
        else set()
    )


START = """
import sys
from importlib import import_module
from numba import njit
from streamlearn.kernels import compiler, declare_all
declare_all()
selected = sys.argv[1:]
compiler._registry[:] = [point for point in compiler._registry if point.name in selected]
cached = lambda: all(point.cached() for point in compiler.declared())
before = cached()
compiler.compile_all()
hits = {point.name: sum(point.dispatcher.stats.cache_hits.values()) for point in compiler._registry}
njit(lambda: 1)()
print(before, *(hits[name] for name in selected), cached())
"""


def without_override() -> None:
    """Let permissions hold for root too: the process to be executed cannot write where its user may not."""
    ctypes.CDLL(None).prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE, 0, 0, 0)


def start(
    clone: Path = KERNELS.parents[1],
    *,
    names: tuple[str, ...] = ("splitmix.fill_uniform",),
    obey_permissions: bool = False,
    **environment: str | Path,
) -> list[str]:
    """Start a process that compiles the entry points ``names`` with the package in ``clone``.

    Returns whether the cache held all of them before, the number of cache hits of each, and whether the cache
    holds all of them afterwards.
    """
    command = [sys.executable, "-c", START, *names]
    paths = {"PYTHONPATH": str(clone), "PYTHONDONTWRITEBYTECODE": "1"}
    env = {**os.environ, **paths, **{name: str(value) for name, value in environment.items()}}
    done = subprocess.run(
        command,
        env=env,
        capture_output=True,
        text=True,
        cwd=clone,
        preexec_fn=without_override if obey_permissions else None,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_cold_start_compiles_and_warm_start_loads(tmp_path):
    assert start(NUMBA_CACHE_DIR=tmp_path) == ["False", "0", "True"]
    assert start(NUMBA_CACHE_DIR=tmp_path) == ["True", "1", "True"]
    assert list(tmp_path.rglob("*.nbc"))


def test_a_cache_of_another_clone_or_cpu_is_not_used(tmp_path, clone):
    """Another clone of the same source, and the same clone on another CPU."""
    cache = tmp_path / "cache"
    assert start(NUMBA_CACHE_DIR=cache) == ["False", "0", "True"]
    assert start(clone, NUMBA_CACHE_DIR=cache) == ["False", "0", "True"]
    assert start(NUMBA_CACHE_DIR=cache, NUMBA_CPU_NAME="generic") == ["False", "0", "True"]
    assert start(NUMBA_CACHE_DIR=cache) == ["True", "1", "True"]


def test_a_comment_in_one_kernel_recompiles_that_kernel_only(tmp_path, clone):
    """``keys`` stands for a learner's kernel, the others for its neighbours."""
    names = ("keys.find", "splitmix.fill_uniform", "schedules.advance")
    kernels, cache = clone / "streamlearn/kernels", tmp_path / "cache"
    assert start(clone, names=names, NUMBA_CACHE_DIR=cache) == ["False", "0", "0", "0", "True"]
    edit(kernels / "classic/cognitron.py")
    assert start(clone, names=names, NUMBA_CACHE_DIR=cache) == ["True", "1", "1", "1", "True"]
    edit(kernels / "stream/keys.py")
    assert start(clone, names=names, NUMBA_CACHE_DIR=cache) == ["False", "0", "1", "1", "True"]
    edit(kernels / "simd/lanes.py")
    assert start(clone, names=names, NUMBA_CACHE_DIR=cache) == ["False", "1", "1", "0", "True"]
    edit(kernels / "compiler/__init__.py")
    assert start(clone, names=names, NUMBA_CACHE_DIR=cache) == ["False", "0", "0", "0", "True"]


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
    own.chmod(0o777)  # unsafe: other users could write code into the cache
    assert start(**environment) == ["False", "0", "True"]


@pytest.fixture
def read_only_cache(tmp_path: Path) -> Iterator[Path]:
    """A cache directory that holds one kernel and is read-only."""
    path = tmp_path / "cache"
    start(NUMBA_CACHE_DIR=path)
    directories = [path, *(directory for directory in path.rglob("*") if directory.is_dir())]
    for directory in directories:
        directory.chmod(0o555)
    yield path
    for directory in directories:
        directory.chmod(0o755)


def test_a_cache_that_can_only_be_read_is_used(tmp_path, read_only_cache):
    """A container image runs ``streamlearn warmup`` as root at build time and then serves as another user."""
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {"NUMBA_CACHE_DIR": read_only_cache, "TMPDIR": temporary}
    before = sorted(read_only_cache.rglob("*"))
    assert start(obey_permissions=True, **environment) == ["True", "1", "True"]
    assert not list(temporary.rglob("*.nbc"))
    assert sorted(read_only_cache.rglob("*")) == before


def test_a_kernel_that_a_read_only_cache_lacks_is_stored_in_a_private_one(tmp_path, read_only_cache):
    names = ("splitmix.fill_uniform", "keys.find")
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    environment = {"NUMBA_CACHE_DIR": read_only_cache, "TMPDIR": temporary}
    assert start(names=names, obey_permissions=True, **environment) == ["False", "1", "0", "True"]
    assert start(names=names, obey_permissions=True, **environment) == ["True", "1", "1", "True"]


VALID = (np.zeros(1, np.uint64), np.float32(0), np.float32(1), np.zeros(8, np.float32))
READ_ONLY = np.zeros(8, np.float32)
READ_ONLY.flags.writeable = False
INVALID = {
    "double output": (3, np.zeros(8)),
    "strided output": (3, np.zeros(16, np.float32)[::2]),
    "read-only output": (3, READ_ONLY),
    "two axes": (3, np.zeros((2, 4), np.float32)),
    "signed state": (0, np.zeros(1, np.int64)),
    "a list": (3, [0.0]),
    "no array": (0, 7),
}


@pytest.mark.parametrize("mistake", INVALID)
def test_other_argument_types_raise_and_compile_nothing(mistake):
    compiler.ready(splitmix)
    splitmix.fill_uniform(*VALID)
    arguments = list(VALID)
    index, value = INVALID[mistake]
    arguments[index] = value
    with pytest.raises(TypeError, match="No matching definition"):
        splitmix.fill_uniform(*arguments)
    assert len(splitmix.fill_uniform.signatures) == 1


def test_an_entry_point_that_creates_arrays_must_say_so():
    """All others count no references, so Numba refuses to compile one that does."""
    names = {"np": np, "__name__": "streamlearn.kernels.simd.blocks"}
    source = "def creates_an_array(n):\n    return np.zeros(n).size\n"
    exec(compile(source, KERNELS / "simd/blocks.py", "exec"), names)  # noqa: S102 (in a kernel file)
    with pytest.raises(NumbaError, match="needs allocates=True"):
        compiler.EntryPoint(names["creates_an_array"], "i8(i8)").compile()


def test_progress_is_called_for_every_kernel_in_order():
    calls = []
    count = compiler.compile_all(lambda name, done, total: calls.append((name, done, total)))
    assert [done for _, done, _ in calls] == list(range(count))
    assert {total for _, _, total in calls} == {count}
    assert {"som.learn", "units.predict", "splitmix.fill_uniform"} <= {name for name, _, _ in calls}


def test_every_kernel_is_declared_and_found_in_the_source():
    """`not_cached` reads the source, so that a start need not import every kernel."""
    names = [point.name for point in compiler.declared()]
    found = [f"{file.stem}.{name}" for file in KERNELS.rglob("*.py") for name in kernels.entry_points(file)]
    assert sorted(names) == sorted(found)
    assert len(set(names)) == len(names) > 20, "a worker knows a kernel by its name"
    assert {name.split(".")[0] for name in names} == {Path(file).stem for file in ENTRY_FILES}


def test_every_kernel_is_in_a_folder_that_is_searched(monkeypatch):
    monkeypatch.setattr("streamlearn.kernels.compiler.cache.holds", lambda file, function: False)
    assert sorted(kernels.not_cached()) == sorted(point.name for point in compiler.declared())


def test_slow_kernels_are_compiled_first_and_beside_serving_last():
    names = ["som.learn", "tbptt.learn", "units.predict", "judge.judge"]
    quick = ["som.learn", "units.predict", "judge.judge"]
    assert Compilation(names).names == ["tbptt.learn", *quick]
    assert Compilation(names, beside=True).names == [*quick, "tbptt.learn"]


WORKERS = """
from streamlearn.kernels import compiler
from streamlearn.kernels.compiler import parallel
from streamlearn.kernels.simd import splitmix
from streamlearn.kernels.stream import keys, labels
started = []
names = ["splitmix.fill_uniform", "labels.predict", "keys.find"]
parallel.Compilation(names, lambda name, done, total: started.append(name), beside=BESIDE).run()
compiler.ready(keys, labels, splitmix)
loaded = [sum(f.stats.cache_hits.values()) for f in (splitmix.fill_uniform, labels.predict, keys.find)]
print(*sorted(started), *loaded)
"""


@pytest.mark.parametrize("beside", [False, True])
def test_a_worker_fills_the_cache_that_a_start_loads_from(tmp_path, beside):
    env = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    command = [sys.executable, "-c", WORKERS.replace("BESIDE", str(beside))]
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["keys.find", "labels.predict", "splitmix.fill_uniform", "1", "1", "1"]


TOGETHER = """
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
import numpy as np
from streamlearn import SOM

together = Barrier(8)

def learn(number):
    together.wait()
    return SOM(dim=2, grid=[2, 2], seed=1).learn(np.eye(2)).winner.tolist()

with ThreadPoolExecutor(8) as pool:
    winners = list(pool.map(learn, range(8)))
assert winners == winners[:1] * 8, winners
"""


def test_threads_that_make_the_first_models_together_wait_for_each_other():
    done = subprocess.run([sys.executable, "-c", TOGETHER], capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
