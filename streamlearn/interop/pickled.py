"""Models inside objects that are pickled or copied: as what a checkpoint holds, never as live kernels'
arguments."""

from __future__ import annotations

from typing import Any

from ..models import Model, from_arrays


def packed(attributes: dict[str, Any]) -> dict[str, Any]:
    """``attributes`` with every model as its arrays and metadata, for ``__getstate__``."""
    return {
        name: _Packed(value.copy_state(), value.metadata()) if isinstance(value, Model) else value
        for name, value in attributes.items()
    }


def unpacked(attributes: dict[str, Any]) -> dict[str, Any]:
    """The models again, for ``__setstate__``."""
    return {
        name: from_arrays(value.arrays, value.metadata) if isinstance(value, _Packed) else value
        for name, value in attributes.items()
    }


class _Packed:
    def __init__(self, arrays: dict[str, Any], metadata: dict[str, str]) -> None:
        self.arrays = arrays
        self.metadata = metadata
