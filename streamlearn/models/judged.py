"""The alarms of a model, and feedback: a person judges samples, so that alarms know their patterns."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import AbstractContextManager
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from streamlearn_client.outputs import NamedArrays

from ..errors import BadValue
from .batch import Batch, Float32, Targets
from .stream.alarm import AlarmDetector
from .stream.drift import DriftDetector
from .stream.patterns import Feedback, Verdict, valid_name, valid_verdict
from .stream.sequences import SequenceDetector

_COUNTED = np.zeros(0, np.int64)  # the numbers of samples that count on from the first one


class Judged:
    """A model with alarms, whose samples a person can judge."""

    kind: ClassVar[str]
    spec: Any
    _alarms: AlarmDetector | None
    _detector: DriftDetector | None
    _sequences: SequenceDetector | None
    has_lookahead: Any
    explains_targets: Any
    _lock: AbstractContextManager[Any]

    def read(self, X: ArrayLike) -> Float32:
        """Return ``X`` as float32 of shape (n, dim)."""
        raise AssertionError("every model reads samples")

    def channels_of(self, inputs: Float32) -> Float32:
        """Return the channels of the samples in ``inputs``."""
        raise AssertionError("every model knows its channels")

    def _judge(self, batch: Batch | Targets, rows: int, out: NamedArrays, first: int) -> None:
        """Add drift and alarms to the outputs of ``rows`` rows of the batch.

        ``first``: number of the first sample.
        """
        arrays = out.arrays
        if self._alarms is None:
            if self._detector is not None:
                values = arrays.get("distance", arrays.get("error"))
                if values is not None:
                    arrays["drift"] = self._detector.detect(values, arrays.get("sample", _COUNTED), first)
            return
        explanation = arrays.pop("contribution", None), self._take_expected(arrays)
        keys = None if batch.keys is None else batch.keys[:rows]
        if isinstance(batch, Targets):
            self._alarms.detect(out, None, explanation, keys, None, None, self.has_lookahead)
            return
        x = self.channels_of(batch.x if rows == batch.rows else batch.x[:rows])
        times = None if batch.times is None else batch.times[:rows]
        self._alarms.detect(out, x, explanation, keys, times, first, self.has_lookahead)
        if self._sequences is not None:
            self._sequences.detect(out, first, self._label_of)

    @property
    def expects(self) -> bool:
        """Whether the model expects a value of each channel of a sample when the sample comes."""
        symbols = getattr(self.spec, "class_count", None) is not None
        return not (self.has_lookahead or self.explains_targets or symbols)

    def _take_expected(self, arrays: dict[str, NDArray[Any]]) -> Float32 | None:
        """Return what the model expected of the samples, in their units; None if it expects nothing of them.

        The outputs of a model with winners have it as ``expected``, which is removed. A recurrent network
        expects the forecast that it made before the sample came.
        """
        forecast = arrays.get("prediction")
        if forecast is None:
            return arrays.pop("expected", None)
        if self.explains_targets:
            return None
        if forecast.ndim == 3:
            return np.ascontiguousarray(forecast[:, 0])
        if self.spec.class_count is None:
            return forecast
        most_probable = forecast.argmax(axis=1, keepdims=True).astype(np.float32)
        return np.where(np.isnan(forecast[:, :1]), forecast[:, :1], most_probable)

    def feedback(self, sample: ArrayLike, verdict: Verdict, name: str = "") -> None:
        """Judge a sample: its pattern is normal, or a fault with a name.

        A normal pattern has no evidence when it comes again, so it begins no alarm. A fault begins an alarm
        with its name when it comes again with evidence above ``clear``. A sample is the pattern if it is
        within half the pattern's own distance from the channels' means; the distance is the root mean square
        over the channels, in mean absolute deviations. A model keeps 16 patterns; a new one replaces one that
        it is within the radius of, else the oldest.

        Parameters
        ----------
        sample : array_like of shape (dim,), or int
            The sample's values in the stream's own units; NaN marks a missing value. Or its number, if it
            was the first sample or the peak of one of the last eight alarms.
        verdict : {"normal", "fault"}
            The verdict.
        name : str, default ""
            Name of a fault, at most 32 bytes. Empty: "fault".

        Raises
        ------
        BadShape, BadDtype, BadValue
            If an argument does not fit, if the sample's values are not kept, or if the model has no alarms.
        """
        with self._lock:
            self.apply_feedback(self.validate_feedback(sample, verdict, name))

    def validate_feedback(self, sample: ArrayLike, verdict: object, name: object = "") -> Feedback:
        """Check the arguments of ``feedback``, and find the values of a sample given by its number."""
        if self._alarms is None:
            raise BadValue(f"this {self.kind} has no alarms: create it with alarm=True")
        verdict = valid_verdict(verdict)
        name = valid_name(name) or ("fault" if verdict == "fault" else "")
        if isinstance(sample, (int, np.integer)):
            values = self._alarms.patterns.find(int(sample))
        else:
            (values,) = self.read(np.reshape(np.asarray(sample), (1, -1)))
        return Feedback([None if value != value else value for value in values.tolist()], verdict, name)

    def apply_feedback(self, feedback: Feedback) -> None:
        """Add a pattern that ``validate_feedback`` returned."""
        assert self._alarms is not None
        self._alarms.patterns.learn(feedback)

    def _label_of(self, unit: int) -> str:
        """Return the label of a unit as text; empty if it has none."""
        return ""

    @property
    def label_names(self) -> list[str]:
        """The names of the classes of labels; empty without labels."""
        return []

    def validate_label(self, label: object, unit: object, sample: object, x: Any) -> dict[str, Any]:
        """Check a label by hand, of a model with labels. Raises BadValue for every other model."""
        raise BadValue(f"this {self.kind} has no labels; som, competitive and gng have")

    def apply_label(self, given: Mapping[str, Any]) -> None:
        """Apply a label that ``validate_label`` returned."""
        raise AssertionError(f"a {self.kind} has no labels")
