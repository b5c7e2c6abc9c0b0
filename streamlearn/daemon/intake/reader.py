"""Reading the messages of one socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import zmq

from streamlearn.daemon.context import Context
from streamlearn.daemon.intake.lane import Lane
from streamlearn.daemon.intake.run import Run
from streamlearn.daemon.intake.template import integer
from streamlearn.daemon.security.identity import Identity
from streamlearn_client.protocol import Frame, Learn

COPIED_BYTES = 1024  # copying a frame up to this size costs less than keeping ZeroMQ's buffer
NOBLOCK = int(zmq.NOBLOCK)  # an enum costs more in each call

Handler: TypeAlias = Callable[[Identity, list[Frame]], Learn | None]
"""Handles the frames of a message; returns its batch if it was one and was accepted."""


class Reader:
    """Reads one socket. Batches that fit a template join runs, all other messages go to `handle`.

    Parameters
    ----------
    context
        The daemon's collaborators.
    socket
        The socket.
    has_envelope
        Whether the first frame of a message is the routing id of its connection, as on a ROUTER socket.
    lane
        The runs. They are closed before each call of `handle`, but not at the end of `read`.
    handle
        The general way.
    """

    def __init__(
        self, context: Context, socket: zmq.Socket[bytes], has_envelope: bool, lane: Lane, handle: Handler
    ) -> None:
        self._context = context
        self._socket = socket
        self._has_envelope = has_envelope
        self._lane = lane
        self._handle = handle

    def read(self, nanoseconds: int) -> bool:
        """Handle waiting messages for at most so long. Return whether no message is left."""
        context = self._context
        recv, find, steady_ns = self._socket.recv, self._lane.find, context.runtime.steady_ns
        until = steady_ns() + nanoseconds
        identify, longest = context.sockets.access.identify, context.limits.header_bytes
        has_envelope = self._has_envelope
        messages = 0
        try:
            while True:
                frame = recv(NOBLOCK, False)
                messages += 1
                identity, sender = identify(frame), b""
                if has_envelope:
                    sender = frame.bytes
                    frame = recv(NOBLOCK, False)
                header = frame.bytes if frame.more and len(frame) <= longest else b""
                found = find(header, sender, identity) if header else None
                frames = [frame]
                if found is None or not self._receive_batch(found[0], frames):
                    self._general(identity, sender, frames)
                elif sender:
                    run, id_at = found
                    run.ids.append(integer(header, id_at) if id_at else None)
                if steady_ns() > until:
                    return False
        except zmq.Again:
            return True
        finally:
            context.metrics.messages += messages

    def _receive_batch(self, run: Run, frames: list[zmq.Frame]) -> bool:
        """Receive the arrays of a batch into the run.

        Returns false if they are not as its template says. Appends the received frames to `frames`.
        """
        arena, sizes = run.arena, run.template.frame_bytes
        at = begin = arena.used
        left = len(sizes)
        for size in sizes:
            left -= 1
            frame = self._socket.recv(NOBLOCK, False)
            frames.append(frame)
            if len(frame) != size or frame.more != (left > 0):
                return False
            arena.view[at : at + size] = frame.buffer
            at += size
        arena.used = at
        run.extend(begin)
        return True

    def _general(self, identity: Identity, sender: bytes, received: list[zmq.Frame]) -> None:
        """Handle a message, of which the frames after the routing id are `received` as far as they came."""
        self._lane.close()
        while received[-1].more:
            received.append(self._socket.recv(NOBLOCK, False))
        frames: list[Frame] = [
            frame.buffer if len(frame) > COPIED_BYTES else frame.bytes for frame in received
        ]
        learn = self._handle(identity, [sender, *frames] if self._has_envelope else frames)
        if learn is not None:
            self._lane.remember(frames, learn, identity)
