"""Topic patterns with named parts, and the texts that are made from these parts.

``plant/{line}/pump/{pump}/vibration`` matches the topics with any line and pump. ``{name}`` is one level,
``{name...}`` at the end is all further levels. ``+`` and ``#`` match as in MQTT and have no name.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Final

NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_PART: Final = re.compile(rf"\{{({NAME})\}}")
_LEVEL: Final = re.compile(rf"\{{({NAME})(\.\.\.)?\}}")


class Pattern:
    """A topic pattern.

    Parameters
    ----------
    text
        The pattern.

    Raises
    ------
    ValueError
        If the text is not a pattern.
    """

    def __init__(self, text: str) -> None:
        self.text = text
        levels = text.split("/")
        filters, expressions, names = [], [], []
        for position, level in enumerate(levels):
            last = position == len(levels) - 1
            found = _LEVEL.fullmatch(level)
            if found and (not found[2] or last):
                names.append(found[1])
                filters.append("#" if found[2] else "+")
                expressions.append(f"(?P<{found[1]}>{'.+' if found[2] else '[^/]+'})")
            elif level == "+":
                filters.append("+")
                expressions.append("[^/]*")
            elif level == "#" and last:
                filters.append("#")
                expressions.append(".*")
            elif re.search(r"[+#{}\0]", level):
                raise ValueError(
                    f"the level {level!r} of the topic {text!r} is not valid: use a text, {{name}}, + or, at"
                    " the end, # or {name...}"
                )
            else:
                filters.append(level)
                expressions.append(re.escape(level))
        if not text:
            raise ValueError("the topic is empty; expected a pattern such as plant/{line}/pump/{pump}")
        if len(set(names)) < len(names):
            raise ValueError(f"the topic {text!r} has one name twice")
        self.names = frozenset(names)
        self.filter = "/".join(filters)
        """The filter of a subscription in MQTT."""
        if levels[-1] == "#":  # `a/#` matches `a` too
            expressions[-2:] = [f"{''.join(expressions[-2:-1])}(?:/.*)?"] if len(levels) > 1 else [".*"]
        self._expression = re.compile("/".join(expressions), re.DOTALL)
        self._reserved = not text.startswith("$")

    def match(self, topic: str) -> dict[str, str] | None:
        """Return the named parts of a topic; ``None`` if it does not match."""
        if self._reserved and topic.startswith("$"):  # + and # do not match topics of the broker
            return None
        found = self._expression.fullmatch(topic)
        return None if found is None else found.groupdict()


def check_parts(text: str, names: Iterable[str]) -> str:
    """Return a text with parts. Raise ``ValueError`` if it uses a part that the topic does not have."""
    known = sorted(names)
    for used in _PART.findall(text):
        if used not in known:
            expected = f"it has {', '.join(known)}" if known else "it has no named parts"
            raise ValueError(f"{text!r} uses {{{used}}}, which is no part of the topic; {expected}")
    if "{" in _PART.sub("", text) or "}" in _PART.sub("", text):
        raise ValueError(f"{text!r} has a brace that belongs to no {{name}}")
    return text


def fill(text: str, parts: Mapping[str, str]) -> str:
    """Return a text with its parts replaced."""
    return _PART.sub(lambda found: parts[found[1]], text) if "{" in text else text


def model_name(text: str, parts: Mapping[str, str]) -> str:
    """Return the name of a model: other characters than letters, digits and ``_ . -`` become ``_``."""
    if "{" not in text:
        return text
    return fill(text, {name: re.sub(r"[^A-Za-z0-9_.-]", "_", part) for name, part in parts.items()})


def made_from(text: str) -> re.Pattern[str]:
    """Return an expression for the names that `model_name` makes from a text."""
    pieces = re.split(rf"\{{{NAME}\}}", text)
    return re.compile("[A-Za-z0-9_.-]+".join(re.escape(piece) for piece in pieces))
