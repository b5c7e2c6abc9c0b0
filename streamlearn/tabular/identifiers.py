"""Keys and ids in the text of a table."""

from __future__ import annotations

_INT64 = range(-(2**63), 2**63)


def parse_identifier(text: str) -> int | str:
    """Parse a canonical 64-bit integer as a number and any other text as a name (``007`` is a name)."""
    try:
        number = int(text)
    except ValueError:
        return text
    return number if str(number) == text and number in _INT64 else text
