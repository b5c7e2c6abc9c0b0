"""The log on standard error: one line per event, as text or as JSON.

Text: time, level, message, then the facts of the event as `name=value`. JSON: one object per line with
`time`, `level`, `event` and the facts. Nothing is logged per sample or per request that succeeds.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import MutableMapping
from typing import Any, Literal

import structlog

Logger = structlog.stdlib.BoundLogger


def get_logger(name: str) -> Logger:
    """Return a logger whose methods take the facts of an event as keyword arguments."""
    logger: Logger = structlog.wrap_logger(
        logging.getLogger(name),
        wrapper_class=structlog.stdlib.BoundLogger,
        processors=[
            structlog.stdlib.PositionalArgumentsFormatter(),
            structlog.stdlib.render_to_log_kwargs,
        ],
    )
    return logger


def configure(level: str, form: Literal["text", "json"]) -> None:
    """Send the records of every logger of this process to standard error."""
    logging.raiseExceptions = False  # a closed standard error must not disturb the daemon
    render: structlog.typing.Processor = _as_text
    if form == "json":
        render = structlog.processors.JSONRenderer(default=str)
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=[structlog.stdlib.add_log_level, structlog.stdlib.ExtraAdder()],
            processors=[
                structlog.processors.TimeStamper("iso", utc=True, key="time"),
                structlog.stdlib.ProcessorFormatter.remove_processors_meta,
                structlog.processors.format_exc_info,
                render,
            ],
        )
    )
    logging.basicConfig(level=level.upper(), handlers=[handler], force=True)


def _as_text(_: Any, __: str, event: MutableMapping[str, Any]) -> str:
    line = f"{event.pop('time')} {event.pop('level').upper()} {event.pop('event')}"
    trace = event.pop("exception", None)
    facts = "".join(f" {name}={_text(value)}" for name, value in event.items() if value != "")
    return f"{line}{facts}" + (f"\n{trace}" if trace else "")


def _text(value: Any) -> str:
    text = str(value)
    return text if text.isprintable() and " " not in text else repr(text)
