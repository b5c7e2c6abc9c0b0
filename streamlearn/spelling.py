"""A hint for a name that nothing has: the known one that looks like it."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def hint(name: str, known: Iterable[str], otherwise: str = "", *, cutoff: float = 0.6) -> str:
    """Return the question whether a known name was meant; ``otherwise`` if none is similar.

    ``cutoff`` is the least similarity, from 0 to 1, as `difflib.SequenceMatcher.ratio` has it.
    """
    similar = difflib.get_close_matches(name, sorted(known), n=1, cutoff=cutoff)
    return f"did you mean {similar[0]}?" if similar else otherwise
