"""Reading the messages of one socket."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import zmq

from streamlearn.access.identity import LOCAL, Identity
from streamlearn.daemon.context import Context
from streamlearn.daemon.intake.drain import AnyFrame, Drain, frames_of
from streamlearn.daemon.intake.lane import Lane
from streamlearn.daemon.intake.run import Run
from streamlearn.daemon.intake.template import Template, integer
from streamlearn_client.protocol import Frame, Learn

COPIED_BYTES = 1024  # copying a frame up to this size costs less than keeping ZeroMQ's buffer
# Messages that are received one by one after the drain found nothing for its run: twice as many each time
ALONE, MOST_ALONE = 16, 256
NOBLOCK, EVENTS, POLLIN = int(zmq.NOBLOCK), int(zmq.EVENTS), int(zmq.POLLIN)  # enums cost more in each call

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
    drain
        Receives the batches of a run after the first, for a socket without keys. Without it, they are
        received one by one.
    """

    def __init__(
        self,
        context: Context,
        socket: zmq.Socket[bytes],
        has_envelope: bool,
        lane: Lane,
        handle: Handler,
        drain: Drain | None = None,
    ) -> None:
        self._context = context
        self._socket = socket
        self._has_envelope = has_envelope
        self._lane = lane
        self._handle = handle
        self._drain = drain
        self._alone = ALONE  # messages that the next vain call of the drain costs
        self._received_alone = 0  # those that are left of the last one
        self._in_turn: Template | None = None  # that of the messages, if their models take turns
        self._was_empty = False  # then a question costs less than an exception

    @property
    def is_idle(self) -> bool:
        """Whether the last `read` found no message."""
        return self._was_empty

    def read(self, nanoseconds: int, *, wait_ns: int = 0) -> bool:
        """Handle waiting messages for at most so long. Return whether no message is left.

        The drain waits for up to `wait_ns` for the next batches of a burst.
        """
        if self._was_empty and not self._readable():
            return True
        context = self._context
        recv, find, steady_ns = self._socket.recv, self._lane.find, context.runtime.steady_ns
        until = steady_ns() + nanoseconds
        identify, longest = context.sockets.access.identify, context.limits.header_bytes
        has_envelope, drain = self._has_envelope, self._drain
        identity: Identity = LOCAL
        messages, received_alone = 0, self._received_alone
        frames: list[AnyFrame] = []  # of the next message, as far as they were received
        try:
            while frames or steady_ns() <= until:
                if not frames and self._in_turn is not None:
                    batches, frames, empty = self._receive_in_turn(self._in_turn)
                    messages += batches + bool(frames)
                    if empty:
                        return True
                    if not batches:
                        received_alone = self._back_off()
                    if not frames:
                        continue
                elif not frames:
                    frame = recv(NOBLOCK, False)
                    messages += 1
                    identity, frames = identify(frame), [frame]
                sender = b""
                if has_envelope:
                    sender = frames[0].bytes
                    frames = frames[1:] or [recv(NOBLOCK, False)]
                header = frames[0].bytes if frames[0].more and len(frames[0]) <= longest else b""
                found = find(header, sender, identity) if header else None
                if found is None or not self._receive_batch(found[0], frames):
                    self._general(identity, sender, frames)
                    frames = []
                else:
                    run, id_at = found
                    frames = []
                    if sender:
                        run.ids.append(integer(header, id_at) if id_at else None)
                    if drain is not None and received_alone <= 0 and self._in_turn is None:
                        batches, frames, empty = drain.receive(run, wait_ns)
                        messages += batches + bool(frames)
                        if empty:
                            return True
                        if batches or not frames:
                            received_alone, self._alone = 0, ALONE
                        elif has_envelope or run.template.model:
                            received_alone = self._back_off()
                        else:
                            self._in_turn = run.template
                    received_alone -= 1
            return not self._readable()
        except zmq.Again:
            return True
        finally:
            self._received_alone = received_alone
            self._was_empty = not messages
            context.metrics.messages += messages

    def _back_off(self) -> int:
        """Return how many messages are received one by one after a vain call of the drain."""
        alone, self._alone = self._alone, min(2 * self._alone, MOST_ALONE)
        return alone

    def _receive_in_turn(self, template: Template) -> tuple[int, list[AnyFrame], bool]:
        """Receive the next batches of models that take turns. Return as `Drain.receive` does."""
        lane, arena, size = self._lane, self._lane.arena, template.batch_bytes
        assert self._drain is not None
        if not arena.has_room(size):
            lane.close()
        begin = arena.used
        models, seqs, frames, empty = self._drain.receive_any(template, arena)
        for name, seq in zip(models, seqs, strict=True):
            model = name.decode()
            run = lane.join(template, model, b"", seq)
            if run is not None:
                arena.used = begin + size
                run.extend(begin)
            else:
                self._general(LOCAL, b"", frames_of(template, model, seq, arena.view[begin : begin + size]))
            begin += size
        if len(set(models)) < 2:
            self._in_turn = None
        return len(models), frames, empty

    def _readable(self) -> bool:
        return bool(int(self._socket.get(EVENTS)) & POLLIN)

    def _receive_batch(self, run: Run, frames: list[AnyFrame]) -> bool:
        """Receive the arrays of a batch into the run.

        Returns false if they are not as its template says. Appends the received frames to `frames`, which
        may have some of them already.
        """
        arena, sizes = run.arena, run.template.frame_bytes
        at = begin = arena.used
        for index, size in enumerate(sizes, 1):
            if index == len(frames):
                frames.append(self._socket.recv(NOBLOCK, False))
            frame = frames[index]
            if len(frame) != size or frame.more != (index < len(sizes)):
                return False
            arena.view[at : at + size] = frame.buffer
            at += size
        arena.used = at
        run.extend(begin)
        return True

    def _general(self, identity: Identity, sender: bytes, received: list[AnyFrame]) -> None:
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
