"""What commands import, with all kernels loaded: tests fork their processes from here."""

from __future__ import annotations

import gc
from importlib import import_module
from pkgutil import walk_packages

import streamlearn
from streamlearn import bridges, cli, daemon, gateway
from streamlearn.kernels import compile_all

for name in streamlearn.__all__:
    getattr(streamlearn, name)  # imports the module of a model
for package in (bridges, cli, daemon, gateway):
    for module in walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.startswith("streamlearn.cli.demo."):  # it needs packages of its own
            import_module(module.name)
compile_all(lambda *_: None)
gc.collect()
gc.freeze()  # a collection in a fork would visit, and so copy, all of this
