"""Recent alarms, from before a listener came."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Request

from streamlearn.errors import BadValue
from streamlearn.gateway.access import Who
from streamlearn.gateway.events import matches
from streamlearn.gateway.routes.events import Models, require_events
from streamlearn.gateway.state import gateway_of
from streamlearn.tabular.times import TimeColumn

router = APIRouter(tags=["events"])

Since = Annotated[
    str | None,
    Query(
        description="only alarms that were on at this time or later: 2026-03-01T10:00:00Z, or ns since 1970"
    ),
]


@router.get("/v1/alarms")
async def alarms(
    request: Request,
    who: Who,
    model: Models = None,
    since: Since = None,
    limit: Annotated[int, Query(ge=1, le=10_000, description="largest number of alarms")] = 100,
) -> dict[str, Any]:
    """Return recent alarms, newest first; each with its begin and its end, its channels and its ``lsn``.

    ``complete_since``: the gateway has received all alarms from this time on, except in ``gaps``, in which no
    gateway ran. A restore to a lower lsn than that of an alarm leads to before it.
    """
    require_events(who)
    history = gateway_of(request).hub.alarms
    globs = model or ["*"]
    found = history.select(
        lambda name: who.allows("subscribe", name) and matches(name, globs), _nanoseconds(since), limit
    )
    return {
        "complete_since": history.since,
        "gaps": [{"from": begin, "to": end} for begin, end in history.gaps],
        "alarms": [each.to_json() for each in found],
    }


def _nanoseconds(text: str | None) -> int:
    if text is None:
        return 0
    if text.isdecimal() and len(text) < 20:
        return int(text)
    try:
        return TimeColumn("iso").read(text)
    except ValueError:
        raise BadValue(
            f"since is {text[:40]!r}; a time was expected, for example 2026-03-01T10:00:00Z, or nanoseconds"
            " since 1970",
            field="since",
        ) from None
