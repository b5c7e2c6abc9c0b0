"""river models: ``Clusterer``, ``AnomalyDetector`` and ``Regressor`` learn from dictionaries, one at a time,
and stand in river's pipelines.

    from river import preprocessing
    from streamlearn.interop.river import AnomalyDetector

    detector = preprocessing.StandardScaler() | AnomalyDetector("som", grid=(10, 10))
    for x in stream:
        score = detector.score_one(x)
        detector.learn_one(x)

Each is made of a model's kind and spec, ``dim`` left out: it is how many features the first dictionary has
that is learned. These features, sorted by name, are the channels from then on, in whatever order they come.
One that is absent, or None, is a missing value; one that is new is not looked at, for a model keeps its
channels. Those that may be absent at first can be named: ``features=("pressure", "flow")``; so must those of
a model whose spec fits one ``dim`` only. The model itself is ``model``, None before the first dictionary.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from ..errors import BadSpec, BadValue
from ..models import Model, create

try:
    from river import base
except ImportError as error:
    raise ImportError(
        "streamlearn.interop.river needs river 0.26 or newer: pip install 'streamlearn[river]'"
    ) from error

Features = Mapping[Hashable, Any]
_LARGEST = float(np.finfo(np.float32).max)


class _Learner(base.Estimator):
    """A model that is made when the first dictionary comes.

    Raises BadSpec at once where ``kind`` and ``parameters`` are no model's, or not one that ``_suits``.
    """

    _laid_over: ClassVar[Mapping[str, Any]] = {}
    _wants: ClassVar[str]  # why another model does not suit

    def __init__(self, kind: str, features: Sequence[Hashable] | None = None, **parameters: Any) -> None:
        self.kind = kind
        self.features = features
        self.parameters = parameters
        self.model: Model | None = None
        self.channels: tuple[Hashable, ...] = ()
        for name, value in self._laid_over.items():
            if parameters.get(name, value) != value:
                raise self._refusal(name, f"{name} is always {value!r}: leave it out")
        trial = self._make(1 if features is None else len(features))
        if trial.needs_keys:
            raise self._refusal("keys", "dictionaries are one stream: leave keys out, and make one for each")
        if not self._suits(trial):
            raise self._refusal("kind", f"{kind}: {self._wants}")

    def _suits(self, model: Model) -> bool:
        return True

    def _refusal(self, field: str, why: str) -> BadSpec:
        message = f"this is no spec of a {type(self).__name__}: {why}"
        return BadSpec(message, errors=[{"field": field, "message": message}])

    def _make(self, dim: int) -> Model:
        return create(self.kind, {**self.parameters, **self._laid_over, "dim": dim})

    def _learn(self, x: Features, y: Any = None) -> None:
        channels = self.channels
        if self.model is None:
            names = x.keys() if self.features is None else self.features
            channels = tuple(sorted(names, key=lambda name: (str(name), type(name).__name__)))
        row, target = _row(x, channels), None if y is None else [[_number("y", y)]]
        if self.model is None:  # what was refused has fixed nothing
            self.model, self.channels = self._make(len(channels)), channels
        self.model.learn(row, target)

    def _say(self, x: Features, what: str) -> Any:
        """One of the outputs for ``x``; None before the first dictionary was learned."""
        if self.model is None:
            return None
        return self.model.predict(_row(x, self.channels)).arrays[what][0]


def _row(x: Features, channels: Sequence[Hashable]) -> NDArray[np.float64]:
    return np.array([[_number(name, x.get(name)) for name in channels]])


def _number(name: Hashable, value: Any) -> float:
    """``value`` as a float, NaN for None. Raises BadValue, naming the feature, unless it fits float32."""
    try:
        number = float("nan") if value is None else float(value)
    except (TypeError, ValueError, OverflowError):
        number = float("inf")
    if abs(number) > _LARGEST:
        raise BadValue(
            f"{name!r} is {value!r}; a finite number was expected, or None or NaN where it is missing",
            feature=str(name),
        )
    return number


class Clusterer(_Learner, base.Clusterer):
    """Winners as cluster numbers, of any kind that has one for a sample: ``Clusterer("som", grid=(5, 5))``,
    ``Clusterer("gng")``, ``Clusterer("grossberg", layers=[[8]])``."""

    _wants = "a sample has no one winner; take som, competitive, gng, hamming, or grossberg with one cluster"

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"kind": "competitive", "units": 4}

    def _suits(self, model: Model) -> bool:
        said = model.predict(np.full(model.dim, np.nan)).arrays
        return "winner" in said and said["winner"].size == 1

    def learn_one(self, x: Features) -> None:
        """Learn one sample."""
        self._learn(x)

    def predict_one(self, x: Features) -> int:
        """The winner; −1 where every feature is missing, or nothing was learned yet."""
        winner = self._say(x, "winner")
        return -1 if winner is None else int(winner.item())


class AnomalyDetector(_Learner, base.AnomalyDetector):
    """Scores of any kind that learns from x alone: ``AnomalyDetector("som", grid=(10, 10))``.

    With ``"rnn"`` the score tells how badly the sample was forecast.
    """

    _wants = "it needs a y; take a kind that learns from x alone"

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"kind": "som", "grid": (10, 10), "scale": "standard"}

    def _suits(self, model: Model) -> bool:
        return model.target_dim == 0

    def learn_one(self, x: Features) -> None:
        """Learn one sample."""
        self._learn(x)

    def score_one(self, x: Features) -> float:
        """The share of recent samples that were less unusual, 0 … 1; 0 where every feature is missing, or
        nothing was learned yet."""
        score = self._say(x, "score")
        return 0.0 if score is None or np.isnan(score) else float(score)


class Regressor(_Learner, base.Regressor):
    """A recurrent net that learns ``y`` from a sample and all that came before it:
    ``Regressor("rnn", hidden=16, scale="standard")``."""

    _laid_over: ClassVar[Mapping[str, Any]] = {"target": "given", "outputs": 1}
    _wants = "it learns no y, or cannot answer at once; take rnn"

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"kind": "rnn", "hidden": 8, "scale": "standard"}

    def _suits(self, model: Model) -> bool:
        return model.target_dim == 1 and not model.has_lookahead

    def learn_one(self, x: Features, y: float | None) -> None:
        """Learn one sample; a ``y`` of None or NaN is missing and teaches nothing."""
        self._learn(x, float("nan") if y is None else y)

    def predict_one(self, x: Features) -> float:
        """What ``y`` will be if ``x`` comes next; 0 where nothing was learned yet."""
        prediction = self._say(x, "prediction")
        return 0.0 if prediction is None else float(prediction[0])
