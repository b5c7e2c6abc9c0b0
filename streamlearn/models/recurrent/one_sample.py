"""The learners of recurrent networks for a sample that comes alone, see ``models/one_sample.py``."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ...kernels import compiler
from ...kernels.arguments import by_name
from ...kernels.forecast import one_sample as least_squares_kernels
from ...kernels.recurrent import one_sample as adam_kernels
from ...kernels.stream.interrupt_words import NEVER
from ..batch import Float32
from ..one_sample import Arrays, Learner, Shape
from ..outputs import RNNOutputs
from .base import NO_IDS

if TYPE_CHECKING:
    from ...kernels.prepared import Prepared
    from .least_squares import LeastSquaresRNN
    from .least_squares_target import LeastSquaresTarget
    from .rnn import RNN

_SLOT, _NOT_NEW = np.zeros(1, np.int64), np.zeros(1, np.bool_)
_LEARN_SAMPLES, _LEARN = np.array([1, 1]), np.array([1, 0])  # ``mode`` of the kernels


def fits(model: RNN) -> bool:
    """Whether the samples of a model can be learned in one call each, by its spec."""
    spec = model.spec
    special = (
        spec.target == "later",
        not spec.least_squares and spec.has_bands,
        spec.class_count and spec.alarm,
    )
    return model._has_usual_stages and not any(special)


def adam(model: RNN) -> Learner:
    """Return the learner of a network that is trained by backpropagation."""
    compiler.ready(adam_kernels)
    x, y = _sample(model.dim), _sample(model.target_dim or model.dim)
    return _learner(
        model,
        adam_kernels.LEARN,
        adam_kernels.step,
        lambda row: (x, y, *_slot(model, row), NO_IDS, row["schedules"][0], _LEARN_SAMPLES),
        before=[("sample", np.int64, (1,))],
        after=[("distance", np.float32, (int(model._compares_channels),))],
    )


def least_squares(model: LeastSquaresRNN) -> Learner:
    """Return the learner of a network that forecasts by least squares."""
    compiler.ready(least_squares_kernels)
    x, extra = _sample(model.dim), _sample(0)
    kernel, step = least_squares_kernels.FORECAST, least_squares_kernels.forecaster_step
    return _learner(model, kernel, step, lambda row: (x, *_slot(model, row), extra, _LEARN))


def least_squares_target(model: LeastSquaresTarget) -> Learner:
    """Return the learner of a network that predicts a given target by least squares."""
    compiler.ready(least_squares_kernels)
    x, y, extra = _sample(model.dim), _sample(model.target_dim), _sample(0)
    kernel, step = least_squares_kernels.PREDICT, least_squares_kernels.target_step
    return _learner(model, kernel, step, lambda row: (x, y, *_slot(model, row), extra, _LEARN))


def _sample(columns: int) -> Float32:
    """Return a sample or a target, in place of those that come."""
    return np.empty((1, columns), np.float32)


def _slot(model: RNN, row: Arrays) -> tuple[NDArray[Any], NDArray[Any]]:
    """Return ``slots`` and ``new_stream`` of the kernels."""
    return (row["slot"], row["new"]) if model.needs_keys else (_SLOT, _NOT_NEW)


def _learner(
    model: RNN,
    kernel: Prepared,
    step: Any,
    given: Callable[[Arrays], tuple[Any, ...]],
    before: Sequence[Shape] = (),
    after: Sequence[Shape] = (),
) -> Learner:
    """Return a learner.

    ``given`` returns the arguments before those that stay. ``before`` and ``after``: outputs of the kernel
    beside ``watched`` and ``contribution``.
    """
    outputs = model._empty_outputs(1)
    shaped = model._shaped(RNNOutputs.unchecked(outputs.copy(), 1)).arrays
    fields: tuple[Shape, ...] = (
        *((name, array.dtype.type, array.shape) for name, array in shaped.items()),
        *before,
        ("watched", np.bool_, (1,)),
        ("contribution", np.float32, (int(model.explains_learning), model.explained)),
        *after,
    )

    def arguments(row: Arrays) -> dict[str, Any]:
        if not model.explains_targets:
            row["expected"] = row["prediction"].reshape(1, -1)[:, : model.dim]
        own = [row[name].reshape(outputs.get(name, row[name]).shape) for name, *_ in fields]
        stay = *model._learn_arguments, NEVER, model._gate
        return by_name(kernel.function, (*given(row), *stay, *own))

    return Learner(kernel, step, fields, arguments, model._slots if model.needs_keys else None)
