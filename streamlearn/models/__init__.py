"""The learners: one file each, mirroring ``kernels/``."""

from .base import Model
from .factory import (
    create,
    from_arrays,
    kernel_compilation,
    kernels_loaded,
    kinds,
    load,
    load_kernels,
    valid_spec,
)

__all__ = [
    "Model",
    "create",
    "from_arrays",
    "kernel_compilation",
    "kernels_loaded",
    "kinds",
    "load",
    "load_kernels",
    "valid_spec",
]
