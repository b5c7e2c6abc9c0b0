"""Errors as problem documents (RFC 9457), with the codes of the protocol."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any, Final

from fastapi import Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException

from streamlearn.errors import BadMessage, Internal, StreamlearnError, TooLarge
from streamlearn.gateway.answers import JsonLine
from streamlearn.gateway.state import gateway_of
from streamlearn.json_values import to_json

MEDIA_TYPE: Final = "application/problem+json"

STATUS: Final = {
    "UNAUTHORIZED": HTTPStatus.UNAUTHORIZED,
    "FORBIDDEN": HTTPStatus.FORBIDDEN,
    "UNKNOWN_MODEL": HTTPStatus.NOT_FOUND,
    "UNKNOWN_OP": HTTPStatus.NOT_FOUND,
    "NO_CHECKPOINT": HTTPStatus.NOT_FOUND,
    "MODEL_EXISTS": HTTPStatus.CONFLICT,
    "CHECKPOINT_EXISTS": HTTPStatus.CONFLICT,
    "CONFLICT": HTTPStatus.CONFLICT,
    "GAP": HTTPStatus.CONFLICT,
    "FENCED": HTTPStatus.CONFLICT,
    "UNKNOWN_PRODUCER": HTTPStatus.CONFLICT,
    "QUARANTINED": HTTPStatus.LOCKED,
    "TOO_LARGE": HTTPStatus.REQUEST_ENTITY_TOO_LARGE,
    "UNSUPPORTED_MEDIA_TYPE": HTTPStatus.UNSUPPORTED_MEDIA_TYPE,
    "BUSY": HTTPStatus.SERVICE_UNAVAILABLE,
    "SHUTTING_DOWN": HTTPStatus.SERVICE_UNAVAILABLE,
    "DISK_FULL": HTTPStatus.INSUFFICIENT_STORAGE,
    "NO_ANSWER": HTTPStatus.GATEWAY_TIMEOUT,
    "PROTOCOL_ERROR": HTTPStatus.BAD_GATEWAY,
    "UNRECOGNISED": HTTPStatus.BAD_GATEWAY,
    "INTERNAL": HTTPStatus.INTERNAL_SERVER_ERROR,
}
"""The status of each code; of all others 400."""

RETRY_SECONDS: Final = 1


class UnsupportedMediaType(StreamlearnError):
    """The gateway does not read this type of content."""

    code = "UNSUPPORTED_MEDIA_TYPE"


def problem(error: StreamlearnError) -> JsonLine:
    """Return the problem document of an error."""
    status = STATUS.get(error.code, HTTPStatus.BAD_REQUEST)
    notes = "".join(f" ({note})" for note in getattr(error, "__notes__", ()))
    document: dict[str, Any] = {
        "type": f"urn:streamlearn:error:{error.code}",
        "title": status.phrase,
        "status": status.value,
        "detail": f"{error.message}{notes}",
        "code": error.code,
        "retryable": error.retryable,
        "in_doubt": error.in_doubt,
        "facts": to_json(error.detail),
    }
    headers = {}
    if error.retryable:
        headers["Retry-After"] = str(RETRY_SECONDS)
    if status == HTTPStatus.UNAUTHORIZED:
        headers["WWW-Authenticate"] = 'Bearer realm="streamlearn"'
    return JsonLine(document, status.value, headers, MEDIA_TYPE)


async def on_error(_: Request, error: Exception) -> JsonLine:
    """Answer an error of streamlearn."""
    assert isinstance(error, StreamlearnError)
    return problem(error)


async def on_http_error(request: Request, error: Exception) -> JsonLine:
    """Answer an error of the framework: a large body, an unknown path, a method that a path does not have."""
    assert isinstance(error, HTTPException)
    if error.status_code == HTTPStatus.REQUEST_ENTITY_TOO_LARGE:
        most = gateway_of(request).settings.limits.body_bytes
        return problem(
            TooLarge(
                f"the body is larger than {most} bytes; send it in parts, or raise --body-bytes",
                limit="body_bytes",
                most=most,
            )
        )
    if error.status_code == HTTPStatus.BAD_REQUEST:
        return problem(BadMessage("the body is not JSON: it is not UTF-8 text, or its lists are too deep"))
    document = {
        "type": "about:blank",
        "title": HTTPStatus(error.status_code).phrase,
        "status": error.status_code,
        "detail": f"{error.detail}: GET /openapi.json lists all paths and methods",
    }
    return JsonLine(document, error.status_code, error.headers, MEDIA_TYPE)


async def on_fault(_: Request, error: Exception) -> JsonLine:
    """Answer a fault of the gateway itself. The log has its traceback."""
    return problem(Internal(f"a fault of the gateway, {type(error).__name__}: its log has more"))


async def on_invalid(request: Request, error: Exception) -> JsonLine:
    """Answer a request whose parameters or JSON do not have the documented form."""
    assert isinstance(error, RequestValidationError)
    found = error.errors()
    for fault in found:
        if fault["type"] == "json_invalid":
            return problem(
                BadMessage(f"the body is not JSON: {fault['ctx']['error']} at byte {fault['loc'][1]}")
            )
        if fault["type"] in _NO_OBJECT and fault["loc"] == ("body",) and isinstance(fault["input"], bytes):
            given = request.headers.get("content-type", "absent")
            return problem(
                UnsupportedMediaType(
                    f"the Content-Type is {given}; this body is read as application/json: curl needs"
                    " -H 'Content-Type: application/json'"
                )
            )
    faults = [
        {"field": ".".join(str(part) for part in fault["loc"][1:]), "message": _words(fault)}
        for fault in found
    ]
    listed = "; ".join(f"{fault['field'] or 'the body'}: {fault['message']}" for fault in faults)
    document = {
        "type": "urn:streamlearn:error:BAD_VALUE",
        "title": HTTPStatus.BAD_REQUEST.phrase,
        "status": HTTPStatus.BAD_REQUEST.value,
        "detail": listed,
        "code": "BAD_VALUE",
        "retryable": False,
        "in_doubt": False,
        "facts": {"errors": faults},
    }
    return JsonLine(document, HTTPStatus.BAD_REQUEST.value, media_type=MEDIA_TYPE)


_NO_OBJECT: Final = ("model_attributes_type", "model_type", "dict_type")
_WORDS: Final = {
    "missing": "is missing",
    "extra_forbidden": "is unknown here; a parameter of a model is a member of spec",
    **dict.fromkeys(_NO_OBJECT, "a JSON object was expected"),
}
"""Our words for some types of errors of pydantic."""


def _words(fault: dict[str, Any]) -> str:
    return _WORDS.get(fault["type"], str(fault["msg"]))
