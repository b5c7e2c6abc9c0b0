"""Write the results of a run into the documents.

    python -m benchmarks.quality --json docs/data/quality.json
    python -m benchmarks.quality.report

The first command runs the second one at its end. The second one rewrites the tables between
``<!-- quality: NAME -->`` and ``<!-- quality end -->`` in the pages.
"""

from __future__ import annotations

import json
from pathlib import Path

from ..blocks import rewrite
from . import results, tables

ROOT = Path(__file__).parents[2]
DATA = ROOT / "docs/data/quality.json"
PAGES = ("docs/how/quality.md",)
KIND = "quality"


def machine(data: str) -> str:
    """Return the processor and the versions of all libraries."""
    about = json.loads(data)["machine"]
    peers = ", ".join(f"{name} {version}" for name, version in about["peers"].items())
    return f"{about['processor']}, Python {about['python']}, Numba {about['numba']}; {peers}.\n"


def block(name: str, data: str) -> str:
    """Return the text of a block: a table with its claims, or ``machine``."""
    if name == "machine":
        return machine(data)
    rows = results.from_json(data).get(name)
    if rows is None:
        return f"Not measured: {name}.\n"
    return results.markdown(rows, tables.load(name).claims(rows))


def render(page: str, data: str) -> str:
    """Return the text of a page with its tables written from the results."""
    return rewrite(page, KIND, lambda name: block(name, data))


def main() -> None:
    data = DATA.read_text()
    for name in PAGES:
        page = ROOT / name
        page.write_text(render(page.read_text(), data))
        print(f"wrote the tables of {name}")


if __name__ == "__main__":
    main()
