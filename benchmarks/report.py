"""Write the results of a run into the documents.

    python -m benchmarks --json docs/data/bench.json
    python -m benchmarks.report

It rewrites the tables between ``<!-- bench: NAME -->`` and ``<!-- bench end -->`` in the pages, and draws the
figures. ``docs/data/bench-before.json`` has the results of the same benchmarks with an earlier commit.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

from .blocks import rewrite
from .results import number, quantity

ROOT = Path(__file__).parents[1]
NOW, BEFORE = ROOT / "docs/data/bench.json", ROOT / "docs/data/bench-before.json"
PAGES = ("README.md", "docs/how/speed.md")
FIGURES = ("scaling", "speedup")
KIND = "bench"

README_ROWS = (
    ("som", "SOM 10×10×8, learn", "MiniSom"),
    ("som", "SOM 32×32×64, learn", "MiniSom"),
    ("competitive", "competitive 16×8, hard, learn", "river KMeans"),
    ("recurrent", "LSTM 8 → 32, TBPTT(20, 20), learn", "PyTorch, 1 thread"),
    ("recurrent", "LSTM 32 → 256, TBPTT(32, 32), learn", "PyTorch, 1 thread"),
    ("recurrent", "GRU 8 → 32, TBPTT(20, 20), learn", "PyTorch, 1 thread"),
    ("steps", "LSTM 8 → 32, TBPTT(1, 20), learn", "deep-river"),
    ("steps", "LSTM 8 → 32, forecast after every sample", "ONNX Runtime, 1 thread"),
    ("daemon", "SOM 20×20×16, durable batches of 256, CPU of the loop", "in-process"),
    ("daemon", "single samples of 8, firehose", "bare PUSH → PULL"),
    ("daemon", "single samples of 8, requests, window of 1,024, durable", "bare DEALER → ROUTER, echoed"),
    ("queries", "predict of 1 sample, idle, p50", "bare echo"),
    ("queries", "predict of 1 sample, full firehose, p99", "bare echo"),
    ("start", "warm start", "Python with the libraries alone"),
    ("start", "warm start with a map", "Python with the libraries alone"),
)

HEAD = ("measurement", "compared with", "streamlearn", "other", "ratio", "before", "quality", "of the limit")

Row = dict[str, Any]


class Results(NamedTuple):
    """The results of this commit and of the earlier one."""

    now: dict[str, Any]
    before: dict[str, Any]

    def rows(self, *suites: str) -> list[Row]:
        return [row for suite in suites for row in self.now["suites"][suite]]

    def row(self, suite: str, name: str, peer: str) -> Row:
        found = [row for row in self.rows(suite) if (row["name"], row.get("peer", "")) == (name, peer)]
        if len(found) != 1:
            raise LookupError(f"{len(found)} rows {name!r} against {peer!r} in suite {suite!r}; expected one")
        return found[0]

    def earlier(self, row: Row) -> Row | None:
        """The same row of the earlier commit."""
        key = row["name"], row.get("peer"), row.get("at")
        for rows in self.before["suites"].values():
            for each in rows:
                if (each["name"], each.get("peer"), each.get("at")) == key:
                    return each
        return None


def load() -> Results:
    return Results(*(json.loads(file.read_text()) for file in (NOW, BEFORE)))


def table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    """Return a Markdown table."""
    lines = [head, tuple("---" for _ in head), *rows]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)


def machine(results: Results) -> str:
    about, settings = results.now["machine"], results.now["settings"]
    peers = ", ".join(f"{name} {version}" for name, version in about["peers"].items())
    return (
        f"{about['processor']} with {about['cores']} cores, Python {about['python']}, "
        f"Numba {about['numba']}; {peers}. Medians of {settings['rounds']} rounds.\n"
    )


def comparisons(*suites: str) -> Callable[[Results], str]:
    """Return a writer of the rows of suites with all that is known about them."""

    def write(results: Results) -> str:
        def cells(row: Row) -> tuple[str, ...]:
            compared = ratio(row), earlier_ratio(results, row), quality(row), share(row)
            return (row["name"], peer(row), *values(row), *compared)

        measured = [suite for suite in suites if suite in results.now["suites"]]
        lines = [cells(row) for row in results.rows(*measured)]
        used = [any(column) for column in zip(*lines, strict=True)]
        found = table(_only(used, HEAD), [_only(used, line) for line in lines])
        missing = ", ".join(suite for suite in suites if suite not in measured)
        return found + (f"\nNot measured in this run: {missing}.\n" if missing else "")

    return write


def limits(results: Results) -> str:
    head = ("limit", "vectors of 16 per ns")
    return table(head, [(row["name"], number(row["ours"])) for row in results.rows("roof")])


def _only(used: list[bool], cells: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(cell for cell, use in zip(cells, used, strict=True) if use)


def readme(results: Results) -> str:
    head = ("measurement", "compared with", "streamlearn", "other", "ratio", "quality of both")
    rows = (results.row(*key) for key in README_ROWS)
    cells = ((row["name"], peer(row), *values(row), ratio(row), quality(row)) for row in rows)
    return machine(results) + "\n" + table(head, cells)


def parts(suite: str) -> Callable[[Results], str]:
    """Return a writer of parts of a time: ``whole: part`` is the name of a row."""

    def write(results: Results) -> str:
        def cells(row: Row) -> tuple[str, ...]:
            earlier = results.earlier(row) or {}
            return (*row["name"].rsplit(": ", 1), number(row["ours"]), known(earlier.get("ours")))

        rows = results.rows(suite)
        return table(("of", "part", rows[0]["unit"], "before"), map(cells, rows))

    return write


def known(value: float | None) -> str:
    return "" if value is None else number(value)


def peer(row: Row) -> str:
    return f"{row['peer']}: absent" if "absent" in row else row.get("peer", "")


def values(row: Row) -> tuple[str, str]:
    """Ours with its unit, and the peer's value."""
    return quantity(row["ours"], row["unit"]), known(row.get("theirs"))


def ratio(row: Row) -> str:
    return number(row["ratio"]) if "ratio" in row else ""


def earlier_ratio(results: Results, row: Row) -> str:
    """The ratio of the earlier commit; without a peer, its value."""
    earlier = results.earlier(row)
    if earlier is None:
        return ""
    return ratio(earlier) if "ratio" in row else number(earlier["ours"])


def quality(row: Row) -> str:
    if "quality" not in row:
        return ""
    of = row["quality"]
    theirs = f", {of['theirs']:.4g}" if "theirs" in of else ""
    return f"{of['measure']} {of['ours']:.4g}{theirs}"


def share(row: Row) -> str:
    """Share of the machine's limit that is reached."""
    if "limit" not in row:
        return ""
    reached = row["ours"] / row["limit"]["value"]
    return f"{1 / reached if row['unit'].startswith('ns') else reached:.0%}, {row['limit']['of']}"


BLOCKS: dict[str, Callable[[Results], str]] = {
    "machine": machine,
    "readme": readme,
    "maps": comparisons("som", "competitive"),
    "networks": comparisons("recurrent", "steps"),
    "limits": limits,
    "daemon": comparisons("daemon"),
    "queries": comparisons("queries"),
    "start": comparisons("start", "compile", "replay", "many"),
    "sample": parts("anatomy"),
    "turn": parts("turn"),
}


def render(page: str, results: Results) -> str:
    """Return the text of a page with its tables written from the results."""
    return rewrite(page, KIND, lambda name: BLOCKS[name](results))


def main() -> None:
    results = load()
    for name in PAGES:
        page = ROOT / name
        page.write_text(render(page.read_text(), results))
        print(f"wrote the tables of {name}")
    for name in FIGURES:
        file = ROOT / f"docs/figures/{name}.png"
        importlib.import_module(f"docs.figures.{name}").draw(file)
        print(f"drew {file.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
