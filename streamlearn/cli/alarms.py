"""``streamlearn alarms``: show alarms as they begin and end."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated, Any

import typer

from streamlearn.cli.options import DEFAULT_ENDPOINT, Endpoint, Json, KeyFile, ServerKey, Timeout, connect

if TYPE_CHECKING:
    from streamlearn_client import AlarmEvent, Event

_SHOWN_CHANNELS = 3
_FIELDS = (
    "score", "evidence", "seconds", "fault",
    "from_unit", "to_unit", "from_label", "to_label", "usual", "probability",
)  # fmt: skip


def alarms(
    name: Annotated[str, typer.Argument(metavar="NAME", help="name of the model")],
    count: Annotated[
        int | None, typer.Option(metavar="N", min=1, help="end after so many alarms began or ended")
    ] = None,
    wait: Annotated[
        float | None, typer.Option(metavar="S", min=0.0, help="end after so many seconds without an alarm")
    ] = None,
    endpoint: Endpoint = DEFAULT_ENDPOINT,
    server_key: ServerKey = None,
    key_file: KeyFile = None,
    timeout: Timeout = 10.0,
    as_json: Json = False,
) -> None:
    """Show the alarms of a model as they begin and end, until Ctrl-C."""
    left = count
    with connect(endpoint, timeout, server_key, key_file) as client:
        channels = client.describe(name)["spec"].get("channels")
        with client.subscribe(name, "alarm", timeout=wait) as events:
            for event in events:
                for alarm in event.alarms:
                    typer.echo(json.dumps(fields(event, alarm)) if as_json else line(event, alarm, channels))
                    left = None if left is None else left - 1
                    if left == 0:
                        return


def fields(event: Event, alarm: AlarmEvent) -> dict[str, Any]:
    """Return an alarm as JSON: NaN is null."""
    from streamlearn.json_values import document

    numbers = "sample", "first", "last", "peak", "samples", "channel", "key", "id"
    found = {
        "model": event.model,
        "time": alarm.time or event.time,
        "state": alarm.state,
        "cause": alarm.cause,
    }
    found |= {field: getattr(alarm, field) for field in (*numbers, *_FIELDS)}
    found |= {field: getattr(alarm, field).tolist() for field in ("contribution", "expected")}
    return document(found)


def _expected(alarm: AlarmEvent, channel: int) -> str:
    value = float(alarm.expected[channel])
    return "" if value != value else f" (expected {value:.4g})"


def _unit(number: int, label: str) -> str:
    return f"{number} ({label})" if label else str(number)


def line(event: Event, alarm: AlarmEvent, channels: list[str] | None) -> str:
    """Return an alarm as one line."""
    import numpy as np

    time = np.datetime64((alarm.time or event.time) // 10**9, "s")
    key = "" if alarm.key is None else f" key {alarm.key}"
    shares = [(share, d) for d, share in enumerate(alarm.contribution.tolist()) if share > 0]
    names = [
        f"{channels[d] if channels else f'channel {d}'} {share:.0%}{_expected(alarm, d)}"
        for share, d in sorted(shares, reverse=True)[:_SHOWN_CHANNELS]
    ]
    before, after = _unit(alarm.from_unit, alarm.from_label), _unit(alarm.to_unit, alarm.to_label)
    what = {
        "score": f"samples {alarm.first} … {alarm.last}, evidence {alarm.evidence:.1f}",
        "stuck": f"stuck for {alarm.samples} samples",
        "silent": f"silent for {alarm.seconds:.0f} s",
        "transition": f"unit {before} → {after}, probability {alarm.probability:.2g}",
        "dwell": f"in unit {after} for {alarm.samples} samples, usually {alarm.usual:.0f}",
        "cycle": f"no return to unit {after} for {alarm.samples} samples, usually {alarm.usual:.0f}",
    }[alarm.cause]
    fault = f", fault {alarm.fault}" if alarm.fault else ""
    return f"{time} {event.model}{key}: alarm {alarm.state}s: {', '.join([what, *names])}{fault}"
