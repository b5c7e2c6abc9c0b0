"""Conversion of the arguments of a call to a batch."""

from __future__ import annotations

from typing import Any

import numpy as np

from streamlearn_client.errors import BadShape
from streamlearn_client.protocol.frames import named_samples
from streamlearn_client.protocol.identifiers import as_identifiers, texts_of
from streamlearn_client.protocol.messages import Learn
from streamlearn_client.protocol.samples import as_samples, as_targets
from streamlearn_client.protocol.times import as_times

__all__ = ["as_batch"]


def as_batch(
    model: str, x: Any, y: Any = None, keys: Any = None, ids: Any = None, times: Any = None
) -> Learn:
    """Convert samples, or late targets, to a batch.

    Parameters
    ----------
    model : str
        Name of the model.
    x : array_like, (n, dim) or (dim,), data frame, Arrow table, dict of columns, or None
        The samples. ``None``: the batch has late targets only.
    y : array_like, (n, targets) or (n,), optional
        The targets. Required without ``x``.
    keys : int, str or array_like, (n,), optional
        The keys of the samples, or one key for all.
    ids : int, str or array_like, (n,), optional
        The ids of the samples. Required without ``x``.
    times : array_like, (n,), or str, optional
        The times of the samples, or one for all, see `as_times`; or the name of their column in ``x``.

    Returns
    -------
    Learn
        The batch, without a producer. It has ``channels`` if ``x`` has names.

    Raises
    ------
    BadShape
        If the numbers of rows differ, ``x`` is ``None`` and ``y`` or ``ids`` is missing, or late targets have
        times.
    BadDtype, BadValue
        As `as_float32`, `as_identifiers` and `as_times` raise them.
    """
    channels = None
    if x is not None:
        x, channels, times = named_samples(x, times)
        samples = as_samples(x)
        rows = len(samples)
        targets = None if y is None else as_targets(y, rows)
    elif y is None or ids is None:
        raise BadShape("late targets need both y and the ids of their samples")
    elif times is not None:
        raise BadShape("late targets have no times: these belong to samples; leave times out")
    else:
        rows = (*np.shape(ids if isinstance(ids, np.ndarray) else np.asarray(ids, object)), 1)[0]
        samples, targets = None, as_targets(y, rows, of="ids")
    return Learn(
        model,
        samples,
        targets,
        keys=None if keys is None else as_identifiers(keys, rows, "keys"),
        ids=None if ids is None else as_identifiers(ids, rows, "ids"),
        times=None if times is None else as_times(times, rows),
        channels=channels,
        key_names=None if keys is None else texts_of(keys) or None,
    )
