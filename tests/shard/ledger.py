"""A model with all that others have only some of: keys, targets that come later, rows of output that are not
rows of input, a rate that can be heated again, forecasts. Small enough to be checked by eye."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamlearn.errors import BadValue
from streamlearn.models.base import Model, Spec
from streamlearn.models.batch import NUMBER, Batch, Targets
from streamlearn.models.outputs import Explanation, ModelOutputs, TargetOutputs
from streamlearn_client import Forecast
from tests.shard.interrupts import requested


class LedgerSpec(Spec):
    takes_keys: bool = True
    shows: int = 1


class Ledger(Model):
    """A running sum for each key, whose rate falls until it is heated again; targets are added to the sum of
    their key, with their sample or later. One sample in ``shows`` has outputs.
    """

    kind: ClassVar[str] = "ledger"
    Spec: ClassVar[type[Spec]] = LedgerSpec
    keys: ClassVar[int] = 8
    places: ClassVar[int] = 64  # samples that wait for their targets

    def __init__(self, **parameters: Any) -> None:
        super().__init__(**parameters)
        self.outputs = self.dim
        self.state = {
            "samples": np.zeros(1, np.int64),
            "rate": np.ones(1),
            "keys": np.full(self.keys, -1, np.int64),
            "sums": np.zeros((self.keys, self.dim), np.float32),
            "waiting": np.full((self.places, 3), -1, np.int64),  # key, id, number
            "prediction": np.zeros(self.places, np.float32),
        }

    target_dim = 1
    accepts_late_targets = True

    @property
    def needs_keys(self) -> bool:
        return bool(self.spec.takes_keys)

    def _sum_of(self, key: int) -> NDArray[np.float32]:
        """A view of the sum of a key, which is known from now on."""
        known = self.state["keys"].tolist()
        place = known.index(key) if key in known else known.index(-1)
        self.state["keys"][place] = key
        return self.state["sums"][place]

    def _prediction(self, key: int) -> NDArray[np.float32]:
        """A copy of it; nothing but zeros for a key that is not known."""
        return self.state["sums"][self.state["keys"] == key].sum(axis=0)

    def _learn(self, batch: Batch) -> ModelOutputs:
        shown, numbers = [], []
        for i, x in enumerate(batch.x):
            number = int(self.state["samples"][0])
            key = 0 if batch.keys is None else int(batch.keys[i])
            total = self._sum_of(key)
            prediction = np.float32(total.sum())
            total *= np.float32(0.5)
            total += np.float32(self.state["rate"][0]) * np.nan_to_num(x)
            self.state["rate"] *= 0.9
            assert batch.y is not None
            assert batch.ids is not None
            if np.isnan(batch.y[i, 0]):
                id = number if batch.ids[i] == NUMBER else batch.ids[i]
                self.state["waiting"][number % self.places] = key, id, number
                self.state["prediction"][number % self.places] = prediction
            else:
                total += batch.y[i]
            self.state["samples"][0] += 1
            if number % self.spec.shows == 0:
                shown.append(prediction)
                numbers.append(number)
            if requested(self.interrupt):
                break
        prediction = np.array(shown, np.float32)
        watched = {"watched": np.full(len(shown), True)} if self._watching.shut else {}
        if self.spec.shows == 1:
            return ModelOutputs(prediction=prediction, **watched)
        return ModelOutputs(
            prediction=prediction,
            sample=np.array(numbers, np.int64),
            drift=np.array(numbers) % 10 == 0,
            **watched,
        )

    def _learn_late_targets(self, targets: Targets, learning: bool) -> TargetOutputs:
        prediction, numbers = np.full(targets.rows, np.nan, np.float32), np.full(targets.rows, -1, np.int64)
        for i, id in enumerate(targets.ids):
            key = 0 if targets.keys is None else targets.keys[i]
            for place in np.flatnonzero((self.state["waiting"][:, :2] == (key, id)).all(axis=1)):
                prediction[i], numbers[i] = self.state["prediction"][place], self.state["waiting"][place, 2]
                self.state["waiting"][place] = -1
                self._sum_of(int(key))[...] += targets.y[i]
            if requested(self.interrupt):
                break
        return TargetOutputs(prediction=prediction[: i + 1], sample=numbers[: i + 1])

    def predict_validated(self, batch: Batch) -> ModelOutputs:
        keys = [0] * len(batch.x) if batch.keys is None else batch.keys.tolist()
        return ModelOutputs(prediction=[self._prediction(key).sum() for key in keys])

    def explain_validated(self, batch: Batch) -> Explanation:
        unknown = np.full(batch.x.shape, np.nan, np.float32)
        return Explanation(expected=unknown, contribution=unknown, score=unknown[:, 0])

    def validate_heat(self, heat: Any) -> float:
        if not 0 < heat <= 1:
            raise BadValue(f"heat is {heat}; above 0, up to 1, was expected")
        return float(heat)

    def reheat(self, heat: float = 1.0) -> None:
        self.state["rate"][0] = self.validate_heat(heat)

    def forecast_in_full(
        self, steps: int, key: int | str | None = None, *, times: ArrayLike | None = None
    ) -> Forecast:
        keys = self._read_keys(key, 1)
        total = self._prediction(0 if keys is None else int(keys[0]))
        ahead = [total * np.float32(0.5) ** i for i in range(1, steps + 1)]
        return Forecast(forecast=np.array(ahead).reshape(steps, self.dim))

    def sample(
        self, n: int, temperature: float = 1.0, seed: int = 0, key: int | str | None = None
    ) -> NDArray[np.int32]:
        self._read_keys(key, 1)
        if temperature < 0:
            raise BadValue(f"temperature is {temperature}")
        return np.random.default_rng(seed).integers(0, 1 + int(9 * temperature), n).astype(np.int32)

    def _quality(self) -> dict[str, Any]:
        return {"rate": float(self.state["rate"][0])}
