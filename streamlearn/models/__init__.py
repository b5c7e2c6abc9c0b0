"""The learners: one file each, mirroring ``kernels/``."""

from .base import Model
from .factory import create, from_arrays, kinds, load, valid_spec

__all__ = ["Model", "create", "from_arrays", "kinds", "load", "valid_spec"]
