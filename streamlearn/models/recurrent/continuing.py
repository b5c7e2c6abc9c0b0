"""Forecasts and samples that continue a stream from the live state of a net."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamlearn_client.json_conversion import as_number, as_whole_number
from streamlearn_client.outputs import Forecast
from streamlearn_client.protocol import as_times

from ...errors import BadValue, TooLarge
from ..batch import Float32, Integers
from ..locking import locked
from ..stream.features import FeatureStage
from .keyed_queries import Arrays

MAX_GENERATED = 1 << 28  # numbers of one forecast or sample
_MAX_TEMPERATURE = float(np.finfo(np.float32).max)


class Continuing:
    """A net that runs on its own forecasts."""

    spec: Any
    dim: Any
    outputs: int
    mix_of: tuple[str, ...]
    _features: FeatureStage | None
    _read_keys: Callable[..., Integers | None]
    _forecasts: Any
    _lock: AbstractContextManager[Any]

    @abstractmethod
    def _run_free(
        self, field: str, n: int, temperature: float, seed: int, key: int | str | None
    ) -> tuple[Float32, Float32]:
        """Run ``n`` steps on the net's own forecasts. Return the inputs and the forecasts.

        ``field`` is the name of ``n`` for errors.
        """

    @abstractmethod
    def _forecast(self, steps: int, key: int | str | None, times: Integers | None) -> Arrays:
        """Return the arrays of ``Forecast`` that the net has, but the times."""

    def forecast(
        self, steps: int, key: int | str | None = None, *, times: ArrayLike | None = None
    ) -> Float32:
        """Forecast the next samples from the live state. Does not change the model.

        Steps within ``horizon`` are forecast at once. For later steps the net takes its own forecasts as
        samples, and their features from them.

        Parameters
        ----------
        steps : int
            Number of samples to forecast. Range: at least 1.
        key : int or str, optional
            The stream, for models with ``keys``.
        times : array_like of shape (steps,), optional
            The times of these samples, as in ``learn``, for calendar features of the steps after ``horizon``.
            By default they continue the last 16 times of the stream by their usual step: the median, or
            the mean if most times are equal.

        Returns
        -------
        ndarray of float32, shape (steps, dim) or (steps, symbols)
            The forecast in the stream's own units; for symbols their probabilities.

        Raises
        ------
        BadValue
            If ``target`` is not ``"next"``, before the first sample of the stream, if ``steps`` is out of
            range, or if times are needed and not known.
        TooLarge
            If ``steps`` times the model's outputs is more than 2²⁸ numbers (1 GiB).
        """
        return self.forecast_in_full(steps, key, times=times).forecast

    @locked
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
            The times of these samples, as in ``forecast``.

        Returns
        -------
        Forecast
            One row per step: ``forecast``; ``lower`` and ``upper`` of nets with bands; ``mix``, the weights
            of the mixed forecasts, of shape (steps, dim, forecasts) with the names ``mix_of``; ``time`` of
            nets with calendar features. NaN in bands and weights after the ``horizon``.

        Raises
        ------
        BadValue, TooLarge
            As ``forecast``.
        """
        n = as_whole_number(steps, "steps")
        if n < 1:
            raise BadValue(f"steps is {n}; at least 1 was expected")
        self._check_size("steps", n, max(self.outputs, self.dim))
        given = None if times is None else as_times(times, n)
        arrays = self._forecast(n, key, given)
        if given is None:
            given = self._later_times(key, n, n > (self.spec.horizon or 1))
        if given is not None:
            arrays["time"] = given
        found = Forecast(**arrays)
        found.mix_of = self.mix_of if "mix" in arrays else ()
        return found

    def _later_times(self, key: int | str | None, n: int, needed: bool) -> Integers | None:
        """Return the times of the next samples; None if they are not known and not ``needed``."""
        if self._features is None:
            return None
        try:
            return self._features.later_times(self._read_keys(key, 1), n)
        except BadValue:
            if needed:
                raise
            return None

    @locked
    def sample(
        self, n: int, temperature: float = 1.0, seed: int = 0, key: int | str | None = None
    ) -> NDArray[np.int32]:
        """Draw a continuation of symbols from the live state. Does not change the model.

        Each symbol that is drawn is the next input.

        Parameters
        ----------
        n : int
            Number of symbols to draw. Range: at least 1.
        temperature : float, default 1.0
            Below 1 prefers probable symbols, 0 takes the most probable one, above 1 evens out. Range: at
            least 0.
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
            If the net does not forecast symbols, before the first sample of the stream, or if a number is out
            of range.
        TooLarge
            If ``n`` times the model's outputs is more than 2²⁸ numbers (1 GiB).
        """
        if self.spec.symbols is None or not self._forecasts:
            raise BadValue(
                "sample needs a network that forecasts symbols, with symbols=… and target='next';"
                f" got symbols={self.spec.symbols}, target={self.spec.target!r}"
            )
        if not 0 <= as_number(temperature, "temperature") < math.inf:
            raise BadValue(f"temperature is {temperature}; expected a finite number of at least 0")
        temperature = min(temperature, _MAX_TEMPERATURE)
        n, seed = as_whole_number(n, "n"), as_whole_number(seed, "seed")
        symbols, _ = self._run_free("n", n, temperature, seed, key)
        return symbols[:, 0].astype(np.int32)

    def _check_size(self, field: str, n: int, width: int) -> None:
        """Raise TooLarge if ``n`` steps of ``width`` numbers are too many."""
        most = MAX_GENERATED // width
        if n > most:
            raise TooLarge(
                f"{field} is {n}, and may be {most} at most: {field} times the model's {width} columns "
                f"may not exceed {MAX_GENERATED}; ask for fewer steps at a time",
                most=most,
            )
