"""Delivery: each sample is learned once, in the order of time.

The number of a sample is its time: the producer is the stream (``collected``, or ``collected:KEY``), the
epoch is the time in nanoseconds, and each epoch has one batch. So the daemon itself refuses a sample that is
not newer than the newest one of its stream, and recognises one that is sent again. This holds after a death
of the collector, of the gateway and of the daemon, and also if two gateways send the same samples: the
gateway keeps no position. A batch of several samples could not be numbered so: its number would cover
samples that another sender had in flight.

The samples of a model are sent one after another, because a later sample that arrives alone would close the
stream for the earlier one. So the order of learning is that of the request, too. Only the last sample waits
for the disk: the journal is in order, so its acknowledgement covers the others.
"""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from streamlearn.errors import Conflict, Fenced, StreamlearnError, UnknownProducer
from streamlearn.gateway.collecting.joining import Sample
from streamlearn.gateway.collecting.points import Refusal
from streamlearn_client import AsyncClient
from streamlearn_client.numbered import learn_numbered
from streamlearn_client.protocol import AnsweredLevel

PRODUCER: Final = "collected"
_PRODUCER_BYTES: Final = 64
_LOCKS: Final = 1024
_AHEAD_NS: Final = 24 * 3600 * 10**9
_POLL_SECONDS: Final = 0.005
STOPPING: Final = frozenset({"BUSY", "DISK_FULL", "SHUTTING_DOWN", "NO_ANSWER", "PROTOCOL_ERROR", "INTERNAL"})
"""Errors of the daemon as a whole: the collector sends everything again."""


@dataclass(slots=True)
class Delivered:
    """What became of the samples of one request."""

    learned: int = 0
    repeated: int = 0  # not newer than the newest one of the stream
    divided: int = 0  # as new as the newest one, with other values: the rest of a sample
    refusals: list[Refusal] = field(default_factory=list)


def producer_of(key: str | None) -> str:
    """Return the name of a stream in the daemon's producer table."""
    if key is None:
        return PRODUCER
    name = f"{PRODUCER}:{key}"
    if len(name.encode()) <= _PRODUCER_BYTES and name.isprintable():
        return name
    return f"{PRODUCER}#{hashlib.sha256(key.encode()).hexdigest()[:40]}"


class Delivery:
    """Sends the samples of all requests to the daemon."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._locks = [asyncio.Lock() for _ in range(_LOCKS)]  # by model; two models may share one

    async def send(self, model: str, samples: Sequence[Sample], keyed: bool) -> Delivered:
        """Send the samples of a model, which are sorted by time, and wait until they are durable.

        ``keyed``: whether the model has keys. Of other models, the key tells only the streams apart. Raises
        the errors of `STOPPING`.
        """
        delivered = Delivered()
        newest: dict[str | None, int] = {}  # by key, as far as the daemon has refused samples
        durable = True
        async with self._locks[hash(model) % _LOCKS]:
            for number, sample in enumerate(samples, 1):
                if sample.time < newest.get(sample.key, 0):
                    delivered.repeated += 1
                    continue
                if sample.time > time.time_ns() + _AHEAD_NS:
                    delivered.refusals += _refused(sample, "the time is more than a day ahead of the clock")
                    continue
                level: AnsweredLevel = "durable" if number == len(samples) else "received"
                try:
                    ack = await learn_numbered(
                        self._client,
                        model,
                        sample.x[None],
                        None if sample.label is None else [sample.label],
                        keys=sample.key if keyed else None,
                        times=[sample.time],
                        producer=producer_of(sample.key),
                        epoch=sample.time,
                        ack=level,
                    )
                except (Fenced, UnknownProducer) as error:
                    newest[sample.key], durable = int(error.detail["epoch"]), False
                    delivered.repeated += 1
                except Conflict:
                    newest[sample.key], durable = sample.time, False
                    delivered.divided += 1
                except StreamlearnError as error:
                    if error.code in STOPPING:
                        raise
                    delivered.refusals += _refused(sample, error.message)
                else:
                    durable = level == "durable"
                    delivered.repeated += ack.duplicate
                    delivered.learned += not ack.duplicate
            if not durable:
                await self._until_durable(model)
        return delivered

    async def _until_durable(self, model: str) -> None:
        """Wait until all samples that the model has now are durable."""
        applied = None
        while True:
            description = await self._client.describe(model)
            applied = description["applied_lsn"] if applied is None else applied
            if description["durable_lsn"] >= applied:
                return
            await asyncio.sleep(_POLL_SECONDS)


def _refused(sample: Sample, reason: str) -> list[Refusal]:
    return [Refusal(place, reason) for place in sample.places]
