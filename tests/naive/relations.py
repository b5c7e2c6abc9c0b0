"""Distances of samples and the parts of their channels in float64, with NumPy's inverse.

The part of a channel is what the squared distance loses when its values are left out.
"""

from __future__ import annotations

import numpy as np

GROUP, SIDE = 16, 16  # channels of a group; its values are rounded up to a multiple of SIDE


class Stream:
    """What one stream keeps of its channels."""

    def __init__(self, channels):
        self.last = np.full(channels, np.nan)
        self.recent, self.samples, self.mean, self.change = np.zeros((4, channels))

    def recent_with(self, x):
        step = np.abs(x - self.last)
        step = np.where(self.change > 0, np.minimum(step, 8 * self.change), step)
        moved = np.where(self.recent == 0, step, self.recent + (step - self.recent) / 16)
        return np.where(np.isnan(step), self.recent, moved)


class Relations:
    def __init__(self, channels, decay):
        self.channels, self.decay = channels, decay
        self.count, self.limit = 0, 6.0
        self.means = np.zeros((channels, 3))
        self.widths = np.tile([1.0, 0.0, 0.0], (channels, 1))
        groups = [np.arange(first, min(first + GROUP, channels)) for first in range(0, channels, GROUP)]
        self.groups = groups
        self.covariance = [np.zeros((3 * len(group), 3 * len(group))) for group in groups]
        self.correlation = [np.eye(3 * len(group)) for group in groups]

    def compare(self, stream, forecast, x):
        """Return the distance and the part of each channel; NaN for channels that are not compared."""
        forecast, x = np.asarray(forecast, float), np.asarray(x, float)
        with np.errstate(divide="ignore", invalid="ignore"):
            activity = np.log(stream.recent_with(x) / stream.change + 1 / 64)
        own = np.where(np.isnan(x), forecast, x)
        values = np.stack([x - forecast, own - stream.mean, activity], axis=1)
        with np.errstate(invalid="ignore"):
            values[np.abs(values[:, 0]) <= 2.0**-20 * np.abs(x), 0] = 0
            values[np.abs(values[:, 1]) <= 2.0**-20 * np.abs(own), 1] = 0
        values[:, :2] = np.nan_to_num(values[:, :2], posinf=0, neginf=0)
        values[stream.samples == 0, 1] = 0
        self.deviation = np.where(
            [[True, True, changes] for changes in stream.change > 0], values - self.means, 0
        )
        self.z = np.clip(self.deviation * self.widths, -self.count, self.count)
        parts, square = np.zeros(self.channels), 0.0
        for group, correlation in zip(self.groups, self.correlation, strict=True):
            z = self.z[group].ravel()
            own = z @ np.linalg.inv(correlation) @ z
            square += own
            for i, c in enumerate(group):
                others = np.delete(np.arange(len(z)), [3 * i, 3 * i + 1, 3 * i + 2])
                rest = z[others] @ np.linalg.inv(correlation[np.ix_(others, others)]) @ z[others]
                parts[c] = own - rest
        compared = ~np.isnan(x) & np.isfinite(forecast)
        distance = np.sqrt(square / (3 * compared.sum())) if compared.any() else np.nan
        return distance, np.where(compared, parts, np.nan)

    def observe(self, stream, x):
        """Add the sample that was compared last."""
        x = np.asarray(x, float)
        self.count += 1
        gain, factor = max(1 - self.decay, 1 / self.count), 1.0
        if self.count > 16:
            largest = np.abs(self.deviation * self.widths).max()
            if largest > self.limit:
                factor, self.limit = self.limit / largest, self.limit * 2**0.125
            else:
                self.limit = 6.0
        for c in np.flatnonzero(~np.isnan(x)):
            stream.samples[c] += 1
            own = max(1 - self.decay, 1 / stream.samples[c])
            stream.mean[c] += own * factor * (x[c] - stream.mean[c])
            step = abs(x[c] - stream.last[c])
            if not np.isnan(step):
                if stream.samples[c] > 16 and stream.change[c] > 0:
                    step = min(step, 8 * stream.change[c])
                first = 1 / max(stream.samples[c] - 1, 1)
                stream.change[c] += max(own, first) * (step - stream.change[c])
        if self.count >= 256:
            if self.count % 4:
                return
            gain = min(4 * gain, 1)
        self.means += gain * factor * self.deviation
        for g, group in enumerate(self.groups):
            d = factor * self.deviation[group].ravel()
            self.covariance[g] = (1 - gain) * (self.covariance[g] + gain * np.outer(d, d))
            if self.count in (4, 8, 16, 32, 64, 128, 256) or self.count % 512 == 0:
                widths = np.sqrt(np.diag(self.covariance[g]))
                widths[2::3] = np.maximum(widths[2::3], 0.05)
                widths = 1 / np.maximum(widths, 1e-30)
                self.widths[group] = widths.reshape(-1, 3)
                side = -(-3 * min(self.channels, GROUP) // SIDE) * SIDE
                correlation = self.covariance[g] * np.outer(widths, widths)
                np.fill_diagonal(correlation, 1 + 1e-3 + side * gain)
                self.correlation[g] = correlation

    def advance(self, stream, x):
        x = np.asarray(x, float)
        stream.recent = stream.recent_with(x)
        stream.last = np.where(np.isnan(x), stream.last, x)
