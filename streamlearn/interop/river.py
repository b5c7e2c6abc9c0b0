"""Estimators for river: ``Clusterer``, ``AnomalyDetector`` and ``Regressor``.

They learn from one dictionary at a time and work in river's pipelines::

    from river import preprocessing
    from streamlearn.interop.river import AnomalyDetector

    detector = preprocessing.StandardScaler() | AnomalyDetector("som", grid=(10, 10))
    for x in stream:
        score = detector.score_one(x)
        detector.learn_one(x)

The first dictionary that is learned defines the channels: its features, sorted by name. Later a feature that
is absent or None is a missing value, and a new feature is ignored. ``features=("pressure", "flow")`` names
the channels in advance: needed if features may be absent at first, or if the spec fits one ``dim`` only.
``model`` is the model; None before the first dictionary.
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
    """Estimator that creates its model when the first dictionary comes.

    Raises BadSpec at once if kind and parameters are not a model's, or not of a model that fits.
    """

    _laid_over: ClassVar[Mapping[str, Any]] = {}
    _requirement: ClassVar[str]  # why another model does not suit

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
        if not self._accepts(trial):
            raise self._refusal("kind", f"{kind}: {self._requirement}")

    def _accepts(self, model: Model) -> bool:
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
        """Return one of the outputs for ``x``; None before the first dictionary was learned."""
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
    """Clusters: the number of the winning unit.

    Parameters
    ----------
    kind : str
        A kind of model with one winner per sample: ``"som"``, ``"competitive"``, ``"gng"``, or
        ``"grossberg"`` with one cluster.
    features : sequence of hashable, optional
        The channels. The default is the features of the first dictionary.
    **parameters
        Parameters of the model, without ``dim``.

    Raises
    ------
    BadSpec
        If the parameters are wrong, or the model has more than one winner per sample.

    Examples
    --------
    >>> from streamlearn.interop.river import Clusterer
    >>> clusterer = Clusterer("som", grid=(2, 2), scale="standard")
    >>> clusterer.learn_one({"pressure": 3.1, "flow": 40.2})
    >>> clusterer.predict_one({"pressure": 3.0, "flow": 41.0}) in range(4)
    True
    """

    _requirement = (
        "a sample has no one winner; take som, competitive, gng, hamming, or grossberg with one cluster"
    )

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"kind": "competitive", "units": 4}

    def _accepts(self, model: Model) -> bool:
        outputs = model.predict(np.full(model.dim, np.nan)).arrays
        return "winner" in outputs and outputs["winner"].size == 1

    def learn_one(self, x: Features) -> None:
        """Learn one sample."""
        self._learn(x)

    def predict_one(self, x: Features) -> int:
        """Return the number of the winner; −1 if every feature is missing or nothing was learned yet."""
        winner = self._say(x, "winner")
        return -1 if winner is None else int(winner.item())


class AnomalyDetector(_Learner, base.AnomalyDetector):
    """Anomaly scores of any kind of model that learns without targets.

    With ``"rnn"`` the score is that of the forecast error.

    Parameters
    ----------
    kind : str
        A kind of model without targets, for example ``"som"``.
    features : sequence of hashable, optional
        The channels. The default is the features of the first dictionary.
    **parameters
        Parameters of the model, without ``dim``.

    Raises
    ------
    BadSpec
        If the parameters are wrong, or the model needs targets.

    Examples
    --------
    >>> from streamlearn.interop.river import AnomalyDetector
    >>> detector = AnomalyDetector("som", grid=(3, 3), scale="standard")
    >>> for i in range(100):
    ...     detector.learn_one({"flow": float(i % 10)})
    >>> detector.score_one({"flow": 1000.0}) > 0.9
    True
    """

    _requirement = "it needs a y; take a kind that learns from x alone"

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"kind": "som", "grid": (10, 10), "scale": "standard"}

    def _accepts(self, model: Model) -> bool:
        return model.target_dim == 0

    def learn_one(self, x: Features) -> None:
        """Learn one sample."""
        self._learn(x)

    def score_one(self, x: Features) -> float:
        """Return the share of recent samples that were less unusual, 0 to 1.

        It is 0 if every feature is missing or nothing was learned yet.
        """
        score = self._say(x, "score")
        return 0.0 if score is None or np.isnan(score) else float(score)


class Regressor(_Learner, base.Regressor):
    """A recurrent network that predicts ``y`` from a sample and all samples before it.

    Parameters
    ----------
    kind : str
        ``"rnn"``.
    features : sequence of hashable, optional
        The channels. The default is the features of the first dictionary.
    **parameters
        Parameters of the model, without ``dim``, ``target`` and ``outputs``.

    Raises
    ------
    BadSpec
        If the parameters are wrong.

    Examples
    --------
    >>> from streamlearn.interop.river import Regressor
    >>> regressor = Regressor("rnn", readout="adam", hidden=4, scale="standard")
    >>> regressor.learn_one({"flow": 1.0}, 2.0)
    >>> isinstance(regressor.predict_one({"flow": 2.0}), float)
    True
    """

    _laid_over: ClassVar[Mapping[str, Any]] = {"target": "given", "outputs": 1}
    _requirement = "it learns no y, or cannot answer at once; take rnn"

    @classmethod
    def _unit_test_params(cls) -> Iterator[dict[str, Any]]:
        yield {"kind": "rnn", "readout": "adam", "hidden": 8, "scale": "standard"}

    def _accepts(self, model: Model) -> bool:
        return model.target_dim == 1 and not model.has_lookahead

    def learn_one(self, x: Features, y: float | None) -> None:
        """Learn one sample. A ``y`` of None or NaN is missing and not learned."""
        self._learn(x, float("nan") if y is None else y)

    def predict_one(self, x: Features) -> float:
        """Return the prediction of ``y`` if ``x`` comes next; 0 before the first sample."""
        prediction = self._say(x, "prediction")
        return 0.0 if prediction is None else float(prediction[0])
