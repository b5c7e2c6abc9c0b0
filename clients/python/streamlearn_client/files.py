"""Files of models and of networks' parameters: read for an upload, and written by an export."""

from __future__ import annotations

import hashlib
import io
import json
import os
import secrets
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, BinaryIO, Final, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamlearn_client.errors import BadCheckpoint, BadDtype, BadSpec, BadValue

__all__ = ["ExportFile", "Source", "parameters_source", "state_source", "write_parameters"]

LENGTH_BYTES: Final = 8
HEADER_BYTES: Final = 100_000_000
"""The largest header of a safetensors file, by the format."""
Parameters = str | os.PathLike[str] | Mapping[str, ArrayLike]


class Source(NamedTuple):
    """A file to upload: ``field`` of ``create`` that it is for, and the kind of the model in it, if known."""

    field: str
    kind: str | None
    size: int
    open: Callable[[], BinaryIO]

    def parts(self, size: int) -> Iterator[bytes]:
        """Yield the content in parts of ``size`` bytes. Raise ``BadCheckpoint`` if the file changes."""
        left = self.size
        with self.open() as file:
            while left:
                part = file.read(min(size, left))
                if not part:
                    raise BadCheckpoint("the file became shorter while it was read; use another copy of it")
                left -= len(part)
                yield part


def state_source(path: str | os.PathLike[str]) -> Source:
    """Return the file of a model. Raise ``BadCheckpoint`` if it is none."""
    file = Path(path)
    metadata = _header(file).get("__metadata__")
    kind = metadata.get("kind") if isinstance(metadata, dict) else None
    if not isinstance(kind, str):
        raise BadCheckpoint(
            f"{file} is not the file of a model: its header has no kind. Use a file of export, of save or of "
            "a daemon's checkpoint; for parameters of a network use parameters=…",
            path=str(file),
        )
    return Source("state", kind, file.stat().st_size, lambda: file.open("rb"))


def parameters_source(parameters: Parameters) -> Source:
    """Return a file with the parameters of a network: the ``state_dict`` of a PyTorch module.

    Parameters
    ----------
    parameters : str or path, or Mapping of str to array_like
        A ``.safetensors`` file, or the arrays by name.
    """
    if isinstance(parameters, Mapping):
        content = _encoded({name: _as_array(name, values) for name, values in parameters.items()})
        return Source("parameters", None, len(content), lambda: io.BytesIO(content))
    file = Path(parameters)
    if file.suffix != ".safetensors":
        raise BadSpec(
            f"the file of parameters has the suffix {file.suffix!r}; expected '.safetensors'. Write it with "
            "safetensors.torch.save_file(net.state_dict(), path). A pickle (.pt) can contain code",
            errors=[{"field": "parameters", "message": "expected a .safetensors file"}],
        )
    _header(file)
    return Source("parameters", None, file.stat().st_size, lambda: file.open("rb"))


def write_parameters(path: str | os.PathLike[str], parameters: Mapping[str, NDArray[Any]]) -> None:
    """Write arrays by name to a safetensors file, completely or not at all.

    It needs the library safetensors: ``pip install streamlearn-client[safetensors]``. In PyTorch,
    ``safetensors.torch.load_file(path)`` returns the ``state_dict``.

    Parameters
    ----------
    path : str or path
        The file. An existing one is replaced.
    parameters : Mapping of str to ndarray
        The arrays, for example ``client.read("net", "parameters")["parameters"]``.
    """
    with ExportFile(path) as file:
        file.write(_encoded(dict(parameters)))
        file.commit()


class ExportFile:
    """A file that appears under its name when it is complete.

    Parameters
    ----------
    path : str or path
        The file. An existing one is replaced.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        self._temporary = self.path.with_name(f"{self.path.name}.{secrets.token_hex(4)}.part")
        self._file = self._temporary.open("xb")
        self._digest = hashlib.sha256()

    def begin(self) -> None:
        """Begin again with an empty file."""
        self._file.seek(0)
        self._file.truncate()
        self._digest = hashlib.sha256()

    def write(self, part: bytes | memoryview) -> None:
        """Append a part."""
        self._file.write(part)
        self._digest.update(part)

    @property
    def sha256(self) -> str:
        """The SHA-256 of what was written, in hex digits."""
        return self._digest.hexdigest()

    def commit(self) -> None:
        """Sync the file and give it its name."""
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        os.replace(self._temporary, self.path)

    def __enter__(self) -> ExportFile:
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what is not complete."""
        self._file.close()
        with suppress(FileNotFoundError):
            self._temporary.unlink()


def _header(path: Path) -> dict[str, Any]:
    """Return the header of a safetensors file. Raise ``BadCheckpoint`` if the file has none."""
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH_BYTES), "little")
        text = file.read(length) if 0 < length <= HEADER_BYTES else b""
    try:
        header = json.loads(text)
    except (ValueError, RecursionError):
        header = None
    if not isinstance(header, dict):
        raise BadCheckpoint(
            f"{path} is not a file in safetensors format; use a file of export, or of safetensors.save_file",
            path=str(path),
        )
    return header


def _as_array(name: str, values: Any) -> NDArray[Any]:
    """Return values, for example a tensor of PyTorch, as a contiguous array of numbers."""
    if hasattr(values, "detach"):  # NumPy may lack the tensor's type, for example bfloat16
        values = values.detach().cpu().float().numpy()
    array = np.asarray(values)
    if array.dtype.kind not in "fiu":
        raise BadDtype(f"the parameter {name!r} must be an array of numbers, not {array.dtype}")
    return np.ascontiguousarray(array)


def _encoded(arrays: dict[str, NDArray[Any]]) -> bytes:
    """Return the content of a safetensors file."""
    if not arrays:
        raise BadValue("there are no parameters to write; give arrays by name")
    try:
        from safetensors.numpy import save
    except ImportError as error:
        raise ImportError(
            "arrays of parameters need the library safetensors: pip install 'streamlearn-client[safetensors]'"
        ) from error
    return bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}))
