"""Joining: all values of one model, key and time are one sample. Channels without a value are missing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from streamlearn.gateway.collecting.points import Point, Refusal
from streamlearn.gateway.collecting.rules import Rule, Source, default_key


class Entry(NamedTuple):
    """A point that belongs to a model."""

    rule: Rule
    place: int
    key: str | None  # of the rule
    default_key: str
    time: int
    series: str
    values: list[tuple[str, float]]  # with the names that the rule makes
    label: str | None


@dataclass(slots=True)
class Sample:
    """One sample. The key is that of a model with keys, or tells the streams of another model apart."""

    key: str | None
    time: int
    x: NDArray[np.float32]  # (dim,)
    label: str | None = None
    places: list[int] = field(default_factory=list)
    owners: dict[int, str] = field(default_factory=dict)  # by column: the series that gave its value


@dataclass(slots=True)
class Joined:
    """The samples of one model by time, and what became of the other values."""

    samples: list[Sample]
    refusals: list[Refusal]
    unused: int  # values that are no channel of the model


class Unusable(ValueError):
    """No point of the model can be learned."""


def assign(point: Point, rule: Rule, source: Source) -> tuple[str, Entry]:
    """Return the model of a point, and the point as the rule has it. Raises `MissingTag`."""
    return rule.model_of(point), Entry(
        rule,
        point.place,
        rule.key_of(point),
        default_key(point, source),
        point.time,
        f"{point.measurement},{point.series}",
        list(rule.named_values(point)),
        rule.label_of(point),
    )


def join(entries: Iterable[Entry], description: Mapping[str, Any]) -> Joined:
    """Return the samples of one model.

    Parameters
    ----------
    entries
        Its points.
    description
        What ``describe`` returns for it.

    Raises
    ------
    Unusable
        If neither the rule nor the model has the names of the channels.
    """
    dim, needs_keys = description["dim"], description["needs_keys"]
    own = description["spec"].get("channels")
    columns: dict[int, Mapping[str, int]] = {}
    samples: dict[tuple[str | None, int], Sample] = {}
    found = Joined([], [], 0)
    for entry in entries:
        rule = entry.rule
        if id(rule) not in columns:
            columns[id(rule)] = _columns(rule, own, dim)
        column_of = columns[id(rule)]
        chosen = [(column_of[name], name, value) for name, value in entry.values if name in column_of]
        if not column_of:  # one channel without a name
            chosen = [(0, name, value) for name, value in entry.values]
        found.unused += len(entry.values) - len(chosen)
        if not chosen and entry.label is None:
            continue
        key = entry.default_key if entry.key is None and needs_keys else entry.key
        sample = samples.get((key, entry.time))
        if sample is None:
            sample = samples[key, entry.time] = Sample(key, entry.time, np.full(dim, np.nan, np.float32))
        if reason := _add(sample, entry, chosen):
            found.refusals.append(Refusal(entry.place, reason))
        else:
            sample.places.append(entry.place)
    found.samples = sorted((each for each in samples.values() if each.owners), key=lambda each: each.time)
    return found


def _columns(rule: Rule, own: list[str] | None, dim: int) -> dict[str, int]:
    """Return the column by name; nothing for a model of one channel without a name."""
    names = rule.channels if rule.channels is not None else own
    if names is None:
        if dim == 1:
            return {}
        raise Unusable(
            "the model has no names of channels; create it with channels, or give the rule channels, a list"
            " of names in the order of the model's columns"
        )
    if len(names) != dim:
        raise Unusable(f"the rule has {len(names)} channels, and the model has {dim}")
    return {name: column for column, name in enumerate(names)}


def _add(sample: Sample, entry: Entry, chosen: list[tuple[int, str, float]]) -> str | None:
    """Add values to a sample. Return why not, if another series has given one of them."""
    for column, name, _ in chosen:
        series = f"{entry.series} {name}"
        if sample.owners.get(column, series) != series:
            return (
                f"the channel {name!r} has another value at the same time, from the series"
                f" {sample.owners[column]!r}; give the tags that differ to the rule's model, key or field"
            )
    with np.errstate(over="ignore"):
        for _, name, value in chosen:
            if np.isinf(np.float32(value)):
                return f"{name!r} is {value}, which is too large for a 32-bit number"
    for column, name, value in chosen:
        sample.x[column] = value
        sample.owners[column] = f"{entry.series} {name}"
    sample.label = entry.label if entry.label is not None else sample.label
    return None
