"""The drain: a compiled loop that receives batches, of a run or of many models in turn.

There is no Python between two messages.

It needs the address of libzmq's functions, and a socket without keys: then all messages have one identity. A
`Reader` without a drain receives the same batches one by one.
"""

from __future__ import annotations

import ctypes
from typing import Any, TypeAlias

import numpy as np
import zmq
from msgpack import packb
from numpy.typing import NDArray

from streamlearn.daemon.intake.run import Arena, Run
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
MOST_MODELS = 16  # messages of one call for batches of many models: Python looks at each of them
NO_IDS = np.zeros(0, np.int64)
NO_NAMES = np.zeros((0, words.NAME_BYTES), np.uint8)


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


def frames_of(template: Template, model: str, seq: int, arrays: memoryview) -> list[AnyFrame]:
    """Return the frames of a message of the firehose, with copies of its `arrays`."""
    frames: list[AnyFrame] = [ReceivedFrame(template.header(model, seq), True)]
    at = 0
    for number, size in enumerate(template.frame_bytes, 1):
        more = number < len(template.frame_bytes)
        frames.append(ReceivedFrame(bytes(arrays[at : at + size]), more))
        at += size
    return frames


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
        self._names = np.zeros((MOST_MODELS, words.NAME_BYTES), np.uint8)
        self._seqs = np.zeros(MOST_MODELS, np.int64)
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
        template, arena = run.template, run.arena
        begin = arena.used
        if template.without_arrays.ack != "durable":
            wait_ns = min(wait_ns, WAIT_NS)
        for_sync = wait_ns > WAIT_NS  # the sender gets no ack before, so no wait is in vain
        waits = bool(wait_ns) and template.batch_bytes <= SMALL_BATCH and (for_sync or self._may_wait())
        self._patience[words.WAITS] = MOST_WAITS if waits else 0
        self._patience[words.TIMEOUT + 1] = wait_ns
        most = min(MOST_BATCHES, run.most - run.batches, arena.room // template.batch_bytes)
        ids = self._ids if run.sender else NO_IDS
        batches = self._receive(template, run.model, run.sender, run.next_seq, arena, most, ids)
        if waits and not for_sync and self._waited_in_vain(batches):
            self._rest = CALLS_WITHOUT_WAIT
        if batches:
            arena.used = begin + batches * template.batch_bytes
            run.extend(begin, batches)
            if run.sender:
                run.ids += self._ids[:batches].tolist()
        if self._outcome[words.END] == words.WAITING:
            return batches, [], batches < most
        return batches, self._other_frames(template, run.sender, arena, arena.used), False

    def receive_any(
        self, template: Template, arena: Arena
    ) -> tuple[list[bytes], list[int], list[AnyFrame], bool]:
        """Receive the next messages of the firehose with headers of a template that fits any model.

        Returns
        -------
        models, seqs : list
            The name of the model and the number of each batch, `MOST_MODELS` at most. The batches lie in the
            free part of the arena, one after another.
        frames, empty
            As `receive` returns them.
        """
        self._patience[words.WAITS] = 0
        most = min(MOST_MODELS, arena.room // template.batch_bytes)
        batches = self._receive(template, "", b"", 0, arena, most, NO_IDS, self._names, self._seqs)
        models = self._names.view(f"S{words.NAME_BYTES}")[:batches, 0].tolist()
        seqs = self._seqs[:batches].tolist() if template.numbered else [0] * batches
        if self._outcome[words.END] == words.WAITING:
            return models, seqs, [], batches < most
        end = arena.used + batches * template.batch_bytes
        return models, seqs, self._other_frames(template, b"", arena, end), False

    def _receive(
        self,
        template: Template,
        model: str,
        sender: bytes,
        seq: int,
        arena: Arena,
        most: int,
        ids: NDArray[np.int64],
        names: NDArray[np.uint8] = NO_NAMES,
        seqs: NDArray[np.int64] = NO_IDS,
    ) -> int:
        """Call the compiled loop. Return the number of batches. Without a `model` it may be any."""
        if not self._ready:  # the kernel was loaded with those of the first model
            compiler.ready(receiving)
            self._ready = True
        expected = self._expected
        if expected.template is not template or expected.model != model:
            expected = self._expected = _Expected(template, model)
        first = np.frombuffer(sender, np.uint8)
        return int(
            receiving.receive_batches(
                self._socket,
                self._functions,
                self._messages_address,
                self._patience,
                first.ctypes.data,
                first.size,
                expected.parts,
                expected.text_address,
                expected.sizes,
                seq if template.numbered else -1,
                arena.memory,
                arena.used,
                most,
                ids,
                names,
                seqs,
                self._outcome,
            )
        )

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

    def _other_frames(self, template: Template, sender: bytes, arena: Arena, at: int) -> list[AnyFrame]:
        """Return the frames of an unexpected message that were received. Its arrays begin at `at`."""
        outcome = self._outcome
        end = outcome[words.END]
        frames: list[AnyFrame] = []
        if sender:
            frames.append(_frame(*outcome[words.SENDER_ADDRESS : words.SENDER_MORE + 1]))
        if end == words.OTHER_SENDER:
            return frames
        frames.append(_frame(*outcome[words.HEADER_ADDRESS : words.HEADER_MORE + 1]))
        if end == words.OTHER_HEADER:
            return frames
        for size in template.frame_bytes[: outcome[words.ARRAYS]]:
            frames.append(ReceivedFrame(bytes(arena.view[at : at + size]), True))
            at += size
        if end == words.OTHER_ARRAY:
            frames.append(_frame(*outcome[words.ARRAY_ADDRESS : words.ARRAY_MORE + 1]))
        return frames


class _Expected:
    """What the compiled loop compares a message with. Without a `model` its name is a result."""

    __slots__ = ("model", "parts", "sizes", "template", "text", "text_address")

    def __init__(self, template: Template | None, model: str = "") -> None:
        self.template, self.model = template, model
        key = template.key if template is not None else ()
        if template is not None and model and not template.model:
            before, to_model, to_seq, after = template.key
            key = before, to_model + packb(model) + to_seq, b"", after
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
