"""Values of options and arguments, converted without pydantic.

Typer converts every value with a pydantic adapter, also the default of an option that is not given. Importing
pydantic takes as long as all else of most commands. Here a usual value is converted directly. Typer converts
all others, and reports what is wrong with them.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import typer


class _NotUsual(Exception):
    """The value is for Typer."""


class DirectValues:
    """A command of Typer whose parameters convert usual values directly."""

    def get_params(self, ctx: Any) -> list[Any]:
        """Return the parameters, also those that Typer adds."""
        parameters: list[Any] = super().get_params(ctx)  # type: ignore[misc] # of the command
        for parameter in parameters:
            if not isinstance(parameter.get_runtime_param, _Converter):
                parameter.get_runtime_param = _Converter(parameter)
        return parameters


class _Converter:
    """What Typer calls its runtime parameter, and the method that returns it."""

    def __init__(self, parameter: Any) -> None:
        self._by_typer = parameter.get_runtime_param

    def __call__(self) -> _Converter:
        return self

    def coerce(self, value: Any, param: Any, ctx: typer.Context) -> Any:
        """Convert a value: a text of the command line or of the environment, or the default."""
        described = param.type_descriptor
        if value is None:
            return () if param.multiple or param.nargs == -1 else None
        try:
            return _converted(value, described.annotation, described.parameter_info)
        except (_NotUsual, ValueError, TypeError):
            return self._by_typer().coerce(value, param=param, ctx=ctx)


def _converted(value: Any, kind: Any, info: Any) -> Any:
    if get_origin(kind) is list and isinstance(value, (list, tuple)):
        return [_converted(each, get_args(kind)[0], info) for each in value]
    if info.parser is not None:
        return info.parser(value)
    if get_origin(kind) is Literal and value in get_args(kind):
        return value
    if kind is str and isinstance(value, str):
        return value
    if kind is Path and isinstance(value, (str, Path)) and not _is_checked(value, info):
        return Path(value)
    if kind in (int, float) and isinstance(value, (str, kind)) and _is_within(kind(value), info):
        return kind(value)
    raise _NotUsual


def _is_within(number: float, info: Any) -> bool:
    return (info.min is None or info.min <= number) and (info.max is None or number <= info.max)


def _is_checked(path: str | Path, info: Any) -> bool:
    """Whether Typer may refuse or change a path."""
    return info.exists or info.resolve_path or (os.path.exists(path) and not os.access(path, os.R_OK))
