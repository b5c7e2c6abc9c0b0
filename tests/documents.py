"""The Python examples of a document, to be run."""

from __future__ import annotations

import re
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]


class Example(NamedTuple):
    name: str  # README.md:17
    source: str

    @property
    def needs_a_daemon(self) -> bool:
        return "Client(" in self.source

    def run(self, names: dict[str, Any]) -> None:
        """In the namespace ``names``; a traceback shows the document's own lines."""
        page, _, line = self.name.partition(":")
        code: CodeType = compile("\n" * int(line) + self.source, str(ROOT / page), "exec")
        exec(code, names)  # noqa: S102


def examples(page: str) -> list[Example]:
    """In the order of the page, which is the order in which they are read."""
    text = (ROOT / page).read_text()
    found = re.finditer(r"^```python\n(.*?)^```", text, re.MULTILINE | re.DOTALL)
    return [Example(f"{page}:{text.count(chr(10), 0, each.start()) + 1}", each[1]) for each in found]
