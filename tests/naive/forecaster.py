"""A forecaster by least squares in float64: one channel of one stream, from the documented formulas.

``forecaster_net.py`` has the GRU.
"""

from __future__ import annotations

import numpy as np

from .bands import Level
from .forecaster_net import ForecasterNet

LIMIT, LARGEST_TARGET = 20.0, 1e4
RING = 500


class Forecaster:
    def __init__(self, horizon, lags=48, periods=(), half_life=1400.0, ridge=100.0, clip=2.0, residual=True,
                 coverage=0.9, eta=0.004, net: ForecasterNet | None = None):  # fmt: skip
        self.net = net
        self.horizon, self.lags, self.periods, self.residual = horizon, lags, periods, residual
        self.far = [m for m in periods if m > lags]
        self.features = 1 + lags + horizon * len(self.far) + (net.hidden if net else 0)
        self.forgetting, self.ridge, self.clip = 0.5 ** (1 / half_life), ridge, clip
        self.W = np.zeros((horizon, self.features))
        self.P = np.eye(self.features) / ridge
        self.sigma = np.zeros(horizon)
        self.pairs = 0
        experts = 3 + 3 * len(periods)
        self.losses = np.zeros((horizon, experts))
        self.losses[:, 1:] = 8.0
        self.losses[:, -1] = 30.0
        self.mix = np.full((horizon, experts), 1 / experts)
        self.sums = np.zeros((horizon, 2))
        self.miss, self.eta = 1 - coverage, eta
        self.a = np.full(horizon, self.miss)
        self.errors = [[] for _ in range(horizon)]
        self.levels, self.level_at = [Level() for _ in range(horizon)], []
        self.values, self.known = [], []  # from the first value on, without gaps; which of them are real
        self.z, self.scale, self.anchor = [], [], []
        self.experts, self.forecasts, self.half = [], [], []
        self.changes, self.change, self.mean_change, self.level, self.count = 0, 0.0, 0.0, 0.0, 0
        self.step, self.square = 0.0, 0.0

    def learn(self, value):
        """Learn a value (NaN: missing). Return forecasts and half widths of the bands that it leads to."""
        if not self.values and np.isnan(value):
            return None
        if not np.isnan(value):
            self._compare(value)
        self._add(value)
        gradient = self._learn_pair()
        self._forecast()
        if self.net:
            self.net.count_step(len(self.values) > self.horizon, gradient)
        return self.forecasts[-1], self.half[-1]

    def _value(self, t):
        return self.values[max(t, 0)]

    def _compare(self, value):
        now, decay = len(self.values), 0.5 ** (1 / 50)
        for h in range(1, min(self.horizon, now) + 1):
            origin = now - h
            error = abs(self.forecasts[origin][h - 1] - value)
            self.sums[h - 1] = self.sums[h - 1] * decay + (error, 1)
            mean = self.sums[h - 1, 0] / self.sums[h - 1, 1]
            if mean > 0:
                losses = self.losses[h - 1]
                losses[:] = losses * decay + np.abs(self.experts[origin][h - 1] - value) / mean
                w = np.exp(-0.3 * (losses - losses.min()))
                self.mix[h - 1] = 0.999 * w / w.sum() + 0.001 / len(w)
            half, level = self.half[origin][h - 1], self.level_at[origin][h - 1]
            if not np.isnan(half):
                moved = self.a[h - 1] + self.eta * (self.miss - (error > half))
                self.a[h - 1] = np.clip(moved, 0, min(2 * self.miss, 1))
            if self.scale[origin] > 0:
                self._count_error(h - 1, error / self.scale[origin], level)

    def _count_error(self, h, error, level):
        self.levels[h].add(error, len(self.errors[h]))
        if level > 0:
            self.errors[h] = [*self.errors[h], error / level][-RING:]

    def _error_level(self, h):
        return self.levels[h].value

    def _add(self, value):
        known = not np.isnan(value)
        value = value if known else self.forecasts[-1][0]
        if known:
            self.count += 1
            self.level += (value - self.level) / self.count
            if self.count > 1:
                step = value - self.values[-1]
                change = abs(step)
                self.changes += 1
                self.mean_change += (change - self.mean_change) / self.changes
                gain = max(1 - 0.5 ** (1 / 500), 1 / self.changes)
                self.change += gain * (change - self.change)
                self.step += gain * (step - self.step)
                self.square += gain * (step**2 - self.square)
        self.values.append(value)
        self.known.append(known)

    def _learn_pair(self):
        """Learn the pair that is complete. Return ∂L/∂h of its sample."""
        origin = len(self.values) - 1 - self.horizon
        if origin < 0 or not self.scale[origin] > 0:
            return 0.0
        known = np.array(self.known[origin + 1 :])
        if not known.any():
            return 0.0
        z, s = self.z[origin], self.scale[origin]
        y = np.clip(
            (np.array(self.values[origin + 1 :]) - self.anchor[origin]) / s, -LARGEST_TARGET, LARGEST_TARGET
        )
        e = np.where(known, y - self.W @ z, 0.0)
        size, limit, largest = np.abs(e), np.full(self.horizon, np.inf), np.full(self.horizon, np.inf)
        if self.pairs >= 50:
            clip = np.inf if self.clip is None else self.clip
            limit, largest = np.maximum(clip * self.sigma, 0.02), np.maximum(6 * self.sigma, 0.02)
        u = np.clip(e, -limit, limit)
        w = np.sum(known * np.minimum(1, limit / np.maximum(size, 1e-300))) / self.horizon
        gain = max(1 / (self.pairs + 1), 0.002)
        self.sigma += known * gain * (np.minimum(size, largest) - self.sigma)
        gradient = 0.0
        if self.net:
            bound = np.maximum(self.sigma, 0.01)
            slope = known * np.clip(e, -2 * bound, 2 * bound) / (bound * self.horizon)
            gradient = -self.W[:, -self.net.hidden :].T @ slope
        Pz = self.P @ z
        forgetting = 1.0 if np.trace(self.P) > (1 - 1e-9) * self.features / self.ridge else self.forgetting
        g = 1 / (forgetting + w * (z @ Pz))
        self.W += np.outer(g * u, Pz)
        self.P = (self.P - w * g * np.outer(Pz, Pz)) / forgetting
        self.pairs += 1
        return gradient

    def _forecast(self):
        t, last = len(self.values) - 1, self.values[-1]
        s = max(self.change, 0.2 * self.mean_change)
        z = [1.0]
        if s > 0:
            z += [(self._value(t - k) - last) / s for k in range(1, self.lags)] + [(last - self.level) / s]
            for m in self.far:
                z += [(self._value(t + h - m * -(-h // m)) - last) / s for h in range(1, self.horizon + 1)]
        z = np.clip(z, -LIMIT, LIMIT)
        if self.net:
            change = last - self._value(t - 1)
            inputs = np.array([change / s / 2, (last - self.level) / s / 4]) if s > 0 else np.zeros(2)
            z = np.concatenate([z, self.net.step(np.clip(inputs, (-3, -6), (3, 6)))])
        self.z.append(z)
        self.scale.append(s)
        self.anchor.append(last if self.residual else self.level)
        own = self.anchor[-1] + s * (self.W @ self.z[-1]) if s > 0 else np.full(self.horizon, last)
        columns = np.array([[*self._naive(t, h), own[h - 1]] for h in range(1, self.horizon + 1)])
        self.experts.append(columns)
        self.forecasts.append((self.mix * columns).sum(axis=1))
        self.half.append(np.array([self._half_width(h) * s for h in range(self.horizon)]))
        self.level_at.append([self._error_level(h) for h in range(self.horizon)])

    def _naive(self, t, h):
        last = self.values[t]
        uncertain = self.square / max(
            min(self.changes, 1 / (1 - 0.5 ** (1 / 500))), 1
        )  # of the mean, squared
        drift = self.step * max(0.0, 1 - uncertain / self.step**2) if self.step else 0.0
        found = [last, last + h * drift]
        for m in self.periods:
            source = t + h - m * -(-h // m)
            if source < 0:
                found += [last, last, last]
            else:
                found += [self.values[source]]
                found += [last + self.values[source] - self.values[t - m] if t >= m else self.values[source]]
                three = [self.values[source - k * m] for k in range(3 if source >= 2 * m else 1)]
                found += [np.median(three)]
        return found

    def _half_width(self, h):
        errors = np.sort(self.errors[h])
        if len(errors) < 20:
            return np.nan
        rank = int((len(errors) + 1) * (1 - self.a[h]))
        quantile = 2 * errors[-1] if rank > len(errors) else errors[min(max(rank, 0), len(errors) - 1)]
        return quantile * self._error_level(h)
