"""The Python client of streamlearn: push sensor streams, ask live models, follow their events.

>>> from streamlearn_client import Client
>>> with Client("tcp://127.0.0.1:7700") as client:
...     client.create("pump", kind="som", dim=8, grid=[10, 10])
...     with client.stream("pump") as stream:
...         stream.push_many(samples)
...     print(client.predict("pump", samples[-1:]).score)

The names below are loaded on first use: a program that needs the errors or the codec alone opens no sockets.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from streamlearn_client import errors
from streamlearn_client.errors import StreamlearnError

if TYPE_CHECKING:
    from streamlearn_client.aio import AsyncClient
    from streamlearn_client.client import Client
    from streamlearn_client.firehose import Firehose
    from streamlearn_client.outputs import Outputs
    from streamlearn_client.results import Ack, Event, Position
    from streamlearn_client.stream import Stream
    from streamlearn_client.subscription import Subscription

__version__ = "0.1.0"

_WHERE = {
    "Ack": "results",
    "AsyncClient": "aio",
    "Client": "client",
    "Event": "results",
    "Firehose": "firehose",
    "Outputs": "outputs",
    "Position": "results",
    "Stream": "stream",
    "Subscription": "subscription",
}

__all__ = [
    "Ack",
    "AsyncClient",
    "Client",
    "Event",
    "Firehose",
    "Outputs",
    "Position",
    "Stream",
    "StreamlearnError",
    "Subscription",
    "__version__",
    "errors",
]


def __getattr__(name: str) -> Any:
    if name in _WHERE:
        return getattr(import_module(f"streamlearn_client.{_WHERE[name]}"), name)
    raise AttributeError(f"module 'streamlearn_client' has no attribute {name!r}")
