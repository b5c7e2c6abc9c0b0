"""A daemon loads all kernels that a model of a kind may call, before it creates the first one."""

from __future__ import annotations

import subprocess
import sys
from types import ModuleType

import pytest

from streamlearn.kernels import compiler
from streamlearn.models.kernels_of import kernel_modules
from tests.conformance.examples import SPECS, make


@pytest.mark.parametrize("example", SPECS)
def test_a_model_uses_only_kernels_of_its_kind(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel outside of this list would be compiled on the loop. Every variant of every kind is made."""
    used: set[ModuleType] = set()
    ready = compiler.ready
    monkeypatch.setattr(compiler, "ready", lambda *modules: (used.update(modules), ready(*modules)))
    model = make(example)
    assert used
    assert used <= kernel_modules(type(model).__module__)


COUNT = """
import sys
from streamlearn import models
from streamlearn.kernels import compiler
assert not models.kernels_loaded("hamming")
assert models.kernels_loaded("no such kind")
models.kernel_compilation("hamming").run()
models.load_kernels("hamming")
assert models.kernels_loaded("hamming")
loaded = {point.name.split(".")[0] for point in compiler.declared() if point.compiled}
assert {"hamming", "schedules", "splitmix"} <= loaded
assert not {"som", "tbptt", "bidirectional"} & {name.split(".")[0] for name in
    (point.name for point in compiler.declared())}
assert "streamlearn.models.maps.som" not in sys.modules
"""


def test_the_kernels_of_other_kinds_are_not_imported() -> None:
    done = subprocess.run([sys.executable, "-c", COUNT], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr


HALF_IMPORTED = """
import sys
from importlib.abc import MetaPathFinder
from threading import Event, Thread
from streamlearn import models

class Pause(MetaPathFinder):
    began, go_on = Event(), Event()
    def find_spec(self, fullname, path, target=None):
        if fullname == "streamlearn.models.maps.units":
            self.began.set()
            assert self.go_on.wait(60)

sys.meta_path.insert(0, Pause())
importing = Thread(target=models.load_kernels, args=("som",))
importing.start()
assert Pause.began.wait(60)
assert "streamlearn.models.maps.som" in sys.modules
assert not models.kernels_loaded("som")
Pause.go_on.set()
importing.join()
assert models.kernels_loaded("som")
from streamlearn.kernels import compiler
assert any(point.name == "units.predict" and point.compiled for point in compiler.declared())
"""


def test_a_kind_that_another_thread_imports_is_not_loaded() -> None:
    """Else the loop creates a model without its kernels, while the worker loads the same ones."""
    done = subprocess.run([sys.executable, "-c", HALF_IMPORTED], capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
