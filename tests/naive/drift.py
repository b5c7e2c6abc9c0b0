"""Drift by blocks, in float64 and with powers: a one-sided CUSUM on standardised means of blocks."""

from __future__ import annotations

import math


class Mean:
    """A mean with the gain max(1/256, 3/(n + 2))."""

    def __init__(self) -> None:
        self.value = 0.0

    def add(self, value: float, n: float, factor: float = 1.0) -> None:
        self.value += factor * max(1 / 256, 3 / (n + 2)) * (value - self.value)


class Blocks:
    """The detector. ``add`` returns whether a distance raises an alarm."""

    def __init__(self, block: int, rest: int, k: float, h: float) -> None:
        self.block, self.rest, self.k, self.h = block, rest, k, h
        self.values: list[float] = []
        self.passed = 0.0
        self.before: float | None = None
        self.top = 0.0
        self.begin()

    def begin(self) -> None:
        self.n = self.n_level = self.quiet = 0
        self.level, self.noise = Mean(), Mean()
        self.u, self.u_squared, self.u_product = Mean(), Mean(), Mean()
        self.last_block = self.last_u = 0.0
        self.s = self.f = self.highest = 0.0

    def add(self, distance: float) -> bool:
        if not math.isfinite(distance):
            return False
        self.values.append(distance ** (2 / 3))
        if len(self.values) < self.block:
            return False
        mean = sum(self.values) / self.block
        self.values = []
        return self.add_block(mean)

    def width(self) -> float:
        variance = self.u_squared.value - self.u.value**2
        phi = 0.0
        if variance > 0:
            phi = min(0.98, max(0.0, (self.u_product.value - self.u.value**2) / variance))
        long_run = 2 * self.u_squared.value * (1 + phi) / (1 - phi)
        width = math.sqrt(max(self.noise.value, long_run) * (1 + 2 / min(self.n_level, 256)))
        return max(width, self.passed, self.level.value / 1000, 1e-300)

    def add_block(self, b: float) -> bool:
        settled = self.quiet >= self.rest
        self.n, self.n_level, self.quiet = self.n + 1, self.n_level + 1, self.quiet + 1
        self.passed *= 63 / 64
        if self.n == 1:
            self.level.value = self.last_block = b
            return False
        z = min(6.0, max(-6.0, (b - self.level.value) / self.width()))
        if self.n > 8:
            self.s = max(0.0, self.s + z - self.k)
            self.f = max(0.0, self.f - z - self.k)
            if self.s > self.h:
                self.before, self.top = (self.level.value, b) if settled else (None, 0.0)
                self.begin()
                return settled
            if self.f > self.h:
                self.f = self.s = 0.0
                self.quiet = 0
                self.n_level = 8
        self.remember(b)
        self.learn(b)
        return False

    def remember(self, b: float) -> None:
        if self.before is not None:
            self.top = max(self.top, b)
            height = self.top - self.before
            if self.n >= 8 and self.level.value < self.before + height / 2:
                self.passed = max(self.passed, height)
                self.before, self.top = None, 0.0
        elif self.s > 0:
            self.top = max(self.top, b - self.level.value)
            self.highest = max(self.highest, self.s)
        else:
            if self.highest > self.h / 2:
                self.passed = max(self.passed, self.top)
            self.top = self.highest = 0.0

    def learn(self, b: float) -> None:
        factor = 0.25 if self.s > self.h / 2 else 1.0
        e, step = b - self.level.value, b - self.last_block
        if self.n > 4:
            deviation = math.sqrt(max(self.noise.value, 2 * self.u_squared.value))
            most = 4 * deviation if deviation > 0 else self.level.value / 1000
            e, step = (min(most, max(-most, value)) for value in (e, step))
        u = max(0.0, e)
        self.level.add(self.level.value + e, self.n_level, factor)
        self.noise.add(step**2 / 2, self.n, factor)
        self.u.add(u, self.n, factor)
        self.u_squared.add(u**2, self.n, factor)
        self.u_product.add(u * self.last_u, self.n, factor)
        self.last_block, self.last_u = b, u
