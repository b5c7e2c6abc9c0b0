"""The messages of a Sparkplug node, encoded by the encoder of Eclipse Tahu (``sparkplug/encode.mjs``)."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

FILE = Path(__file__).parent / "sparkplug/messages.json"


def vectors() -> list[dict[str, Any]]:
    """Return all messages: their topics, bytes and what was encoded."""
    return json.loads(FILE.read_text())


def messages() -> list[tuple[str, bytes]]:
    """Return (topic, payload) of all messages."""
    return [(each["topic"], base64.b64decode(each["base64"])) for each in vectors()]


def samples() -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Return the samples of the device ``pump`` and their times."""
    data = [each["payload"] for each in vectors() if "/DDATA/" in each["topic"]]
    rows = [[metric["value"] for metric in each["metrics"]] for each in data]
    times = [each["timestamp"] * 1_000_000 for each in data]
    return np.array(rows, np.float32), np.array(times, np.int64)
