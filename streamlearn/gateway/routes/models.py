"""Models: list, create, describe, read, delete."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Annotated, Any, Final

from fastapi import APIRouter, Query, Request
from fastapi.responses import FileResponse, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.background import BackgroundTask

from streamlearn.errors import BadCheckpoint, BadSpec, BadValue, ModelExists
from streamlearn.gateway.access import Who
from streamlearn.gateway.bodies import Samples
from streamlearn.gateway.once import HEADER, OnceRoute, change
from streamlearn.gateway.state import gateway_of
from streamlearn.gateway.tables import TABLES, part_table, table_type
from streamlearn.json_values import document, to_json
from streamlearn_client import AsyncClient
from streamlearn_client.json_conversion import spec_contains

router = APIRouter(tags=["models"], route_class=OnceRoute)

BYTES: Final = "application/octet-stream"
FILE: Final[dict[str, Any]] = {
    "requestBody": {"required": True, "content": {BYTES: {"schema": {"type": "string", "format": "binary"}}}}
}
_ARGUMENTS: Final = frozenset({"name", "kind", "from_file", "parameters"})
"""Arguments of the client's `create` that are no parameters of a spec."""


class NewModel(BaseModel):
    """A model to create."""

    model_config = ConfigDict(extra="forbid")

    name: str = Field(examples=["pump"])
    kind: str = Field(examples=["som"])
    spec: dict[str, Any] = Field(
        {}, examples=[{"dim": 2, "grid": [10, 10], "channels": ["flow", "pressure"]}]
    )


@router.get("/v1/models")
async def models(request: Request, who: Who) -> list[dict[str, Any]]:
    """List the models that the token sees. ``Cache-Control: max-age=…`` accepts a list of earlier."""
    gateway = gateway_of(request)
    found = await gateway.reads.get(request, "models", gateway.client.models)
    return [document(each) for each in found if who.sees(each["name"])]


@router.post("/v1/models", status_code=201)
async def create(request: Request, who: Who, new: NewModel) -> dict[str, Any]:
    """Create a model."""
    who.require("create", new.name)
    _check_names(new.spec)
    client = gateway_of(request).client
    try:
        return document(await client.create(new.name, new.kind, **new.spec))
    except ModelExists:
        if HEADER not in request.headers:
            raise
        found = await client.describe(new.name)  # the gateway that knew the key may have ended
        if not spec_contains(found, {"kind": new.kind, "spec": new.spec}):
            raise
        return document(found)


@router.put("/v1/models/{model}", status_code=201, openapi_extra=FILE)
async def create_from_file(
    request: Request,
    who: Who,
    model: str,
    kind: Annotated[str | None, Query(description="kind of the network, such as rnn")] = None,
    spec: Annotated[str | None, Query(description="other parameters of its spec, as JSON")] = None,
) -> dict[str, Any]:
    """Create a model from the file that `export` gave, in the body.

    With `kind`, the body is a safetensors file of the `state_dict` of a PyTorch module. The network starts
    with its parameters.
    """
    who.require("create", model)
    arguments: dict[str, Any] = {"kind": kind, **_spec_of(spec)} if kind is not None else {}
    if kind is None and spec is not None:
        raise BadValue("spec needs the kind of a network; the file of a model has its own spec", field="spec")
    with tempfile.NamedTemporaryFile(suffix=".safetensors") as file:
        async for part in request.stream():
            file.write(part)
        file.flush()
        arguments["from_file" if kind is None else "parameters"] = file.name
        try:
            return document(await gateway_of(request).client.create(model, **arguments))
        except (BadCheckpoint, BadSpec) as error:
            facts = {name: fact for name, fact in error.detail.items() if name != "path"}
            raise type(error)(error.message.replace(file.name, "the body"), **facts) from None


def _spec_of(text: str | None) -> dict[str, Any]:
    """Read the parameters of a spec from an address."""
    try:
        spec = json.loads(text or "{}")
    except ValueError:
        spec = None
    if not isinstance(spec, dict):
        raise BadValue(f"spec is {(text or '')[:40]!r}; an object of JSON was expected", field="spec")
    _check_names(spec)
    return spec


def _check_names(spec: dict[str, Any]) -> None:
    """Raise `BadSpec` for a name that the client's `create` takes but that is no parameter of a spec."""
    for name in spec.keys() & _ARGUMENTS:  # `from_file` would read a file of the gateway's host
        raise BadSpec(f"unknown parameter {name!r}", errors=[{"field": name, "message": "unknown parameter"}])


@router.get("/v1/models/{model}/export", response_class=FileResponse)
async def export(request: Request, who: Who, model: str) -> FileResponse:
    """Return the model as a file, for `PUT` under another name, or for ``streamlearn.load``."""
    who.require("export", model)
    directory = tempfile.TemporaryDirectory()
    path = Path(directory.name) / "model"
    try:
        await gateway_of(request).client.export(model, path)
    except BaseException:
        directory.cleanup()
        raise
    return FileResponse(
        path, media_type=BYTES, filename=f"{model}.slm", background=BackgroundTask(directory.cleanup)
    )


class Clone(BaseModel):
    """The name of the second model."""

    model_config = ConfigDict(extra="forbid")

    new: str


@router.post("/v1/models/{model}/clone", status_code=201)
async def clone(request: Request, who: Who, model: str, body: Clone) -> dict[str, Any]:
    """Create a second model with the same state."""
    who.require("clone", model)
    who.require("clone", body.new)
    return document(await gateway_of(request).client.clone(model, body.new))


class Label(BaseModel):
    """A label, and the unit, the sample or the values that get it; ``null`` takes a label away."""

    model_config = ConfigDict(extra="forbid")

    label: str | None
    unit: int | None = None
    sample: int | str | None = None
    x: list[float | None] | dict[str, float | None] | None = None


@router.post("/v1/models/{model}/label", response_model=dict[str, Any])
async def label(request: Request, who: Who, model: str, body: Label) -> Response:
    """Put a label on a unit of a map or a competitive net by hand."""
    who.require("label", model)
    client = gateway_of(request).client
    x = None if body.x is None else await _one_sample(client, model, body.x)
    given: dict[str, Any] = {"unit": body.unit, "sample": body.sample, "x": x}
    return await change(request, lambda key: client.label(model, body.label, **given, idempotency_key=key))


async def _one_sample(client: AsyncClient, model: str, values: list[Any] | dict[str, Any]) -> Any:
    """Return the values of one sample as the client takes them. Those with names are put in order."""
    if not isinstance(values, dict):
        return [values]
    samples = Samples({name: [value] for name, value in values.items()})
    return samples.ordered((await client.describe(model))["spec"].get("channels")).x


@router.get("/v1/models/{model}")
async def describe(request: Request, who: Who, model: str) -> dict[str, Any]:
    """Describe a model: its spec, its live quality, the digest of its state."""
    who.require("describe", model)
    return document(await gateway_of(request).client.describe(model))


@router.delete("/v1/models/{model}", status_code=204)
async def delete(request: Request, who: Who, model: str) -> None:
    """Delete a model."""
    who.require("delete", model)
    gateway = gateway_of(request)
    await gateway.client.delete(model)
    gateway.reads.forget()  # another model may get this name


@router.get("/v1/models/{model}/read", response_model=None, responses=TABLES)
async def read(
    request: Request,
    who: Who,
    model: str,
    what: Annotated[list[str], Query(description="parts, for example u_matrix; several are of one state")],
) -> Response | dict[str, Any]:
    """Read parts of a live model, for example weights, prototypes, planes, u_matrix, hits, quality.

    One part can be read as CSV or Arrow, if it is a table. ``Cache-Control: max-age=…`` accepts an answer of
    earlier, which several requests share.
    """
    who.require("read", model)
    gateway = gateway_of(request)
    client = gateway.client
    reading = await gateway.reads.get(request, ("read", model, *what), lambda: client.read(model, what))
    if media_type := table_type(request):
        if len(what) != 1:
            raise BadValue("a table has one part of a model; request each by itself", field="what")
        channels = (await client.describe(model))["spec"].get("channels")
        return part_table(media_type, what[0], reading[what[0]], channels, reading.applied_lsn)
    return {
        "samples": reading.samples,
        "applied_lsn": reading.applied_lsn,
        "parts": {name: to_json(reading[name]) for name in what},
        "label_names": reading.get("label_names", []),
    }


@router.post("/v1/models/{model}/pause", response_model=dict[str, Any])
async def pause(request: Request, who: Who, model: str) -> Response:
    """Watch all samples and learn none, until `resume`."""
    who.require("pause", model)
    client = gateway_of(request).client
    return await change(request, lambda key: client.pause(model, idempotency_key=key))


@router.post("/v1/models/{model}/resume", response_model=dict[str, Any])
async def resume(request: Request, who: Who, model: str) -> Response:
    """Learn again after `pause`."""
    who.require("resume", model)
    client = gateway_of(request).client
    return await change(request, lambda key: client.resume(model, idempotency_key=key))


class Heat(BaseModel):
    """How far the schedules are set back."""

    model_config = ConfigDict(extra="forbid")

    heat: float = 1.0


@router.post("/v1/models/{model}/reheat", response_model=dict[str, Any])
async def reheat(request: Request, who: Who, model: str, body: Heat | None = None) -> Response:
    """Set the schedules of the rates back, so that the model adapts faster."""
    who.require("reheat", model)
    client, heat = gateway_of(request).client, (body or Heat()).heat
    return await change(request, lambda key: client.reheat(model, heat, idempotency_key=key))


class Verdict(BaseModel):
    """A judgement of one sample, given by its number or its values."""

    model_config = ConfigDict(extra="forbid")

    sample: int | list[float | None] | dict[str, float | None]
    verdict: str = Field(examples=["normal", "fault"])
    name: str = ""


@router.post("/v1/models/{model}/feedback", response_model=dict[str, Any])
async def feedback(request: Request, who: Who, model: str, body: Verdict) -> Response:
    """Call a sample normal, so that its pattern stays quiet, or a fault, so that it is named."""
    who.require("feedback", model)
    client, sample = gateway_of(request).client, body.sample
    given = sample if isinstance(sample, int) else await _one_sample(client, model, sample)
    judged = given, body.verdict, body.name
    return await change(request, lambda key: client.feedback(model, *judged, idempotency_key=key))
