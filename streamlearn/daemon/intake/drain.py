"""The drain: a compiled loop that receives the batches of a run, without Python between two messages.

It needs the address of libzmq's functions, and a socket without keys: then all messages have one identity. A
`Reader` without a drain receives the same batches one by one.
"""

from __future__ import annotations

import ctypes
from typing import Any, TypeAlias

import numpy as np
import zmq
from numpy.typing import NDArray

from streamlearn.daemon.intake.run import Run
from streamlearn.daemon.intake.template import Template
from streamlearn.daemon.self_pipe import SelfPipe
from streamlearn.kernels import compiler
from streamlearn.kernels.stream import receiving
from streamlearn.kernels.stream import receiving_words as words

FUNCTIONS = ("zmq_msg_recv", "zmq_msg_data", "zmq_msg_more")
MOST_BATCHES = 256  # of one call: the reader looks at its clock in between
# ZeroMQ queues few messages of a connection (`sockets.RECEIVE_HWM`) and needs some microseconds for the next
# ones. Waiting for them costs less than a turn of the loop: a call waits after so many batches in a burst, so
# long at most, and so often.
BURST, WAIT_NS, MOST_WAITS = 4, 100_000, 16
# While the journal is being synced, no further ack can be sent. So it costs nobody an ack to wait longer, and
# what arrives becomes one record and not several. The end of the sync ends the wait.
SYNC_WAIT_NS = 1_000_000
SMALL_BATCH = 1024  # bytes; the time to learn larger ones exceeds that of a turn
CALLS_WITHOUT_WAIT = 4  # after a call that waited in vain
POLLFD = np.dtype([("fd", np.int32), ("events", np.int16), ("revents", np.int16)])
NO_IDS = np.zeros(0, np.int64)


class ReceivedFrame:
    """A frame with the part of `zmq.Frame` that the reader uses. `more`: whether another frame follows."""

    __slots__ = ("bytes", "more")

    def __init__(self, content: bytes, more: bool) -> None:
        self.bytes = content
        self.more = more

    def __len__(self) -> int:
        return len(self.bytes)

    @property
    def buffer(self) -> memoryview:
        """The content."""
        return memoryview(self.bytes)


AnyFrame: TypeAlias = zmq.Frame | ReceivedFrame


class Drain:
    """Receives from one socket. Used on the loop's thread.

    Parameters
    ----------
    socket
        The socket.
    library
        libzmq.
    descriptors
        Two file descriptors. If one is readable, the wait for further messages ends: that of the socket, and
        one that tells that the loop has something else to do.
    """

    def __init__(self, socket: zmq.Socket[bytes], library: ctypes.CDLL, descriptors: tuple[int, int]) -> None:
        self._ready = False
        functions = [getattr(library, name) for name in FUNCTIONS]
        functions += [ctypes.CDLL(None).memcmp, ctypes.CDLL(None).memcpy]
        addresses = [ctypes.cast(function, ctypes.c_void_p).value for function in functions]
        self._functions = np.array(addresses, np.int64)
        self._library = library  # keeps the functions
        self._socket = socket.underlying
        self._messages = np.zeros((3, words.MESSAGE_BYTES // 8), np.int64)  # three zmq_msg_t
        for message in self._messages:
            library.zmq_msg_init(ctypes.c_void_p(message.ctypes.data))
        self._messages_address = self._messages.ctypes.data
        self._patience = _patience(descriptors)
        self._polled = self._patience[words.POLLFDS : words.TIMEOUT].view(POLLFD)
        self._rest = 0  # calls that do not wait
        self._outcome = np.zeros(words.OUTCOME, np.int64)
        self._ids = np.zeros(MOST_BATCHES, np.int64)
        self._expected = _Expected(None)

    @classmethod
    def of(cls, socket: Any, self_pipe: SelfPipe) -> Drain | None:
        """Return a drain for the socket; `None` if it is not ZeroMQ's or libzmq's functions are hidden."""
        library = _libzmq()
        if library is None or not isinstance(socket, zmq.Socket):
            return None
        return cls(socket, library, (int(socket.get(zmq.FD)), self_pipe.fileno()))

    def receive(self, run: Run, wait_ns: int) -> tuple[int, list[AnyFrame], bool]:
        """Receive the next batches of a run from the messages that wait.

        Parameters
        ----------
        run
            The run.
        wait_ns
            How long to wait for the next messages of a burst; 0: not at all. Batches whose acks wait for no
            sync wait for `WAIT_NS` at most.

        Returns
        -------
        batches : int
            How many were added to the run; at most `MOST_BATCHES`.
        frames : list of AnyFrame
            The first frames of the message after them if it is another one, the routing id of its connection
            included. The rest has not been received.
        empty : bool
            Whether no message was left.
        """
        if not self._ready:  # the kernel was loaded with those of the first model
            compiler.ready(receiving)
            self._ready = True
        template, arena, outcome = run.template, run.arena, self._outcome
        expected = self._expected
        if expected.template is not template:
            expected = self._expected = _Expected(template)
        begin = arena.used
        sender = np.frombuffer(run.sender, np.uint8)
        if template.without_arrays.ack != "durable":
            wait_ns = min(wait_ns, WAIT_NS)
        for_sync = wait_ns > WAIT_NS  # the sender gets no ack before, so no wait is in vain
        waits = bool(wait_ns) and template.batch_bytes <= SMALL_BATCH and (for_sync or self._may_wait())
        self._patience[words.WAITS] = MOST_WAITS if waits else 0
        self._patience[words.TIMEOUT + 1] = wait_ns
        most = min(MOST_BATCHES, run.most - run.batches, arena.room // template.batch_bytes)
        batches = receiving.receive_batches(
            self._socket,
            self._functions,
            self._messages_address,
            self._patience,
            sender.ctypes.data,
            sender.size,
            expected.parts,
            expected.text_address,
            expected.sizes,
            run.next_seq if template.numbered else -1,
            arena.memory,
            begin,
            most,
            self._ids if run.sender else NO_IDS,
            outcome,
        )
        if waits and not for_sync and self._waited_in_vain(batches):
            self._rest = CALLS_WITHOUT_WAIT
        if batches:
            arena.used = begin + batches * template.batch_bytes
            run.extend(begin, batches)
            if run.sender:
                run.ids += self._ids[:batches].tolist()
        if outcome[words.END] == words.WAITING:
            return batches, [], batches < most
        return batches, self._other_frames(run), False

    def _may_wait(self) -> bool:
        """Whether to wait in this call."""
        if self._rest:
            self._rest -= 1
            return False
        return bool(self._patience[words.PPOLL])

    def _waited_in_vain(self, batches: int) -> bool:
        """Whether the call waited once and nothing came: the sender may have a window of one burst."""
        patience = self._patience
        alarmed = self._polled["revents"][1]
        return bool(
            patience[words.WAITS] == MOST_WAITS - 1 and patience[words.WAITED_AT] == batches and not alarmed
        )

    def _other_frames(self, run: Run) -> list[AnyFrame]:
        """Return the frames of an unexpected message that were received."""
        outcome, arena = self._outcome, run.arena
        end = outcome[words.END]
        frames: list[AnyFrame] = []
        if run.sender:
            frames.append(_frame(*outcome[words.SENDER_ADDRESS : words.SENDER_MORE + 1]))
        if end == words.OTHER_SENDER:
            return frames
        frames.append(_frame(*outcome[words.HEADER_ADDRESS : words.HEADER_MORE + 1]))
        if end == words.OTHER_HEADER:
            return frames
        at = arena.used
        for size in run.template.frame_bytes[: outcome[words.ARRAYS]]:
            frames.append(ReceivedFrame(bytes(arena.view[at : at + size]), True))
            at += size
        if end == words.OTHER_ARRAY:
            frames.append(_frame(*outcome[words.ARRAY_ADDRESS : words.ARRAY_MORE + 1]))
        return frames


class _Expected:
    """What the compiled loop compares a message with."""

    __slots__ = ("parts", "sizes", "template", "text", "text_address")

    def __init__(self, template: Template | None) -> None:
        self.template = template
        key = template.key if template is not None else ()
        self.parts = np.array([len(part) for part in key], np.int64)
        self.text = np.frombuffer(b"".join(key), np.uint8)
        self.text_address = self.text.ctypes.data
        self.sizes = np.array(template.frame_bytes if template is not None else [], np.int64)


def _patience(descriptors: tuple[int, int]) -> NDArray[np.int64]:
    """Return the words that say how to wait until one of two file descriptors is readable."""
    patience = np.zeros(words.PATIENCE, np.int64)
    patience[words.BURST] = BURST
    ppoll = getattr(ctypes.CDLL(None), "ppoll", None)  # macOS has none: then no call waits
    patience[words.PPOLL] = (ctypes.cast(ppoll, ctypes.c_void_p).value or 0) if ppoll else 0
    patience[words.DESCRIPTORS] = patience.ctypes.data + 8 * words.POLLFDS
    polled = patience[words.POLLFDS : words.TIMEOUT].view(POLLFD)
    polled["fd"], polled["events"] = descriptors, zmq.POLLIN
    return patience


def _frame(address: int, size: int, more: int) -> ReceivedFrame:
    return ReceivedFrame(ctypes.string_at(int(address), int(size)), bool(more))


def _libzmq() -> ctypes.CDLL | None:
    """Return the libzmq that pyzmq uses; `None` if its functions cannot be called."""
    try:
        from zmq.backend.cython import _zmq

        library = ctypes.CDLL(_zmq.__file__)
        for name in (*FUNCTIONS, "zmq_msg_init"):
            getattr(library, name)
    except (ImportError, OSError, AttributeError):
        return None
    return library
