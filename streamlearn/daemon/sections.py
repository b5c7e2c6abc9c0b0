"""Sections of settings: frozen dataclasses whose values are converted and checked, with all mistakes at once.

Pydantic, which checks the specs of models, does this too. But importing it takes longer than all else of the
start of a daemon without models.
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from contextlib import suppress
from functools import cache
from pathlib import Path
from typing import Any, Literal, TypeVar, get_args, get_origin, get_type_hints

from streamlearn.spelling import hint

Check = Callable[[Any], object]
Mistakes = dict[str, str]  # by setting, as in `checkpoints.seconds`; "" for the section itself
S = TypeVar("S", bound="Section")

_TRUTH = {
    "1": True,
    "true": True,
    "yes": True,
    "on": True,
    "0": False,
    "false": False,
    "no": False,
    "off": False,
}


class Invalid(ValueError):
    """All mistakes in a section."""

    def __init__(self, mistakes: Mistakes) -> None:
        super().__init__(
            "; ".join(f"{name}: {message}" if name else message for name, message in mistakes.items())
        )
        self.mistakes = mistakes


class Section:
    """A table of the settings file. Subclasses are frozen dataclasses.

    The constructor converts the values to the types of the fields and checks them. Raises `Invalid`.
    """

    def __post_init__(self) -> None:
        mistakes: Mistakes = {}
        for field in dataclasses.fields(self):  # type: ignore[arg-type] # subclasses are dataclasses
            try:
                value = _converted(getattr(self, field.name), kinds(type(self))[field.name])
                field.metadata.get("check", bool)(value)
                object.__setattr__(self, field.name, value)
            except ValueError as error:
                mistakes |= _below(field.name, error)
        if not mistakes:
            try:
                self.check()
            except ValueError as error:
                mistakes |= _below("", error)
        if mistakes:
            raise Invalid(mistakes)

    def check(self) -> None:
        """Raise `ValueError` if valid values contradict each other."""


def setting(default: Any, check: Check) -> Any:
    """Return a field with a check, which raises `ValueError`."""
    return dataclasses.field(default=default, metadata={"check": check})


def kinds(section: Any) -> dict[str, Any]:
    """Return the type of each setting of a section, by name."""
    return _kinds(section)


_kinds = cache(get_type_hints)


def is_section(kind: Any) -> bool:
    """Whether the type of a setting is a section."""
    return isinstance(kind, type) and issubclass(kind, Section)


def read(section: type[S], values: Mapping[str, Any]) -> S:
    """Return a section with the values of a file. Raises `Invalid`, also for an unknown name."""
    known = kinds(section)
    listed = f"known settings: {', '.join(known)}"
    unknown = values.keys() - known.keys()
    mistakes: Mistakes = {name: f"unknown setting ({hint(name, known, listed)})" for name in unknown}
    try:
        result = section(**{name: value for name, value in values.items() if name in known})
    except Invalid as error:
        raise Invalid(mistakes | error.mistakes) from None
    if mistakes:
        raise Invalid(mistakes)
    return result


def at_least(least: int, most: float = math.inf) -> Check:
    """Check that a number is `least` or more, and `most` or less."""

    def check(value: float) -> None:
        if not least <= value <= most:
            limits = f"at least {least}" if math.isinf(most) else f"a number from {least} to {most}"
            raise ValueError(f"expected {limits}, not {value!r}")

    return check


def positive(value: float) -> None:
    """Check that a number is above 0 and finite."""
    if not 0 < value < math.inf:
        raise ValueError(f"expected a number above 0, not {value!r}")


def _below(name: str, error: ValueError) -> Mistakes:
    """Return the mistakes of the setting `name`."""
    if not isinstance(error, Invalid):
        return {name: str(error)}
    return {".".join(filter(None, (name, inner))): message for inner, message in error.mistakes.items()}


def _converted(value: Any, kind: Any) -> Any:
    """Return the value of a file, of an option or of an environment variable as one of type `kind`."""
    if get_origin(kind) is Literal:
        if value not in get_args(kind):
            raise ValueError(f"expected one of {', '.join(map(repr, get_args(kind)))}, not {value!r}")
        return value
    if get_origin(kind) is tuple:
        if not isinstance(value, (list, tuple)):
            raise ValueError(f"expected a list, not {value!r}")
        return _all_converted(value, get_args(kind)[0])
    if is_section(kind):
        if isinstance(value, Mapping):
            return read(kind, value)
        if not isinstance(value, kind):
            raise ValueError(f"expected a section, not {value!r}")
        return value
    return _SIMPLE[get_origin(kind) or kind](value)


def _all_converted(values: list[Any] | tuple[Any, ...], kind: Any) -> tuple[Any, ...]:
    found, mistakes = [], Mistakes()
    for index, value in enumerate(values):
        try:
            found.append(_converted(value, kind))
        except ValueError as error:
            mistakes |= _below(str(index), error)
    if mistakes:
        raise Invalid(mistakes)
    return tuple(found)


def _truth(value: Any) -> bool:
    found = value if isinstance(value, bool) else _TRUTH.get(str(value).lower())
    if found is None:
        raise ValueError(f"expected true or false, not {value!r}")
    return found


def _integer(value: Any) -> int:
    with suppress(ValueError, TypeError, OverflowError):
        whole = int(value)
        if not isinstance(value, bool) and (isinstance(value, str) or whole == value):
            return whole
    raise ValueError(f"expected a whole number, not {value!r}")


def _number(value: Any) -> float:
    with suppress(ValueError, TypeError, OverflowError):
        if not isinstance(value, bool):
            return float(value)
    raise ValueError(f"expected a number, not {value!r}")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError(f"expected a text, not {value!r}")
    return value


def _path(value: Any) -> Path:
    if not isinstance(value, (str, Path)):
        raise ValueError(f"expected a path, not {value!r}")
    if value == "":  # would be the working directory
        raise ValueError("is empty; expected the path of a directory")
    return Path(value)


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, Mapping):
        raise ValueError(f"expected a table, not {value!r}")
    return dict(value)


_SIMPLE: dict[Any, Callable[[Any], Any]] = {
    bool: _truth,
    int: _integer,
    float: _number,
    str: _text,
    Path: _path,
    dict: _table,
}
