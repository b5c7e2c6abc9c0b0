"""Models: list, create, describe, read, delete."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request
from pydantic import BaseModel, ConfigDict, Field

from streamlearn.gateway.access import Who
from streamlearn.gateway.answers import to_json
from streamlearn.gateway.state import gateway_of

router = APIRouter(tags=["models"])


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
    """List the models that the token sees."""
    found = await gateway_of(request).client.models()
    return [to_json(each) for each in found if who.sees(each["name"])]


@router.post("/v1/models", status_code=201)
async def create(request: Request, who: Who, new: NewModel) -> dict[str, Any]:
    """Create a model."""
    who.require("create", new.name)
    return _as_dict(await gateway_of(request).client.create(new.name, new.kind, **new.spec))


@router.get("/v1/models/{model}")
async def describe(request: Request, who: Who, model: str) -> dict[str, Any]:
    """Describe a model: its spec, its live quality, the digest of its state."""
    who.require("describe", model)
    return _as_dict(await gateway_of(request).client.describe(model))


@router.delete("/v1/models/{model}", status_code=204)
async def delete(request: Request, who: Who, model: str) -> None:
    """Delete a model."""
    who.require("delete", model)
    await gateway_of(request).client.delete(model)


@router.get("/v1/models/{model}/read")
async def read(
    request: Request,
    who: Who,
    model: str,
    what: Annotated[list[str], Query(description="parts, for example u_matrix; several are of one state")],
) -> dict[str, Any]:
    """Read parts of a live model, for example weights, prototypes, planes, u_matrix, hits, quality."""
    who.require("read", model)
    reading = await gateway_of(request).client.read(model, what)
    return {
        "samples": reading.samples,
        "applied_lsn": reading.applied_lsn,
        "parts": {name: to_json(reading[name]) for name in what},
    }


@router.post("/v1/models/{model}/pause")
async def pause(request: Request, who: Who, model: str) -> dict[str, Any]:
    """Watch all samples and learn none, until `resume`."""
    who.require("pause", model)
    return _as_dict(await gateway_of(request).client.pause(model))


@router.post("/v1/models/{model}/resume")
async def resume(request: Request, who: Who, model: str) -> dict[str, Any]:
    """Learn again after `pause`."""
    who.require("resume", model)
    return _as_dict(await gateway_of(request).client.resume(model))


class Heat(BaseModel):
    """How far the schedules are set back."""

    model_config = ConfigDict(extra="forbid")

    heat: float = 1.0


@router.post("/v1/models/{model}/reheat")
async def reheat(request: Request, who: Who, model: str, body: Heat | None = None) -> dict[str, Any]:
    """Set the schedules of the rates back, so that the model adapts faster."""
    who.require("reheat", model)
    return _as_dict(await gateway_of(request).client.reheat(model, (body or Heat()).heat))


class Verdict(BaseModel):
    """A judgement of one sample, given by its number or its values."""

    model_config = ConfigDict(extra="forbid")

    sample: int | list[float | None] | dict[str, float | None]
    verdict: str = Field(examples=["normal", "fault"])
    name: str = ""


@router.post("/v1/models/{model}/feedback")
async def feedback(request: Request, who: Who, model: str, body: Verdict) -> dict[str, Any]:
    """Call a sample normal, so that its pattern stays quiet, or a fault, so that it is named."""
    who.require("feedback", model)
    sample: Any = body.sample
    if isinstance(sample, dict):
        sample = {name: [value] for name, value in sample.items()}
    return _as_dict(await gateway_of(request).client.feedback(model, sample, body.verdict, body.name))


def _as_dict(answer: dict[str, Any]) -> dict[str, Any]:
    converted: dict[str, Any] = to_json(answer)
    return converted
