"""The parts of the documents that are written from measurements.

A block begins with ``<!-- KIND: NAME -->`` and ends with ``<!-- KIND end -->``.
"""

from __future__ import annotations

import re
from collections.abc import Callable


def names(page: str, kind: str) -> list[str]:
    """Return the names of the blocks of a page. Raises `ValueError` if a block has no end."""
    found = re.findall(rf"<!-- {kind}(?:: ([\w-]+)| end) -->", page)
    begins, ends = found[::2], found[1::2]
    if len(begins) != len(ends) or not all(begins) or any(ends):
        raise ValueError(f"each <!-- {kind}: NAME --> needs a line <!-- {kind} end --> after its text")
    return begins


def rewrite(page: str, kind: str, text_of: Callable[[str], str]) -> str:
    """Return a page with the text of each block replaced by ``text_of(name)``."""
    names(page, kind)
    block = re.compile(rf"(?<=<!-- {kind}: )([\w-]+) -->\n.*?(?=<!-- {kind} end -->)", re.DOTALL)
    return block.sub(lambda found: f"{found[1]} -->\n{text_of(found[1])}", page)
