"""The Python client of streamlearn: send sensor streams to models, query them, subscribe to events.

>>> from streamlearn_client import Client
>>> with Client("tcp://127.0.0.1:7700") as client:  # doctest: +SKIP
...     client.create("pump", kind="som", dim=8, grid=[10, 10])
...     with client.stream("pump") as stream:
...         stream.push_many(samples)
...     print(client.predict("pump", samples[-1:]).score)

Classes are imported on first use. So a program that needs only errors or the codec imports no ZeroMQ.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from streamlearn_client import errors
from streamlearn_client.errors import StreamlearnError

if TYPE_CHECKING:
    from streamlearn_client.aio import AsyncClient
    from streamlearn_client.alarms import AlarmEvent
    from streamlearn_client.client import Client
    from streamlearn_client.descriptions import (
        CheckpointInfo,
        DaemonInfo,
        ExportedFile,
        ModelChange,
        ModelDescription,
        ModelSummary,
        NamedCheckpoint,
        Restored,
    )
    from streamlearn_client.firehose import Firehose
    from streamlearn_client.outputs import Forecast, Outputs
    from streamlearn_client.reading import Reading
    from streamlearn_client.results import Ack, BatchNumber, Event, Position
    from streamlearn_client.stream import Stream
    from streamlearn_client.subscription import Subscription

__version__ = "0.2.0"

_MODULES = {
    "Ack": "results",
    "AlarmEvent": "alarms",
    "AsyncClient": "aio",
    "BatchNumber": "results",
    "CheckpointInfo": "descriptions",
    "Client": "client",
    "DaemonInfo": "descriptions",
    "Event": "results",
    "ExportedFile": "descriptions",
    "Firehose": "firehose",
    "Forecast": "outputs",
    "ModelChange": "descriptions",
    "ModelDescription": "descriptions",
    "ModelSummary": "descriptions",
    "NamedCheckpoint": "descriptions",
    "Outputs": "outputs",
    "Position": "results",
    "Reading": "reading",
    "Restored": "descriptions",
    "Stream": "stream",
    "Subscription": "subscription",
}

__all__ = [
    "Ack",
    "AlarmEvent",
    "AsyncClient",
    "BatchNumber",
    "CheckpointInfo",
    "Client",
    "DaemonInfo",
    "Event",
    "ExportedFile",
    "Firehose",
    "Forecast",
    "ModelChange",
    "ModelDescription",
    "ModelSummary",
    "NamedCheckpoint",
    "Outputs",
    "Position",
    "Reading",
    "Restored",
    "Stream",
    "StreamlearnError",
    "Subscription",
    "__version__",
    "errors",
]


def __getattr__(name: str) -> Any:
    if name in _MODULES:
        return getattr(import_module(f"streamlearn_client.{_MODULES[name]}"), name)
    raise AttributeError(f"module 'streamlearn_client' has no attribute {name!r}")
