"""Samples: learn, predict, explain, forecast."""

from __future__ import annotations

import asyncio
import dataclasses
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Header, Query, Request
from starlette.responses import Response

from streamlearn.errors import BadMessage, BadValue
from streamlearn.gateway.access import Who
from streamlearn.gateway.bodies import ARROW, CSV, JSON, NDJSON, Columns, Samples, open_table, read_samples
from streamlearn.gateway.encodings import decoded, whole
from streamlearn.gateway.learning import Learning
from streamlearn.gateway.state import UNLIMITED, gateway_of
from streamlearn.gateway.tables import TABLES, outputs_table, table_type
from streamlearn.json_values import to_json
from streamlearn.tabular.times import TimeColumn
from streamlearn_client.outputs import Outputs
from streamlearn_client.results import Ack
from streamlearn_client.session import once_producer

router = APIRouter(tags=["samples"])

BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            JSON: {
                "schema": {
                    "type": "object",
                    "required": ["x"],
                    "properties": {
                        "x": {
                            "description": "samples, each a list or an object, or an object with a list per"
                            " channel; null: missing"
                        },
                        **{name: {"type": "array", "items": {}} for name in ("y", "keys", "ids", "times")},
                    },
                },
                "example": {"x": [[1.5, 2.0], [1.6, None]]},
            },
            NDJSON: {"schema": {"type": "string"}, "example": '{"flow": 1.5, "pressure": 2.0}\n'},
            CSV: {"schema": {"type": "string"}, "example": "flow,pressure\n1.5,2.0\n"},
            ARROW: {"schema": {"type": "string", "format": "binary"}},
        },
    }
}


Table = Annotated[Columns, Depends()]


@router.post("/v1/models/{model}/learn", openapi_extra=BODY)
async def learn(
    request: Request,
    who: Who,
    model: str,
    table: Table,
    ack: Literal["received", "written", "durable"] = "durable",
    idempotency_key: Annotated[
        str | None, Header(description="the batch is learned once for each key")
    ] = None,
) -> dict[str, Any]:
    """Learn samples in order, and answer when they are acknowledged. The default means synced to disk.

    Bodies other than JSON are learned in parts while they arrive, and may be endless. ``rows`` of the answer
    are learned; ``duplicate_rows`` of them were learned before, under the same idempotency key.
    """
    who.require("learn", model)
    gateway = gateway_of(request)
    client = gateway.client

    async def send(samples: Samples, number: int) -> Ack:
        return await client.learn(
            model,
            samples.x,
            samples.y,
            keys=samples.keys,
            ids=samples.ids,
            times=samples.times,
            ack=ack,
            idempotency_key=idempotency_key,
            part=0 if idempotency_key is None else number,
        )

    media_type = _media_type(request)
    if media_type == JSON:
        answer = await send(await _samples(request, model, table), 0)
        return {name: value for name, value in dataclasses.asdict(answer).items() if value is not None}
    reader = open_table(media_type, table, *await _names(request, model, media_type))
    numbered = None
    if idempotency_key is not None:
        numbered = (await client.position(model, once_producer(idempotency_key))).next_seq
    request.scope[UNLIMITED] = True
    cutter = reader.cutter(gateway.settings.limits.body_bytes)
    learning = Learning(reader, cutter, send, numbered, "content-length" not in request.headers)
    await learning.run(decoded(request.stream(), _encoding(request)), gateway.stopping)
    if not learning.rows:
        raise BadMessage("the body has no samples")
    return learning.summary()


@router.post("/v1/models/{model}/predict", openapi_extra=BODY, response_model=None, responses=TABLES)
async def predict(request: Request, who: Who, model: str, table: Table) -> Response | dict[str, Any]:
    """Return the outputs for each sample, as JSON, CSV or Arrow. Changes nothing."""
    who.require("predict", model)
    samples = await _samples(request, model, table)
    found = await gateway_of(request).client.predict(model, samples.x, samples.keys, times=samples.times)
    return await _answer(request, model, found)


@router.post("/v1/models/{model}/explain", openapi_extra=BODY, response_model=None, responses=TABLES)
async def explain(request: Request, who: Who, model: str, table: Table) -> Response | dict[str, Any]:
    """Return what the model expects instead of each sample, and each channel's share in the deviation."""
    who.require("explain", model)
    samples = await _samples(request, model, table)
    client = gateway_of(request).client
    found = await client.explain(model, samples.x, samples.y, samples.keys, times=samples.times)
    return await _answer(request, model, found)


@router.get("/v1/models/{model}/forecast", response_model=None, responses=TABLES)
async def forecast(
    request: Request,
    who: Who,
    model: str,
    steps: Annotated[int, Query(ge=1)] = 24,
    key: str | None = None,
    time: Annotated[list[str] | None, Query(description="time of each step; by default continued")] = None,
) -> Response | dict[str, Any]:
    """Return how a recurrent model continues its stream: forecast, bands, weights of the mix, times."""
    who.require("forecast", model)
    times = None if time is None else [_nanoseconds(each) for each in time]
    found = await gateway_of(request).client.forecast_in_full(model, steps, key, times=times)
    if media_type := table_type(request):
        return outputs_table(media_type, found.arrays, await _channels(request, model, media_type), None)
    arrays = {name: to_json(values) for name, values in found.arrays.items()}
    return {"samples": found.samples, **arrays, **({"mix_of": found.mix_of} if found.mix_of else {})}


def _nanoseconds(text: str) -> int:
    try:
        return TimeColumn().read(text)
    except ValueError:
        raise BadValue(
            f"time is {text[:40]!r}; a time was expected, for example 2026-03-01T10:00:00Z", field="time"
        ) from None


async def _answer(request: Request, model: str, outputs: Outputs) -> Response | dict[str, Any]:
    media_type = table_type(request)
    if media_type is None:
        return outputs_to_json(outputs)
    channels = await _channels(request, model, media_type)
    return outputs_table(media_type, outputs.arrays, channels, outputs.applied_lsn)


def outputs_to_json(outputs: Outputs) -> dict[str, Any]:
    """Return outputs as JSON: one list per output."""
    arrays = {name: to_json(values) for name, values in outputs.arrays.items()}
    return {"applied_lsn": outputs.applied_lsn, "rows": len(outputs), "outputs": arrays}


async def _samples(request: Request, model: str, table: Columns) -> Samples:
    media_type = _media_type(request)
    channels, labels = await _names(request, model, media_type)
    body = await _body(request)
    samples = await asyncio.to_thread(read_samples, body, media_type, table, channels, labels)
    if media_type != JSON or not isinstance(samples.x, dict):
        return samples
    description = await gateway_of(request).client.describe(model)
    return samples.ordered(description["spec"].get("channels"))  # an object of JSON has no order


async def _body(request: Request) -> bytes:
    encoding = _encoding(request)
    if not encoding:
        return await request.body()
    most = gateway_of(request).settings.limits.body_bytes
    return await whole(request.stream(), encoding, most)


def _encoding(request: Request) -> str:
    return request.headers.get("content-encoding", "").strip().lower()


def _media_type(request: Request) -> str:
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


async def _channels(request: Request, model: str, media_type: str) -> list[str] | None:
    return (await _names(request, model, media_type))[0]


async def _names(request: Request, model: str, media_type: str) -> tuple[list[str] | None, list[str]]:
    """Return the names of the model's channels and of its labels, for the columns of a table."""
    if media_type not in (CSV, NDJSON, ARROW):
        return None, []
    description = await gateway_of(request).client.describe(model)
    return description["spec"].get("channels"), description.get("label_names") or []
