"""``streamlearn watch``: show events as they happen."""

from __future__ import annotations

import json
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from streamlearn.cli import alarms
from streamlearn.cli.options import DEFAULT_ENDPOINT, Endpoint, Json, KeyFile, ServerKey, Timeout, connect
from streamlearn_client.protocol.names import EventKind

if TYPE_CHECKING:
    from streamlearn_client import Client, Event

_KINDS = ", ".join(get_args(EventKind))
_WILDCARDS = frozenset("*?[")


def watch(
    models: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[MODEL…]", help="names of models, or patterns such as 'pump-*'", show_default="all"
        ),
    ] = None,
    kind: Annotated[
        list[str] | None,
        typer.Option("--kind", "-k", metavar="KIND", help=f"{_KINDS} (repeatable)", show_default="all"),
    ] = None,
    count: Annotated[int | None, typer.Option(metavar="N", min=1, help="end after so many events")] = None,
    wait: Annotated[
        float | None, typer.Option(metavar="S", min=0.0, help="end after so many seconds without an event")
    ] = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Show events as they happen, one line each, until Ctrl-C.

    streamlearn watch --kind alarm

    streamlearn watch pump oven --kind alarm --kind drift --json

    streamlearn watch 'pump-*'
    """
    left, given = count, models or []
    has_pattern = any(not _WILDCARDS.isdisjoint(each) for each in given)
    names = None if has_pattern else models or None
    with connect(endpoint, timeout, server_key, key_file) as client:
        channels: dict[str, list[str] | None] = {}
        with client.subscribe(kind=kind or None, models=names, timeout=wait) as events:  # type: ignore[arg-type] # checked there
            for event in events:
                if has_pattern and not any(fnmatchcase(event.model, each) for each in given):
                    continue
                for line in _json(event) if as_json else _lines(event, client, channels):
                    typer.echo(line)
                left = None if left is None else left - 1
                if left == 0:
                    return


def _json(event: Event) -> list[str]:
    """Return an event as JSON: one line for each alarm, else one line with all arrays."""
    if event.kind == "alarm":
        return [
            json.dumps({"kind": "alarm", "lsn": event.lsn, **alarms.fields(event, alarm)})
            for alarm in event.alarms
        ]
    from streamlearn.json_values import to_json

    facts = {name: getattr(event, name) for name in ("kind", "model", "lsn", "first", "rows", "time")}
    arrays = {name: to_json(array.tolist()) for name, array in event.outputs.arrays.items()}
    return [json.dumps(facts | arrays)]


def _lines(event: Event, client: Client, channels: dict[str, list[str] | None]) -> list[str]:
    """Return an event as one line; an event with several alarms as one line for each."""
    import numpy as np

    if event.kind == "alarm":
        if event.model not in channels:
            channels[event.model] = _channels(client, event.model)
        return [alarms.line(event, alarm, channels[event.model]) for alarm in event.alarms]
    time = np.datetime64(event.time // 10**9, "s")
    return [f"{time} {event.model}: {event.kind}{_what(event)}"]


def _what(event: Event) -> str:
    """Describe an event other than an alarm."""
    import numpy as np

    arrays = event.outputs.arrays
    if event.kind == "drift":
        return f" at sample {', '.join(map(str, arrays['sample'].tolist()))}"
    if not event.rows:
        return f", lsn {event.lsn}"
    numbers = arrays.get("sample", np.arange(event.first, event.first + event.rows))
    named = numbers[numbers >= 0]
    what = f" of samples {named.min()} … {named.max()}" if named.size else f" of {event.rows} rows"
    scores = arrays.get("score", np.zeros(0))
    known = scores[np.isfinite(scores)]
    return f"{what}, highest score {known.max():.3f}" if known.size else what


def _channels(client: Client, model: str) -> list[str] | None:
    """Return the names of a model's channels, if it has some and still exists."""
    from streamlearn.errors import Forbidden, UnknownModel

    try:
        names: Any = client.describe(model)["spec"].get("channels")
    except (Forbidden, UnknownModel):
        return None
    return list(names) if names else None
