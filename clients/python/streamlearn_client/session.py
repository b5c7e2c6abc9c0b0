"""The client's operations, without any I/O: each one is a generator of calls.

An operation yields a `Call`, receives the `Reply` or the error, and returns its result at the end. The
blocking client and the asyncio client differ only in how they execute the calls.
"""

from __future__ import annotations

import hashlib
import time
from dataclasses import dataclass
from typing import Any, Final

import numpy as np

from streamlearn_client.endpoints import resolve_endpoint
from streamlearn_client.epochs import needs_new_epoch, next_epoch
from streamlearn_client.errors import (
    BadValue,
    Conflict,
    Fenced,
    Gap,
    NoAnswer,
    StreamlearnError,
    UnknownModel,
)
from streamlearn_client.json_conversion import as_number, as_whole_number
from streamlearn_client.protocol import (
    ACK_LEVELS,
    GENERATED,
    Learn,
    Limits,
    PrecisionMonitor,
    Request,
    as_batch,
    as_samples,
    check_model,
    check_producer,
    named_columns,
    named_samples,
    producer_name,
)
from streamlearn_client.replies import protocol_error
from streamlearn_client.results import Ack, BatchNumber, Position, merged, read_ack
from streamlearn_client.retry import AnswerLost, Call
from streamlearn_client.session_queries import Operation, rows_per_batch
from streamlearn_client.session_transfers import SessionTransfers
from streamlearn_client.stream_config import StreamConfig

__all__ = ["Operation", "Session", "StreamConfig"]

ANSWERED_LEVELS: Final = ACK_LEVELS - {"none"}
IDEMPOTENCY_KEY_BYTES: Final = 256
EPOCH_TRIES: Final = 4
"""How often a batch is sent whose epoch the daemon refuses."""


@dataclass(slots=True)
class BatchSequence:
    """The epoch and the next sequence number of this client's batches for one model.

    ``in_use`` is set before a batch is sent, and cleared when its ack was read. Whatever ends a call in
    between (a timeout, a cancelled task, Ctrl-C) leaves it set. Then the daemon may have a batch with this
    number, and the next batch begins a new epoch.
    """

    epoch: int
    next_seq: int = 0
    in_use: bool = False


class Session(SessionTransfers):
    """The state of one client: its batch sequences and the daemon's ``hello``."""

    def __init__(self, producer: str | None, endpoint: str) -> None:
        self._endpoint = endpoint
        self._named = producer is not None
        self.producer = producer_name(producer)
        self._epoch = time.time_ns()
        self._sequences: dict[str, BatchSequence] = {}
        self._precision: dict[str, PrecisionMonitor] = {}
        self._hello: dict[str, Any] | None = None

    # ----------------------------------------------------------------------------------- the daemon

    def hello(self) -> Operation[dict[str, Any]]:
        """Request the daemon's version, limits and endpoints."""
        reply = yield Call(Request("hello"))
        self._hello = reply.ok
        return reply.ok

    def cached_hello(self) -> Operation[dict[str, Any]]:
        """Return the answer to ``hello``; request it only once."""
        return self._hello if self._hello is not None else (yield from self.hello())

    def limits(self) -> Operation[Limits]:
        """Return the daemon's limits."""
        return Limits.from_map((yield from self.cached_hello())["limits"])

    def request(
        self, op: str, model: str = "", idempotent: bool = True, **fields: Any
    ) -> Operation[dict[str, Any]]:
        """Execute an operation that answers with a map."""
        if model:
            check_model(model)
        given = {name: value for name, value in fields.items() if value is not None}
        return (yield Call(Request(op, None, model, given), idempotent)).ok

    def request_list(self, op: str, model: str = "") -> Operation[list[dict[str, Any]]]:
        """Execute an operation that answers with a list under its own name."""
        entries: list[dict[str, Any]] = (yield from self.request(op, model))[op]
        return entries

    def models(self) -> Operation[list[dict[str, Any]]]:
        """Return all models. The daemon answers in parts, by name."""
        page = yield from self.request("models")
        models: list[dict[str, Any]] = page["models"]
        while page.get("more") and page["models"]:
            page = yield from self.request("models", after=page["models"][-1]["name"])
            models += page["models"]
        return models

    def stats(self, model: str) -> Operation[dict[str, Any]]:
        """Return the counters of the daemon and of all models, which the daemon answers in parts."""
        stats = page = yield from self.request("stats", model)
        while page.pop("more", False) and (models := page.get("models")):
            page = yield from self.request("stats", after=max(models))
            stats["models"] |= page.get("models") or {}
        return stats

    # ----------------------------------------------------------------------------- create and delete

    def delete(self, model: str) -> Operation[None]:
        """Delete the model that has this name now, but not a model of the same name created later."""
        create_lsn = (yield from self.request("describe", model))["create_lsn"]
        self._begin_epoch(model)
        while True:
            try:
                yield Call(Request("delete", None, model), idempotent=False)
            except AnswerLost:
                try:
                    description = yield from self.request("describe", model)
                except UnknownModel:
                    break
                if description["create_lsn"] == create_lsn:
                    continue
            break
        self._begin_epoch(model)

    def restore(
        self, model: str, lsn: int | None, name: str | None, into: str | None, key: str | None = None
    ) -> Operation[dict[str, Any]]:
        """Restore a state of a model. A new model ``into`` knows no batches of this client."""
        if into is not None:
            self._begin_epoch(into)
        if key is not None and into is not None:
            raise BadValue("a restore into another model takes no idempotency_key", field="idempotency_key")
        given = {"lsn": lsn, "name": name, "into": into}
        fields = {name: value for name, value in given.items() if value is not None}
        ok = yield from self._change(Request("restore", None, check_model(model), fields), key)
        if into is not None:
            self._begin_epoch(into)
        return ok

    # ----------------------------------------------------------------------------------- learn, predict

    def learn(
        self,
        model: str,
        x: Any,
        y: Any,
        keys: Any,
        ids: Any,
        ack: str,
        times: Any = None,
        idempotency_key: str | None = None,
        part: int = 0,
        number: BatchNumber | None = None,
    ) -> Operation[Ack]:
        """Send samples, or late targets if ``x`` is ``None``."""
        check_model(model)
        check_ack(ack)
        if x is not None:
            x = named_samples(x, times)
        batch = as_batch(model, x, (yield from self.codes_of(model, y)), keys, ids, times)
        if batch.x is not None:
            self._precision.setdefault(model, PrecisionMonitor(f"{model!r}")).observe(x.values, batch.x)
        step = rows_per_batch((yield from self.limits()), batch.arrays.values())
        once = None if idempotency_key is None else (yield from self._once(model, idempotency_key))
        if part and (once is None or step < batch.rows):
            raise BadValue(
                f"part {part} needs an idempotency_key, and at most {step} samples: those of one message",
                field="part",
            )
        first = part
        if number is not None:
            if once is not None or step < batch.rows:
                raise BadValue(
                    f"a batch with a number has no idempotency_key, and at most {step} samples: those of one"
                    " message",
                    field="number",
                )
            once = {"producer": check_producer(number.producer), "epoch": number.epoch}
            first = number.seq
        acks: list[Ack] = []
        for start in range(0, batch.rows, step):
            message = batch.part(start, min(start + step, batch.rows))._replace(ack=ack)
            try:
                if once is None:
                    acks.append((yield from self._learn_part(message)))
                else:
                    reply = yield Call(message._replace(**once, seq=first + len(acks)))
                    acks.append(read_ack(reply.ok))
            except StreamlearnError as error:
                if start:
                    error.detail["accepted"] = start
                    error.add_note(f"the daemon accepted the first {start} of the {batch.rows} samples")
                raise
        return merged(acks)

    def _once(self, model: str, key: str) -> Operation[dict[str, Any]]:
        """Return the producer of one idempotency key, and its epoch, which is the same in every attempt.

        An unknown producer gets the smallest epoch that the daemon accepts. So two clients that send the same
        key at the same time use the same epoch, and the daemon recognises the second batch.
        """
        producer = once_producer(key)
        position = yield from self.position(model, producer)
        return {"producer": producer, "epoch": position.epoch + (position.next_seq == 0)}

    def _learn_part(self, batch: Learn) -> Operation[Ack]:
        model = batch.model
        if model not in self._sequences:
            newest = (yield from self.position(model, self.producer)).epoch if self._named else 0
            self._sequences[model] = BatchSequence(max(self._epoch, next_epoch(self.producer, newest)))
        tries = EPOCH_TRIES
        while True:
            if self._sequences[model].in_use:
                self._begin_epoch(model)
            sequence = self._sequences[model]
            message = batch._replace(producer=self.producer, epoch=sequence.epoch, seq=sequence.next_seq)
            sequence.in_use = True
            try:
                reply = yield Call(message)
            except StreamlearnError as error:
                tries -= 1
                if needs_new_epoch(error):
                    self._begin_epoch(model, error)
                    if tries and not error.in_doubt:
                        continue
                if isinstance(error, Fenced):
                    sequence.in_use = False  # a new epoch would take the name back from the newer client
                if error.in_doubt:
                    error.detail.update(producer=message.producer, epoch=message.epoch, seq=message.seq)
                _explain(error)
                raise
            sequence.next_seq += 1
            sequence.in_use = False
            return read_ack(reply.ok)

    def _begin_epoch(self, model: str, refusal: StreamlearnError | None = None) -> None:
        sequence = self._sequences.get(model)
        if sequence is not None:
            self._sequences[model] = BatchSequence(next_epoch(self.producer, sequence.epoch, refusal))

    def _change(self, request: Request, key: str | None) -> Operation[dict[str, Any]]:
        """Execute a change; with an idempotency key once, however often it is sent."""
        if key is None:
            return (yield Call(request, idempotent=request.op in ("pause", "resume"))).ok
        number = (yield from self._once(request.model, key)) | {"seq": 0}
        return (yield Call(request._replace(fields={**request.fields, **number}))).ok

    def reheat(self, model: str, heat: float, key: str | None = None) -> Operation[dict[str, Any]]:
        """Set the model's schedules back."""
        fields = {"heat": as_number(heat, "heat")}
        return self._change(Request("reheat", None, check_model(model), fields), key)

    def feedback(
        self, model: str, sample: Any, verdict: str, name: str, key: str | None = None
    ) -> Operation[dict[str, Any]]:
        """Judge a sample, given by its values or its number."""
        fields: dict[str, Any] = {"verdict": verdict, "name": name}
        check_model(model)
        if isinstance(sample, (int, np.integer)):
            fields["sample"] = int(sample)
            return (yield from self._change(Request("feedback", None, model, fields), key))
        values, channels = named_columns(sample)
        x = as_samples(np.reshape(values, (1, -1)))
        request = Request("feedback", None, model, fields, x, channels=channels)
        return (yield from self._change(request, key))

    # ---------------------------------------------------------------------------------------- producers

    def pause(self, model: str, key: str | None = None) -> Operation[dict[str, Any]]:
        """Watch all samples of a model until `resume`."""
        return self._change(Request("pause", None, check_model(model), {}), key)

    def resume(self, model: str, key: str | None = None) -> Operation[dict[str, Any]]:
        """Learn again after `pause`."""
        return self._change(Request("resume", None, check_model(model), {}), key)

    def position(self, model: str, producer: str) -> Operation[Position]:
        """Request the state of a producer."""
        ok = yield from self.request("position", model, producer=check_producer(producer))
        return Position(ok["epoch"], ok["next_seq"])

    def stream_config(
        self, model: str, producer: str | None, batch: int, window: int, ack: str
    ) -> Operation[StreamConfig]:
        """Check a stream's settings against the daemon and the model, before the first sample."""
        check_model(model)
        check_ack(ack)
        name = producer_name(producer)
        limits = yield from self.limits()
        description = yield from self.request("describe", model)
        dim, targets = description["dim"], description["target_dim"]
        limit = min(limits.rows, limits.frame_bytes // max(4 * dim, 4 * targets, 8))
        if not 1 <= as_whole_number(batch, "batch") <= limit:
            raise BadValue(
                f"batch must be 1 to {limit} samples for this model, not {batch}", field="batch", limit=limit
            )
        widest = max(limits.window, limits.wide_window)
        if not 1 <= as_whole_number(window, "window") <= widest:
            raise BadValue(
                f"window must be 1 to {widest} batches, not {window}: the daemon recognizes so many "
                "when they are sent again",
                field="window",
                limit=widest,
            )
        epoch, channels = time.time_ns(), description["spec"].get("channels")
        if producer is not None:
            epoch = max(epoch, next_epoch(name, (yield from self.position(model, name)).epoch))
        return StreamConfig(
            model,
            name,
            epoch,
            ack,
            dim,
            targets,
            needs_keys=description["needs_keys"],
            accepts_late_targets=description["accepts_late_targets"],
            channels=tuple(channels) if channels else None,
            label_names=tuple(description.get("label_names") or ()),
        )

    def endpoint(self, name: str) -> Operation[str]:
        """Return the endpoint that the daemon announces for ``firehose`` or ``events``.

        Raise ``NoAnswer`` if it announces none.
        """
        announced: str | None = (yield from self.cached_hello())["endpoints"].get(name)
        if announced is None:
            raise NoAnswer(f"the daemon announces no {name} endpoint; pass the endpoint to the client")
        try:
            return resolve_endpoint(announced, self._endpoint)
        except ValueError as problem:
            raise protocol_error(self._endpoint, f"its {name} endpoint is {announced!r}: {problem}") from None


def _explain(error: StreamlearnError) -> None:
    """Add to an error of ``learn`` what it means for the batch."""
    if isinstance(error, Gap):
        error.add_note(
            "the daemon lost batches that it had acknowledged to this client: the model was deleted and "
            "created again, or the data directory was replaced, or the daemon crashed before they were "
            "durable. The model did not learn this batch; call learn again to send it"
        )
    elif isinstance(error, Conflict):
        error.add_note(
            "another program sends with the same producer name and epoch. The model did not learn this batch"
        )
    elif error.in_doubt:
        error.add_note(
            "the model may or may not have learned this batch: an attempt to send it has no answer. Later "
            "batches are not affected"
        )


def once_producer(key: str) -> str:
    """Return the name of the producer that sends nothing but the batch of one idempotency key."""
    if type(key) is not str or not 0 < len(key.encode()) <= IDEMPOTENCY_KEY_BYTES:
        raise BadValue(
            f"idempotency_key must be text of 1 to {IDEMPOTENCY_KEY_BYTES} bytes, not {key!r:.80}",
            field="idempotency_key",
        )
    return f"{GENERATED}{hashlib.sha256(key.encode()).hexdigest()[:40]}"


def check_ack(ack: str) -> None:
    """Raise ``BadValue`` unless ``ack`` is a level that the daemon answers."""
    if ack not in ANSWERED_LEVELS:
        levels = ", ".join(sorted(ANSWERED_LEVELS))
        hint = "; to send without acknowledgement, use firehose()" if ack == "none" else ""
        raise BadValue(f"ack must be one of {levels}, not {ack!r}{hint}", field="ack")
