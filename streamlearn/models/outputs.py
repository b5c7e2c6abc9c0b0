"""The outputs of every kind of model: names, dtypes, shapes and meanings, declared once.

A class here adds annotations to ``NamedArrays`` and nothing else. They type the outputs for editors and mypy,
they are the text of the docstrings, and tests compare them with the arrays that models return. In shapes,
``n`` is the number of rows; other names are attributes of the model or its spec.
"""

from __future__ import annotations

import math
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, get_type_hints

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.outputs import NamedArrays

from .row_outputs import RowOutputs

_Float32 = NDArray[np.float32]
_Int8 = NDArray[np.int8]
_Int32 = NDArray[np.int32]
_Int64 = NDArray[np.int64]
_Bool = NDArray[np.bool_]

LABELS = "``labels`` is set, or a unit was ever given a label by hand"
DRIFT = "``drift`` is set; not from ``predict``"
TIMES = "the samples have times, each sample has its row, and not from ``predict``"
BANDS = "the predictions are numbers, and ``readout`` is ``'rls'`` or ``coverage`` is set"
COMPARED = (
    "``target`` is ``'next'``, the samples are no symbols, and ``readout`` is ``'rls'`` or ``alarm`` is set"
)
ALARM = "``alarm`` is set; not from ``predict``"
SEQUENCE = "``alarm`` has ``transitions``, ``dwell`` or ``cycle``; not from ``predict``"
WATCHED = "it comes from ``learn`` or ``learn_targets``"


class Column(NamedTuple):
    """One output: its possible shapes, its meaning, and the condition under which it is there."""

    shapes: tuple[str, ...]
    meaning: str
    condition: str = ""

    @property
    def text(self) -> str:
        """The meaning and the condition as one paragraph."""
        return self.meaning + (f" Only if {self.condition}." if self.condition else "")


_ROWS = ("(n,)",)

_Winner = Annotated[_Int32, Column(_ROWS, "Number of the winning unit; −1: none.")]
_Prediction = Annotated[
    _Float32,
    Column(
        ("(n, outputs)", "(n, horizon, dim)", "(n, horizon, target_dim)"),
        "Predicted target in its own units; for classes and symbols the probability of each. With"
        " ``target='next'``, ``learn`` gives the forecast that was made for this sample before it came, and"
        " ``predict`` the forecast of the sample that follows. With ``horizon``, one row per step.",
    ),
]
_Error = Annotated[
    _Float32,
    Column(
        _ROWS,
        "Error of the prediction: root mean square over the outputs, in their own units; for classes and"
        " symbols −log p in nats. NaN if there is no target or no prediction.",
    ),
]
_Sample = Annotated[_Int64, Column(_ROWS, "Number of the sample that this row belongs to, counted from 0.")]
_Target = Annotated[
    _Int64, Column(_ROWS, "Number of the target's sample; −1: no sample with this id waits for a target.")
]
_Score = Annotated[
    _Float32,
    Column(
        _ROWS,
        "How unusual the sample is: share of recent samples with a smaller distance or error; NaN: unknown.",
    ),
]
_Expected = Annotated[
    _Float32,
    Column(
        ("(n, explained)",),
        "Value that the model expects, in the stream's own units: the winner's, or the forecast that was made"
        " for the sample before it came; for classes and symbols the most probable one. NaN: none.",
    ),
]
_SHARES = (
    "Share of each channel in the deviation; 0 for a missing channel. The shares of a row sum to 1, and"
    " are equal if nothing deviates. NaN: nothing is expected, or there is nothing to compare it with."
)
_Contribution = Annotated[_Float32, Column(("(n, explained)",), _SHARES)]
_Drift = Annotated[_Bool, Column(_ROWS, "Whether the drift detector raised an alarm at this sample.", DRIFT)]
_Alarm = Annotated[
    _Int8, Column(_ROWS, "0: no alarm; 1: an alarm begins; 2: it is on; 3: it ends at this sample.", ALARM)
]
_Evidence = Annotated[
    _Float32,
    Column(
        _ROWS,
        "−log of how improbable the sample is, or the last samples together if that is more; NaN: no score.",
        ALARM,
    ),
]
_Fault = Annotated[
    _Int8,
    Column(_ROWS, "Number of the pattern, called a fault by feedback, that the sample is; −1: none.", ALARM),
]
_Sequence = Annotated[
    _Int8,
    Column(
        _ROWS,
        "Alarm of the order or the pace of the winners that is on: 0 none, 1 a rare transition, 2 a long"
        " dwell, 3 a long cycle.",
        SEQUENCE,
    ),
]
_Watched = Annotated[
    _Bool, Column(_ROWS, "Whether the sample was only watched, that is not learned.", WATCHED)
]


class ModelOutputs(NamedArrays):
    """Outputs of ``learn`` and ``predict`` that every kind of model has, one row per sample."""

    __slots__ = ()

    score: _Score
    present: Annotated[_Int32, Column(_ROWS, "Number of values of the sample that are present (not NaN).")]
    time: Annotated[_Int64, Column(_ROWS, "Time of the sample in nanoseconds since 1970.", TIMES)]
    drift: _Drift
    alarm: _Alarm
    evidence: _Evidence
    fault: _Fault
    watched: _Watched


class WinnerOutputs(ModelOutputs):
    """Outputs of a model with winning units."""

    __slots__ = ()

    sequence: _Sequence
    winner: _Winner
    distance: Annotated[
        _Float32, Column(_ROWS, "Distance between sample and winner, in the scaled space; NaN: no winner.")
    ]


class LabelledOutputs(WinnerOutputs):
    """Outputs of a model with units that have labels."""

    __slots__ = ()

    label: Annotated[_Int32, Column(_ROWS, "Label of the winner; −1: none.", LABELS)]


class CompetitiveOutputs(LabelledOutputs):
    """Outputs of ``Competitive``, one row per sample."""

    __slots__ = ()


class SOMOutputs(LabelledOutputs):
    """Outputs of ``SOM``, one row per sample."""

    __slots__ = ()

    coords: Annotated[
        _Int32,
        Column(
            ("(n, 2)", "(n, 1)"), "Row and column of the winner on the grid (a chain: its place); −1: none."
        ),
    ]


class GrowingNeuralGasOutputs(LabelledOutputs):
    """Outputs of ``GrowingNeuralGas``, one row per sample."""

    __slots__ = ()


class GrossbergOutputs(ModelOutputs):
    """Outputs of ``Grossberg``, one row per sample."""

    __slots__ = ()

    winner: Annotated[
        _Int32,
        Column(
            ("(n, clusters)",),
            "Number of the winner within each cluster, layer by layer from the bottom; −1: none.",
        ),
    ]
    distance: Annotated[
        _Float32,
        Column(
            _ROWS,
            "½Σ|x_i/n − w_i| of the winners, mean over the clusters: share of weight on wrong lines, 0 to 1.",
        ),
    ]


class HammingNetOutputs(ModelOutputs):
    """Outputs of ``HammingNet``, one row per sample."""

    __slots__ = ()

    winner: Annotated[_Int32, Column(_ROWS, "Number of the winning pattern; −1: none.")]
    distance: Annotated[
        _Float32,
        Column(_ROWS, "Hamming distance to the winning pattern, in lines, extrapolated over missing ones."),
    ]
    iterations: Annotated[_Int32, Column(_ROWS, "Iterations of the MaxNet.")]
    sequence: _Sequence
    tie: Annotated[
        _Bool, Column(_ROWS, "Whether equal patterns were left at the end; the lowest number won.")
    ]
    capped: Annotated[_Bool, Column(_ROWS, "Whether the MaxNet stopped at ``max_iterations``.")]


class ActivityOutputs(ModelOutputs):
    """Outputs of a model of active cells, one row per sample."""

    __slots__ = ()

    winner: Annotated[_Int32, Column(_ROWS, "Number of the most active cell; −1: none fires.")]
    sequence: _Sequence
    activity: Annotated[_Float32, Column(("(n, cells)",), "Activity of each cell.")]


class MalsburgOutputs(ActivityOutputs):
    """Outputs of ``Malsburg``, one row per sample."""

    __slots__ = ()

    distance: Annotated[
        _Float32,
        Column(_ROWS, "1 − cosine between the sample and the winner's afferents, 0 to 1; 1: no cell fires."),
    ]


class CognitronOutputs(ActivityOutputs):
    """Outputs of ``Cognitron``, one row per sample."""

    __slots__ = ()

    distance: Annotated[
        _Float32,
        Column(_ROWS, "1/(1 + activity of the winner): near ½ for a familiar sample, 1 for an unknown one."),
    ]


class RNNOutputs(ModelOutputs):
    """Outputs of ``RNN``, one row per sample."""

    __slots__ = ()

    prediction: _Prediction
    lower: Annotated[
        _Float32,
        Column(
            ("(n, outputs)", "(n, horizon, dim)", "(n, horizon, target_dim)"),
            "Lower bound of the band around each forecast, which contains the share ``coverage`` of the"
            " samples; NaN while there are fewer than 20 errors.",
            BANDS,
        ),
    ]
    upper: Annotated[
        _Float32,
        Column(
            ("(n, outputs)", "(n, horizon, dim)", "(n, horizon, target_dim)"),
            "Upper bound of the band.",
            BANDS,
        ),
    ]
    error: _Error
    distance: Annotated[
        _Float32,
        Column(
            _ROWS,
            "Mahalanobis distance between the sample and what its channels' past and the other channels let"
            " expect, near 1 on average; NaN: no forecast.",
            COMPARED,
        ),
    ]


class BidirectionalRNNOutputs(ModelOutputs):
    """Outputs of ``BidirectionalRNN``, one row per sample that is complete."""

    __slots__ = ()

    sample: _Sample
    prediction: Annotated[
        _Float32,
        Column(
            ("(n, outputs)",),
            "Predicted target in its own units; for classes the probability of each.",
        ),
    ]
    error: _Error


class Explanation(NamedArrays):
    """Outputs of ``explain`` that every kind of model has, one row per sample.

    The columns are the channels of the samples; for a net that predicts a target, those of the target.
    """

    __slots__ = ()

    expected: _Expected
    contribution: _Contribution
    score: _Score


class BidirectionalExplanation(Explanation):
    """Outputs of ``explain`` of a bidirectional network, one row per sample that is complete."""

    __slots__ = ()

    sample: _Sample


class TargetOutputs(NamedArrays):
    """Outputs of ``learn_targets`` that every kind of model has, one row per target."""

    __slots__ = ()

    sample: _Target
    watched: _Watched


class LabelTargetOutputs(TargetOutputs):
    """Outputs of ``learn_targets`` for labels, one row per target."""

    __slots__ = ()

    winner: Annotated[_Int32, Column(_ROWS, "Number of the unit that won the sample; −1: none.")]
    label: Annotated[_Int32, Column(_ROWS, "Label of the winner when the sample came; −1: none.")]


class RecurrentTargetOutputs(TargetOutputs):
    """Outputs of ``learn_targets`` for a recurrent network, one row per target."""

    __slots__ = ()

    prediction: Annotated[
        _Float32,
        Column(("(n, outputs)",), "Prediction that ``learn`` gave when the sample came; NaN: none yet."),
    ]
    error: _Error
    score: _Score
    drift: _Drift
    alarm: _Alarm
    evidence: _Evidence
    fault: _Fault


_T = TypeVar("_T", bound=NamedArrays)


def typed(cls: type[_T], out: NamedArrays) -> _T:
    """Return ``out`` itself, as an instance of ``cls``, which has the same slots. A copy would cost time."""
    if isinstance(out, RowOutputs):
        return out.typed(cls)
    out.__class__ = cls
    return out  # type: ignore[return-value]


def columns(cls: type[NamedArrays]) -> dict[str, tuple[str, Column]]:
    """Return dtype and declaration of every output of ``cls``, its own outputs first."""
    hints = get_type_hints(cls, include_extras=True)
    order = [name for base in cls.__mro__ for name in vars(base).get("__annotations__", {})]
    found: dict[str, tuple[str, Column]] = {}
    for name in order:
        for column in getattr(hints[name], "__metadata__", ()):
            if isinstance(column, Column):
                found.setdefault(name, (_dtype(hints[name].__origin__), column))
    return found


def row_bytes(model: Any, outputs_class: Any) -> int:
    """Return the bytes of one row of outputs of ``model``, or a few more: conditional outputs are included.

    Names in shapes are attributes of the model or of its spec. All shapes of an output have equal sizes.
    The spec, which models share, keeps the result.
    """
    known: dict[Any, int] = model.spec.row_bytes
    if outputs_class not in known:
        known[outputs_class] = _row_bytes(model, outputs_class)
    return known[outputs_class]


def _row_bytes(model: Any, outputs_class: Any) -> int:
    def length(name: str) -> int:
        if name.isdigit():
            return int(name)
        value = getattr(model, name, None)
        if value is None:
            value = getattr(model.spec, name, None)
        return int(value or 1)

    def values(shape: str) -> int:
        _, *others = shape.strip("()").split(",")
        return math.prod(length(name.strip()) for name in others if name.strip())

    absent: set[str] = set()
    if not getattr(model.spec, "has_bands", False):
        absent.add(BANDS)  # as large as the prediction
    if not getattr(model.spec, "compares_channels", False):
        absent.add(COMPARED)
    declared = [
        (dtype, column) for dtype, column in _declared(outputs_class) if column.condition not in absent
    ]
    return sum(np.dtype(dtype).itemsize * values(column.shapes[0]) for dtype, column in declared)


@cache
def _declared(cls: type[NamedArrays]) -> tuple[tuple[str, Column], ...]:
    """Dtype and declaration of every output. To read them from the annotations takes 0.3 ms."""
    return tuple(columns(cls).values())


def _dtype(array: object) -> str:
    """Name of the dtype of an ``NDArray[…]`` annotation."""
    *_, last = array.__args__  # type: ignore[attr-defined]
    (scalar,) = getattr(last, "__args__", (last,))  # NumPy 2.5 has the scalar itself, since Python 3.12
    return str(np.dtype(scalar).name)
