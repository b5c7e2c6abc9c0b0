"""Send the samples of a simulated sensor to a model: ``python push_sensor.py``.

While it runs, you may stop the daemon, even with ``kill -9``, and start it again. No sample is lost or
learned twice.
"""

from __future__ import annotations

import math
import os
import random
import time
from collections.abc import Iterator

from streamlearn_client import Client
from streamlearn_client.errors import ModelExists

ENDPOINT = os.environ.get("STREAMLEARN_ENDPOINT", "tcp://127.0.0.1:7700")


def readings() -> Iterator[list[float]]:
    """Yield pressure, flow, temperature and vibration of a simulated pump, 50 times per second."""
    noise = random.Random(1)
    start = time.monotonic()
    while True:
        t = time.monotonic() - start
        stroke = math.sin(2 * math.pi * t)
        yield [
            4 + 0.5 * stroke + noise.gauss(0, 0.02),
            12 + 2 * stroke + noise.gauss(0, 0.1),
            60 + 5 * math.sin(t / 60) + noise.gauss(0, 0.1),
            abs(noise.gauss(0, 0.3)),
        ]
        time.sleep(0.02)


def main() -> None:
    with Client(ENDPOINT) as client:
        try:
            client.create("pump", kind="som", dim=4, grid=[8, 8], scale="standard")
        except ModelExists:
            print("model pump exists already; continuing with it")
        with client.stream("pump") as stream:
            for count, reading in enumerate(readings(), start=1):
                stream.push(reading)
                if count % 50 == 0:
                    print(f"{stream.acknowledged} acknowledged, {stream.pending} pending", flush=True)


if __name__ == "__main__":
    try:
        main()
    except KeyboardInterrupt:
        print("stopped")
