"""``streamlearn read``: parts of a live model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from streamlearn.cli.options import (
    DEFAULT_ENDPOINT,
    Endpoint,
    Json,
    KeyFile,
    Name,
    ServerKey,
    Timeout,
    connect,
)


def read(
    name: Name,
    what: Annotated[list[str], typer.Argument(metavar="PART…", help="weights, hits, quality, …")],
    safetensors: Annotated[
        Path | None,
        typer.Option("--safetensors", metavar="FILE", help="write the arrays to this file"),
    ] = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Read parts of a model while it learns.

        streamlearn read pump quality u_matrix

        streamlearn read flow parameters --safetensors flow.safetensors

    Parts: weights, prototypes (weights in the stream's own units), planes (prototypes by channel), u_matrix,
    hits, labels, quality, parameters (of a net, by PyTorch's names), lags (gradient by lag). A kind of model
    has some of them. --json prints all values; a file of parameters is a state_dict of PyTorch.
    """
    from streamlearn.cli import report
    from streamlearn.cli.errors import BadUsage

    if safetensors is not None and safetensors.suffix != ".safetensors":
        raise BadUsage(f"--safetensors {safetensors}: create --parameters reads only names with .safetensors")
    with connect(endpoint, timeout, server_key, key_file) as client:
        reading = client.read(name, what)
    facts: dict[str, Any] = {
        "model": reading.model,
        "kind": reading.kind,
        "samples": reading.samples,
        "applied lsn": reading.applied_lsn,
    }
    if safetensors is not None:
        facts |= _write(safetensors, reading.parts)
    else:
        facts |= {part: _described(value) for part, value in reading.items()}
    values = {part: _listed(value) for part, value in reading.items()} if as_json else {}
    fields = {"model": reading.model, "kind": reading.kind, "samples": reading.samples}
    report.show({**fields, "applied_lsn": reading.applied_lsn, **values}, as_json, report.pairs(facts))


def _write(path: Path, parts: dict[str, Any]) -> dict[str, Any]:
    """Write the arrays of all parts to one file. The parameters of a net keep PyTorch's names."""
    from streamlearn.cli.errors import BadUsage
    from streamlearn.store import tensors
    from streamlearn.store.fs import FS, write_atomically

    arrays: dict[str, Any] = {}
    for part, value in parts.items():
        if hasattr(value, "shape"):
            arrays[part] = value
        elif part == "parameters" and len(parts) == 1:
            arrays |= value
        elif all(hasattr(each, "shape") for each in value.values()):
            arrays |= {f"{part}/{key}": each for key, each in value.items()}
    if not arrays:
        raise BadUsage("--safetensors writes arrays, and the parts that were read have none")
    write_atomically(FS(), path, tensors.encode(arrays, {}))
    return {"file": str(path), "arrays": len(arrays)}


def _described(value: Any) -> str:
    """Describe a part: shapes of arrays, and numbers."""
    if hasattr(value, "shape"):
        return f"{value.dtype} {list(value.shape)}, {_range(value)}"
    if isinstance(value, dict) and value and all(hasattr(each, "shape") for each in value.values()):
        return "; ".join(f"{key} {list(each.shape)}" for key, each in value.items())
    from streamlearn.cli.report import text

    return text(value)


def _range(array: Any) -> str:
    import numpy as np

    finite = array[np.isfinite(array)]
    return f"{finite.min():.4g} to {finite.max():.4g}" if finite.size else "no values"


def _listed(value: Any) -> Any:
    if hasattr(value, "tolist"):
        return value.tolist()
    return {key: _listed(each) for key, each in value.items()} if isinstance(value, dict) else value
