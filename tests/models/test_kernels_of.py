"""A daemon loads all kernels that a model of a kind may call, before it creates the first one."""

from __future__ import annotations

import json
import subprocess
import sys
from types import ModuleType
from typing import Any

import pytest

from streamlearn.kernels import compiler
from streamlearn.models.kernels_of import kernel_modules
from tests.conformance.examples import SPECS, make, stream


@pytest.mark.parametrize("example", SPECS)
def test_a_model_uses_only_kernels_of_its_kind(example: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """A kernel outside of this list would be compiled on the loop. Every variant of every kind is made."""
    used: set[ModuleType] = set()
    ready = compiler.ready
    monkeypatch.setattr(compiler, "ready", lambda *modules: (used.update(modules), ready(*modules)))
    model = make(example)
    batch = stream(model, 40)
    model.learn(**batch)
    model.learn(**{name: values[:1] for name, values in batch.items()})
    model.predict(**{name: values for name, values in batch.items() if name in ("X", "keys", "times")})
    assert used
    modules = kernel_modules(type(model).__module__)
    assert model.unused_kernels(model.spec) <= modules
    assert used <= modules - model.unused_kernels(model.spec)


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


ONE_SPEC = """
import sys, json
import numpy as np
from streamlearn import models
from streamlearn.kernels import compiler
kind, parameters = sys.argv[1], json.loads(sys.argv[2])
spec = models.valid_spec(kind, parameters)
models.load_kernels(kind, spec)
assert models.kernels_loaded(kind, spec)
assert not models.kernels_loaded(kind)
model = models.create(kind, parameters)
x = np.random.default_rng(0).normal(size=(300, 3)).astype(np.float32)
y = {"y": x[:, :1]} if model.target_dim else {}
model.learn(x, **y)
model.learn(x[:1], **{name: each[:1] for name, each in y.items()})
model.predict(x)
model.explain(x)
names = {each.__name__ for each in models.class_of(kind).unused_kernels(spec)}
unused = [point for point in compiler.declared() if point.dispatcher.py_func.__module__ in names]
assert not [point.name for point in unused if point.compiled or point.dispatcher.overloads]
print(*(point.name for point in unused))
"""


@pytest.mark.parametrize(
    ("kind", "spec"),
    [
        ("som", {"dim": 3, "grid": [4, 4]}),
        ("competitive", {"dim": 3, "units": 4, "init": "samples"}),
        ("rnn", {"dim": 3}),
        ("rnn", {"dim": 3, "target": "given", "outputs": 1}),
        ("rnn", {"dim": 3, "readout": "adam"}),
    ],
)
def test_a_model_is_used_with_the_kernels_of_its_spec_only(kind: str, spec: dict[str, Any]) -> None:
    """Numba would compile others when they are first called, without a word."""
    command = [sys.executable, "-c", ONE_SPEC, kind, json.dumps(spec)]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "keys.assign" in done.stdout.split()


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
