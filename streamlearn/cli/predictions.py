"""The outputs of a model for the rows of a file, in parts of bounded size.

A model without a memory of earlier samples answers each row on its own, so its parts are independent. A model
with such a memory takes all rows as one sequence that continues its stream. After the first part, a copy of
the model is queried: it is paused, so it passes through the rows without learning. Its outputs are those of
one query with all rows, bit for bit.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any, Final, Self

import numpy as np

from streamlearn.errors import Forbidden, StreamlearnError
from streamlearn.tabular.errors import BadData
from streamlearn.tabular.reader import TableReader
from streamlearn.tabular.rows import Rows
from streamlearn_client import Client, Outputs

SEQUENCE_ROWS: Final = 65_536
"""Rows that a model with a memory answers in one query."""
ROWS: Final = 16_384
"""Rows of a part otherwise."""
PART_BYTES: Final = 16 * 1024 * 1024
"""The largest number of bytes of the samples of a part."""
_WITH_MEMORY: Final = frozenset({"rnn", "birnn"})
_BIDIRECTIONAL: Final = "birnn"
_HISTORY: Final = ("lags", "differences", "period", "memory")


def has_memory(description: Mapping[str, Any]) -> bool:
    """Whether the outputs for a sample depend on the samples before it."""
    features = description["spec"].get("features") or {}
    return description["kind"] in _WITH_MEMORY or any(features.get(name) for name in _HISTORY)


def predictions(
    client: Client, description: Mapping[str, Any], rows: TableReader, check: Callable[[], None]
) -> Iterator[tuple[Rows, Outputs]]:
    """Yield the rows of a file and their outputs, in parts.

    Parameters
    ----------
    client
        The client.
    description
        The description of the model.
    rows
        The file.
    check
        Called after the columns are known, before the first query.
    """
    name, sequence = description["name"], has_memory(description)
    most = min(SEQUENCE_ROWS if sequence else ROWS, max(1, PART_BYTES // (4 * description["dim"])))
    parts = _Parts(rows, 2**62 if description["kind"] == _BIDIRECTIONAL else most)
    part = next(parts, None)
    if part is not None:
        check()
        following = next(parts, None)
        if sequence and following is not None:
            yield from _of_sequence(client, description, chain([part, following], parts), most)
        else:
            while part is not None:
                assert part.x is not None
                yield part, client.predict(name, part.x, part.keys, times=part.times)
                part, following = following, next(parts, None)
    if parts.problem is not None:
        raise parts.problem


def _of_sequence(
    client: Client, description: Mapping[str, Any], parts: Iterable[Rows], most: int
) -> Iterator[tuple[Rows, Outputs]]:
    """Yield the parts of one sequence and their outputs, by a copy of the model that passes through them."""
    name = description["name"]
    copy = f"{name[:200]}-predict-{secrets.token_hex(4)}"
    try:
        client.clone(name, copy)
    except Forbidden as error:
        error.add_note(
            f"the file has more than {most:,} rows, and {name} has a memory of earlier samples, so predict"
            " needs a temporary copy of it: use a key that may create models, or send fewer rows"
        )
        raise
    try:
        client.pause(copy)
        for part in parts:
            assert part.x is not None
            yield part, client.predict(copy, part.x, part.keys, times=part.times)
            y = _no_targets(description, part)
            client.learn(copy, part.x, y, keys=part.keys, times=part.times, ack="received")
    finally:
        with suppress(StreamlearnError):
            client.delete(copy)


def _no_targets(description: Mapping[str, Any], part: Rows) -> Any:
    """Return missing targets, for a model that takes a target with each sample."""
    if not description["target_dim"] or description["accepts_late_targets"]:
        return None
    return np.full((len(part), description["target_dim"]), np.nan, np.float32)


class _Parts:
    """The rows of a file in parts of ``most`` rows, except the last. A bad row ends them: ``problem``."""

    def __init__(self, rows: TableReader, most: int) -> None:
        self.problem: BadData | None = None
        self._parts = self._split(rows, most)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Rows:
        return next(self._parts)

    def _split(self, rows: TableReader, most: int) -> Iterator[Rows]:
        collected: list[Rows] = []
        count = 0
        try:
            for found in rows:
                collected.append(found)
                count += len(found)
                if count >= most:
                    joined = Rows.joined(collected)
                    while len(joined) >= most:
                        yield joined.sliced(0, most)
                        joined = joined.sliced(most)
                    collected, count = ([joined], len(joined)) if len(joined) else ([], 0)
                rows.lines.discard_before(len(rows.lines))
        except BadData as problem:
            self.problem = problem
        if collected:
            yield Rows.joined(collected)
