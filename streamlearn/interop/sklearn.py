"""scikit-learn estimators: ``SOMClusterer``, ``CompetitiveClusterer``, ``GrowingNeuralGasClusterer``,
``OutlierDetector``, ``RNNRegressor``.

    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler
    from streamlearn.interop.sklearn import SOMClusterer

    labels = make_pipeline(StandardScaler(), SOMClusterer(grid=(5, 5))).fit_predict(X)

``partial_fit`` learns rows in order, as the model's ``learn`` does; ``fit`` forgets first, and makes one
pass. Parameters are those of the model's spec, ``dim`` left out: it is taken from the first ``X``. None means
the model's own default. NaN in ``X`` is a missing value. The model itself is ``model_``, with all that it can
do.
"""

from __future__ import annotations

from collections.abc import Callable
from inspect import Parameter, Signature
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamlearn_client.outputs import Outputs

from ..errors import BadSpec
from ..models import Model, create
from ..models.maps.competitive import Competitive
from ..models.maps.gng import GrowingNeuralGas
from ..models.maps.som import SOM
from ..models.recurrent.rnn import RNN

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
_NOT_OF_A_REGRESSOR = "target", "outputs", "horizon", "delay", "residual", "keys", "symbols", "classes"


def _parameters_of(model: type[Model], *without: str, **defaults: Any) -> Callable[[type[E]], type[E]]:
    """Give an estimator the parameters of a model's spec but for ``dim`` and some: scikit-learn reads them
    from the signature of ``__init__``. Defaults are the spec's unless told otherwise, and None for what is
    more than a plain value."""
    for name, field in model.Spec.model_fields.items():
        plain = isinstance(field.default, (bool, int, float, str, tuple))
        defaults.setdefault(name, field.default if plain else None)
    names = [name for name in model.Spec.model_fields if name not in ("dim", *without)]
    parameters = [Parameter(name, Parameter.KEYWORD_ONLY, default=defaults[name]) for name in names]
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
        return estimator

    return give


class _Learner(BaseEstimator):
    """What all that wrap a model share: a model that is made of the parameters when the first rows come."""

    _kind: ClassVar[str]
    model_: Model

    def _learn(
        self, X: ArrayLike, y: NDArray[np.float32] | None = None, *, afresh: bool, **spec: Any
    ) -> None:
        """Learn ``X`` in order, ``afresh`` or after what was learned before; ``spec`` is laid over the
        parameters."""
        first = afresh or not hasattr(self, "model_")
        rows = self._rows(X, reset=first)
        if y is not None:
            check_consistent_length(rows, y)
        if first:
            given = {name: value for name, value in self.get_params(deep=False).items() if value is not None}
            self.model_ = create(self._kind, {**given, "dim": rows.shape[1], **spec})
        self.model_.learn(rows, y)

    def _said(self, X: ArrayLike) -> Outputs:
        """What the model says of ``X``. Raises NotFittedError before it has learned anything."""
        check_is_fitted(self, "model_")
        return self.model_.predict(self._rows(X, reset=False))

    def _rows(self, X: ArrayLike, *, reset: bool) -> NDArray[np.float32]:
        rows: NDArray[np.float32] = validate_data(
            self, X, reset=reset, dtype=np.float32, order="C", ensure_all_finite="allow-nan"
        )
        return rows

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


class _Clusterer(ClusterMixin, _Learner):
    """A model whose winners are the labels."""

    labels_: NDArray[np.int32]

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Forget, then learn ``X`` ``(n, dim)`` in order, once. ``labels_``: its rows' winners afterwards."""
        self._learn(X, afresh=True)
        self.labels_ = self.predict(X)
        return self

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn on with ``X`` ``(n, dim)``, in order. ``labels_``: its rows' winners afterwards."""
        self._learn(X, afresh=False)
        self.labels_ = self.predict(X)
        return self

    def predict(self, X: ArrayLike) -> NDArray[np.int32]:
        """``(n,)``: the winner of each row; −1 where every value is missing."""
        return self._said(X).winner

    def score_samples(self, X: ArrayLike) -> NDArray[np.float64]:
        """``(n,)``: minus the model's score, since scikit-learn calls the lower the more abnormal. −0.999:
        one in a thousand recent samples was as far out. NaN where every value is missing."""
        return -self._said(X).score.astype(np.float64)


@_parameters_of(SOM, *_OF_LABELS, grid=(10, 10), scale="standard")
class SOMClusterer(ClassNamePrefixFeaturesOutMixin, TransformerMixin, _Clusterer):
    """``sl.SOM``: labels are the winning units, row by row; ``transform`` gives their places on the grid.

    The parameters are ``sl.SOM``'s; ``docs/models.md`` has them.
    """

    def transform(self, X: ArrayLike) -> NDArray[np.int32]:
        """``(n, 2)``, or ``(n, 1)`` on a chain: the winner's row and column on the grid; −1 where none is."""
        return self._said(X).coords

    @property
    def _n_features_out(self) -> int:
        return int(np.size(self.grid))

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.transformer_tags.preserves_dtype = []  # places on a grid are int32
        return tags


@_parameters_of(Competitive, *_OF_LABELS, units=8, scale="standard")
class CompetitiveClusterer(_Clusterer):
    """``sl.Competitive``: labels are the winning prototypes.

    The parameters are ``sl.Competitive``'s; ``docs/models.md`` has them.
    """


@_parameters_of(GrowingNeuralGas, scale="standard")
class GrowingNeuralGasClusterer(_Clusterer):
    """``sl.GrowingNeuralGas``: labels are the winning units, of which there are more as it learns.

    The parameters are ``sl.GrowingNeuralGas``'s; ``docs/models.md`` has them. ``model_.edges`` joins the
    units that lie side by side. A label holds until a unit is taken away: then the last takes its number.
    """


class OutlierDetector(OutlierMixin, BaseEstimator):
    """Outliers by the score of a ``SOMClusterer`` (the default) or another clusterer of these.

    A row is an outlier where the model's score is above ``threshold``: the share of recent samples that
    should pass. ``estimator`` stays as it is; the copy that learns is ``estimator_``.
    """

    estimator_: _Clusterer

    def __init__(self, estimator: _Clusterer | None = None, *, threshold: float = 0.99) -> None:
        self.estimator = estimator
        self.threshold = threshold

    def fit(self, X: ArrayLike, y: object = None) -> Self:
        """Forget, then learn ``X`` ``(n, dim)`` in order, once."""
        self._start()
        self.estimator_.fit(X)
        return self

    def partial_fit(self, X: ArrayLike, y: object = None) -> Self:
        """Learn on with ``X`` ``(n, dim)``, in order."""
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
        """``(n,)``: minus the model's score; the lower, the more abnormal."""
        check_is_fitted(self)
        return self.estimator_.score_samples(X)

    def decision_function(self, X: ArrayLike) -> NDArray[np.float64]:
        """``(n,)``: ``score_samples`` − ``offset_``; below 0 for an outlier."""
        return self.score_samples(X) - self.offset_

    def predict(self, X: ArrayLike) -> NDArray[np.int64]:
        """``(n,)``: −1 for an outlier, 1 for all else; 1 where every value is missing."""
        return np.where(self.decision_function(X) < 0, -1, 1)

    @property
    def offset_(self) -> float:
        return -float(self.threshold)

    @property
    def n_features_in_(self) -> int:
        """Columns of ``X``."""
        check_is_fitted(self)
        return int(self.estimator_.n_features_in_)

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.input_tags.allow_nan = True
        return tags


@_parameters_of(RNN, *_NOT_OF_A_REGRESSOR, hidden=32, scale="standard")
class RNNRegressor(RegressorMixin, _Learner):
    """``sl.RNN`` with a given target: rows are consecutive samples of one stream, and ``y`` is learned from a
    row and all that came before it.

    ``predict(X)`` takes ``X`` as what follows the rows learned last, in order, and changes nothing. The
    parameters are ``sl.RNN``'s; ``docs/models.md`` has them. NaN in ``y`` is a target that is missing: it
    teaches nothing.
    """

    def fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Forget, then learn ``X`` ``(n, dim)`` and ``y`` ``(n,)`` or ``(n, outputs)`` in order, once."""
        return self._learn_targets(X, y, afresh=True)

    def partial_fit(self, X: ArrayLike, y: ArrayLike) -> Self:
        """Learn on with ``X`` and ``y``, in order."""
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
        """``(n,)`` or ``(n, outputs)``, as ``y`` was: the target of each row, if they follow those learned
        last."""
        prediction = self._said(X).prediction.astype(np.float64)
        return prediction[:, 0] if self._flat else prediction

    def __sklearn_tags__(self) -> Any:
        tags = super().__sklearn_tags__()
        tags.target_tags.multi_output = True
        tags.regressor_tags.poor_score = True  # one pass over a table of 200 rows, which is no stream
        return tags
