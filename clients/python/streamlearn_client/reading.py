"""Parts of a model, as `Client.read` returns them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from streamlearn_client.protocol import Reply

__all__ = ["Reading", "missing_parts", "read_parts"]


class Reading(Mapping[str, Any]):
    """Parts of a model by name, all of the same state.

    ``reading["weights"]`` is an array. A part that consists of several arrays, such as ``parameters``, is a
    dict of arrays by name. ``quality`` is a dict of numbers.

    Parameters
    ----------
    model, kind : str
        Name and kind of the model.
    samples : int
        Number of samples that the model had learned.
    applied_lsn : int
        The last journal record that the model had learned completely.
    parts : Mapping of str to object
        The parts by name.

    Examples
    --------
    >>> reading = client.read("pump", ["weights", "hits"])  # doctest: +SKIP
    >>> reading["weights"].shape, reading.samples
    ((10, 10, 8), 5000)
    """

    __slots__ = ("applied_lsn", "kind", "model", "parts", "samples")

    def __init__(
        self, model: str, kind: str, samples: int, applied_lsn: int, parts: Mapping[str, Any]
    ) -> None:
        self.model = model
        self.kind = kind
        self.samples = samples
        self.applied_lsn = applied_lsn
        self.parts = dict(parts)

    def __getitem__(self, name: str) -> Any:
        if name in self.parts:
            return self.parts[name]
        raise KeyError(f"{name!r} was not read; this reading has: {', '.join(self.parts)}")

    def __iter__(self) -> Iterator[str]:
        return iter(self.parts)

    def __len__(self) -> int:
        return len(self.parts)

    def __repr__(self) -> str:
        names = ", ".join(self.parts)
        return f"Reading({self.model!r}, samples={self.samples}, applied_lsn={self.applied_lsn}: {names})"


def read_parts(what: Sequence[str], reply: Reply) -> Reading:
    """Return the reading in a checked reply to ``read``."""
    ok = reply.ok
    parts = {name: _part(name, ok, reply.arrays) for name in dict.fromkeys(what)}
    extra: dict[str, Any] = {name: ok[name] for name in ("label_names", "mix_of") if name in ok}
    return Reading(ok["model"], ok["kind"], ok["samples"], ok["applied_lsn"], {**parts, **extra})


def missing_parts(what: Sequence[str], ok: Mapping[str, Any], arrays: Mapping[str, Any]) -> list[str]:
    """Return the requested parts that a reply does not contain."""
    return [name for name in what if _part(name, ok, arrays) is None]


def _part(name: str, ok: Mapping[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Any:
    """Return an array, a dict of arrays, or a dict; ``None`` if the reply has no such part."""
    if name in arrays:
        return arrays[name]
    prefix = f"{name}/"
    several = {key.removeprefix(prefix): array for key, array in arrays.items() if key.startswith(prefix)}
    return several or ok.get(name)
