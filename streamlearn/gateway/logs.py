"""The gateway's log: one line per event on standard error, as the daemon's."""

from __future__ import annotations

import logging


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a module."""
    return logging.getLogger(name)


def configure(level: str = "INFO") -> None:
    """Write to standard error."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(message)s")
