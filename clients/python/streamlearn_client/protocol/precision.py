"""Detection of channels that float32 cannot resolve, for example the time in seconds since 1970."""

from __future__ import annotations

import warnings
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.protocol.messages import Samples

__all__ = ["PrecisionMonitor", "PrecisionWarning"]

CHANGES: Final = 500
"""Number of observed changes of a channel before its warning."""
LOST_SHARE: Final = 0.75
"""The share of these changes that float32 does not show."""
NOISE: Final = 1e-14
"""Relative changes up to this size are rounding errors of float64."""
PERIOD: Final = 512
OBSERVED: Final = 16
"""Of `PERIOD` calls with a single sample, this many are observed: an observation costs more than the call."""
MOST_ROWS: Final = 256
"""Samples that are observed of one call."""


class PrecisionWarning(UserWarning):
    """Different values of a channel become equal as float32, so the model cannot distinguish them."""


NO_CHANGES, NO_WARNINGS = np.zeros(0, np.int64), np.zeros(0, np.bool_)  # before the first sample


class PrecisionMonitor:
    """Warns once per channel whose changes are lost in the conversion to float32.

    Parameters
    ----------
    subject : str
        What receives the samples, for the message.
    """

    __slots__ = ("_calls", "_changes", "_last", "_lost", "_subject", "_warned")

    def __init__(self, subject: str) -> None:
        self._subject = subject
        self._calls = 0
        self._last: NDArray[Any] | None = None  # (1, dim), the last observed sample
        self._changes = self._lost = NO_CHANGES  # (dim,)
        self._warned = NO_WARNINGS  # (dim,)

    def observe(self, values: Any, rows: Samples) -> list[int]:
        """Compare samples with their conversion, and warn for each newly detected channel.

        Parameters
        ----------
        values : array_like
            The samples as the caller passed them.
        rows : ndarray of float32, (n, dim)
            The same samples as float32.

        Returns
        -------
        list of int
            The newly detected channels, from 0.
        """
        if type(values) is np.ndarray and values.dtype == rows.dtype:
            return []
        self._calls += 1
        if len(rows) == 1 and self._calls % PERIOD >= OBSERVED:
            return []
        if len(rows) > MOST_ROWS:
            values, rows = values[:MOST_ROWS], rows[:MOST_ROWS]
        given = np.asarray(values)
        if given.dtype.kind not in "iuf" or given.size != rows.size:
            return []
        given = given.reshape(rows.shape)
        if self._last is not None and self._last.shape[1] == rows.shape[1]:
            given = np.concatenate([self._last, given])
        else:
            self._changes, self._lost = np.zeros((2, rows.shape[1]), np.int64)
            self._warned = np.zeros(rows.shape[1], np.bool_)
        self._last = given[-1:].copy()
        return self._count(given)

    def _count(self, given: NDArray[Any]) -> list[int]:
        """Count the changes from row to row, and warn where float32 loses most of them."""
        with np.errstate(invalid="ignore", over="ignore"):
            before, after = given[:-1], given[1:]
            step = np.abs(after.astype(np.float64) - before)
            changed = (step > NOISE * np.abs(before)) | ((step == 0) & (after != before))
            lost = changed & (before.astype(np.float32) == after.astype(np.float32))
        self._changes += np.count_nonzero(changed, axis=0)
        self._lost += np.count_nonzero(lost, axis=0)
        found = (self._lost >= CHANGES) & (self._lost >= LOST_SHARE * self._changes) & ~self._warned
        self._warned |= found
        channels = [int(channel) for channel in np.flatnonzero(found)]
        for channel in channels:
            value = given[-1, channel]
            warnings.warn(
                f"channel {channel} of {self._subject}: different values near {value:.10g} are equal as "
                f"float32, whose step there is {np.spacing(np.float32(abs(value))):.3g}; subtract a constant "
                "offset, or leave the channel out",
                PrecisionWarning,
                stacklevel=2,
            )
        return channels
