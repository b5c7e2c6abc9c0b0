"""Operations that create, export and clone models, without any I/O on sockets (see ``session.py``)."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from streamlearn_client.errors import (
    BadCheckpoint,
    BadSpec,
    ModelExists,
    StreamlearnError,
    TooLarge,
    UnknownTransfer,
)
from streamlearn_client.files import ExportFile, Source
from streamlearn_client.json_conversion import as_whole_number, spec_contains, to_json
from streamlearn_client.label_codes import has_names, label_codes
from streamlearn_client.protocol import (
    Limits,
    Request,
    as_identifier,
    as_samples,
    check_model,
    encode_request,
    named_columns,
)
from streamlearn_client.retry import AnswerLost, Call
from streamlearn_client.session_queries import Operation, SessionQueries

__all__ = ["SessionTransfers"]

COMPILE_SECONDS: Final = 300.0
"""How long to wait for the answer to create. The first model of a kind waits for its kernels."""
PART_BYTES: Final = 4 << 20
"""Largest part of an upload."""
TRIES: Final = 3
"""How often an export or an upload begins again that the daemon has forgotten."""
COPY_SECONDS: Final = 60.0
"""How long to wait for the answer to clone and for the first part of an export."""


class SessionTransfers(SessionQueries):
    """Creation, export, clones and labels of models. Base class of `Session`."""

    def request(
        self, op: str, model: str = "", idempotent: bool = True, **fields: Any
    ) -> Operation[dict[str, Any]]:
        """Execute an operation that answers with a map."""
        raise AssertionError("every session executes requests")

    def _change(self, request: Request, key: str | None) -> Operation[dict[str, Any]]:
        raise AssertionError("every session executes changes")

    def _begin_epoch(self, model: str, refusal: StreamlearnError | None = None) -> None:
        raise AssertionError("every session numbers its batches")

    def create(
        self, model: str, kind: str | None, spec: Mapping[str, Any], source: Source | None = None
    ) -> Operation[dict[str, Any]]:
        """Create a model, from a spec or from a file. Repeat the request if its answer was lost.

        A repeated request may find the model that the first one created. This is not an error.
        """
        check_model(model)
        requested: dict[str, Any] = {"kind": _kind(kind, source)}
        if source is None or source.field == "parameters":
            requested["spec"] = {name: to_json(value, name) for name, value in spec.items()}
        elif spec:
            raise _bad_spec("the file of a model contains its spec; leave out " + ", ".join(spec))
        limits = yield from self.limits()
        check_header(Request("create", None, model, requested), limits)
        answer_lost, tries = False, TRIES
        self._begin_epoch(model)  # also if the call is interrupted: the new model knows no batches
        while True:
            try:
                uploaded = {} if source is None else (yield from self._upload(model, source, limits))
                request = Request("create", None, model, requested | uploaded)
                own = source is not None
                ok = (yield Call(request, False, COMPILE_SECONDS, own)).ok
            except AnswerLost:
                answer_lost = True
                continue
            except UnknownTransfer:
                tries -= 1
                if not tries:
                    raise
                continue
            except ModelExists:
                if not answer_lost:
                    raise
                ok = yield from self.request("describe", model)
                if not spec_contains(ok, requested):
                    raise
            self._begin_epoch(model)
            return ok

    def _upload(self, model: str, source: Source, limits: Limits) -> Operation[dict[str, Any]]:
        """Send a file in parts. Return the fields of ``create`` that name it."""
        name, offset, digest = secrets.token_hex(8), 0, hashlib.sha256()
        for part in source.parts(min(PART_BYTES, limits.frame_bytes)):
            fields = {"upload": name, "bytes": source.size, "offset": offset}
            content = np.frombuffer(part, np.uint8)
            yield Call(Request("upload", None, model, fields, content=content), own_timeout=True)
            digest.update(part)
            offset += len(part)
        return {source.field: name, "sha256": digest.hexdigest()}

    def export(self, model: str, file: ExportFile) -> Operation[dict[str, Any]]:
        """Request a model's file in parts. Begin again if the daemon has forgotten the export."""
        check_model(model)
        tries = TRIES
        while True:
            try:
                return (yield from self._export(model, file))
            except UnknownTransfer:
                tries -= 1
                if not tries:
                    raise

    def _export(self, model: str, file: ExportFile) -> Operation[dict[str, Any]]:
        file.begin()
        reply = yield Call(Request("export", None, model, {}), True, COPY_SECONDS, True)
        size, offset = reply.ok["bytes"], 0
        while True:
            content = reply.arrays["content"]
            file.write(content.data)
            offset += len(content)
            if offset >= size:
                break
            fields = {"export": reply.ok["export"], "offset": offset}
            reply = yield Call(Request("export", None, model, fields), own_timeout=True)
        found, expected = file.sha256, reply.ok["sha256"]
        if found != expected:
            raise BadCheckpoint(
                f"the export of {model!r} arrived with the SHA-256 {found}, not {expected}: export it again",
                model=model,
            )
        facts = ("model", "kind", "lsn", "samples", "bytes", "sha256")
        return {name: reply.ok[name] for name in facts}

    def clone(self, model: str, into: str) -> Operation[dict[str, Any]]:
        """Create a model with the state of another one. It knows no batches of this client."""
        self._begin_epoch(check_model(into))
        request = Request("clone", None, check_model(model), {"into": into})
        ok = (yield Call(request, False, COPY_SECONDS)).ok
        self._begin_epoch(into)
        return ok

    def label(
        self, model: str, label: str | None, unit: Any, sample: Any, x: Any, key: str | None = None
    ) -> Operation[dict[str, Any]]:
        """Give a label to a unit, to a sample with an id, or to the values of a sample."""
        check_model(model)
        fields: dict[str, Any] = {} if label is None else {"label": label}
        if unit is not None:
            fields["unit"] = as_whole_number(unit, "unit")
        if sample is not None:
            fields["key"] = as_identifier(sample, "sample")
        values, channels = (None, None) if x is None else named_columns(x)
        rows = None if values is None else as_samples(np.reshape(values, (1, -1)))
        request = Request("label", None, model, fields, rows, channels=channels)
        return (yield from self._change(request, key))

    def codes_of(self, model: str, y: Any) -> Operation[Any]:
        """Return targets with the classes of names of labels; other targets as they are."""
        if not has_names(y):
            return y
        names: list[str] = (yield from self.request("describe", model)).get("label_names") or []
        return label_codes(model, names, y)


def _kind(kind: str | None, source: Source | None) -> str:
    """Return the kind of the model, given or that of the file."""
    found = None if source is None else source.kind
    if kind is None and found is None:
        raise _bad_spec("the kind of the model is missing, for example kind='som'")
    if kind is not None and found is not None and kind != found:
        raise _bad_spec(f"the file has a model of the kind {found!r}, not {kind!r}")
    return str(kind or found)


def _bad_spec(message: str) -> BadSpec:
    return BadSpec(message, errors=[{"field": "kind", "message": message}])


def check_header(request: Request, limits: Limits) -> None:
    """Raise ``TooLarge`` if the header of ``request`` exceeds the daemon's limit."""
    size, limit = len(encode_request(request)[0]), limits.control_header_bytes
    if size > limit:
        raise TooLarge(
            f"the parameters take {size} bytes and may take {limit}; use fewer initial weights, or let"
            " the first samples set them, for example with init='samples'",
            bytes=size,
            limit="limits.control_header_bytes",
            most=limit,
        )
