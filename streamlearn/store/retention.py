"""Which checkpoints are kept: the newest ones, one per hour, one per day, and those with a name.

Only hours and days that have a checkpoint count, and the time now does not matter. So a pause of a month, or
a clock that jumps, removes few checkpoints.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from streamlearn.store.checkpoint_info import CheckpointInfo

NEWEST = 2
HOUR_NS, DAY_NS = 3_600 * 10**9, 86_400 * 10**9

UNDO_PREFIX = "undo-"
"""Begins the names of the checkpoints that `restore` writes first. Users' names do not begin with it."""


@dataclass(frozen=True, slots=True)
class Retention:
    """How many checkpoints are kept.

    ``newest``, ``hourly``, ``daily`` and ``undo`` count per model. ``max_bytes`` limits the sum of all
    models; 0 is no limit.
    """

    newest: int = NEWEST
    hourly: int = 0
    daily: int = 0
    undo: int = 3
    max_bytes: int = 0


def retained(infos: Iterable[CheckpointInfo], retention: Retention) -> set[CheckpointInfo]:
    """Return the checkpoints to keep, of one model or of several.

    - The newest ``newest`` of each model, the newest ``newest`` that no `restore` wrote first, and all pinned
      ones are always kept. So repeated restores leave the checkpoint that they restore.
    - The newest one of each of the last ``hourly`` hours, and of each of the last ``daily`` days (UTC), that
      have any.
    - The last ``undo`` ones that `restore` wrote first.
    - If all these exceed ``max_bytes``, those with the lowest lsn are not kept, except the first group.
    """
    kept: set[CheckpointInfo] = set()
    always: set[CheckpointInfo] = set()
    by_model = sorted(
        infos, key=lambda info: (info.model, info.create_lsn, info.lsn, info.copy), reverse=True
    )
    for _, group in groupby(by_model, key=lambda info: (info.model, info.create_lsn)):
        newest_first = list(group)
        always.update(newest_first[: retention.newest])
        regular = [info for info in newest_first if not info.undoes_restore]
        always.update(regular[: retention.newest])
        always.update(info for info in newest_first if info.pinned)
        kept.update([info for info in newest_first if info.undoes_restore][: retention.undo])
        for period, count in ((HOUR_NS, retention.hourly), (DAY_NS, retention.daily)):
            kept.update(_newest_per_period(newest_first, period)[:count])
    kept |= always
    if retention.max_bytes:
        excess = sum(info.bytes for info in kept) - retention.max_bytes
        for info in sorted(kept - always, key=lambda info: (info.lsn, info.copy, info.model)):
            if excess <= 0:
                break
            kept.remove(info)
            excess -= info.bytes
    return kept


def _newest_per_period(newest_first: list[CheckpointInfo], nanoseconds: int) -> list[CheckpointInfo]:
    newest: dict[int, CheckpointInfo] = {}
    for info in newest_first:
        newest.setdefault(info.time // nanoseconds, info)
    return list(newest.values())
