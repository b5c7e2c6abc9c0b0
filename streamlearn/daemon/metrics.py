"""Counters and histograms, read by `stats`, which does all computation."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import accumulate
from typing import Any

_STEPS = 8  # buckets per doubling: the relative error of a quantile is at most 1/8
_LEAST, _MOST = 16, 34  # exponents of the bounds of `counts`


class Histogram:
    """Durations in nanoseconds, in buckets of constant relative width."""

    __slots__ = ("_buckets", "count", "nanoseconds")

    def __init__(self) -> None:
        self.count = 0
        self.nanoseconds = 0  # sum of all durations
        self._buckets = [0] * (64 * _STEPS)

    def add(self, nanoseconds: int) -> None:
        """Count one duration."""
        value = max(nanoseconds, _STEPS)
        shift = value.bit_length() - 4
        self._buckets[shift * _STEPS + (value >> shift) - _STEPS] += 1
        self.count += 1
        self.nanoseconds += nanoseconds

    def counts(self) -> list[int]:
        """Return the number of durations below 2^16, 2^17, … 2^34 nanoseconds (65 µs to 17 s)."""
        sums = list(accumulate(self._buckets))
        return [sums[(exponent - 3) * _STEPS - 1] for exponent in range(_LEAST, _MOST + 1)]

    def quantile(self, q: float) -> float:
        """Return the `q`-quantile in seconds; 0 if the histogram is empty."""
        rank, seen = q * self.count, 0
        for bucket, count in enumerate(self._buckets):
            seen += count
            if count and seen >= rank:
                shift, step = divmod(bucket, _STEPS)
                return ((step + _STEPS + 1) << shift) / 1e9
        return 0.0

    def to_map(self) -> dict[str, Any]:
        """Return count, sum, median, 99 % quantile (in seconds) and `counts`, as `stats` sends them."""
        return {
            "count": self.count,
            "sum": self.nanoseconds / 1e9,
            "p50": self.quantile(0.50),
            "p99": self.quantile(0.99),
            "counts": self.counts(),
        }


@dataclass(slots=True)
class ModelMetrics:
    """Counters of one model since the start of the daemon."""

    received: int = 0  # samples, accepted or not
    duplicates: int = 0  # batches that were resent
    refused: int = 0  # batches, of the firehose too
    queries: int = 0

    def to_map(self) -> dict[str, int]:
        """Return all counters by name."""
        return {
            "received": self.received,
            "duplicates": self.duplicates,
            "refused": self.refused,
            "queries": self.queries,
        }


@dataclass(slots=True)
class Metrics:
    """Counters of the daemon since its start."""

    messages: int = 0
    records: int = 0
    bytes: int = 0  # of journalled payloads
    firehose_lost: int = 0  # firehose messages that were refused
    replies_dropped: int = 0  # the client had left or did not read
    checkpoints: int = 0
    checkpoint_failures: int = 0
    disk_full: int = 0  # groups of records refused by a full disk
    query_seconds: Histogram = field(default_factory=Histogram)
    commit_seconds: Histogram = field(default_factory=Histogram)
    errors: dict[str, int] = field(default_factory=dict)  # by code
    models: dict[str, ModelMetrics] = field(default_factory=dict)

    def model(self, name: str) -> ModelMetrics:
        """Return the counters of a model, which begin with its first request."""
        found = self.models.get(name)
        if found is None:
            found = self.models[name] = ModelMetrics()
        return found

    def count_error(self, code: str) -> None:
        """Count one error reply by its code."""
        self.errors[code] = self.errors.get(code, 0) + 1

    def to_map(self) -> dict[str, Any]:
        """Return all counters except those of the models, as `stats` sends them."""
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
