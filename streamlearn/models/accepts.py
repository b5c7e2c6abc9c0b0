"""What the field of a spec accepts, for its signature."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Accepts:
    """Metadata of a field that accepts more or less than its own type.

    ``text`` is the type of the argument as source text, ``shown`` the same for a reader, if that differs.
    """

    text: str
    shown: str = ""
