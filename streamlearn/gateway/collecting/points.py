"""What collectors send: named values with tags and a time."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Point:
    """The values of one series at one time.

    Parameters
    ----------
    place
        Where it was in the body, counted from 1: the number of the line, or of the time series.
    measurement, tags
        Its name, and its tags or labels.
    values
        The numbers by the name of their field.
    texts
        Fields that are text.
    time
        Nanoseconds since 1970.
    """

    place: int
    measurement: str
    tags: dict[str, str]
    values: dict[str, float]
    time: int
    texts: dict[str, str] = field(default_factory=dict)

    @property
    def series(self) -> str:
        """The tags as one text, in the order of their names: ``cpu=0,host=web-1``."""
        return ",".join(f"{name}={self.tags[name]}" for name in sorted(self.tags))


@dataclass(frozen=True, slots=True)
class Refusal:
    """A point that was not learned, and why."""

    place: int
    reason: str
