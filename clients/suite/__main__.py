"""Run the suite, and print its table or write it into the docs: ``python -m clients.suite --help``."""

from __future__ import annotations

import argparse
import sys
import tempfile
import traceback
from pathlib import Path

from clients.suite.behaviours import BEHAVIOURS
from clients.suite.clients import CLIENTS, ROOT
from clients.suite.registry import run
from clients.suite.trial import Suite

PAGE = ROOT / "docs" / "reference" / "clients.md"
START, END = "<!-- results -->\n", "<!-- end of results -->\n"
PASSES, FAILS, HAS_NOT = "✓", "✗", "–"


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, prog="python -m clients.suite")
    parser.add_argument(
        "--client", choices=CLIENTS, action="append", help="only this client; may be repeated"
    )
    parser.add_argument("--only", default="", help="behaviours whose names contain one of these, by commas")
    parser.add_argument("--write", action="store_true", help=f"write the table into {PAGE.relative_to(ROOT)}")
    options = parser.parse_args()
    if options.write and (options.client or options.only):
        parser.error("--write needs the whole table: leave out --client and --only")
    chosen = [CLIENTS[name] for name in options.client or CLIENTS]
    parts = options.only.split(",")
    results: dict[str, dict[str, str]] = {name: {} for name in BEHAVIOURS if any(p in name for p in parts)}
    with tempfile.TemporaryDirectory(prefix="suite-") as directory:
        suite = Suite(Path(directory) / "shared")
        try:
            for client in chosen:
                command = client.build()
                for name, found in results.items():
                    trial = Path(directory) / f"{client.name}-{name}"
                    trial.mkdir()
                    try:
                        found[client.name] = (
                            PASSES if run(BEHAVIOURS[name], client, command, trial, suite) else HAS_NOT
                        )
                    except Exception:  # noqa: BLE001 - shown, and the others run
                        traceback.print_exc()
                        found[client.name] = FAILS
                    print(f"{client.name:8}{found[client.name]} {name}", file=sys.stderr, flush=True)
        finally:
            suite.close()
    text = table(results, [client.name for client in chosen])
    print(text)
    if any(FAILS in found.values() for found in results.values()):
        return 1
    if options.write:
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(START)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{START}{text}{END}{after}", encoding="utf-8")
    return 0


def table(results: dict[str, dict[str, str]], names: list[str]) -> str:
    """Return the table of results in Markdown."""
    lines = [
        "| behaviour | " + " | ".join(CLIENTS[name].title for name in names) + " |",
        "|---" * (len(names) + 1) + "|",
    ]
    for name, found in results.items():
        lines.append(f"| {BEHAVIOURS[name].title} | " + " | ".join(found[each] for each in names) + " |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.exit(main())
