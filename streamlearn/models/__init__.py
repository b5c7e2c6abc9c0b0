"""The learners: one file each, mirroring ``kernels/``.

Models and their specs are imported on first use: a daemon without models does not need them.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from .classes import class_of, kernel_compilation, kernels_loaded, kinds, load_kernels

if TYPE_CHECKING:
    from .base import Model
    from .factory import create, from_arrays, load, valid_spec

__all__ = [
    "Model",
    "class_of",
    "create",
    "from_arrays",
    "kernel_compilation",
    "kernels_loaded",
    "kinds",
    "load",
    "load_kernels",
    "valid_spec",
]


def __getattr__(name: str) -> Any:
    if name in __all__:
        return getattr(import_module(f"{__name__}.factory"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
