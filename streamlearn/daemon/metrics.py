"""Plain counters, read by `stats`. Counting is an addition; nothing is computed before somebody asks."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

_STEPS = 8  # buckets per doubling: a quantile is right to within an eighth


class Histogram:
    """Durations in nanoseconds, in buckets that grow with their value."""

    __slots__ = ("_buckets", "count")

    def __init__(self) -> None:
        self.count = 0
        self._buckets = [0] * (64 * _STEPS)

    def add(self, nanoseconds: int) -> None:
        value = max(nanoseconds, _STEPS)
        shift = value.bit_length() - 4
        self._buckets[shift * _STEPS + (value >> shift) - _STEPS] += 1
        self.count += 1

    def quantile(self, q: float) -> float:
        """Seconds that a share `q` of the durations did not exceed; 0 when there were none."""
        rank, seen = q * self.count, 0
        for bucket, count in enumerate(self._buckets):
            seen += count
            if count and seen >= rank:
                shift, step = divmod(bucket, _STEPS)
                return ((step + _STEPS + 1) << shift) / 1e9
        return 0.0

    def to_map(self) -> dict[str, float]:
        return {"count": self.count, "p50": self.quantile(0.50), "p99": self.quantile(0.99)}


@dataclass(slots=True)
class ModelMetrics:
    """What happened to one model since the daemon started. Samples, unless it says batches."""

    received: int = 0  # samples that came in, whatever became of them
    duplicates: int = 0  # batches that were resends
    refused: int = 0  # batches answered with an error, or dropped by the firehose with one
    queries: int = 0

    def to_map(self) -> dict[str, int]:
        return asdict(self)


@dataclass(slots=True)
class Metrics:
    """What happened to the daemon since it started."""

    messages: int = 0
    records: int = 0
    bytes: int = 0  # of samples, journalled
    firehose_lost: int = 0  # batches that came by the firehose and were refused
    replies_dropped: int = 0  # their client was gone, or did not read
    checkpoints: int = 0
    checkpoint_failures: int = 0
    disk_full: int = 0  # groups of records that found no room
    query_seconds: Histogram = field(default_factory=Histogram)
    commit_seconds: Histogram = field(default_factory=Histogram)
    errors: dict[str, int] = field(default_factory=dict)  # by their codes
    models: dict[str, ModelMetrics] = field(default_factory=dict)

    def model(self, name: str) -> ModelMetrics:
        """The counters of a model that exists; they begin with its first request."""
        found = self.models.get(name)
        if found is None:
            found = self.models[name] = ModelMetrics()
        return found

    def count_error(self, code: str) -> None:
        self.errors[code] = self.errors.get(code, 0) + 1

    def to_map(self) -> dict[str, Any]:
        """Everything but the models' own, as `stats` sends it."""
        counters = {
            name: getattr(self, name)
            for name in self.__slots__
            if name not in ("query_seconds", "commit_seconds", "errors", "models")
        }
        return {
            **counters,
            "errors": dict(self.errors),
            "query_seconds": self.query_seconds.to_map(),
            "commit_seconds": self.commit_seconds.to_map(),
        }
