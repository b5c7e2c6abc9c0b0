"""Wait for a condition, with a limit."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any, Final

SECONDS: Final = 60.0
PAUSE_SECONDS: Final = 0.005


def wait_for(condition: Callable[[], Any], what: str = "it", seconds: float = SECONDS) -> Any:
    """Return the first true value of ``condition()``. Raise ``AssertionError`` if it stays false."""
    deadline = time.monotonic() + seconds
    while not (found := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds} s")
        time.sleep(PAUSE_SECONDS)
    return found
