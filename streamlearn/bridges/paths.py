"""Paths into JSON: ``values.rms``, ``samples[0].x``; ``.`` is the whole value."""

from __future__ import annotations

import re
from typing import Any, Final

MISSING: Final = object()
"""What `Path.find` returns if the value has nothing at the path."""

_STEP = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


class Path:
    """A path. Raises ``ValueError`` for a text that is none."""

    __slots__ = ("_steps", "text")

    def __init__(self, text: str) -> None:
        self.text = text
        self._steps: list[str | int] = []
        rest = "" if text == "." else text
        while rest:
            found = _STEP.match(rest)
            if found is None:
                raise ValueError(
                    f"{text!r} is not a path; expected names and numbers such as values.rms or a[0].x"
                )
            self._steps.append(found[1] if found[2] is None else int(found[2]))
            rest = rest[found.end() :]
            if rest.startswith(".") and len(rest) > 1:
                rest = rest[1:]
        if not self._steps and text != ".":
            raise ValueError("a path is empty; use . for the whole value")

    def find(self, value: Any) -> Any:
        """Return what is at the path, or `MISSING`. A name with dots is found as one name too."""
        if isinstance(value, dict) and self.text in value:
            return value[self.text]
        for step in self._steps:
            if isinstance(step, str) and isinstance(value, dict):
                value = value.get(step, MISSING)
            elif isinstance(step, int) and isinstance(value, list) and step < len(value):
                value = value[step]
            else:
                return MISSING
        return value
