"""Checkpoints: list, write, restore, unpin."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import BaseModel, ConfigDict

from streamlearn.gateway.access import Who
from streamlearn.gateway.once import OnceRoute, change
from streamlearn.gateway.state import gateway_of
from streamlearn.json_values import document
from streamlearn_client.descriptions import Restored

router = APIRouter(tags=["checkpoints"], route_class=OnceRoute)


class Pin(BaseModel):
    """The name of a checkpoint that stays until it is unpinned."""

    model_config = ConfigDict(extra="forbid")

    name: str | None = None


class Restore(BaseModel):
    """Which state is restored, and into which model."""

    model_config = ConfigDict(extra="forbid")

    lsn: int | None = None
    name: str | None = None
    into: str | None = None


@router.get("/v1/models/{model}/checkpoints")
async def checkpoints(request: Request, who: Who, model: str) -> list[dict[str, Any]]:
    """List the checkpoints, newest first."""
    who.require("checkpoints", model)
    return [document(each) for each in await gateway_of(request).client.checkpoints(model)]


@router.post("/v1/models/{model}/checkpoints", status_code=201)
async def checkpoint(request: Request, who: Who, model: str, pin: Pin | None = None) -> dict[str, Any]:
    """Write a checkpoint. A name pins it."""
    who.require("checkpoint", model)
    return document(await gateway_of(request).client.checkpoint(model, (pin or Pin()).name))


@router.delete("/v1/models/{model}/checkpoints/{name}")
async def unpin(request: Request, who: Who, model: str, name: str) -> dict[str, Any]:
    """Unpin a checkpoint, so that it is deleted when it is old."""
    who.require("unpin", model)
    return document(await gateway_of(request).client.unpin(model, name))


@router.post("/v1/models/{model}/restore", response_model=dict[str, Any])
async def restore(request: Request, who: Who, model: str, to: Restore) -> Response:
    """Set a model back to a state, or put that state into a new model. ``undo_name`` leads back."""
    who.require("restore", model)
    if to.into:
        who.require("restore", to.into)
    client = gateway_of(request).client

    async def execute(key: str | None) -> Restored:
        once = None if to.into else key  # into another model: the daemon knows no keys of a new model
        return await client.restore(model, to.lsn, name=to.name, into=to.into, idempotency_key=once)

    return await change(request, execute)
