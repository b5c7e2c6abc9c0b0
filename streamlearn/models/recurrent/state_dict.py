"""Parameters of recurrent nets by their names and shapes in PyTorch: positions, ``state_dict`` and files.

Files are safetensors or NumPy's ``.npz``, by their suffix. Neither format can contain code, so files from
anywhere are safe to read. Pickles (``.pt``) are refused.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamlearn_client.protocol import as_numbers

from ...errors import BadCheckpoint, BadDtype, BadShape, BadSpec, BadValue, StreamlearnError
from ...kernels.recurrent import memory_layout
from ...kernels.simd.blocks import WIDTH, blocks
from ...store import tensors
from ...store.fs import FS, write_atomically

Float32 = NDArray[np.float32]
Source = str | Path | Mapping[str, ArrayLike]
REVERSE = "_reverse"  # suffix of the names of the reverse direction


@dataclass(frozen=True)
class ParameterBlock:
    """Position of one parameter array: ``(blocks, rows of inputs, gates, 16)`` from row ``first`` on."""

    first: int
    gates: int
    units: int
    inputs: int | None  # None for a bias
    input_rows: int = 1
    parts: int = 1  # the inputs are that many parts of equal length, each with rows of its own

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape in PyTorch: (gates·units, inputs), or (gates·units,) for a bias."""
        sums = self.gates * self.units
        return (sums,) if self.inputs is None else (sums, self.inputs)

    @property
    def end(self) -> int:
        """The row after the last one."""
        return self.first + blocks(self.units) * self.input_rows * self.gates

    def pack(self, values: Float32, rows: Float32) -> None:
        """Write ``values`` to their rows. Lanes without a unit and rows without an input become 0."""
        lanes = np.zeros((self.gates, blocks(self.units) * WIDTH, self.input_rows), np.float32)
        lanes[:, : self.units, self._used_rows()] = values.reshape(self.gates, self.units, -1)
        folded = lanes.reshape(self.gates, -1, WIDTH, self.input_rows).transpose(1, 3, 0, 2)
        rows[self.first : self.end] = folded.reshape(-1, WIDTH)

    def unpack(self, rows: Float32) -> Float32:
        """Return a copy of the values in their shape in PyTorch: the inverse of ``pack``."""
        folded = rows[self.first : self.end].reshape(-1, self.input_rows, self.gates, WIDTH)
        lanes = folded.transpose(2, 0, 3, 1).reshape(self.gates, -1, self.input_rows)
        return lanes[:, : self.units, self._used_rows()].reshape(self.shape).copy()

    def _used_rows(self) -> NDArray[np.int64]:
        """Return the row of every input."""
        inputs = self.inputs or 1
        part, within = np.divmod(np.arange(inputs), inputs // self.parts)
        return part * (self.input_rows // self.parts) + within


def parameter_blocks(layout: NDArray[np.int64], matrices: NDArray[np.int64]) -> dict[str, ParameterBlock]:
    """Return the position of every parameter by its name in PyTorch, in PyTorch's order.

    The read-out is called ``head``.
    """
    if layout[memory_layout.CELL] == memory_layout.RTU:
        return _rtu_blocks(int(layout[memory_layout.HIDDEN]), *matrices.tolist())
    found: dict[str, ParameterBlock] = {}
    cells = len(matrices) // 2
    for cell in range(cells):
        layer, direction = divmod(cell, cells // int(layout[memory_layout.LAYERS]))
        cell_name = f"l{layer}{('', REVERSE)[direction]}"
        pair = list(zip(("ih", "hh"), matrices[2 * cell : 2 * cell + 2].tolist(), strict=True))
        for name, m in pair:
            found[f"weight_{name}_{cell_name}"] = _weight(m)
        for name, m in pair:
            if m[memory_layout.HAS_BIAS]:
                found[f"bias_{name}_{cell_name}"] = _bias(m)
    head = matrices[-1].tolist()
    found["head.weight"] = _weight(head)
    if head[memory_layout.HAS_BIAS]:
        found["head.bias"] = _bias(head)
    return found


def _rtu_blocks(
    hidden: int, weight: list[int], poles: list[int], head: list[int]
) -> dict[str, ParameterBlock]:
    """Return the parameters of trace units: B (real, then imaginary part), ν and φ, and the read-out."""
    found = {
        "weight_ih_l0": _weight(weight),
        "nu_phi_l0": ParameterBlock(poles[memory_layout.WEIGHT], poles[memory_layout.GATES], hidden, None),
        "head.weight": replace(_weight(head), inputs=2 * hidden, parts=2),
    }
    return found | ({"head.bias": _bias(head)} if head[memory_layout.HAS_BIAS] else {})


def _weight(m: list[int]) -> ParameterBlock:
    return ParameterBlock(
        m[memory_layout.WEIGHT],
        m[memory_layout.GATES],
        m[memory_layout.UNITS],
        m[memory_layout.INPUTS],
        m[memory_layout.INPUT_ROWS],
    )


def _bias(m: list[int]) -> ParameterBlock:
    return ParameterBlock(m[memory_layout.BIAS], m[memory_layout.GATES], m[memory_layout.UNITS], None)


def check(mapping: Mapping[str, Float32], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Float32]:
    """Return the entries of ``mapping`` that ``shapes`` names.

    Raises BadSpec for wrong names, else BadShape for wrong shapes, else BadValue for values that are not
    finite. The message lists all problems.
    """
    names = [f"'{name}' is missing" for name in shapes if name not in mapping]
    names += [f"'{name}' is unknown" for name in mapping if name not in shapes]
    given = {name: mapping[name] for name in shapes if name in mapping}
    wrong_shapes = [
        f"'{name}' has shape {array.shape}, expected {shapes[name]}"
        for name, array in given.items()
        if array.shape != shapes[name]
    ]
    values = [
        f"'{name}' has values that are not finite as float32"
        for name, array in given.items()
        if not np.isfinite(array).all()
    ]
    problems = names + wrong_shapes + values
    if problems:
        error = BadSpec if names else BadShape if wrong_shapes else BadValue
        raise error(
            f"these arrays do not fit the network: {'; '.join(problems)}. Expected names and shapes:"
            " see its property parameters",
            problems=problems,
        )
    return given


# -- state_dicts of PyTorch modules ----------------------------------------------------------------------

_RECURRENT = re.compile(rf"(?P<prefix>(?:.*\.)?)(?P<name>(?:weight|bias)_(?:ih|hh|hr)_l\d+(?:{REVERSE})?)")
_CELLS = {kind.gates: cell for cell, kind in memory_layout.CELLS.items() if not kind.traces}


def recognise(state_dict: Mapping[str, Float32]) -> tuple[dict[str, Float32], dict[str, Any]]:
    """Return the parameters of a ``state_dict`` by our names, and the part of a spec that they determine.

    The ``state_dict`` is that of an ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``, alone or in a module with one
    linear read-out. The spec has cell, dim, hidden, layers and bias, with a read-out outputs and head_bias;
    and ``directions``.

    Raises BadSpec for anything else.
    """
    found: dict[str, Float32] = {}
    prefixes, rest = set(), dict(state_dict)
    for name in state_dict:
        match = _RECURRENT.fullmatch(name)
        if match:
            prefixes.add(match["prefix"])
            found[match["name"]] = rest.pop(name)
    problems = []
    if len(prefixes) > 1:
        problems.append(
            f"it has {len(prefixes)} recurrent networks ({', '.join(sorted(prefixes))}), expected 1"
        )
    if not {"weight_ih_l0", "weight_hh_l0"} <= found.keys():
        problems.append("weight_ih_l0 or weight_hh_l0 is missing")
    if any("_hr_" in name for name in found):
        problems.append("it has projections (weight_hr_l0, from proj_size=…), which are not supported")
    stems = {name.rpartition(".")[0] for name in rest}
    linear = {name.rpartition(".")[2]: values for name, values in rest.items()}
    if len(stems) == 1 and set(linear) in ({"weight"}, {"weight", "bias"}):
        found |= {f"head.{name}": values for name, values in linear.items()}
    elif rest:
        problems.append(
            "it has parameters other than the recurrent layers and one linear read-out:"
            f" {', '.join(sorted(rest))}"
        )
    if problems:
        raise BadSpec(
            f"the state_dict cannot be loaded: {'; '.join(problems)}. Expected an nn.RNN, nn.GRU or nn.LSTM,"
            " alone or with one linear read-out",
            problems=problems,
        )
    into, within = (found[name].shape for name in ("weight_ih_l0", "weight_hh_l0"))
    gates = within[0] // within[1] if len(within) == 2 and within[1] else 0
    if len(into) != 2 or within != (gates * within[-1], within[-1]) or gates not in _CELLS:
        raise BadSpec(
            f"weight_ih_l0 has shape {into} and weight_hh_l0 {within}; expected (g·hidden, dim) and"
            " (g·hidden, hidden) with g = 1 (nn.RNN), 3 (nn.GRU) or 4 (nn.LSTM)"
        )
    spec: dict[str, Any] = {"cell": _CELLS[gates], "dim": into[1], "hidden": within[1]}
    spec["layers"] = sum(name.startswith("weight_hh_l") and not name.endswith(REVERSE) for name in found)
    spec["directions"] = 2 if any(name.endswith(REVERSE) for name in found) else 1
    spec["bias"] = any(name.startswith("bias") for name in found)
    if linear:
        shape, columns = linear["weight"].shape, spec["directions"] * spec["hidden"]
        if len(shape) != 2 or shape[1] != columns:
            raise BadShape(f"the weight of '{min(stems)}' has shape {shape}; expected (outputs, {columns})")
        spec["outputs"], spec["head_bias"] = shape[0], "bias" in linear
    return found, spec


# -- files ------------------------------------------------------------------------------------------------


def write(path: str | Path, parameters: Mapping[str, Float32]) -> None:
    """Write ``parameters`` to one file, completely or not at all."""
    path = Path(path)
    if _suffix(path) == ".npz":
        data = io.BytesIO()
        np.savez(data, allow_pickle=False, **parameters)
        write_atomically(FS(), path, data.getvalue())
    else:
        write_atomically(FS(), path, tensors.encode(parameters, {}))


def read(source: Source) -> dict[str, Float32]:
    """Return the arrays of ``source``, a mapping or a file, as float32."""
    arrays = source if isinstance(source, Mapping) else _read_file(Path(source))
    return {name: _as_float32(name, values) for name, values in arrays.items()}


def _as_float32(name: str, values: ArrayLike) -> Float32:
    if hasattr(values, "detach"):  # a PyTorch tensor; NumPy may lack its type
        values = values.detach().cpu().float()
    try:
        numbers = as_numbers(values, "it")
    except StreamlearnError as error:
        raise BadDtype(f"'{name}' must be an array of numbers ({error.message})") from None
    with np.errstate(over="ignore"):
        return numbers.astype(np.float32)


def _read_file(path: Path) -> Mapping[str, ArrayLike]:
    suffix = _suffix(path)
    data = FS().read(path)
    if suffix != ".npz":
        return tensors.decode(data, foreign=True)[0]
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise BadCheckpoint(
            f"{path} cannot be read as an .npz file of arrays ({error}); write it with numpy.savez"
        ) from error


def _suffix(path: Path) -> str:
    if path.suffix not in (".safetensors", ".npz"):
        raise BadSpec(
            f"the file of parameters has the suffix {path.suffix!r}; expected '.safetensors' or '.npz'. Write"
            " it with safetensors.torch.save_file(net.state_dict(), path) or numpy.savez",
            path=str(path),
        )
    return path.suffix
