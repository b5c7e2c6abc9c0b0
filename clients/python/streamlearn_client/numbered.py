"""Batches with given numbers, for gateways and bridges: the position in a source is the number."""

from __future__ import annotations

from typing import Any

from streamlearn_client.aio import AsyncClient
from streamlearn_client.protocol import AnsweredLevel, as_batch, check_model
from streamlearn_client.results import Ack, read_ack
from streamlearn_client.retry import Call
from streamlearn_client.session import Operation, check_ack

__all__ = ["learn_numbered"]


async def learn_numbered(
    client: AsyncClient,
    model: str,
    x: Any,
    y: Any = None,
    *,
    keys: Any = None,
    times: Any = None,
    producer: str,
    epoch: int,
    seq: int = 0,
    ack: AnsweredLevel = "durable",
) -> Ack:
    """Send one batch under a given number, and wait for the acknowledgement.

    Parameters
    ----------
    client : AsyncClient
        The client that sends.
    model : str
        Name of the model.
    x : array_like, (n, dim)
        The samples.
    y : array_like, (n, targets) or (n,), optional
        The targets, as in `AsyncClient.learn`.
    keys : int, str or array_like, (n,), optional
        The keys of the samples.
    times : array_like, (n,), optional
        The times of the samples.
    producer : str
        Name of the sender in the daemon's producer table.
    epoch, seq : int
        The number of the batch: ``seq`` counts from 0 within an epoch, without gaps.
    ack : {"received", "written", "durable"}, default "durable"
        When the daemon acknowledges.

    Returns
    -------
    Ack
        The acknowledgement; ``duplicate`` if the daemon has the batch.

    Raises
    ------
    Fenced, Gap, Conflict, UnknownProducer
        If the number is not the next one.
    BadShape, BadDtype, BadValue
        If the model does not accept the batch.
    NoAnswer
        If no answer arrived in time. The outcome is unknown: send the same batch again.
    """

    def operation() -> Operation[Ack]:
        check_model(model)
        check_ack(ack)
        codes = yield from client._session.codes_of(model, y)
        batch = as_batch(model, x, codes, keys, None, times)
        message = batch._replace(producer=producer, epoch=epoch, seq=seq, ack=ack)
        return read_ack((yield Call(message)).ok)

    return await client._run(operation())
