"""What the client does, without any I/O: each operation is a generator of calls.

It yields a `Call` and is sent the `Reply`, or thrown the error, until it returns the result. The
blocking and the asyncio client differ only in how they carry the calls.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias, TypeVar

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.calls import Call, Unanswered
from streamlearn_client.errors import (
    BadShape,
    BadValue,
    Gap,
    ModelExists,
    NoAnswer,
    StreamlearnError,
    TooLarge,
    UnknownModel,
)
from streamlearn_client.outputs import Outputs
from streamlearn_client.plain import number, plain, says_the_same, whole
from streamlearn_client.protocol import (
    ACK_LEVELS,
    Learn,
    Limits,
    Reply,
    Request,
    as_batch,
    as_identifier,
    as_identifiers,
    as_samples,
    check_model,
    check_producer,
    encode_request,
)
from streamlearn_client.results import Ack, Position, read_ack

__all__ = ["Flow", "Session", "StreamPlan"]

T = TypeVar("T")
Flow: TypeAlias = Generator[Call, Reply, T]

ANSWERED_LEVELS: Final = ACK_LEVELS - {"none"}


@dataclass(slots=True)
class Numbering:
    """How this client numbers its batches for one model."""

    epoch: int
    next_seq: int = 0


@dataclass(frozen=True, slots=True)
class StreamPlan:
    """What a stream needs to know before its first sample."""

    model: str
    producer: str
    epoch: int
    ack: str
    dim: int
    targets: int
    needs_keys: bool = False
    accepts_late_targets: bool = False

    def check(self, batch: Learn) -> None:
        """Raises ``BadShape`` for rows that the model does not take."""
        if batch.x is None and not self.accepts_late_targets:
            raise BadShape(f"{self.model!r} takes no targets later: push them with their samples")
        if batch.x is not None and batch.x.shape[1] != self.dim:
            raise BadShape(
                f"a sample has {batch.x.shape[1]} values and {self.model!r} takes {self.dim}",
                columns=batch.x.shape[1],
                expected=self.dim,
            )
        targets = 0 if batch.y is None else batch.y.shape[1]
        if targets != self.targets and not (batch.y is None and self.accepts_late_targets):
            raise BadShape(
                f"a sample came with {targets} targets and {self.model!r} takes {self.targets}",
                targets=targets,
                expected=self.targets,
            )
        if (batch.keys is not None) != self.needs_keys:
            takes = "needs a key for each" if self.needs_keys else "has no keys"
            raise BadShape(
                f"samples came with{'out' if self.needs_keys else ''} keys and {self.model!r} {takes}"
            )
        if batch.ids is not None and not self.accepts_late_targets:
            raise BadShape(f"samples came with ids and {self.model!r} takes no targets later: leave ids out")


class Session:
    """One client's numbering and what it learned about its daemon."""

    def __init__(self, producer: str | None) -> None:
        self._given = producer is not None
        self.producer = check_producer(secrets.token_hex(8) if producer is None else producer)
        self._epoch = time.time_ns()
        self._numbers: dict[str, Numbering] = {}
        self._hello: dict[str, Any] | None = None

    # ----------------------------------------------------------------------------------- the daemon

    def hello(self) -> Flow[dict[str, Any]]:
        reply = yield Call(Request("hello"))
        self._hello = reply.ok
        return reply.ok

    def known_hello(self) -> Flow[dict[str, Any]]:
        """What ``hello`` said, asked once."""
        return self._hello if self._hello is not None else (yield from self.hello())

    def limits(self) -> Flow[Limits]:
        told = (yield from self.known_hello()).get("limits")
        return Limits.from_map(told if isinstance(told, Mapping) else {})

    def ask(self, op: str, model: str = "", repeat: bool = True, **fields: Any) -> Flow[dict[str, Any]]:
        """Any operation whose answer is a plain map."""
        if model:
            check_model(model)
        given = {name: value for name, value in fields.items() if value is not None}
        return (yield Call(Request(op, None, model, given), repeat)).ok

    def listed(self, op: str, model: str = "") -> Flow[list[dict[str, Any]]]:
        """An operation that answers with a list under its own name."""
        ok = yield from self.ask(op, model)
        return list(ok.get(op, []))

    # ------------------------------------------------------------------------------------ life of a model

    def create(self, model: str, kind: str, spec: Mapping[str, Any]) -> Flow[dict[str, Any]]:
        """A create whose answer was lost is repeated; that it then finds the model it made is no error."""
        check_model(model)
        wanted = {"kind": kind, "spec": {name: plain(value, name) for name, value in spec.items()}}
        request = Request("create", None, model, wanted)
        check_header(request, (yield from self.limits()))
        unsure = False
        while True:
            try:
                ok = (yield Call(request, repeat=False)).ok
            except Unanswered:
                unsure = True
                continue
            except ModelExists:
                if not unsure:
                    raise
                ok = yield from self.ask("describe", model)
                if not says_the_same(wanted, ok):
                    raise
            self._renumber(model)
            return ok

    def delete(self, model: str) -> Flow[None]:
        """Deletes the model that bore the name when the call began, never a later one of the same name."""
        doomed = (yield from self.ask("describe", model)).get("create_lsn")
        while True:
            try:
                yield Call(Request("delete", None, model), repeat=False)
            except Unanswered:
                try:
                    left = yield from self.ask("describe", model)
                except UnknownModel:
                    break
                if left.get("create_lsn") == doomed:
                    continue
            break
        self._renumber(model)

    # ----------------------------------------------------------------------------------- learn, predict

    def learn(self, model: str, x: Any, y: Any, keys: Any, ids: Any, ack: str) -> Flow[Ack]:
        """Samples; without ``x``, targets that come later."""
        check_model(model)
        check_level(ack)
        batch = as_batch(model, x, y, keys, ids)
        step = rows_per_batch((yield from self.limits()), batch.arrays.values())
        answers: list[Ack] = []
        for start in range(0, batch.rows, step):
            part = batch.part(start, min(start + step, batch.rows))
            try:
                answers.append((yield from self._learn_part(part._replace(ack=ack))))
            except StreamlearnError as error:
                if start:
                    error.detail["accepted"] = start
                    error.add_note(f"the first {start} of the {batch.rows} samples were accepted")
                raise
        last = answers[-1]
        duplicate = any(answer.duplicate for answer in answers)
        return Ack(last.lsn, last.durable_lsn, last.applied_lsn, duplicate, batch.rows)

    def _learn_part(self, batch: Learn) -> Flow[Ack]:
        model = batch.model
        numbers = self._numbers.get(model)
        if numbers is None:
            known = (yield from self.position(model, self.producer)).epoch if self._given else 0
            numbers = self._numbers[model] = Numbering(max(self._epoch, known + 1))
        message = batch._replace(producer=self.producer, epoch=numbers.epoch, seq=numbers.next_seq)
        try:
            reply = yield Call(message)
        except NoAnswer as error:
            # Whether this number is taken is not known. A new epoch makes the next batch right either way,
            # and keeps this one from being learned late.
            error.detail.update(producer=message.producer, epoch=message.epoch, seq=message.seq)
            self._renumber(model)
            raise
        except Gap as error:
            self._renumber(model)
            error.add_note(
                "the daemon no longer knows batches that it had acknowledged to this client: the model was "
                "deleted and made again, the data directory was replaced, or it crashed and they were not "
                "acknowledged as 'durable'. This batch was not learned; the next call goes on from here."
            )
            raise
        numbers.next_seq += 1
        return read_ack(reply.ok)

    def _renumber(self, model: str) -> None:
        numbers = self._numbers.get(model)
        if numbers is not None:
            self._numbers[model] = Numbering(max(time.time_ns(), numbers.epoch + 1))

    def predict(self, model: str, x: Any, keys: Any) -> Flow[Outputs]:
        check_model(model)
        samples = as_samples(x)
        rows = len(samples)
        names = None if keys is None else as_identifiers(keys, rows, "keys")
        most = rows_per_batch((yield from self.limits()), [samples])
        if rows > most:
            raise TooLarge(
                f"{rows} samples are more than one predict may have ({most}); send them in parts",
                rows=rows,
                limit=most,
            )
        reply = yield Call(Request("predict", None, model, {}, samples, names))
        return Outputs(int(reply.ok.get("applied_lsn", 0)), **reply.arrays)

    def forecast(self, model: str, steps: int, key: int | str | None) -> Flow[NDArray[np.float32]]:
        return self._continued("forecast", model, key, steps=whole(steps, "steps"))

    def sample(
        self, model: str, n: int, temperature: float, seed: int, key: int | str | None
    ) -> Flow[NDArray[np.int32]]:
        said = {"temperature": number(temperature, "temperature"), "seed": whole(seed, "seed")}
        return self._continued("sample", model, key, n=whole(n, "n"), **said)

    def _continued(self, op: str, model: str, key: int | str | None, **fields: Any) -> Flow[NDArray[Any]]:
        """An operation whose answer is one array, with the operation's name."""
        check_model(model)
        if key is not None:
            fields["key"] = as_identifier(key, "key")
        return (yield Call(Request(op, None, model, fields))).arrays[op]

    def reheat(self, model: str, heat: float) -> Flow[dict[str, Any]]:
        return self.ask("reheat", model, repeat=False, heat=number(heat, "heat"))

    # ---------------------------------------------------------------------------------------- producers

    def position(self, model: str, producer: str) -> Flow[Position]:
        ok = yield from self.ask("position", model, producer=check_producer(producer))
        return Position(int(ok.get("epoch") or 0), int(ok.get("next_seq") or 0))

    def plan_stream(self, model: str, producer: str | None, batch: int, ack: str) -> Flow[StreamPlan]:
        """Ask what a stream must know, so that what can't work is refused before the first sample."""
        check_model(model)
        check_level(ack)
        name = check_producer(secrets.token_hex(8) if producer is None else producer)
        limits = yield from self.limits()
        described = yield from self.ask("describe", model)
        dim, targets = int(described["dim"]), int(described["target_dim"])
        most = min(limits.rows, limits.frame_bytes // max(4 * dim, 4 * targets, 8))
        if not 1 <= batch <= most:
            raise BadValue(f"batch must be 1 to {most} samples here, not {batch}", field="batch", limit=most)
        epoch = time.time_ns()
        if producer is not None:
            epoch = max(epoch, (yield from self.position(model, name)).epoch + 1)
        needs_keys, accepts_late = (
            bool(described.get("needs_keys")),
            bool(described.get("accepts_late_targets")),
        )
        return StreamPlan(model, name, epoch, ack, dim, targets, needs_keys, accepts_late)

    def endpoint(self, name: str) -> Flow[str]:
        """Where the daemon says its ``firehose`` or ``events`` is. Raises ``NoAnswer`` if it does not say."""
        told = (yield from self.known_hello()).get("endpoints")
        found = told.get(name) if isinstance(told, Mapping) else None
        if not isinstance(found, str):
            raise NoAnswer(f"the daemon announces no endpoint for {name}; give it to the client yourself")
        return found


def check_level(ack: str) -> None:
    if ack not in ANSWERED_LEVELS:
        levels = ", ".join(sorted(ANSWERED_LEVELS))
        hint = "; to send without acknowledgement, use firehose()" if ack == "none" else ""
        raise BadValue(f"ack must be one of {levels}, not {ack!r}{hint}", field="ack")


def check_header(request: Request, limits: Limits) -> None:
    """Raises ``TooLarge`` for a request of which the daemon would not take the header."""
    size, limit = len(encode_request(request)[0]), limits.control_header_bytes
    if size > limit:
        raise TooLarge(
            f"the parameters take {size} bytes and may take {limit}: start with fewer weights, or let"
            " the first samples decide them, as with init='samples'",
            bytes=size,
            limit=limit,
        )


def rows_per_batch(limits: Limits, arrays: Iterable[NDArray[Any]]) -> int:
    """How many rows of these one message may carry. Raises ``TooLarge`` if not even one fits."""
    widest = max(array[:1].nbytes for array in arrays)
    if widest > limits.frame_bytes:
        raise TooLarge(
            f"one sample has {widest} bytes and a frame may have {limits.frame_bytes}",
            bytes=widest,
            limit=limits.frame_bytes,
        )
    return int(np.clip(limits.frame_bytes // widest, 1, limits.rows))
