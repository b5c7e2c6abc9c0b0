"""Queries that continue a stream: forecasts and drawn symbols. Models that make none refuse them."""

from __future__ import annotations

from typing import ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamlearn_client.outputs import Forecast

from ..errors import BadValue
from .batch import Float32


class Generating:
    """``forecast`` and ``sample`` of a model that has none."""

    kind: ClassVar[str]

    mix_of: tuple[str, ...] = ()
    """Names of the forecasts that are mixed, in the order of their weights; empty without a mix."""

    def forecast(
        self, steps: int, key: int | str | None = None, *, times: ArrayLike | None = None
    ) -> Float32:
        """Forecast the next samples from the live state. Does not change the model.

        Parameters
        ----------
        steps : int
            Number of samples to forecast. Range: at least 1.
        key : int or str, optional
            The stream, for models with ``keys``.
        times : array_like of shape (steps,), optional
            The times of these samples, for models with calendar features.

        Returns
        -------
        ndarray of float32, shape (steps, dim)
            The forecast in the stream's own units.

        Raises
        ------
        BadValue
            If this kind of model does not forecast, or before it has learned enough samples.
        """
        return self.forecast_in_full(steps, key, times=times).forecast

    def forecast_in_full(
        self, steps: int, key: int | str | None = None, *, times: ArrayLike | None = None
    ) -> Forecast:
        """Forecast the next samples, with bands and the weights of the mix. Does not change the model.

        Parameters
        ----------
        steps : int
            Number of samples to forecast. Range: at least 1.
        key : int or str, optional
            The stream, for models with ``keys``.
        times : array_like of shape (steps,), optional
            The times of these samples, for models with calendar features.

        Returns
        -------
        Forecast
            One row per step.

        Raises
        ------
        BadValue
            If this kind of model does not forecast, or before it has learned enough samples.
        """
        raise BadValue(f"a {self.kind} does not forecast; a recurrent net (rnn) with target='next' does")

    def sample(
        self, n: int, temperature: float = 1.0, seed: int = 0, key: int | str | None = None
    ) -> NDArray[np.int32]:
        """Draw a continuation of symbols from the live state. Does not change the model.

        Parameters
        ----------
        n : int
            Number of symbols to draw. Range: at least 1.
        temperature : float, default 1.0
            Below 1 prefers probable symbols, 0 takes the most probable one, above 1 evens out.
        seed : int, default 0
            Seed of the draw. Range: 0 to 2⁶³ − 1.
        key : int or str, optional
            The stream, for models with ``keys``.

        Returns
        -------
        ndarray of int32, shape (n,)
            The symbols.

        Raises
        ------
        BadValue
            If this model does not forecast symbols, or before it has learned a sample.
        """
        raise BadValue(f"a {self.kind} draws no symbols; a recurrent net (rnn) with symbols=… does")
