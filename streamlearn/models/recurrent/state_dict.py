"""Parameters of recurrent nets as PyTorch names and shapes them: where each stands, and files of them.

A file is safetensors or NumPy's ``.npz``, by its name. Neither can hold code, so a file from anywhere may be
read; pickles (``.pt``) are refused.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ...errors import BadCheckpoint, BadDtype, BadShape, BadSpec, BadValue
from ...kernels.recurrent import memory_layout
from ...kernels.simd.lanes import WIDTH
from ...store import tensors
from ...store.fs import FS, write_whole
from ..lane_layout import blocks

Float32 = NDArray[np.float32]
Source = str | Path | Mapping[str, ArrayLike]
REVERSE = "_reverse"  # how names of the reverse direction end


@dataclass(frozen=True)
class Place:
    """Where a parameter has its rows: ``(blocks, inputs, gates, 16)`` from row ``first`` on."""

    first: int
    gates: int
    units: int
    inputs: int | None  # None for a bias

    @property
    def shape(self) -> tuple[int, ...]:
        """As PyTorch has it: gate after gate."""
        sums = self.gates * self.units
        return (sums,) if self.inputs is None else (sums, self.inputs)

    @property
    def end(self) -> int:
        """Row after the last one."""
        return self.first + blocks(self.units) * (self.inputs or 1) * self.gates

    def put(self, values: Float32, rows: Float32) -> None:
        """Lay ``values`` out in their rows; lanes without a unit are 0."""
        lanes = np.zeros((self.gates, blocks(self.units) * WIDTH, self.inputs or 1), np.float32)
        lanes[:, : self.units] = values.reshape(self.gates, self.units, -1)
        folded = lanes.reshape(self.gates, -1, WIDTH, self.inputs or 1).transpose(1, 3, 0, 2)
        rows[self.first : self.end] = folded.reshape(-1, WIDTH)

    def values(self, rows: Float32) -> Float32:
        """Return a copy of what ``put`` laid out."""
        folded = rows[self.first : self.end].reshape(-1, self.inputs or 1, self.gates, WIDTH)
        lanes = folded.transpose(2, 0, 3, 1).reshape(self.gates, -1, self.inputs or 1)
        return lanes[:, : self.units].reshape(self.shape).copy()


def places(net: NDArray[np.int64], matrices: NDArray[np.int64]) -> dict[str, Place]:
    """Return every parameter by its name in PyTorch, in PyTorch's order. The read-out is ``head``."""
    found: dict[str, Place] = {}
    cells = len(matrices) // 2
    for cell in range(cells):
        layer, direction = divmod(cell, cells // int(net[memory_layout.LAYERS]))
        cell_name = f"l{layer}{('', REVERSE)[direction]}"
        pair = list(zip(("ih", "hh"), matrices[2 * cell : 2 * cell + 2].tolist(), strict=True))
        for name, m in pair:
            place = (
                m[memory_layout.FIRST],
                m[memory_layout.GATES],
                m[memory_layout.UNITS],
                m[memory_layout.INPUTS],
            )
            found[f"weight_{name}_{cell_name}"] = Place(*place)
        for name, m in pair:
            if m[memory_layout.BIASED]:
                found[f"bias_{name}_{cell_name}"] = Place(
                    m[memory_layout.BIAS], m[memory_layout.GATES], m[memory_layout.UNITS], None
                )
    head = matrices[-1].tolist()
    found["head.weight"] = Place(
        head[memory_layout.FIRST], 1, head[memory_layout.UNITS], head[memory_layout.INPUTS]
    )
    if head[memory_layout.BIASED]:
        found["head.bias"] = Place(head[memory_layout.BIAS], 1, head[memory_layout.UNITS], None)
    return found


def check(mapping: Mapping[str, Float32], shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Float32]:
    """Return the parameters in ``mapping``.

    Raises
    ------
    BadSpec, BadShape, BadValue
        If names, shapes or values (not finite) are wrong, in this order. The message names every problem.
    """
    names = [f"'{name}' is missing" for name in shapes if name not in mapping]
    names += [f"'{name}' is unknown" for name in mapping if name not in shapes]
    given = {name: mapping[name] for name in shapes if name in mapping}
    wrong = [f"'{n}' has shape {a.shape}, not {shapes[n]}" for n, a in given.items() if a.shape != shapes[n]]
    values = [f"'{name}' is not finite" for name, array in given.items() if not np.isfinite(array).all()]
    problems = names + wrong + values
    if problems:
        kind = BadSpec if names else BadShape if wrong else BadValue
        raise kind(f"not the parameters of this net: {'; '.join(problems)}", problems=problems)
    return given


# -- other people's state_dicts ---------------------------------------------------------------------------

_RECURRENT = re.compile(rf"(?P<prefix>(?:.*\.)?)(?P<name>(?:weight|bias)_(?:ih|hh|hr)_l\d+(?:{REVERSE})?)")
_CELLS = {kind.gates: cell for cell, kind in memory_layout.CELLS.items()}


def recognise(state_dict: Mapping[str, Float32]) -> tuple[dict[str, Float32], dict[str, Any]]:
    """Return a ``state_dict`` under our names, and the parameters of a spec that follow from it.

    These are cell, dim, hidden, layers and bias; outputs and head_bias if it has a read-out; and
    ``directions``.

    Raises
    ------
    BadSpec
        If it is not of an ``nn.RNN``, ``nn.GRU`` or ``nn.LSTM``, alone or with a linear read-out.
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
        problems.append(f"it holds {len(prefixes)} recurrent nets: {', '.join(sorted(prefixes))}")
    if not {"weight_ih_l0", "weight_hh_l0"} <= found.keys():
        problems.append("weight_ih_l0 or weight_hh_l0 is not in it")
    if any("_hr_" in name for name in found):
        problems.append("it has projections (weight_hr_l0, of proj_size=…), which are not supported")
    stems = {name.rpartition(".")[0] for name in rest}
    linear = {name.rpartition(".")[2]: values for name, values in rest.items()}
    if len(stems) == 1 and set(linear) in ({"weight"}, {"weight", "bias"}):
        found |= {f"head.{name}": values for name, values in linear.items()}
    elif rest:
        problems.append(
            f"it holds more than recurrent layers and a linear read-out: {', '.join(sorted(rest))}"
        )
    if problems:
        raise BadSpec(f"this is no state_dict of a recurrent net: {'; '.join(problems)}", problems=problems)
    into, within = (found[name].shape for name in ("weight_ih_l0", "weight_hh_l0"))
    gates = within[0] // within[1] if len(within) == 2 and within[1] else 0
    if len(into) != 2 or within != (gates * within[-1], within[-1]) or gates not in _CELLS:
        raise BadSpec(f"weight_ih_l0 {into} and weight_hh_l0 {within} are of no cell that is known here")
    told: dict[str, Any] = {"cell": _CELLS[gates], "dim": into[1], "hidden": within[1]}
    told["layers"] = sum(name.startswith("weight_hh_l") and not name.endswith(REVERSE) for name in found)
    told["directions"] = 2 if any(name.endswith(REVERSE) for name in found) else 1
    told["bias"] = any(name.startswith("bias") for name in found)
    if linear:
        shape, columns = linear["weight"].shape, told["directions"] * told["hidden"]
        if len(shape) != 2 or shape[1] != columns:
            raise BadShape(
                f"the weight of '{min(stems)}' has shape {shape}; a read-out here has (outputs, {columns})"
            )
        told["outputs"], told["head_bias"] = shape[0], "bias" in linear
    return found, told


# -- files ------------------------------------------------------------------------------------------------


def write(path: str | Path, parameters: Mapping[str, Float32]) -> None:
    """Write ``parameters`` to one file; it is there whole or not at all."""
    path = Path(path)
    if _suffix(path) == ".npz":
        data = io.BytesIO()
        np.savez(data, allow_pickle=False, **parameters)
        write_whole(FS(), path, data.getvalue())
    else:
        write_whole(FS(), path, tensors.encode(parameters, {}))


def read(source: Source) -> dict[str, Float32]:
    """Return the arrays of ``source``, a mapping or a file. Other floats are rounded to float32."""
    held = source if isinstance(source, Mapping) else _held(Path(source))
    return {name: _as_float32(name, values) for name, values in held.items()}


def _as_float32(name: str, values: ArrayLike) -> Float32:
    if hasattr(values, "detach"):  # a tensor of PyTorch's, which may be of a type that NumPy lacks
        values = values.detach().cpu().float()
    try:
        with np.errstate(over="ignore"):
            return np.asarray(values, np.float32)
    except (TypeError, ValueError) as error:
        raise BadDtype(f"'{name}' must be numbers in an array ({error})") from error


def _held(path: Path) -> Mapping[str, ArrayLike]:
    suffix = _suffix(path)
    data = FS().read(path)
    if suffix != ".npz":
        return tensors.decode(data)[0]
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as held:
            return {name: held[name] for name in held.files}
    except (ValueError, OSError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise BadCheckpoint(f"{path} is not an .npz file of plain arrays ({error})") from error


def _suffix(path: Path) -> str:
    if path.suffix not in (".safetensors", ".npz"):
        raise BadSpec(
            f"parameters are kept as .safetensors or .npz, not as {path.suffix or 'a file without suffix'!r}:"
            " save them with safetensors.torch.save_file(net.state_dict(), path), or by numpy.savez",
            path=str(path),
        )
    return path.suffix
