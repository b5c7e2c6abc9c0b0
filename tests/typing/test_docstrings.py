"""Every public class, function, method and property of ``streamlearn`` has a docstring."""

from __future__ import annotations

import doctest
import importlib
import inspect
import pkgutil
from collections.abc import Iterator
from types import ModuleType

import pytest

import streamlearn
import streamlearn.interop
import streamlearn.models

MODULES = [
    streamlearn,
    importlib.import_module("streamlearn.errors"),
    *[
        importlib.import_module(f"streamlearn.interop.{each.name}")
        for each in pkgutil.iter_modules(streamlearn.interop.__path__)
    ],
    *[
        importlib.import_module(each.name)
        for each in pkgutil.walk_packages(streamlearn.models.__path__, "streamlearn.models.")
    ],
]


def public(module: ModuleType) -> Iterator[tuple[str, object]]:
    """Public names of a module that a user may call or read, and the public members of its classes."""
    names = getattr(module, "__all__", [name for name in vars(module) if not name.startswith("_")])
    for name in names:
        each = getattr(module, name)
        if not inspect.isclass(each) and not inspect.isfunction(each):
            continue
        if not str(each.__module__).startswith("streamlearn"):
            continue
        yield name, each
        for member, value in vars(each).items() if inspect.isclass(each) else ():
            called = inspect.isfunction(value) or isinstance(value, (property, classmethod, staticmethod))
            if called and not member.startswith("_"):
                yield f"{name}.{member}", value


@pytest.mark.parametrize("module", MODULES, ids=lambda module: module.__name__)
def test_nothing_public_is_without_a_docstring(module):
    assert inspect.getdoc(module)
    assert not [name for name, each in public(module) if not (getattr(each, "__doc__", "") or "").strip()]


@pytest.mark.parametrize("module", MODULES[:4], ids=lambda module: module.__name__)
def test_the_examples_run(module):
    assert doctest.testmod(module).failed == 0


def test_an_estimator_describes_the_parameters_of_its_model():
    from streamlearn.interop.sklearn import SOMClusterer

    text = inspect.getdoc(SOMClusterer)
    assert "grid : int or tuple[int, int] or tuple[int], default (10, 10)" in text
    assert "learning_rate : float or Decay or None, default None" in text
    assert "None: Decay from 0.5 to 0.02, tau=2·units (100 to 5000)." in " ".join(text.split())
