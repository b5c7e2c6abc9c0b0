"""Kernel modules are executed at the first use of a name, once, whichever thread uses it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from threading import Barrier
from types import ModuleType

import pytest

from streamlearn.kernels import lazy
from tests.conformance.examples import EXAMPLES

SOURCE = """
import time
from . import runs
runs.count += 1
first = 1
time.sleep(0.05)
second = 2
if runs.fails:
    raise RuntimeError("no compiler")
"""


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The name of a package with a lazy module ``slow``, and a module ``runs`` that counts its executions."""
    name = "lazy_package"
    directory = tmp_path / name
    directory.mkdir()
    (directory / "__init__.py").touch()
    (directory / "runs.py").write_text("count, fails = 0, False")
    (directory / "slow.py").write_text(SOURCE)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(sys, "meta_path", list(sys.meta_path))
    import_module(name)
    lazy.install(name)
    yield name
    for module in [each for each in sys.modules if each.split(".")[0] == name]:
        del sys.modules[module]


def _modules(package: str) -> tuple[ModuleType, ModuleType]:
    slow, runs = (import_module(f"{package}.{name}") for name in ("slow", "runs"))
    assert runs.count == 0  # executes it
    return slow, runs


def test_an_import_executes_nothing(package: str) -> None:
    slow, runs = _modules(package)
    assert not hasattr(slow, "__isabstractmethod__")  # as the creation of a class asks
    assert not lazy.executed(slow)
    assert (slow.first, slow.second, runs.count) == (1, 2, 1)
    assert lazy.executed(slow)
    assert type(slow) is ModuleType
    with pytest.raises(AttributeError, match="third"):
        _ = slow.third


def test_threads_execute_it_once_and_see_all_of_it(package: str) -> None:
    slow, runs = _modules(package)
    threads = 8
    together = Barrier(threads)

    def second(_: int) -> int:
        together.wait()
        return int(slow.second)

    with ThreadPoolExecutor(threads) as pool:
        assert list(pool.map(second, range(threads))) == [2] * threads
    assert runs.count == 1


def test_a_module_that_fails_is_executed_again(package: str) -> None:
    slow, runs = _modules(package)
    runs.fails = True
    with pytest.raises(RuntimeError, match="no compiler"):
        _ = slow.third
    runs.fails = False
    assert slow.second == 2
    assert lazy.executed(slow)


WITHOUT_COMPILER = """
import sys
sys.modules["numba"] = sys.modules["llvmlite"] = None  # an import fails
from streamlearn import kernels, models
from tests.conformance.examples import EXAMPLES
for kind, example in EXAMPLES.items():
    for spec in (example.usual, example.smallest, *({**example.usual, **each} for each in example.variants)):
        models.valid_spec(kind, spec, 10**12)
    assert not models.kernels_loaded(kind)
kernels.not_cached()
print(*models.kinds())
"""


def test_specs_are_validated_without_a_compiler() -> None:
    """Also the kinds are described, and the cache is searched for kernels."""
    done = subprocess.run(
        [sys.executable, "-c", WITHOUT_COMPILER], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0, done.stderr
    assert set(done.stdout.split()) == set(EXAMPLES)
