"""The blocking client's queries."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.outputs import Forecast, Outputs
from streamlearn_client.protocol import IdentifiersLike, SamplesLike, TimesLike
from streamlearn_client.reading import Reading
from streamlearn_client.transfers import Transfers

__all__ = ["Queries"]


class Queries(Transfers):
    """Queries of models. Base class of `Client`."""

    def predict(
        self,
        model: str,
        x: SamplesLike,
        keys: IdentifiersLike | None = None,
        *,
        times: TimesLike | None = None,
    ) -> Outputs:
        """Return the outputs for each sample. Does not change the model.

        Parameters
        ----------
        model : str
            Name of the model.
        x : array_like, (n, dim) or (dim,), data frame, Arrow table, or dict of columns
            The samples, converted to float32. NaN and ``None`` are missing values. Names of columns must be
            the model's ``channels``, in their order.
        keys : int, str or array_like, (n,), optional
            The keys of the samples, or one key for all, for models that need keys.
        times : array_like, (n,), or str, optional
            The times of the samples, as in `learn`, for models with ``uses_time``. By default now.

        Returns
        -------
        Outputs
            Arrays with one row per sample. ``applied_lsn`` is the last record that the model had learned.

        Raises
        ------
        TooLarge
            If the samples exceed one message.
        BadShape, BadDtype, BadValue
            If the model does not accept the arrays.
        """
        return self._run(self._session.predict(model, x, keys, times))

    def explain(
        self,
        model: str,
        x: SamplesLike,
        y: SamplesLike | None = None,
        keys: IdentifiersLike | None = None,
        *,
        times: TimesLike | None = None,
    ) -> Outputs:
        """Return what the model expects, and which channels deviate from it. Does not change the model.

        A recurrent model takes the samples as the continuation of its stream.

        Parameters
        ----------
        model : str
            Name of the model.
        x : array_like, (n, dim) or (dim,), data frame, Arrow table, or dict of columns
            The samples, as in `predict`.
        y : array_like, (n, targets), optional
            The targets of the samples, for models that predict a target. Without them no channel deviates.
        keys : int, str or array_like, (n,), optional
            The keys of the samples, or one key for all, for models that need keys.
        times : array_like, (n,), or str, optional
            The times of the samples, as in `learn`, for models with ``uses_time``. By default now.

        Returns
        -------
        Outputs
            ``expected``, in the stream's own units, ``contribution``, the share of each channel in the
            deviation, and ``score``. One row per sample, one column per channel; for models that predict a
            target, per column of the target.

        Raises
        ------
        TooLarge
            If the samples exceed one message.
        BadShape, BadDtype, BadValue
            If the model does not accept the arrays.
        """
        return self._run(self._session.explain(model, x, y, keys, times))

    def read(self, model: str, what: str | Sequence[str]) -> Reading:
        """Return parts of a model: weights, planes, hits, quality and others. Does not change the model.

        All parts belong to the same state. The daemon answers from a copy if it takes long, so learning goes
        on. Which parts a model has depends on its kind:

        - ``weights``, ``hits``; for a SOM of shape ``(*grid, dim)`` and ``(*grid)``. ``hits`` are forgotten
          with ``half_life``
        - ``prototypes``: the weights in the stream's own units
        - ``planes``: the prototypes by channel, ``(dim, *grid)``
        - ``u_matrix``: each unit's mean distance to its neighbours
        - ``labels``: the class of each unit; −1: none
        - ``parameters``: dict of a net's parameters, by PyTorch's names
        - ``lags``: norm of the gradient by lag, of a net with ``record_lags``
        - ``mix``: the weights of the mixed forecasts, ``(horizon, columns, forecasts)``, with their names,
          ``mix_of``
        - ``quality``: dict of the live quality, as in `describe`

        Parameters
        ----------
        model : str
            Name of the model.
        what : str or sequence of str
            The names of the parts.

        Returns
        -------
        Reading
            The parts by name, with ``samples`` and ``applied_lsn`` of the state that they belong to.

        Raises
        ------
        BadValue
            If the model has no such part. The message lists those that it has.
        TooLarge
            If the answer exceeds a limit. `export` sends a model of any size.
        """
        return self._run(self._session.read(model, what))

    def forecast(
        self, model: str, steps: int, key: int | str | None = None, *, times: TimesLike | None = None
    ) -> NDArray[np.float32]:
        """Return a recurrent model's forecast of the next samples. Does not change the model.

        The forecast starts from the model's current state. Steps within the model's ``horizon`` are forecast
        at once; for later ones each forecast is the next input.

        Parameters
        ----------
        model : str
            Name of the model.
        steps : int
            Number of samples to forecast.
        key : int or str, optional
            The key of the stream to continue, for models that need keys.
        times : array_like, (steps,), optional
            The times of these samples, as in `learn`, for models with calendar features. By default they
            continue the last times of the stream by its usual step.

        Returns
        -------
        ndarray of float32, (steps, dim)
            The forecast; for symbols, their probabilities (steps, symbols).

        Raises
        ------
        BadValue
            If the model does not forecast, or has not learned any sample.
        TooLarge
            If the result exceeds the daemon's limit.
        """
        return self._run(self._session.forecast(model, steps, key, times)).forecast

    def forecast_in_full(
        self, model: str, steps: int, key: int | str | None = None, *, times: TimesLike | None = None
    ) -> Forecast:
        """Return a recurrent model's forecast with its bands and the weights of its mix. Changes nothing.

        Parameters
        ----------
        model : str
            Name of the model.
        steps : int
            Number of samples to forecast.
        key : int or str, optional
            The key of the stream to continue, for models that need keys.
        times : array_like, (steps,), optional
            The times of these samples, as in `forecast`.

        Returns
        -------
        Forecast
            ``forecast``, the bands ``lower`` and ``upper`` of models that have them, the weights ``mix`` of
            the default forecaster, and ``time`` of models with calendar features. One row per step.

        Raises
        ------
        BadValue
            If the model does not forecast, or has not learned any sample.
        TooLarge
            If the result exceeds the daemon's limit.
        """
        return self._run(self._session.forecast(model, steps, key, times))

    def sample(
        self, model: str, n: int, temperature: float = 1.0, seed: int = 0, key: int | str | None = None
    ) -> NDArray[np.int32]:
        """Draw symbols from a recurrent model that forecasts symbols. Does not change the model.

        Parameters
        ----------
        model : str
            Name of the model.
        n : int
            Number of symbols to draw.
        temperature : float, default 1.0
            Below 1: probable symbols are drawn more often. 0: always the most probable one. Above 1: the
            probabilities become more equal.
        seed : int, default 0
            Seed of the draw. The same seed and state give the same symbols.
        key : int or str, optional
            The key of the stream to continue, for models that need keys.

        Returns
        -------
        ndarray of int32, (n,)
            The symbols.

        Raises
        ------
        BadValue
            If the model does not forecast symbols, or has not learned any sample.
        TooLarge
            If the result exceeds the daemon's limit.
        """
        return self._run(self._session.sample(model, n, temperature, seed, key))
