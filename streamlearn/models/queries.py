"""Queries of a model: they do not change it."""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from typing import Any, ClassVar

from numpy.typing import ArrayLike

from streamlearn_client.protocol import as_times

from .arguments import Arguments
from .batch import Batch, Float32
from .outputs import Explanation, ModelOutputs, typed
from .stream.features import FeatureStage


class Queries(Arguments, ABC):
    """``predict`` and ``explain``."""

    outputs_class: ClassVar[type[ModelOutputs]]
    explanation_class: ClassVar[type[Explanation]] = Explanation
    """The outputs of ``explain``."""
    _lock: AbstractContextManager[Any]
    _features: FeatureStage | None

    @abstractmethod
    def predict_validated(self, batch: Batch) -> ModelOutputs:
        """Return the outputs for a batch that ``validate`` returned. Does not change the model."""

    @abstractmethod
    def explain_validated(self, batch: Batch) -> Explanation:
        """Return the explanation of a batch that ``validate`` returned. Does not change the model."""

    def predict(self, X: ArrayLike, keys: Any = None, *, times: ArrayLike | None = None) -> ModelOutputs:
        """Return the outputs for each sample. Does not change the model.

        Parameters
        ----------
        X : array_like of shape (n, dim)
            Samples in the stream's own units. NaN marks a missing value.
        keys : sequence of int or str of shape (n,), optional
            The stream of each sample, for models with ``keys``. One key may stand for all samples.
        times : array_like of shape (n,), optional
            The times of the samples, as in ``learn``, for calendar features. The default is now.

        Returns
        -------
        ModelOutputs
            One row per sample. Features of the first sample come from the samples that were learned, those of
            later ones from the samples before them in ``X``, too.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If an argument does not fit this model.
        """
        with self._lock:
            x = self.read(X)
            out = self.predict_validated(self._with_features(x, None, keys, times))
        return typed(self.outputs_class, out)

    def explain(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        keys: Any = None,
        *,
        times: ArrayLike | None = None,
    ) -> Explanation:
        """Return what the model expects for each sample, and which channels deviate from it.

        Does not change the model. A recurrent net takes the samples as the continuation of its stream.

        Parameters
        ----------
        X : array_like of shape (n, dim)
            Samples in the stream's own units. NaN marks a missing value.
        y : array_like of shape (n, target_dim), optional
            Targets, for nets that predict a target. Without them there are expected values only.
        keys : sequence of int or str of shape (n,), optional
            The stream of each sample, for models with ``keys``. One key may stand for all samples.
        times : array_like of shape (n,), optional
            The times of the samples, as in ``learn``, for calendar features. The default is now.

        Returns
        -------
        Explanation
            One row per sample.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If an argument does not fit this model.
        """
        with self._lock:
            x = self.read(X)
            targets = self._read_explained_targets(y, len(x))
            out = self.explain_validated(self._with_features(x, targets, keys, times))
        return typed(self.explanation_class, out)

    def _with_features(self, x: Float32, y: Float32 | None, keys: Any, times: ArrayLike | None) -> Batch:
        """Return a batch for a query, with the features of its samples."""
        batch = Batch(x, y, keys=self._read_keys(keys, len(x)))
        if self._features is None:
            return batch
        when = time.time_ns() if times is None else times
        return self._features.preview(batch._replace(times=as_times(when, len(x))))

    def _by_channel(self, shares: Float32, x: Float32) -> Float32:
        """Return the contributions of the channels: the shares of their values and features.

        Parameters
        ----------
        shares : ndarray of float32, (n, inputs)
            The shares of the learner's inputs ``x``.
        """
        return shares if self.spec.features is None else self.spec.features.by_channel(shares, x, self.dim)
