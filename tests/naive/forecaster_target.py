"""Least squares on a given target in float64, from the documented formulas. One stream, no GRU."""

from __future__ import annotations

import numpy as np

from .bands import Level

RING = 500
SLOWEST = 10_000.0


class TargetPredictor:
    """``predict`` a row, then ``learn`` its target (NaN: missing) or ``watch`` it."""

    def __init__(self, dim, outputs, lags, averages, horizon=1, half_life=1400.0, ridge=0.1, clip=2.0,
                 coverage=0.9, eta=0.004, mixes=True):  # fmt: skip
        self.dim, self.outputs, self.lags, self.horizon, self.mixes = dim, outputs, lags, horizon, mixes
        self.constants = lags * (SLOWEST / lags) ** (np.arange(averages) / max(averages - 1, 1))
        self.constants = np.round(self.constants, 1)
        columns, m = horizon * outputs, 1 + dim * (lags + averages)
        self.columns, self.forgetting, self.clip, self.ridge = columns, 0.5 ** (1 / half_life), clip, ridge
        self.past, self.raws, self.targets = [], [], []
        self.rows, self.learned, self.added, self.newest = [], [], np.zeros(dim), np.full(outputs, np.nan)
        self.a = None
        # Least squares in the raw features. What is scaled are P_0 and the unit of the targets
        self.offset, self.unit = np.zeros(m), np.zeros(m)
        self.y_offset, self.y_unit = np.zeros(outputs), np.zeros(outputs)
        self.W, self.P, self.sigma, self.pairs = (
            np.zeros((columns, m)),
            np.eye(m) / ridge,
            np.zeros(columns),
            0,
        )
        self.losses = np.tile([0.0, 0.0, 30.0], (columns, 1))
        self.weights, self.sums = np.full((columns, 3), 1 / 3), np.zeros((columns, 2))
        self.miss, self.eta, self.a_t = 1 - coverage, eta, np.full(columns, 1 - coverage)
        self.errors, self.levels = [[] for _ in range(columns)], [Level() for _ in range(columns)]
        self.made = []

    def predict(self, x):
        x = np.array(x, float)
        last = self.past[-1] if self.past else np.full(self.dim, np.nan)
        filled = np.where(np.isnan(x), last, x)
        if self.a is None:
            self.a = np.full((self.dim, len(self.constants)), np.nan)
        fresh = np.isnan(last) & ~np.isnan(x)
        self.a[fresh] = x[fresh][:, None]
        rows = np.array([row for row, learned in zip(self.rows, self.learned, strict=True) if learned])
        for c in np.flatnonzero(~np.isnan(x)):
            values = rows[~np.isnan(rows[:, c]), c] if len(rows) else rows
            beyond = np.ptp(values) / 4 if len(values) else 0
            if len(values) < 2 or values.min() - beyond <= x[c] <= values.max() + beyond or not self.added[c]:
                self.added[c] += 1
                self.a[c] += (x[c] - self.a[c]) / np.minimum(self.constants, self.added[c])
        self.rows.append(x)
        for c in np.flatnonzero(fresh):  # as if the channel had always had this value
            for row in self.past:
                row[c] = x[c]
        self.past.append(filled)
        raw = [1.0]
        for c in range(self.dim):
            values = [self.past[max(len(self.past) - 1 - k, 0)][c] for k in range(self.lags)]
            chain = np.array([*values, *self.a[c]])
            raw += [*(chain[:-1] - chain[1:]), chain[-1]]
        raw = np.array(raw)
        self.raws.append(np.where(np.isnan(raw), self.offset, raw))
        own = np.full(self.columns, np.nan)
        wz = self.W @ self._z(self.raws[-1])
        experts = np.full((self.columns, 3), np.nan)
        for column in range(self.columns):
            o = column % self.outputs
            seen = [y[o] for y in self.targets if not np.isnan(y[o])]
            if seen:
                own[column] = self.y_offset[o] + self.y_unit[o] * wz[column]
                experts[column] = self.newest[o], np.mean(seen), own[column]
        mixed = (self.weights * experts).sum(axis=1) if self.mixes else own
        half = np.array([self._half_width(column) for column in range(self.columns)])
        self.made.append((experts, mixed, half, [self._level(column) for column in range(self.columns)]))
        return mixed, half

    def _z(self, raw):
        if not any(self.learned):
            return np.eye(len(raw))[0]
        learned = np.array([row for row, known in zip(self.raws, self.learned, strict=False) if known])
        inside = np.clip(raw, learned.min(axis=0) - self.unit, learned.max(axis=0) + self.unit)
        z = np.where(self.unit > 0, (inside - self.offset) / np.where(self.unit > 0, self.unit, 1), 0.0)
        z[0] = 1.0
        return z

    def _level(self, column):
        return self.levels[column].value

    def _half_width(self, column):
        errors = np.sort(self.errors[column])
        if len(errors) < 20:
            return np.nan
        rank = int((len(errors) + 1) * (1 - self.a_t[column]))
        quantile = 2 * errors[-1] if rank > len(errors) else errors[min(rank, len(errors) - 1)]
        return quantile * self._level(column)

    def watch(self, y):
        """The past and the last target go on. Nothing else does."""
        self.targets.append(np.full(self.outputs, np.nan))
        self.newest = np.where(np.isnan(y), self.newest, y)
        self.learned.append(False)

    def learn(self, y):
        self.targets.append(np.array(y, float))
        t = len(self.targets) - 1
        for h in range(min(self.horizon, t + 1)):
            experts, mixed, half, level = self.made[t - h]
            for o in np.flatnonzero(~np.isnan(self.targets[-1])):
                column, value = h * self.outputs + o, self.targets[-1][o]
                if np.isnan(mixed[column]):
                    continue
                error = abs(mixed[column] - value)
                self._compare(column, np.abs(experts[column] - value), error, half[column], level[column])
        if t >= self.horizon - 1:
            self._learn_pair(t - self.horizon + 1)
        self.learned.append(True)
        self.newest = np.where(np.isnan(y), self.newest, y)
        self._observe()

    def _compare(self, column, losses, error, half, level):
        decay = 0.5 ** (1 / 50)
        self.sums[column] = self.sums[column] * decay + (error, 1)
        usual = self.sums[column, 0] / self.sums[column, 1]
        if usual > 0:
            self.losses[column] = self.losses[column] * decay + losses / usual
            w = np.exp(-0.3 * (self.losses[column] - self.losses[column].min()))
            self.weights[column] = 0.999 * w / w.sum() + 0.001 / 3
        if not np.isnan(half):
            moved = self.a_t[column] + self.eta * (self.miss - (error > half))
            self.a_t[column] = np.clip(moved, 0, min(2 * self.miss, 1))
        self.levels[column].add(error, len(self.errors[column]))
        if level > 0:
            self.errors[column] = [*self.errors[column], error / level][-RING:]

    def _learn_pair(self, origin):
        z = self._z(self.raws[origin])
        y = np.concatenate(
            [
                (self.targets[origin + h] - self.y_offset) / np.where(self.y_unit > 0, self.y_unit, np.nan)
                for h in range(self.horizon)
            ]
        )
        known = ~np.isnan(y)
        if not known.any():
            return
        e = np.where(known, y - self.W @ z, 0.0)
        size, limit, largest = np.abs(e), np.full(self.columns, np.inf), np.full(self.columns, np.inf)
        if self.pairs >= 50:
            limit, largest = np.maximum(self.clip * self.sigma, 0.02), np.maximum(6 * self.sigma, 0.02)
        w = np.sum(known * np.minimum(1, limit / np.maximum(size, 1e-300))) / self.columns
        gain = max(1 / (self.pairs + 1), 0.002)
        self.sigma += known * gain * (np.minimum(size, largest) - self.sigma)
        Pz = self.P @ z
        full = np.trace(self.P) > (1 - 1e-9) * len(z) / self.ridge
        forgetting = 1.0 if full else self.forgetting
        g = 1 / (forgetting + w * (z @ Pz))
        self.W += np.outer(g * np.clip(e, -limit, limit), Pz)
        self.P = (self.P - w * g * np.outer(Pz, Pz)) / forgetting
        self.pairs += 1

    def _observe(self):
        learned = [row for row, known in zip(self.raws, self.learned, strict=True) if known]
        n = len(learned)
        if n & (n - 1) == 0:
            mean, width = np.mean(learned, axis=0), np.std(learned, axis=0)
            m, moving = len(mean), width > 1e-12 * np.maximum(np.abs(mean), 1)
            moving[0] = False
            length = self.lags + len(self.constants)
            for first in range(1, m, length):
                most = max(width[first : first + length - 1], default=0)
                width[first : first + length] = np.maximum(width[first : first + length], most / 100)
            A = np.eye(m)  # z = A z'
            for j in np.flatnonzero(moving & (self.unit > 0)):
                A[j, j] = width[j] / self.unit[j]
                A[j, 0] = (mean[j] - self.offset[j]) / self.unit[j]
            self.W, self.P = self.W @ A, A.T @ self.P @ A
            for j in range(m):
                found, column = self.P[j, j], self.P[:, j].copy()
                if found > 1 / self.ridge:  # one more pair, with a variance so that P_jj is 1/ridge
                    variance = 1 / (self.ridge - 1 / found)
                    self.P -= np.outer(column, column) / (found + variance)
            self.offset, self.unit = np.where(moving, mean, self.offset), np.where(moving, width, self.unit)
        for o in np.flatnonzero(~np.isnan(self.targets[-1])):
            seen = np.array([y[o] for y in self.targets if not np.isnan(y[o])])
            if len(seen) & (len(seen) - 1):
                continue
            old, offset, width = self.y_unit[o], self.y_offset[o], seen.std()
            self.y_offset[o] = seen.mean()
            if not width > 0:
                continue
            self.y_unit[o] = width
            if old > 0:
                columns = np.arange(self.horizon) * self.outputs + o
                self.W[columns] *= old / width
                self.W[columns, 0] += (offset - self.y_offset[o]) / width
                self.sigma[columns] *= old / width
