"""Estimators for scikit-learn.

``SOMClusterer``, ``CompetitiveClusterer``, ``GrowingNeuralGasClusterer``, ``OutlierDetector`` and
``RNNRegressor`` work in pipelines::

    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from streamlearn.interop.sklearn import SOMClusterer

    labels = make_pipeline(StandardScaler(), SOMClusterer(grid=(5, 5))).fit_predict(X)

``partial_fit`` learns rows in order, as ``learn`` of the model does; ``fit`` starts again and makes one pass.
Parameters are those of the model, without ``dim``: the first ``X`` defines it. None means the model's own
default. NaN in ``X`` is a missing value. ``model_`` is the model.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from inspect import Parameter, Signature
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BadSpec
from ..models import Model, create
from ..models.maps.competitive import Competitive
from ..models.maps.gng import GrowingNeuralGas
from ..models.maps.som import SOM
from ..models.recurrent.rnn import RNN
from ..models.signature import Argument, arguments, default_text, inserted, section

try:
    from sklearn.base import (
        BaseEstimator,
        ClassNamePrefixFeaturesOutMixin,
        ClusterMixin,
        OutlierMixin,
        RegressorMixin,
        TransformerMixin,
        clone,
    )
    from sklearn.utils.validation import check_array, check_consistent_length, check_is_fitted, validate_data
except ImportError as error:
    raise ImportError(
        "streamlearn.interop.sklearn needs scikit-learn 1.7 or newer: pip install 'streamlearn[sklearn]'"
    ) from error


E = TypeVar("E", bound="_Learner")
_OF_LABELS = "labels", "delay"  # of units: a clusterer is given no y
_NOT_OF_A_REGRESSOR = (
    *("target", "outputs", "horizon", "delay", "residual", "keys", "symbols", "classes"),
    *("readout", *RNN.Spec.only_rls),
)


def _parameters_of(model: type[Model], *without: str, **defaults: Any) -> Callable[[type[E]], type[E]]:
    """Give an estimator the parameters of a model's spec, except ``dim`` and ``without``.

    scikit-learn reads them from the signature of ``__init__``. Defaults are the spec's unless given here, and
    None for defaults that are not plain values.
    """
    for name, field in model.Spec.model_fields.items():
        plain = isinstance(field.default, (bool, int, float, str, tuple))
        defaults.setdefault(name, field.default if plain else None)
    names = [name for name in model.Spec.model_fields if name not in ("dim", *without)]
    parameters = [Parameter(name, Parameter.KEYWORD_ONLY, default=defaults[name]) for name in names]
    texts = [_text(each, defaults[each.name]) for each in arguments(model) if each.name in names]
    signature = Signature([Parameter("self", Parameter.POSITIONAL_OR_KEYWORD), *parameters])

    def __init__(*args: Any, **given: Any) -> None:
        try:
            bound = signature.bind(*args, **given)
        except TypeError as error:
            raise TypeError(f"{type(args[0]).__name__}: {error}; it takes {', '.join(names)}") from None
        bound.apply_defaults()
        self, *_ = bound.arguments.values()
        for name in names:
            setattr(self, name, bound.arguments[name])

    __init__.__signature__ = signature  # type: ignore[attr-defined]

    def give(estimator: type[E]) -> type[E]:
        estimator._kind, estimator.__init__ = model.kind, __init__  # type: ignore[method-assign]
        estimator.__doc__ = inserted(estimator.__doc__ or "", section("Parameters", texts))
        return estimator

    return give


def _text(parameter: Argument, default: Any) -> tuple[str, str]:
    """Return heading and description of an estimator's parameter, with its own default."""
    shown = replace(parameter, default=default_text(default))
    if default is not None or parameter.default in (None, "None"):
        return shown.heading, shown.description
    if "None" not in shown.shown:
        shown = replace(shown, shown=f"{shown.shown} or None")
    return shown.heading, f"{shown.description} None: {parameter.default}."


class _Learner(BaseEstimator):
    """Estimator that creates its model when the first rows come."""

    _kind: ClassVar[str]
    model_: Model

    def _learn(
        self, X: ArrayLike, y: NDArray[np.float32] | None = None, *, afresh: bool, **spec: Any
    ) -> None:
        """Learn ``X`` in order, ``afresh`` or after the rows before. ``spec`` overrides parameters."""
        first = afresh or not hasattr(self, "model_")
        rows = self._rows(X, reset=first)
        if y is not None:
            check_consistent_length(rows, y)
        if first:
            given = {name: value for name, value in self.get_params(deep=False).items() if value is not None}
            self.model_ = create(self._kind, {**given, "dim": rows.shape[1], **spec})
        self.model_.learn(rows, y)

    def _outputs(self, X: ArrayLike) -> dict[str, NDArray[Any]]:
        """Return the outputs of the model for ``X`` by name. Raises NotFittedError before ``fit``."""
        check_is_fitted(self, "model_")
        return self.model_.predict(self._rows(X, reset=False)).arrays

    def _rows(self, X: ArrayLike, *, reset: bool) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = validate_data(
            self, X, reset=reset, dtype=np.float32, order="C", ensure_all_finite="allow-nan"
        )
        return rows

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: NaN is allowed."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class _Clusterer(ClusterMixin, _Learner):
    """Clusterer: labels are the winners of a model."""

    labels_: NDArray[np.int32]

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Start again, then learn ``X`` ``(n, dim)`` in order, once.

        ``labels_`` are the winners of its rows.
        """
        self._learn(X, afresh=True)
        self.labels_ = self.predict(X)
        return self

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn the next rows ``X`` ``(n, dim)`` in order.

        ``labels_`` are the winners of its rows.
        """
        self._learn(X, afresh=False)
        self.labels_ = self.predict(X)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.int32]:
        """Return the winner of each row, int32 ``(n,)``; −1 if every value is missing."""
        return self._outputs(X)["winner"]

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return minus the model's score of each row, float64 ``(n,)``: lower is more abnormal.

        −0.999 means that one in a thousand recent samples was as unusual. NaN if every value is missing.
        """
        return -self._outputs(X)["score"].astype(np.float64)


@_parameters_of(SOM, *_OF_LABELS, grid=(10, 10), scale="standard")
class SOMClusterer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Clusterer):
    """``sl.SOM`` as a scikit-learn clusterer: labels are the winning units, numbered row by row.

    ``transform`` gives their places on the grid.

    Examples
    --------
    >>> import numpy as np
    >>> from streamlearn.interop.sklearn import SOMClusterer
    >>> X = np.random.default_rng(1).normal(size=(500, 3))
    >>> clusterer = SOMClusterer(grid=(4, 5)).fit(X)
    >>> clusterer.predict(X).shape, clusterer.transform(X).shape
    ((500,), (500, 2))
    """

    def transform(self, X: ArrayLike) -> NDArray[np.int32]:
        """Return the winner's row and column on the grid, int32 ``(n, 2)``; −1: none.

        On a chain the shape is ``(n, 1)``.
        """
        return self._outputs(X)["coords"]

    @property
    def _n_features_out(self) -> int:
        """Columns of ``transform``."""
        return int(np.size(self.grid))

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: places on a grid are int32."""
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # places on a grid are int32
        return tags


@_parameters_of(Competitive, *_OF_LABELS, units=8, scale="standard")
class CompetitiveClusterer(_Clusterer):
    """``sl.Competitive`` as a scikit-learn clusterer: labels are the winning prototypes.

    Examples
    --------
    >>> import numpy as np
    >>> from streamlearn.interop.sklearn import CompetitiveClusterer
    >>> X = np.random.default_rng(1).normal(size=(500, 3))
    >>> CompetitiveClusterer(units=4).fit_predict(X).shape
    (500,)
    """


@_parameters_of(GrowingNeuralGas, scale="standard")
class GrowingNeuralGasClusterer(_Clusterer):
    """``sl.GrowingNeuralGas`` as a scikit-learn clusterer: labels are the winning units.

    The number of units grows as it learns. ``model_.edges`` joins units that belong together. A label is
    valid until a unit is removed: then the last unit takes its number.

    Examples
    --------
    >>> import numpy as np
    >>> from streamlearn.interop.sklearn import GrowingNeuralGasClusterer
    >>> X = np.random.default_rng(1).normal(size=(2000, 3))
    >>> clusterer = GrowingNeuralGasClusterer(max_units=10).fit(X)
    >>> len(clusterer.model_.weights)
    10
    """


class OutlierDetector(OutlierMixin, BaseEstimator):
    """Outliers by the score of a clusterer of this module.

    Parameters
    ----------
    estimator : SOMClusterer, CompetitiveClusterer or GrowingNeuralGasClusterer, optional
        The clusterer. It stays unchanged; the copy that learns is ``estimator_``. The default is a
        ``SOMClusterer`` with its default parameters.
    threshold : float, default 0.99
        A row is an outlier if the model's score is above this share of recent samples. Range: 0 to 1.

    Examples
    --------
    >>> import numpy as np
    >>> from streamlearn.interop.sklearn import OutlierDetector
    >>> X = np.random.default_rng(1).normal(size=(1000, 2))
    >>> detector = OutlierDetector().fit(X)
    >>> detector.predict([[0, 0], [50, 50]])
    array([ 1, -1])
    """

    estimator_: _Clusterer

    def __init__(self, estimator: _Clusterer | None = None, *, threshold: float = 0.99) -> None:
        self.estimator = estimator
        self.threshold = threshold

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Start again, then learn ``X`` ``(n, dim)`` in order, once."""
        self._start()
        self.estimator_.fit(X)
        return self

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn the next rows ``X`` ``(n, dim)`` in order."""
        if not hasattr(self, "estimator_"):
            self._start()
        self.estimator_.partial_fit(X)
        return self

    def _start(self) -> None:
        if not 0 <= self.threshold <= 1:
            message = f"threshold is {self.threshold!r}; a share, 0 … 1, was expected"
            raise BadSpec(message, errors=[{"field": "threshold", "message": message}])
        self.estimator_ = SOMClusterer() if self.estimator is None else clone(self.estimator)

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return minus the model's score of each row, float64 ``(n,)``: lower is more abnormal."""
        check_is_fitted(self)
        return self.estimator_.score_samples(X)

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return ``score_samples`` − ``offset_``, float64 ``(n,)``: below 0 for an outlier."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """Return −1 for an outlier and 1 otherwise, int64 ``(n,)``; 1 if every value is missing."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    @property
    def offset_(self) -> float:
        """Minus ``threshold``."""
        return -float(self.threshold)

    @property
    def n_features_in_(self) -> int:
        """Columns of ``X``."""
        check_is_fitted(self)
        return int(self.estimator_.n_features_in_)

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: NaN is allowed."""
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


@_parameters_of(RNN, *_NOT_OF_A_REGRESSOR, hidden=32, scale="standard")
class RNNRegressor(RegressorMixin, _Learner):
    """``sl.RNN`` with a given target, as a scikit-learn regressor.

    Rows are consecutive samples of one stream: ``y`` is predicted from a row and all rows before it.
    ``predict(X)`` takes ``X`` as the rows that follow those learned last. NaN in ``y`` is a missing target.

    Examples
    --------
    >>> import numpy as np
    >>> from streamlearn.interop.sklearn import RNNRegressor
    >>> X = np.random.default_rng(1).normal(size=(500, 3))
    >>> regressor = RNNRegressor(hidden=8).fit(X, X[:, 0])
    >>> regressor.predict(X[:5]).shape
    (5,)
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Start again, then learn ``X`` ``(n, dim)`` and ``y`` ``(n,)`` or ``(n, outputs)`` in order."""
        return self._learn_targets(X, y, afresh=True)

    def partial_fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn the next rows ``X`` and ``y`` in order."""
        return self._learn_targets(X, y, afresh=False)

    def _learn_targets(self, X: ArrayLike, y: ArrayLike, *, afresh: bool) -> Self:
        if y is None:
            raise ValueError(f"{type(self).__name__} requires y to be passed, but the target y is None")
        targets = check_array(
            y,
            dtype=np.float32,
            ensure_2d=False,
            ensure_all_finite="allow-nan",
            input_name="y",
            estimator=self,
        )
        if self.loss == "cross_entropy":
            message = (
                "a regressor's targets are numbers; take loss 'mse' or 'huber', or for classes sl.RNN itself"
            )
            raise BadSpec(message, errors=[{"field": "loss", "message": message}])
        table = targets.reshape(len(targets), -1)
        self._learn(X, table, afresh=afresh, target="given", outputs=table.shape[1])
        self._flat = targets.ndim == 1
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.float64]:
        """Return the target of each row, float64 of the shape of ``y``.

        The rows are those that follow the rows learned last.
        """
        prediction = self._outputs(X)["prediction"].astype(np.float64)
        return prediction[:, 0] if self._flat else prediction

    def __sklearn_tags__(self) -> Any:
        """Return scikit-learn's tags: several targets are allowed."""
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # one pass over a table of 200 rows, which is no stream
        return tags
