"""Streams that are still open when the program ends: flush them, and report what was not acknowledged."""

from __future__ import annotations

import atexit
import os
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from streamlearn_client.errors import StreamlearnError
from streamlearn_client.timeouts import Deadline

if TYPE_CHECKING:
    from streamlearn_client.stream import Stream

__all__ = ["add", "discard", "flush_open_streams"]

EXIT_FLUSH_TIMEOUT: Final = 5.0
"""Seconds for the flush of all open streams when the program ends."""

_streams: set[Stream] = set()
_registered: set[int] = set()
"""The processes that registered `flush_open_streams`: this one, and those of which it is a fork."""


def add(stream: Stream) -> None:
    """Flush ``stream`` when the program ends, unless it was closed before."""
    _register()
    _streams.add(stream)


def discard(stream: Stream) -> None:
    """Remove a closed stream."""
    _streams.discard(stream)


def flush_open_streams() -> None:
    """Flush and close all open streams of this process, and report unacknowledged samples."""
    streams = [stream for stream in list(_streams) if not stream._sender.owner.inherited]
    deadline = Deadline(EXIT_FLUSH_TIMEOUT)
    try:
        for stream in streams:
            stream._sender.start_flush()
        for stream in streams:
            with suppress(StreamlearnError):  # reported below
                stream.flush(deadline.remaining())
    finally:  # also after Ctrl-C
        for stream in streams:
            _report(stream)
            stream.abort()


def _report(stream: Stream) -> None:
    pending = stream.pending
    if not pending or sys.stderr is None:
        return
    failure = stream._sender.window.failure
    reason = "the daemon did not acknowledge in time" if failure is None else failure.message
    sys.stderr.write(
        f"streamlearn_client: a stream to {stream.model!r} was still open at the end of the program, and "
        f"{pending} of its {stream.pushed} samples are not acknowledged and may be lost: {reason}. Use "
        "`with client.stream(...)`, or call close() on the stream\n"
    )


def _register() -> None:
    """Register `flush_open_streams` once in each process."""
    if os.getpid() in _registered:
        return
    _registered.add(os.getpid())
    process = sys.modules.get("multiprocessing.process")
    if process is not None and process.parent_process() is not None:
        from multiprocessing.util import Finalize  # processes of multiprocessing do not run atexit functions

        Finalize(None, flush_open_streams, exitpriority=100)
    else:
        atexit.register(flush_open_streams)
