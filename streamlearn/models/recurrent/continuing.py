"""Forecasts and samples that continue a stream from the live state of a net."""

from __future__ import annotations

import math
from abc import abstractmethod
from contextlib import AbstractContextManager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.json_conversion import as_number, as_whole_number

from ...errors import BadValue
from ..batch import Float32
from ..locking import locked

_MAX_TEMPERATURE = float(np.finfo(np.float32).max)


class Continuing:
    """A net that runs on its own forecasts."""

    spec: Any
    dim: Any
    _forecasts: Any
    _lock: AbstractContextManager[Any]

    @abstractmethod
    def _run_free(
        self, field: str, n: int, temperature: float, seed: int, key: int | str | None
    ) -> tuple[Float32, Float32]:
        """Run ``n`` steps on the net's own forecasts. Return the inputs and the forecasts.

        ``field`` is the name of ``n`` for errors.
        """

    @locked
    def forecast(self, steps: int, key: int | str | None = None) -> Float32:
        """Forecast the next samples from the live state. Does not change the model.

        Steps within ``horizon`` are forecast at once. For later steps the net takes its own forecasts as
        samples.

        Parameters
        ----------
        steps : int
            Number of samples to forecast. Range: at least 1.
        key : int or str, optional
            The stream, for models with ``keys``.

        Returns
        -------
        ndarray of float32, shape (steps, dim) or (steps, symbols)
            The forecast in the stream's own units; for symbols their probabilities.

        Raises
        ------
        BadValue
            If ``target`` is not ``"next"``, before the first sample of the stream, or if ``steps`` is out of
            range.
        TooLarge
            If ``steps`` times the model's outputs is more than 2²⁸ numbers (1 GiB).
        """
        forecasts = self._run_free("steps", as_whole_number(steps, "steps"), 0.0, 0, key)[1]
        ahead = forecasts[:, : self.spec.symbols or self.dim].copy()
        horizon = forecasts[:1].reshape(-1, ahead.shape[1])[:steps]
        ahead[: len(horizon)] = horizon
        return ahead

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

    def _check_steps(self, field: str, n: int) -> None:
        """Raise BadValue if later steps would need features of samples that have not come."""
        horizon = self.spec.horizon or 1
        if self.spec.features is not None and n > horizon:
            raise BadValue(
                f"{field} is {n}, and a net with features forecasts {horizon} at most: set a larger horizon"
            )
