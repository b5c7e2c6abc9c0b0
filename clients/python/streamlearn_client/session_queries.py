"""Operations that query a model, without any I/O (see ``session.py``)."""

from __future__ import annotations

from collections.abc import Generator, Iterable, Sequence
from typing import Any, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.errors import BadValue, TooLarge
from streamlearn_client.json_conversion import as_number, as_whole_number
from streamlearn_client.outputs import Forecast, Outputs
from streamlearn_client.protocol import (
    Limits,
    Reply,
    Request,
    as_identifier,
    as_identifiers,
    as_samples,
    as_targets,
    as_times,
    check_model,
    named_samples,
)
from streamlearn_client.reading import Reading, read_parts
from streamlearn_client.retry import Call

__all__ = ["Operation", "SessionQueries", "rows_per_batch"]

T = TypeVar("T")
Operation: TypeAlias = Generator[Call, Reply, T]


class SessionQueries:
    """Queries of models. Base class of `Session`."""

    def limits(self) -> Operation[Limits]:
        """Return the daemon's limits."""
        raise AssertionError("every session knows the limits of its daemon")

    def predict(self, model: str, x: Any, keys: Any, times: Any = None) -> Operation[Outputs]:
        """Request the outputs for samples."""
        return self._query_samples("predict", model, x, None, keys, times)

    def explain(self, model: str, x: Any, y: Any, keys: Any, times: Any = None) -> Operation[Outputs]:
        """Request the expected values of samples and the contribution of each channel."""
        return self._query_samples("explain", model, x, y, keys, times)

    def _query_samples(
        self, op: str, model: str, x: Any, y: Any, keys: Any, times: Any
    ) -> Operation[Outputs]:
        """Execute an operation on samples that answers with one row per sample."""
        check_model(model)
        x, channels, times = named_samples(x, times)
        samples = as_samples(x)
        rows = len(samples)
        targets = None if y is None else as_targets(y, rows)
        identifiers = None if keys is None else as_identifiers(keys, rows, "keys")
        given = None if times is None else as_times(times, rows)
        limits = yield from self.limits()
        limit = rows_per_batch(limits, [samples] if targets is None else [samples, targets])
        if rows > limit:
            raise TooLarge(
                f"{rows} samples are more than one {op} may have ({limit}); send them in parts",
                rows=rows,
                limit="limits.rows" if limit == limits.rows else "limits.frame_bytes",
                most=limit,
            )
        reply = yield Call(Request(op, None, model, {}, samples, identifiers, given, channels, targets))
        return Outputs(reply.ok["applied_lsn"], **reply.arrays)

    def forecast(
        self, model: str, steps: int, key: int | str | None, times: Any = None
    ) -> Operation[Forecast]:
        """Request the forecast of the next ``steps`` samples."""
        check_model(model)
        fields: dict[str, Any] = {"steps": as_whole_number(steps, "steps")}
        if key is not None:
            fields["key"] = as_identifier(key, "key")
        given = None if times is None else as_times(times, fields["steps"])
        reply = yield Call(Request("forecast", None, model, fields, times=given))
        found = Forecast(reply.ok["applied_lsn"], **reply.arrays)
        found.mix_of, found.samples = tuple(reply.ok.get("mix_of", ())), reply.ok["samples"]
        return found

    def sample(
        self, model: str, n: int, temperature: float, seed: int, key: int | str | None
    ) -> Operation[NDArray[np.int32]]:
        """Request ``n`` drawn symbols."""
        fields = {"temperature": as_number(temperature, "temperature"), "seed": as_whole_number(seed, "seed")}
        return self._request_array("sample", model, key, n=as_whole_number(n, "n"), **fields)

    def read(self, model: str, what: str | Sequence[str]) -> Operation[Reading]:
        """Request parts of a model."""
        check_model(model)
        names = [what] if isinstance(what, str) else list(what)
        if not names or not all(isinstance(name, str) for name in names):
            raise BadValue(
                f"what must be the name of a part or a list of names, not {what!r}; for example 'weights'",
                field="what",
            )
        return read_parts(names, (yield Call(Request("read", None, model, {"what": names}))))

    def _request_array(
        self, op: str, model: str, key: int | str | None, **fields: Any
    ) -> Operation[NDArray[Any]]:
        """Execute an operation that answers with one array under its own name."""
        check_model(model)
        if key is not None:
            fields["key"] = as_identifier(key, "key")
        return (yield Call(Request(op, None, model, fields))).arrays[op]


def rows_per_batch(limits: Limits, arrays: Iterable[NDArray[Any]]) -> int:
    """Return how many rows of ``arrays`` fit into one message. Raise ``TooLarge`` if one row does not fit."""
    row_bytes = max(array[:1].nbytes for array in arrays)
    if row_bytes > limits.frame_bytes:
        raise TooLarge(
            f"one sample has {row_bytes} bytes and a frame may have {limits.frame_bytes}; "
            "use fewer channels, or raise the daemon's frame limit",
            bytes=row_bytes,
            limit="limits.frame_bytes",
            most=limits.frame_bytes,
        )
    return max(1, min(limits.frame_bytes // row_bytes, limits.rows))
