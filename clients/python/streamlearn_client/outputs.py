"""The outputs of a model for a batch: named arrays with one row per sample."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamlearn_client.alarms import AlarmEvent

__all__ = ["Forecast", "NamedArrays", "Outputs"]


class NamedArrays:
    """Arrays with one row per sample, as attributes (``out.winner``) and as entries of ``out.arrays``.

    ``out[i:j]`` holds views of rows ``i`` to ``j − 1``. A subclass declares its arrays for type checkers.
    Reading an array that the object does not have raises ``AttributeError``.

    Parameters
    ----------
    applied_lsn : int or None, default None
        The last journal record that the model had learned. ``None`` without a daemon.
    **arrays : array_like, (n, …)
        The arrays by name. All have the same number of rows.

    Raises
    ------
    ValueError
        If the arrays have different numbers of rows, or an array has no axis.

    Examples
    --------
    >>> out = NamedArrays(winner=[3, 1], score=[0.2, 0.9])
    >>> len(out), sorted(out.arrays)
    (2, ['score', 'winner'])
    """

    __slots__ = ("_length", "applied_lsn", "arrays", "events")

    arrays: dict[str, NDArray[Any]]
    """All arrays by name."""
    applied_lsn: int | None
    """The last journal record that the model had learned; ``None`` without a daemon."""
    events: list[AlarmEvent]
    """The alarms that began or ended at these samples, without a daemon. A daemon publishes them."""

    def __init__(self, applied_lsn: int | None = None, /, **arrays: ArrayLike) -> None:
        self.arrays = {name: np.asarray(array) for name, array in arrays.items()}
        self.applied_lsn = applied_lsn
        self.events = []
        lengths = {array.shape[0] if array.ndim else -1 for array in self.arrays.values()}
        if len(lengths) > 1 or -1 in lengths:
            shapes = ", ".join(f"{name} {array.shape}" for name, array in self.arrays.items())
            name = type(self).__name__
            raise ValueError(f"the arrays of {name} must have the same length on their first axis: {shapes}")
        self._length = lengths.pop() if lengths else 0

    @classmethod
    def unchecked(cls, arrays: dict[str, NDArray[Any]], rows: int) -> Self:
        """Return outputs without a check of the arrays: a model makes them for every slice.

        Parameters
        ----------
        arrays : dict of str to ndarray, (rows, …)
            The arrays by name. The outputs keep the dict.
        rows : int
            Number of rows of every array.

        Returns
        -------
        NamedArrays
            The outputs.
        """
        outputs = cls.__new__(cls)
        outputs.arrays, outputs.applied_lsn, outputs._length = arrays, None, rows
        outputs.events = []
        return outputs

    if not TYPE_CHECKING:  # type checkers refuse names that no class declares

        def __getattr__(self, name: str) -> NDArray[Any]:
            arrays = object.__getattribute__(self, "arrays") if name[:1] != "_" else {}
            if name in arrays:
                return arrays[name]
            raise AttributeError(
                f"no output {name!r}; these outputs have: {', '.join(arrays) or 'no arrays'}"
            )

    def __dir__(self) -> list[str]:
        return [*super().__dir__(), *self.arrays]

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, rows: slice) -> Self:
        if not isinstance(rows, slice):
            raise TypeError("outputs accept a slice, out[i:j]; for the value of one sample use out.winner[i]")
        return type(self)(self.applied_lsn, **{name: array[rows] for name, array in self.arrays.items()})

    def __repr__(self) -> str:
        parts = [f"{name} {array.dtype}{list(array.shape)}" for name, array in self.arrays.items()]
        return f"{type(self).__name__}({', '.join([f'n={self._length}', *parts])})"


class Outputs(NamedArrays):
    """The outputs of a model for ``n`` samples, as named arrays.

    Each array is an attribute (``out.winner``) and an entry of ``out.arrays``. Row ``i`` belongs to sample
    ``i`` of the batch, unless the outputs have ``sample``: then row ``i`` belongs to the sample with the
    number ``out.sample[i]``. ``out[i:j]`` holds views of rows ``i`` to ``j − 1``.

    A model has some of the attributes below. Reading another one raises ``AttributeError``.

    Parameters
    ----------
    applied_lsn : int or None, default None
        The last journal record that the model had learned. ``None`` without a daemon.
    **arrays : array_like, (n, …)
        The outputs by name. All have the same number of rows.

    Attributes
    ----------
    winner : ndarray of int32, (n,) or (n, clusters)
        Index of the winning unit; −1: none. ``grossberg``: one winner per cluster.
    coords : ndarray of int32, (n, 2) or (n, 1)
        Row and column of the winner on the SOM's grid, or its position in a chain; −1: none.
    label : ndarray of int32, (n,)
        Label of the winner; −1: none.
    activity : ndarray of float32, (n, cells)
        Activity of each cell (``malsburg``, ``cognitron``).
    iterations : ndarray of int32, (n,)
        Iterations of the MaxNet (``hamming``).
    tie : ndarray of bool, (n,)
        Whether several units were equal at the end. The unit with the lowest index won (``hamming``).
    capped : ndarray of bool, (n,)
        Whether the MaxNet reached its iteration limit (``hamming``).
    distance : ndarray of float32, (n,)
        Distance between the sample and the winner.
    sample : ndarray of int64, (n,)
        Number of the sample that the row belongs to, counted from 0; −1: none.
    prediction : ndarray of float32, (n, outputs) or (n, horizon, dim)
        Prediction of the target or of the next samples. Classes and symbols: their probabilities.
    expected : ndarray of float32, (n, dim) or (n, targets)
        Value that the model expects, in the stream's own units (``explain``).
    contribution : ndarray of float32, (n, dim) or (n, targets)
        Share of each channel in the deviation, 0 to 1 (``explain``, and outputs with alarms).
    error : ndarray of float32, (n,)
        Prediction error: root mean square, or −log p for classes and symbols. NaN: no target to compare with.
    score : ndarray of float32, (n,)
        How unusual the sample is, from 0 to 1. NaN: unknown.
    present : ndarray of int32, (n,)
        Number of values of the sample that were not missing.
    drift : ndarray of bool, (n,)
        Whether the drift detector raised an alarm.
    alarm : ndarray of int8, (n,)
        0: no alarm; 1: an alarm begins at the sample; 2: it is on; 3: it ends (`ALARM_CODES`).
    evidence : ndarray of float32, (n,)
        How improbable the sample and the last eight samples together are, as a sum of −log. NaN: no score.
    fault : ndarray of int8, (n,)
        Number of the pattern, called a fault by feedback, that the sample is; −1: none.
    watched : ndarray of bool, (n,)
        Events: whether the sample was only watched, that is not learned.
    key : ndarray of int64, (n,)
        Events of a model with keys: the key of the sample. A text has the number of `identifier`.
    id : ndarray of int64, (n,)
        Events of a model with late targets: the id of the sample, likewise.
    x : ndarray of float32, (n, dim)
        ``output`` events: the sample itself.
    time : ndarray of int64, (n,)
        Events: the time of the sample in nanoseconds since 1970: the sender's, else that of its arrival.

    Raises
    ------
    ValueError
        If the arrays have different numbers of rows, or an array has no axis.

    Examples
    --------
    >>> out = Outputs(winner=[3, 1], score=[0.2, 0.9])
    >>> out.winner.tolist()
    [3, 1]
    >>> out[1:].score.tolist()
    [0.9]
    """

    __slots__ = ()

    winner: NDArray[np.int32]
    coords: NDArray[np.int32]
    label: NDArray[np.int32]
    activity: NDArray[np.float32]
    iterations: NDArray[np.int32]
    tie: NDArray[np.bool_]
    capped: NDArray[np.bool_]
    distance: NDArray[np.float32]
    sample: NDArray[np.int64]
    prediction: NDArray[np.float32]
    expected: NDArray[np.float32]
    contribution: NDArray[np.float32]
    error: NDArray[np.float32]
    score: NDArray[np.float32]
    present: NDArray[np.int32]
    drift: NDArray[np.bool_]
    alarm: NDArray[np.int8]
    evidence: NDArray[np.float32]
    fault: NDArray[np.int8]
    watched: NDArray[np.bool_]
    key: NDArray[np.int64]
    id: NDArray[np.int64]
    x: NDArray[np.float32]
    time: NDArray[np.int64]


class Forecast(NamedArrays):
    """The forecast of the next samples, as named arrays with one row per step.

    A model has some of the attributes below, and always ``forecast``. Bands and weights exist for the steps
    of the model's ``horizon``; they are NaN for the steps after it, which the model forecasts from its own
    forecasts.

    Parameters
    ----------
    applied_lsn : int or None, default None
        The last journal record that the model had learned. ``None`` without a daemon.
    **arrays : array_like, (steps, …)
        The arrays by name.

    Attributes
    ----------
    forecast : ndarray of float32, (steps, dim) or (steps, symbols)
        The forecast in the stream's own units; for symbols their probabilities.
    lower, upper : ndarray of float32, (steps, dim)
        Band around each forecast, which contains the share ``coverage`` of the samples. NaN: too few errors.
    mix : ndarray of float32, (steps, dim, forecasts)
        Weight of each forecast that is mixed, of each step and channel. Their sum is 1.
    time : ndarray of int64, (steps,)
        Time of each step in nanoseconds since 1970: as given, or continued from the last times of the stream.
        Only of models with calendar features, or if times were given.

    Raises
    ------
    ValueError
        If the arrays have different numbers of rows, or an array has no axis.

    Examples
    --------
    >>> Forecast(forecast=[[1.5], [1.75]]).forecast.tolist()
    [[1.5], [1.75]]
    """

    __slots__ = ("mix_of", "samples")

    forecast: NDArray[np.float32]
    lower: NDArray[np.float32]
    upper: NDArray[np.float32]
    mix: NDArray[np.float32]
    time: NDArray[np.int64]
    mix_of: tuple[str, ...]
    """Names of the forecasts that are mixed, in the order of the weights; empty without ``mix``."""
    samples: int | None
    """Samples that the model had learned: the number of the first step. ``None`` without a daemon."""

    def __init__(self, applied_lsn: int | None = None, /, **arrays: ArrayLike) -> None:
        super().__init__(applied_lsn, **arrays)
        self.mix_of = ()
        self.samples = None

    def __getitem__(self, rows: slice) -> Self:
        found = super().__getitem__(rows)
        found.mix_of, found.samples = self.mix_of, self.samples
        return found
