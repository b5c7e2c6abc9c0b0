"""Checks of replies. The client accepts what ``docs/protocol.md`` describes, and further fields.

Anything may listen at an endpoint. A reply that is not a message of the protocol, lacks a field, or has a
field of another type raises ``ProtocolError``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields as fields_of
from typing import Any, Final, TypeAlias

from numpy.typing import NDArray

from streamlearn_client.errors import (
    Fenced,
    Gap,
    NoAnswer,
    ProtocolError,
    StreamlearnError,
    StreamLost,
    UnknownProducer,
    WrongProcess,
)
from streamlearn_client.protocol import Frame, Learn, Limits, Reply, Request, decode_reply
from streamlearn_client.protocol.wire import UINT63, short_repr
from streamlearn_client.reading import missing_parts

__all__ = ["check_outputs", "check_reply", "protocol_error", "read_reply"]

Check: TypeAlias = Callable[[Any, str], None]
"""Raise ``ValueError`` unless a value is valid. The second argument is the name of the value."""

OUTPUT_DTYPES: Final[Mapping[str, str]] = {
    "winner": "<i4",
    "coords": "<i4",
    "label": "<i4",
    "activity": "<f4",
    "iterations": "<i4",
    "tie": "|b1",
    "capped": "|b1",
    "distance": "<f4",
    "sample": "<i8",
    "prediction": "<f4",
    "expected": "<f4",
    "contribution": "<f4",
    "error": "<f4",
    "score": "<f4",
    "present": "<i4",
    "drift": "|b1",
    "alarm": "|i1",
    "evidence": "<f4",
    "fault": "|i1",
    "watched": "|b1",
    "x": "<f4",
    "key": "<i8",
    "id": "<i8",
    "time": "<i8",
}
"""The dtypes of the outputs that `Outputs` declares."""
CLIENT_ERRORS: Final = (NoAnswer, ProtocolError, StreamLost, WrongProcess)
"""Errors that a daemon never sends."""


def read_reply(frames: Sequence[Frame], endpoint: str) -> Reply:
    """Decode a reply. Raise ``ProtocolError`` if the frames are not a reply."""
    try:
        return decode_reply(frames)
    except StreamlearnError as error:
        raise protocol_error(endpoint, f"the answer is not a reply: {error.message}") from error


def check_reply(request: Request | Learn, reply: Reply, endpoint: str) -> None:
    """Raise ``ProtocolError`` unless ``reply`` is a valid answer to ``request``."""
    op = "learn" if isinstance(request, Learn) else request.op
    try:
        if reply.error is not None:
            _check_error(reply.error)
            return
        _REPLIES[op](reply.ok, "")
        if isinstance(request, Request):
            _check_arrays(request, reply)
    except ValueError as problem:
        raise protocol_error(endpoint, f"the answer to {op} is invalid: {problem}", op=op) from None


def check_outputs(arrays: Mapping[str, NDArray[Any]], rows: int | None = None) -> None:
    """Raise ``ValueError`` unless ``arrays`` are outputs, of ``rows`` samples if it is given."""
    lengths = {len(array) for array in arrays.values()}
    if len(lengths) > 1 or (rows is not None and "sample" not in arrays and lengths - {rows}):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in arrays.items())
        expected = "equal numbers of rows" if rows is None else f"{rows} rows"
        raise ValueError(f"outputs must have {expected}, not {shapes}")
    for name, array in arrays.items():
        _check_dtype(array, name, OUTPUT_DTYPES.get(name))


def protocol_error(endpoint: str, problem: str, **detail: Any) -> ProtocolError:
    """Return the error for a peer that does not follow the protocol."""
    error = ProtocolError(
        f"what listens at {endpoint} does not follow the protocol: {problem}. "
        "Check the endpoint, and that client and daemon have the same version",
        endpoint=endpoint,
        **detail,
    )
    error.in_doubt = True
    return error


# -------------------------------------------------------------------------------------- kinds of values


def _integer(value: Any, name: str) -> None:
    if type(value) is not int or not 0 <= value < UINT63:
        raise ValueError(f"{name} must be an integer from 0 to 2^63 - 1, not {short_repr(value)}")


def _positive(value: Any, name: str) -> None:
    if type(value) is not int or not 0 < value < UINT63:
        raise ValueError(f"{name} must be an integer from 1 to 2^63 - 1, not {short_repr(value)}")


def _instance(kind: type, noun: str) -> Check:
    def check(value: Any, name: str) -> None:
        if type(value) is not kind:
            raise ValueError(f"{name} must be {noun}, not {short_repr(value)}")

    return check


_text, _flag, _map, _list = (
    _instance(str, "text"),
    _instance(bool, "true or false"),
    _instance(dict, "a map"),
    _instance(list, "a list"),
)


def _optional(check: Check) -> Check:
    """Accept a value that is missing or nil."""
    return lambda value, name: None if value is None else check(value, name)


def _fields(**fields: Check) -> Check:
    """Accept a map with these fields."""

    def check(value: Any, name: str) -> None:
        _map(value, name)
        for field, check_field in fields.items():
            check_field(value.get(field), f"{name}.{field}" if name else field)

    return check


def _list_of(check_entry: Check) -> Check:
    def check(value: Any, name: str) -> None:
        _list(value, name)
        for i, entry in enumerate(value):
            check_entry(entry, f"{name}[{i}]")

    return check


# ------------------------------------------------------------------------------------------- the replies

_model: Final[Mapping[str, Check]] = {
    "name": _text,
    "kind": _text,
    "dim": _integer,
    "samples": _integer,
    "applied_lsn": _integer,
    "create_lsn": _integer,
    "paused": _flag,
}
_record: Final[Mapping[str, Check]] = {"lsn": _integer, "durable_lsn": _integer}
_checkpoint: Final[Mapping[str, Check]] = {
    "lsn": _integer,
    "name": _optional(_text),
    "bytes": _integer,
    "time": _integer,
}
_query: Final = _fields(applied_lsn=_integer, samples=_integer)
_forecast: Final = _fields(applied_lsn=_integer, samples=_integer, mix_of=_optional(_list_of(_text)))
_OF_FORECASTS: Final = (("lower", "<f4", 2), ("upper", "<f4", 2), ("mix", "<f4", 3), ("time", "<i8", 1))
_limits: Final = _fields(**{field.name: _optional(_positive) for field in fields_of(Limits)})
_endpoints: Final = _fields(**dict.fromkeys(("requests", "firehose", "events"), _optional(_text)))

_REPLIES: Final[Mapping[str, Check]] = {
    "hello": _fields(
        server=_text,
        version=_text,
        protocol=_integer,
        instance=_text,
        limits=_limits,
        endpoints=_endpoints,
        cumulative_acks=_optional(_flag),
    ),
    "create": _fields(**_model, **_record, spec=_map),
    "delete": _fields(**_record),
    "models": _fields(models=_list_of(_fields(**_model)), more=_optional(_flag)),
    "describe": _fields(
        **_model,
        spec=_map,
        target_dim=_integer,
        accepts_late_targets=_flag,
        needs_keys=_flag,
        uses_time=_flag,
        durable_lsn=_integer,
        state_hash=_text,
        quality=_map,
        checkpoints=_list_of(_fields(**_checkpoint)),
    ),
    "learn": _fields(
        **_record,
        applied_lsn=_integer,
        duplicate=_flag,
        rows=_integer,
        matched=_optional(_integer),
        unmatched=_optional(_integer),
        acks=_optional(_positive),
    ),
    "predict": _query,
    "explain": _query,
    "forecast": _forecast,
    "sample": _query,
    "read": _fields(model=_text, kind=_text, applied_lsn=_integer, samples=_integer),
    "export": _fields(
        model=_text,
        kind=_text,
        export=_text,
        bytes=_integer,
        sha256=_text,
        lsn=_integer,
        samples=_integer,
        offset=_integer,
    ),
    "upload": _fields(upload=_text, received=_integer, bytes=_integer),
    "clone": _fields(**_model, **_record, spec=_map, cloned_lsn=_integer),
    "reheat": _fields(**_model, **_record),
    "pause": _fields(**_model, **_record),
    "resume": _fields(**_model, **_record),
    "feedback": _fields(**_model, **_record),
    "label": _fields(**_model, **_record),
    "checkpoint": _fields(**_checkpoint),
    "checkpoints": _fields(checkpoints=_list_of(_fields(**_checkpoint))),
    "restore": _fields(
        **_model,
        **_record,
        restored_lsn=_optional(_integer),
        undo_lsn=_optional(_integer),
        undo_name=_optional(_text),
    ),
    "backup": _fields(
        directory=_text,
        lsn=_integer,
        models=_integer,
        segments=_integer,
        checkpoints=_integer,
        damaged=_integer,
        bytes=_integer,
    ),
    "unpin": _fields(**_checkpoint),
    "stats": _fields(models=_optional(_map), more=_optional(_flag)),
    "position": _fields(epoch=_integer, next_seq=_integer),
}

_ERROR_DETAIL: Final[Mapping[type[StreamlearnError], Check]] = {
    Gap: _fields(expected_seq=_integer),
    Fenced: _fields(epoch=_integer),
    UnknownProducer: _fields(epoch=_integer),
}


def _check_error(error: StreamlearnError) -> None:
    if isinstance(error, CLIENT_ERRORS):
        raise ValueError(f"a daemon does not send the error {error.code}")
    check = _ERROR_DETAIL.get(type(error))
    if check is not None:
        check(error.detail, f"detail of {error.code}")


def _check_arrays(request: Request, reply: Reply) -> None:
    arrays = reply.arrays
    if request.op == "read":
        missing = missing_parts(request.fields["what"], reply.ok, arrays)
        if missing:
            raise ValueError(f"the parts {', '.join(missing)} are missing")
    elif request.op in ("predict", "explain"):
        check_outputs(arrays, 0 if request.x is None else len(request.x))
    elif request.op == "export":
        _check_array(arrays, "content", "|u1", 1)
    elif request.op == "forecast":
        steps = request.fields["steps"]
        _check_array(arrays, "forecast", "<f4", 2, steps)
        for name, dtype, axes in _OF_FORECASTS:
            if name in arrays:
                _check_array(arrays, name, dtype, axes, steps)
    elif request.op == "sample":
        _check_array(arrays, "sample", "<i4", 1, request.fields["n"])


def _check_array(
    arrays: Mapping[str, NDArray[Any]], name: str, dtype: str, axes: int, rows: int | None = None
) -> None:
    """Raise ``ValueError`` unless there is such an array. ``rows``: its length; ``None``: at least 1."""
    array = arrays.get(name)
    if array is None or array.ndim != axes or (len(array) != rows if rows is not None else not len(array)):
        found = "no array" if array is None else f"shape {array.shape}"
        wanted = "1 row or more" if rows is None else f"{rows} rows"
        raise ValueError(f"array {name} must have {axes} axes and {wanted}, not {found}")
    _check_dtype(array, name, dtype)


def _check_dtype(array: NDArray[Any], name: str, dtype: str | None) -> None:
    if dtype is not None and array.dtype.str != dtype:
        raise ValueError(f"array {name} must have dtype {dtype}, not {array.dtype.str}")
