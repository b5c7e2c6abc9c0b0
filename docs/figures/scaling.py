"""Draw scaling.png: the time of a sample against units, channels, hidden units and the length of the stream.

python docs/figures/scaling.py           draws the results in docs/data/bench.json
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from matplotlib import pyplot as plt

RESULTS = Path(__file__).parents[1] / "data/bench.json"
PANELS = {  # a part of the names of the curves: label and title of their panel
    "by units": ("units", "maps, 16 channels"),
    "by dim": ("channels", "maps, 10×10 units"),
    "by hidden": ("hidden units", "networks, 8 channels, TBPTT(32, 32)"),
    "by length": ("samples so far", "along one stream"),
}


def curves(part: str) -> dict[str, list[dict[str, Any]]]:
    """Return the points of each curve whose name contains ``part``."""
    found: dict[str, list[dict[str, Any]]] = {}
    for row in json.loads(RESULTS.read_text())["suites"]["curves"]:
        if part in row["name"]:
            found.setdefault(row["name"], []).append(row)
    return found


def draw(file: Path) -> None:
    figure, panels = plt.subplots(2, 2, figsize=(10, 8), layout="constrained")
    for axes, (part, (label, title)) in zip(panels.flat, PANELS.items(), strict=True):
        for name, points in curves(part).items():
            at, ours = [point["at"] for point in points], [point["ours"] for point in points]
            begin, _, end = name.partition(f" {part}")
            mode = end.rpartition(", ")[2] if part in ("by units", "by dim") else ""
            (line,) = axes.loglog(at, ours, "o-", ms=4, label=f"{begin} {mode}".strip())
            if "limit" in points[0]:
                limit = [point["limit"]["value"] for point in points]
                axes.loglog(at, limit, ":", color=line.get_color(), lw=1)
        axes.set(xlabel=label, ylabel="ns per sample", title=title)
        axes.grid(alpha=0.3)
        axes.legend(fontsize=8)
        if part == "by length":
            axes.set_ylim(10, 10_000)
    figure.suptitle("solid: measured; dotted: the machine's limit", fontsize=10)
    figure.savefig(file, dpi=110)
    plt.close(figure)


if __name__ == "__main__":
    draw(Path(__file__).with_suffix(".png"))
