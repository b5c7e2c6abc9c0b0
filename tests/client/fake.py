"""A fake daemon with the real protocol, with and without sockets. It stores batches and injects faults."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import numpy as np
import zmq

from streamlearn_client.errors import (
    Conflict,
    Fenced,
    Gap,
    ModelExists,
    StreamlearnError,
    UnknownModel,
    UnknownProducer,
)
from streamlearn_client.protocol import (
    DEFAULT_LIMITS,
    SUBSCRIBED,
    EventMessage,
    Learn,
    Limits,
    Request,
    decode_request,
    encode_error,
    encode_event,
    encode_reply,
    split_envelope,
)

DROP = "drop"
"""Outcome of a fault: the daemon executes the request and does not answer."""
IGNORE = "ignore"
"""Outcome of a fault: the daemon neither executes nor answers the request."""

CONTENT = np.frombuffer(b"file", np.uint8)
SHA256 = hashlib.sha256(CONTENT).hexdigest()
CHECKPOINT = {"lsn": 0, "bytes": 10, "time": 0}

Fault = Callable[[Request | Learn], StreamlearnError | str | None]


def once(op: str, outcome: StreamlearnError | str, then: Callable[[], object] | None = None) -> Fault:
    """Return a fault for the first request of one operation."""
    left = [outcome]

    def fault(request: Request | Learn) -> StreamlearnError | str | None:
        name = request.op if isinstance(request, Request) else "learn"
        if name != op or not left:
            return None
        if then is not None:
            then()
        return left.pop()

    return fault


def _bind(socket: zmq.Socket, endpoint: str) -> None:
    """Bind the socket. Wait up to 60 s if another process uses the port."""
    deadline = time.monotonic() + 60
    while True:
        try:
            socket.bind(endpoint)
            return
        except zmq.ZMQError as error:
            if error.errno != zmq.EADDRINUSE or time.monotonic() > deadline:
                raise
            time.sleep(0.05)


class FakeModel:
    def __init__(self, kind: str, spec: dict[str, Any], create_lsn: int) -> None:
        self.kind, self.spec, self.create_lsn = kind, spec, create_lsn
        self.batches: list[Learn] = []
        self.positions: dict[str, tuple[int, int]] = {}
        self.floor = 0
        """The smallest epoch that an unknown producer may begin."""

    @property
    def rows(self) -> np.ndarray:
        dim = self.spec.get("dim", 1)
        samples = [batch.x for batch in self.batches if batch.x is not None]
        return np.concatenate(samples or [np.empty((0, dim), "f4")])

    def take(self, learn: Learn, lossy: bool = False) -> bool:
        """Store a batch. Return whether it is a duplicate. ``lossy``: batches before it may be missing."""
        if learn.producer:
            epoch, expected = self.positions.get(learn.producer, (0, 0))
            if learn.producer not in self.positions and learn.epoch < self.floor:
                raise UnknownProducer("a forgotten producer", epoch=self.floor)
            if learn.epoch < epoch:
                raise Fenced("an older epoch", epoch=epoch)
            if learn.epoch > epoch:
                expected = 0
            if learn.seq > expected and not lossy:
                raise Gap("a hole", expected_seq=expected)
            if learn.seq < expected:
                if not self._has(learn):
                    raise Conflict("another batch with the same number")
                return True
            self.positions[learn.producer] = (learn.epoch, learn.seq + 1)
        self.batches.append(learn._replace(**{name: array.copy() for name, array in learn.arrays.items()}))
        return False

    def _has(self, learn: Learn) -> bool:
        """Whether the batch with this number has the same content."""
        number = (learn.producer, learn.epoch, learn.seq)
        return any(
            {name: array.tobytes() for name, array in batch.arrays.items()}
            == {name: array.tobytes() for name, array in learn.arrays.items()}
            for batch in self.batches
            if (batch.producer, batch.epoch, batch.seq) == number
        )

    def forget_producers(self) -> None:
        """Remove all producers, as the daemon does if its table is full."""
        self.floor = max([self.floor, *(epoch + 1 for epoch, _ in self.positions.values())])
        self.positions.clear()

    def match(self, ids: list[int]) -> int:
        """Return how many of the ids belong to earlier samples."""
        known = {
            id
            for batch in self.batches
            if batch.x is not None and batch.ids is not None
            for id in batch.ids.tolist()
        }
        return sum(id in known for id in ids)

    def forget(self, batches: int) -> None:
        """Delete the newest batches, as a crash does if they were not durable."""
        for learn in self.batches[-batches:]:
            epoch, expected = self.positions[learn.producer]
            self.positions[learn.producer] = (epoch, expected - 1)
        del self.batches[-batches:]


class FakeModels:
    """The models of a daemon and its answers, without sockets."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        self.limits = limits
        self.models: dict[str, FakeModel] = {}
        self.requests: list[Request | Learn] = []
        self.fault: Fault = lambda request: None
        self.lsn = 0
        self._ports = [0, 0, 0]

    def add(self, name: str, kind: str = "som", **spec: Any) -> FakeModel:
        self.lsn += 1
        self.models[name] = FakeModel(kind, spec, self.lsn)
        return self.models[name]

    def answer(self, request: Request | Learn) -> list[Any] | None:
        """Execute a request. Return the frames of the reply; ``None`` for no reply."""
        self.requests.append(request)
        try:
            fault = self.fault(request)
            if isinstance(fault, StreamlearnError):
                raise fault
            if fault == IGNORE:
                return None
            ok, arrays = self._take(request) if isinstance(request, Learn) else self._do(request)
        except StreamlearnError as error:
            return encode_error(request.id, error)
        return None if fault == DROP else encode_reply(request.id, ok, arrays)

    def _model(self, name: str) -> FakeModel:
        if name not in self.models:
            raise UnknownModel(f"there is no model {name!r}")
        return self.models[name]

    def _take(self, learn: Learn, lossy: bool = False) -> tuple[dict[str, Any], None]:
        duplicate = self._model(learn.model).take(learn, lossy)
        self.lsn += not duplicate
        lsns = dict.fromkeys(("lsn", "durable_lsn", "applied_lsn"), self.lsn)
        fields = {**lsns, "duplicate": duplicate, "rows": learn.rows}
        if learn.x is None and not duplicate:
            matched = self._model(learn.model).match(learn.ids.tolist())
            fields |= {"matched": matched, "unmatched": learn.rows - matched}
        return fields, None

    def _do(self, request: Request) -> tuple[dict[str, Any], dict[str, np.ndarray] | None]:
        if request.op == "hello":
            names = zip(("requests", "firehose", "events"), self._ports, strict=True)
            return {
                "server": "fake",
                "version": "0",
                "protocol": 1,
                "instance": "0",
                "limits": self.limits.to_map(),
                "endpoints": {name: f"tcp://0.0.0.0:{port}" for name, port in names},
            }, None
        if request.op == "models":
            return {"models": [self._entry(name) for name in self.models]}, None
        if request.op == "create":
            if request.model in self.models:
                raise ModelExists(f"there is a model {request.model!r} already")
            model = self.add(request.model, request.fields["kind"], **request.fields.get("spec", {}))
            return {**self._entry(request.model), **self._lsns(), "spec": model.spec}, None
        if request.op == "backup":
            counts = dict.fromkeys(("models", "segments", "checkpoints", "damaged", "bytes"), 1)
            return {"directory": request.fields["directory"], "lsn": self.lsn, **counts}, None
        if request.op == "upload":
            size = request.fields["bytes"]
            return {"upload": request.fields["upload"], "received": size, "bytes": size}, None
        if request.op == "stats":
            return {"models": {}}, None
        model = self._model(request.model)
        entry = self._entry(request.model)
        if request.op == "delete":
            del self.models[request.model]
            return {"model": request.model, **self._lsns()}, None
        if request.op == "describe":
            return {
                **entry,
                "spec": {**model.spec, "seed": 0},
                "target_dim": model.spec.get("targets", 0),
                "needs_keys": model.spec.get("needs_keys", False),
                "accepts_late_targets": model.spec.get("accepts_late_targets", False),
                "uses_time": False,
                "durable_lsn": self.lsn,
                "state_hash": "0",
                "quality": {},
                "checkpoints": [],
            }, None
        if request.op == "export":
            facts = {"export": "e", "bytes": 4, "sha256": SHA256, "offset": 0, "samples": 0, **self._lsns()}
            return {"model": request.model, "kind": model.kind, **facts}, {"content": CONTENT}
        if request.op == "clone":
            return {**entry, **self._lsns(), "spec": model.spec, "cloned_lsn": self.lsn}, None
        if request.op == "position":
            epoch, seq = model.positions.get(request.fields["producer"], (0, 0))
            return {"epoch": epoch, "next_seq": seq}, None
        if request.op in ("checkpoint", "unpin"):
            return {"model": request.model, **CHECKPOINT, "lsn": self.lsn}, None
        if request.op == "checkpoints":
            return {"checkpoints": [{**CHECKPOINT, "lsn": self.lsn}]}, None
        if request.op in ("restore", "reheat", "pause", "resume", "feedback", "label"):
            return {**entry, **self._lsns(), "restored_lsn": self.lsn}, None
        return self._query(request)

    def _query(self, request: Request) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
        ok = {"applied_lsn": self.lsn, "samples": 0}
        if request.op == "predict":
            return ok, {"winner": np.arange(len(request.x), dtype="<i4")}
        if request.op == "explain":
            return ok, {name: np.ones(request.x.shape, "<f4") for name in ("expected", "contribution")}
        key = request.fields.get("key", 0)
        if request.op == "forecast":
            return ok, {"forecast": np.full((request.fields["steps"], 2), key, "<f4")}
        if request.op == "read":
            entry = self._entry(request.model)
            arrays = {name: np.zeros((1, 2), "<f4") for name in request.fields["what"]}
            return {**ok, "model": request.model, "kind": entry["kind"]}, arrays
        return ok, {"sample": np.full(request.fields["n"], key, "<i4")}

    def _lsns(self) -> dict[str, int]:
        return dict.fromkeys(("lsn", "durable_lsn"), self.lsn)

    def _entry(self, name: str) -> dict[str, Any]:
        model = self.models[name]
        return {
            "name": name,
            "kind": model.kind,
            "dim": model.spec.get("dim", 1),
            "samples": len(model.rows),
            "applied_lsn": self.lsn,
            "create_lsn": model.create_lsn,
            "paused": False,
        }


class FakeDaemon(FakeModels):
    """A daemon in a thread. `kill` and `start` are a crash and a restart at the same endpoints."""

    def __init__(self, limits: Limits = DEFAULT_LIMITS) -> None:
        super().__init__(limits)
        self.duplicates_answers = False
        self.subscribers = 0
        """Number of subscribers with confirmed subscriptions."""
        self._thread: threading.Thread | None = None
        self._restart: threading.Thread | None = None
        self._commands: list[Callable[[], None]] = []
        self.start()

    @property
    def endpoint(self) -> str:
        return f"tcp://127.0.0.1:{self._ports[0]}"

    def start(self) -> None:
        self._context = zmq.Context()
        sockets = []
        for i, kind in enumerate((zmq.ROUTER, zmq.PULL, zmq.XPUB)):
            socket = self._context.socket(kind)
            socket.linger = 0
            _bind(socket, f"tcp://127.0.0.1:{self._ports[i] or '*'}")
            self._ports[i] = int(socket.last_endpoint.decode().rpartition(":")[2])
            sockets.append(socket)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, args=sockets, daemon=True)
        self._thread.start()

    def kill(self) -> None:
        """Stop at once. Unanswered requests are lost."""
        if self._thread is not None:
            self._stop.set()
            self._thread.join()
            self._thread = None
            self._context.term()  # returns when the ports are free

    def restart_soon(self) -> None:
        """Restart from a fault, which runs in the daemon's own thread."""

        def restart() -> None:
            self.kill()
            self.start()

        self._restart = threading.Thread(target=restart)
        self._restart.start()

    def close(self) -> None:
        if self._restart is not None:
            self._restart.join()
        self.kill()

    def publish(self, event: EventMessage) -> None:
        self._commands.append(lambda: self._events.send_multipart(encode_event(event)))

    def _run(self, router: zmq.Socket, firehose: zmq.Socket, events: zmq.Socket) -> None:
        self._events = events
        poller = zmq.Poller()
        for socket in (router, firehose, events):
            poller.register(socket, zmq.POLLIN)
        try:
            while not self._stop.is_set():
                ready = dict(poller.poll(5))
                if events in ready:
                    self._confirm_subscriptions()
                if firehose in ready:
                    with suppress(StreamlearnError):  # the firehose has no answers
                        self._take(decode_request(firehose.recv_multipart(), self.limits), lossy=True)
                if router in ready:
                    self._serve(router)
                while self._commands:
                    self._commands.pop(0)()
        finally:
            for socket in (router, firehose, events):
                socket.close(0)

    def _confirm_subscriptions(self) -> None:
        while self._events.poll(0):
            message = self._events.recv()
            if message.startswith(b"\x01" + SUBSCRIBED.encode()):
                self._events.send(message[1:])
                self.subscribers += 1

    def _serve(self, router: zmq.Socket) -> None:
        """Answer all waiting requests."""
        while not self._stop.is_set():
            try:
                envelope, frames = split_envelope(router.recv_multipart(zmq.NOBLOCK))
            except zmq.Again:
                return
            try:
                request = decode_request(frames, self.limits)
            except StreamlearnError as error:
                router.send_multipart([*envelope, *encode_error(error.request_id, error)])
                continue
            reply = self.answer(request)
            for _ in range(0 if reply is None else 2 if self.duplicates_answers else 1):
                router.send_multipart([*envelope, *reply])
