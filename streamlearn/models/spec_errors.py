"""Error messages for an invalid spec. One message lists all errors, by parameter name."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..errors import BadSpec
from ..spelling import hint
from .stream.alarm_spec import Alarm
from .stream.features import Features
from .stream.schedules import Decay

_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
_DECAY_FIELDS = [field.name for field in dataclasses.fields(Decay)]
_ALARM_FIELDS = [field.name.rstrip("_") for field in dataclasses.fields(Alarm)]
_FEATURE_FIELDS = [field.name for field in dataclasses.fields(Features)]


def bad_spec(kind: str, spec: type[BaseModel], error: ValidationError) -> BadSpec:
    """Convert pydantic's errors about parameters of ``spec`` to a ``BadSpec``."""
    errors, messages = [], []
    for details in error.errors(include_url=False, include_input=False, include_context=False):
        field = ".".join(map(str, _path(spec, details))) or "spec"
        message = _message(spec, details, field)
        names_field = field == "spec" or details["type"] in {"missing", *_UNKNOWN}
        errors.append({"field": field, "message": message})
        messages.append(message if names_field else f"{field}: {message}")
    return BadSpec(f"invalid spec of a {kind}: {'; '.join(messages)}", errors=errors)


def _path(spec: type[BaseModel], details: ErrorDetails) -> list[int | str]:
    """Path of the error, without pydantic's names for the alternatives of a union type."""
    names = {*spec.model_fields, *_DECAY_FIELDS, *_ALARM_FIELDS, *_FEATURE_FIELDS}
    unknown = details["loc"][-1:] if details["type"] in _UNKNOWN else ()
    known = details["loc"][: len(details["loc"]) - len(unknown)]
    return [*(part for part in known if isinstance(part, int) or part in names), *unknown]


def _message(spec: type[BaseModel], details: ErrorDetails, field: str) -> str:
    if details["type"] == "missing":
        return f"{field} is missing"
    if details["type"] in _UNKNOWN:
        return _unknown(field, _known(spec, details))
    if details["type"] == "tuple_type":
        return "Input should be a list; on the command line, values with commas between them"
    return details["msg"].removeprefix("Value error, ")


def _known(spec: type[BaseModel], details: ErrorDetails) -> list[str]:
    """Return the names that are known where an unknown one was found."""
    if len(details["loc"]) == 1:
        return list(spec.model_fields)
    nested = {"alarm": _ALARM_FIELDS, "features": _FEATURE_FIELDS}
    return nested.get(str(details["loc"][0]), _DECAY_FIELDS)


def _unknown(field: str, known: Sequence[str]) -> str:
    parent, _, name = field.rpartition(".")
    of_parent = f" of {parent}" if parent else ""
    question = hint(name, known)
    return f"unknown parameter {name!r}{of_parent}{question and f' ({question})'}; known: {', '.join(known)}"
