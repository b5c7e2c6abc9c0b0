"""Print the events of a model, and its unusual samples: ``python watch_events.py [MODEL]``."""

from __future__ import annotations

import os
import sys
from datetime import UTC, datetime

import numpy as np

from streamlearn_client import Client

ENDPOINT = os.environ.get("STREAMLEARN_ENDPOINT", "tcp://127.0.0.1:7700")
UNUSUAL = 0.999


def main(model: str = "pump") -> None:
    with Client(ENDPOINT) as client, client.subscribe(model) as events:
        for event in events:
            when = datetime.fromtimestamp(event.time / 1e9, UTC).astimezone().strftime("%H:%M:%S")
            if event.kind != "output":
                print(f"{when}  {event.kind} (lsn {event.lsn})", flush=True)
                continue
            for row in np.flatnonzero(event.outputs.score > UNUSUAL):
                sample = event.first + row
                print(f"{when}  sample {sample}: score {event.outputs.score[row]:.4f}", flush=True)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except KeyboardInterrupt:
        print("stopped")
