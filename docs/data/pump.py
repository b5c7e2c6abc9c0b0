"""Write ``pump-history.csv`` and ``pump-today.csv``: readings of an invented pump, one every minute.

History is two days of normal operation. Today the pump starts to cavitate at 11:00: pressure falls and
becomes unsteady, and vibration rises over two hours.
Run ``python docs/data/pump.py`` to write the files again.
"""

from __future__ import annotations

import csv
import math
import random
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

HEADER = ("time", "pressure", "flow", "temperature", "vibration")
MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
WEDNESDAY = MONDAY + timedelta(days=2)
CAVITATION = WEDNESDAY + timedelta(hours=11)


def readings(start: datetime, hours: int, seed: int) -> Iterator[list[str]]:
    """Rows of one CSV: a time, then bar, l/s, °C and mm/s. About one flow reading in 500 is missing."""
    chance = random.Random(seed)
    for minute in range(60 * hours):
        time = start + timedelta(minutes=minute)
        load = 1 + 0.3 * math.sin(2 * math.pi * (time.hour * 60 + time.minute) / (24 * 60) - 2)
        severity = min(max((time - CAVITATION) / timedelta(hours=2), 0), 1)
        pressure = 4.2 - 0.4 * load - 0.8 * severity + chance.gauss(0, 0.02 + 0.15 * severity)
        flow = 12 * load + chance.gauss(0, 0.1)
        temperature = 48 + 9 * load + chance.gauss(0, 0.3)
        vibration = 1.1 + 0.3 * load + 1.8 * severity + chance.gauss(0, 0.05)
        row = [f"{pressure:.2f}", f"{flow:.1f}", f"{temperature:.1f}", f"{vibration:.2f}"]
        if chance.random() < 0.002:
            row[1] = ""
        yield [time.strftime("%Y-%m-%dT%H:%M"), *row]


def write(folder: Path) -> None:
    """Write both files into ``folder``."""
    for name, start, hours, seed in ("history", MONDAY, 48, 1), ("today", WEDNESDAY, 14, 2):
        with (folder / f"pump-{name}.csv").open("w", newline="") as file:
            table = csv.writer(file, lineterminator="\n")
            table.writerow(HEADER)
            table.writerows(readings(start, hours, seed))


if __name__ == "__main__":
    write(Path(__file__).parent)
