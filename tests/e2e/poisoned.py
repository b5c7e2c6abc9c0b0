"""The command `streamlearn` with a model that some values kill: ``python -m tests.e2e.poisoned serve``."""

from __future__ import annotations

import os
import signal
import sys
import time
from typing import Any

from streamlearn.cli import main
from streamlearn.models.maps.competitive import Competitive

CRASH, HANG = 6661.0, 6662.0

_learn = Competitive.learn_validated


def learn(self: Competitive, batch: Any) -> Any:
    values = set(batch.x.ravel().tolist())
    if CRASH in values:
        os.kill(os.getpid(), signal.SIGSEGV)
    while HANG in values:
        time.sleep(1)
    return _learn(self, batch)


if __name__ == "__main__":
    Competitive.learn_validated = learn  # type: ignore[method-assign]
    sys.exit(main())
