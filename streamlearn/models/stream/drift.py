"""Drift detection on the distances or errors of a model: see ``kernels/stream/drift.py``."""

from __future__ import annotations

import math
from collections.abc import Iterator
from functools import partial
from typing import Any, Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from ...kernels import compiler
from ...kernels.stream import drift as kernels
from ...kernels.stream import level
from ..sharing import shared
from ..state_checks import LARGEST_COUNT, LARGEST_FLOAT, ByName, Range, Ranges, State

Name = Literal["blocks", "page_hinkley", "adwin"]

ALLOWANCE, LIMIT = 1.0, 12.0  # k and h of the reference's CUSUM, in widths of a block mean
DELTAS = {"blocks": ALLOWANCE, "page_hinkley": 1.0, "adwin": 0.002}


class Drift(NamedTuple):
    """Parameters of the detector, as in the spec."""

    detector: Name
    delta: float | None
    threshold: float | None
    both: bool
    block: int
    rest: int

    @classmethod
    def of(cls, spec: Any) -> Drift:
        """Return the parameters of a spec."""
        return cls(
            spec.drift,
            spec.drift_delta,
            spec.drift_threshold,
            spec.drift_both,
            spec.drift_block,
            spec.drift_rest,
        )


class DriftDetector(ByName):
    """A drift detector on the distances or errors of one model. Its arrays are part of its ``state``."""

    may_hold_inf = ("drift.page",)  # the extremes before the first value

    def __init__(self, drift: Drift) -> None:
        compiler.ready(kernels)
        name, delta, threshold, both, block, rest = drift
        delta = DELTAS[name] if delta is None else delta
        threshold = LIMIT if threshold is None else threshold
        shape = kernels.BUCKETS
        own = {"page_hinkley": kernels.PAGE, "adwin": kernels.WINDOW + math.prod(shape)}
        values = np.zeros(kernels.OWN + own.get(name, 0))
        counts = np.zeros(kernels.COUNTS + (kernels.ROWS if name == "adwin" else 0), np.int64)
        self.state = {
            "drift.block": values[: kernels.BLOCK],
            "drift.reference": values[kernels.BLOCK : kernels.OWN],
        }
        if name == "page_hinkley":
            self.state["drift.page"] = values[kernels.OWN :]
        elif name == "adwin":
            self.state["drift.window"] = values[kernels.OWN :][: kernels.WINDOW]
            self.state["drift.buckets"] = values[kernels.OWN + kernels.WINDOW :].reshape(shape)
            self.state["drift.sizes"] = counts[kernels.COUNTS :]
        self.state["drift.alarms"] = counts[: kernels.COUNTS]
        self.state["drift.reference"][level.BEFORE] = -1.0
        self.state["drift.alarms"][kernels.LAST] = -1
        self._begin_page()
        self.ranges = shared(("drift ranges", block), partial(_ranges, block))
        self._block, self._alarms = self.state["drift.block"], self.state["drift.alarms"]
        self._size, self._rest = block, rest
        k, h = (delta, threshold) if name == "blocks" else (ALLOWANCE, LIMIT)
        given = kernels.DETECTORS[name], delta, threshold, both, block, rest, k, h
        settings = shared(("drift", given), partial(np.array, given, np.float64))
        self.arguments = settings, values, counts
        """Settings and state, as the kernels take them."""

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe a window of another length than its buckets."""
        if "drift.sizes" not in state:
            return
        values = sum(size << row for row, size in enumerate(state["drift.sizes"].tolist()))
        if state["drift.window"][kernels.LENGTH] != values:
            yield f"'drift.window' has another length than the {values} values of its buckets"

    @property
    def values_left(self) -> int:
        """Number of values until the block is complete. An alarm can come with the last of them only."""
        return self._size - int(self._block[level.VALUES])

    @property
    def level_before(self) -> float:
        """The mean of d^(2/3) before the last alarm."""
        return float(self.state["drift.reference"][level.BEFORE])

    def detect(
        self, values: NDArray[np.float32], samples: NDArray[np.int64], first: int = 0
    ) -> NDArray[np.bool_]:
        """Return whether each sample raises an alarm, ``(n,)``.

        ``values`` ``(n,)``: distances or errors. ``samples`` ``(n,)``: the samples' numbers; ``(0,)``: they
        count on from ``first``.
        """
        drift = np.empty(len(values), np.bool_)
        kernels.detect(*self.arguments, values, first, samples, drift)
        return drift

    def named_arguments(self) -> dict[str, Any]:
        """Return settings and state by the names of `kernels.detect`."""
        return dict(zip(("settings", "values", "counts"), self.arguments, strict=True))

    def restart(self) -> None:
        """Begin again with an empty reference."""
        self._block[:] = 0
        self.state["drift.reference"][: level.BEFORE] = 0
        for name in ("drift.page", "drift.window", "drift.buckets", "drift.sizes"):
            if name in self.state:
                self.state[name][...] = 0
        self._begin_page()

    def _begin_page(self) -> None:
        if "drift.page" in self.state:
            self.state["drift.page"][[kernels.LEAST, kernels.LARGEST]] = np.inf, -np.inf

    def take_rise(self) -> bool:
        """Return whether there was an alarm of a rise since the last call."""
        pending = bool(self._alarms[kernels.PENDING])
        self._alarms[kernels.PENDING] = 0
        return pending

    def quality(self) -> dict[str, Any]:
        """Return ``drift_alarms``, ``last_drift`` and ``drift_settled``.

        ``last_drift`` is the sample number of the last alarm, −1 for none. ``drift_settled``: whether the
        reference is settled, so that a rise raises an alarm.
        """
        alarms, last, _ = self._alarms.tolist()
        settled = bool(self.state["drift.reference"][level.SETTLED] >= self._rest)
        return {"drift_alarms": alarms, "last_drift": last, "drift_settled": settled}


def _ranges(block: int) -> Ranges:
    lowest = np.zeros(level.SIZE)
    lowest[level.BEFORE] = -1.0
    return Ranges(
        {
            "drift.reference": Range(lowest, LARGEST_FLOAT),
            "drift.block": Range(0, (LARGEST_FLOAT, block - 1)),
            "drift.sizes": Range(0, kernels.MOST),
            "drift.alarms": Range((0, -1, 0), (LARGEST_COUNT, LARGEST_COUNT, 1)),
        }
    )
