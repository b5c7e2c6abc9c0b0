"""The code blocks of the documents, and how a test runs them.

Every fenced block of a page has one of these languages, or a comment ``<!-- not run: reason -->`` before it:

``python``   runs in the page's namespace, in the order of the page
``console``  each line that begins with ``$`` is a command; the lines after it are its output
``output``   is the standard output of the ``python`` block before it
``toml``     is a configuration file that `streamlearn serve` accepts
``text``     is prose: a formula, a listing, a diagram

Parts of an output that differ from run to run are masked before they are compared (`masked`). A line of the
page that is ``…`` stands for any number of lines.
"""

from __future__ import annotations

import re
from pathlib import Path
from types import CodeType
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", *sorted(str(path.relative_to(ROOT)) for path in ROOT.glob("docs/**/*.md"))]
PAGES = [page for page in PAGES if not page.startswith("docs/_build/")]
LANGUAGES = {"python", "console", "output", "toml", "text"}

FENCE = re.compile(
    r"^(?P<mark><!-- not run: .+ -->\n\n?)?```(?P<language>[\w{}-]*).*\n(?P<source>(?:.*\n)*?)```$",
    re.MULTILINE,
)
MASKS = [
    (r"(?:tcp|ipc)://[^\s\"',;]+", "ENDPOINT"),
    (r"\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:\.\d+)?Z?(?:[+-]\d\d:?\d\d)?", "TIME"),
    (r"\b\d\d:\d\d:\d\d\b", "TIME"),
    (r"\b\d[\d,.]* samples/s", "RATE"),
    (r"\b\d[\d,.]* (?:ns|µs|ms|s|min|h|seconds?|minutes?)\b(?: ago)?", "DURATION"),
    # How many batches of a push become one record depends on the time. So do lsns, also in tables.
    (r"\blsn \d+", "LSN"),
    (r"\bundo-\d+", "undo-LSN"),
    (r'"(?:time|complete_since)": ?\d{19}', '"time":TIME'),
    (r'"(?:age_seconds|bytes)": ?[\d.]+', '"SIZE":SIZE'),
    (r"(?m)^ +\d+ +(?=\S+ +yes\b)", "LSN "),
    (r"(?m)^( \S+ +som +\d+ +[\d,]+ +)\d+ +(on|off|paused) *$", r"\1LSN \2"),
    (r" {2,}", "  "),
    (r"─+", "─"),
    (r"\b\d[\d,.]* (?:B|KiB|MiB)\b", "SIZE"),
    (r"(?:/[\w.-]+)*/streamlearn-data\b", "DATA_DIR"),
]


class Example(NamedTuple):
    """One fenced block: ``name`` is its page and line (``README.md:17``)."""

    name: str
    language: str
    source: str
    runs: bool = True

    @property
    def needs_a_daemon(self) -> bool:
        return (
            self.language in ("console", "output") or "Client(" in self.source or ".connect(" in self.source
        )

    def run(self, names: dict[str, Any]) -> None:
        """Run a ``python`` block in the namespace ``names``; a traceback shows the lines of the document."""
        page, _, line = self.name.partition(":")
        code: CodeType = compile("\n" * int(line) + self.source, str(ROOT / page), "exec")
        exec(code, names)  # noqa: S102

    def commands(self) -> list[tuple[str, str]]:
        """Return (command, output) pairs of a ``console`` block."""
        found: list[tuple[str, str]] = []
        for line in self.source.splitlines(keepends=True):
            if line.startswith("$ "):
                found.append((line, ""))
            elif found[-1][0].endswith("\\\n") or (line.startswith("> ") and not found[-1][1]):
                found[-1] = (found[-1][0] + line, "")
            else:
                found[-1] = (found[-1][0], found[-1][1] + line)
        return found


def blocks(page: str) -> list[Example]:
    """Return all code blocks of a page, in order. Directives (```{note}) are not code."""
    text = (ROOT / page).read_text()
    return [
        Example(
            name=f"{page}:{text.count(chr(10), 0, match.start('source'))}",
            language=match["language"],
            source=match["source"],
            runs=match["mark"] is None,
        )
        for match in FENCE.finditer(text)
        if not match["language"].startswith("{")
    ]


def examples(page: str) -> list[Example]:
    """Return the ``python`` blocks of a page that run, in order."""
    return [block for block in blocks(page) if block.language == "python" and block.runs]


def needs_a_daemon(page: str) -> bool:
    return any(block.needs_a_daemon for block in blocks(page) if block.runs)


def masked(text: str) -> list[str]:
    """Return the lines of an output. Mask parts that differ between runs; strip blanks at line ends."""
    for pattern, name in MASKS:
        text = re.sub(pattern, name, text)
    return [re.sub(r"[─━]{4,}|  +", "  ", line).rstrip() for line in text.splitlines() if line.strip()]


def matches(documented: str, actual: str) -> bool:
    """Return whether the outputs are equal. A line ``…`` of ``documented`` matches any lines."""
    pattern = "".join(
        r"(?:.*\n)*?" if line == "…" else re.escape(line).replace("…", ".*") + r"\n"
        for line in masked(documented)
    )
    return re.fullmatch(pattern, "".join(f"{line}\n" for line in masked(actual))) is not None
