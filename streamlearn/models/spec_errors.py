"""A spec that is wrong: all its mistakes at once, in the words of somebody who wrote parameters."""

from __future__ import annotations

import dataclasses
import difflib
from collections.abc import Sequence

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from ..errors import BadSpec
from .stream.schedules import Decay

_UNKNOWN = {"extra_forbidden", "unexpected_keyword_argument"}
_OF_A_DECAY = [each.name for each in dataclasses.fields(Decay)]


def bad_spec(kind: str, spec: type[BaseModel], error: ValidationError) -> BadSpec:
    """Return the error for all that pydantic found wrong with parameters of ``spec``."""
    errors, told = [], []
    for each in error.errors(include_url=False, include_input=False, include_context=False):
        field = ".".join(map(str, _place(spec, each))) or "spec"
        message = _message(spec, each, field)
        speaks_for_itself = field == "spec" or each["type"] in {"missing", *_UNKNOWN}
        errors.append({"field": field, "message": message})
        told.append(message if speaks_for_itself else f"{field}: {message}")
    return BadSpec(f"this is no spec of a {kind}: {'; '.join(told)}", errors=errors)


def _place(spec: type[BaseModel], each: ErrorDetails) -> list[int | str]:
    """Where the mistake is, without what pydantic calls the alternatives of a type."""
    written = {*spec.model_fields, *_OF_A_DECAY}
    place: list[int | str] = [part for part in each["loc"] if isinstance(part, int) or part in written]
    return [*place, each["loc"][-1]] if each["type"] in _UNKNOWN else place


def _message(spec: type[BaseModel], each: ErrorDetails, field: str) -> str:
    if each["type"] == "missing":
        return f"{field} is missing"
    if each["type"] in _UNKNOWN:
        return _unknown(field, list(spec.model_fields) if len(each["loc"]) == 1 else _OF_A_DECAY)
    return each["msg"].removeprefix("Value error, ")


def _unknown(field: str, known: Sequence[str]) -> str:
    within, _, name = field.rpartition(".")
    of = f" of {within}" if within else ""
    near = difflib.get_close_matches(name, known, n=1)
    hint = f" ({near[0]}?)" if near else ""
    return f"there is no parameter {name!r}{of}{hint}; there are: {', '.join(known)}"
