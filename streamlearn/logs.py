"""The log on standard error: one line per event, as text or as JSON.

Text: time, level, message, then the facts of the event as `name=value`. JSON: one object per line with
`time`, `level`, `event` and the facts. Nothing is logged per sample or per request that succeeds.
"""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any, Literal


class Logger:
    """A logger of `logging` whose methods take the facts of an event as keyword arguments.

    `exc_info` is no fact: it is the exception whose traceback is logged.
    """

    def __init__(self, name: str) -> None:
        self._logger = logging.getLogger(name)

    def debug(self, message: str, *arguments: object, **facts: Any) -> None:
        """Log an event that helps to find a fault."""
        self._log(logging.DEBUG, message, arguments, facts)

    def info(self, message: str, *arguments: object, **facts: Any) -> None:
        """Log an event of normal operation."""
        self._log(logging.INFO, message, arguments, facts)

    def warning(self, message: str, *arguments: object, **facts: Any) -> None:
        """Log an event that needs attention."""
        self._log(logging.WARNING, message, arguments, facts)

    def error(self, message: str, *arguments: object, **facts: Any) -> None:
        """Log a failure."""
        self._log(logging.ERROR, message, arguments, facts)

    def exception(self, message: str, *arguments: object, **facts: Any) -> None:
        """Log a failure with the exception that is handled."""
        self._log(logging.ERROR, message, arguments, {"exc_info": True, **facts})

    def _log(self, level: int, message: str, arguments: tuple[object, ...], facts: dict[str, Any]) -> None:
        error = facts.pop("exc_info", None)
        self._logger.log(level, message, *arguments, exc_info=error, extra={"facts": facts}, stacklevel=3)


def get_logger(name: str) -> Logger:
    """Return the logger of a module."""
    return Logger(name)


def configure(level: str, form: Literal["text", "json"]) -> None:
    """Send the records of every logger of this process to standard error."""
    logging.raiseExceptions = False  # a closed standard error must not disturb the daemon
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Text())
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        event = _event(self, record)
        line = f"{event.pop('time')} {event.pop('level').upper()} {event.pop('event')}"
        trace = event.pop("exception", None)
        facts = "".join(f" {name}={_text(value)}" for name, value in event.items() if value != "")
        return f"{line}{facts}" + (f"\n{trace}" if trace else "")


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(_event(self, record), default=str)


def _event(formatter: logging.Formatter, record: logging.LogRecord) -> dict[str, Any]:
    """Return a record as the names and values of a line. A record of another library has no facts."""
    time = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="microseconds")
    event = {
        "time": time.replace("+00:00", "Z"),
        "level": record.levelname.lower(),
        "event": record.getMessage(),
        **getattr(record, "facts", {}),
    }
    if record.exc_info:
        event["exception"] = formatter.formatException(record.exc_info)
    return event


def _text(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)
