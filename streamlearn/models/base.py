"""Base class of every model: an immutable spec, a state of named arrays, and the rules R1 and R2."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from types import ModuleType
from typing import TYPE_CHECKING, Any, ClassVar, TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import ValidationError

from streamlearn_client.outputs import NamedArrays
from streamlearn_client.protocol import PrecisionMonitor

from ..errors import BadValue
from ..kernels.stream import features as feature_kernels
from ..kernels.stream import keys as key_kernels
from ..kernels.stream import scaling
from ..kernels.stream.interrupt_words import NEVER
from . import state_checks
from .batch import Batch, Targets, part
from .generating import Generating
from .judged import Judged
from .locking import locked
from .outputs import ModelOutputs, TargetOutputs, typed
from .queries import Queries
from .reactions import Reactions
from .readable import Readable
from .serialization import Serializable
from .sharing import MOST_SHARED_KEYS, with_shared_keys
from .signature import document
from .spec import MAX_STATE_VALUES, Spec, decay_per_sample
from .spec_errors import bad_spec
from .state_checks import COUNT, Range, State
from .stream.alarm import AlarmDetector
from .stream.drift import Drift, DriftDetector
from .stream.features import FeatureStage
from .stream.scaling import Statistics
from .stream.schedules import Schedules
from .stream.score import ScoreReference
from .stream.sequences import SequenceDetector
from .stream.watching import Rules, Watching

if TYPE_CHECKING:
    from .one_sample import GeneralWay, OneSample

__all__ = ["MAX_STATE_VALUES", "Model", "Spec", "decay_per_sample"]

Component = TypeVar("Component", bound="state_checks.Component")

_OWN_RANGES = {"samples": COUNT}


class Model(Queries, Judged, Reactions, Generating, Serializable, Readable, ABC):
    """A learner: an immutable spec and a state that consists of named arrays.

    Every model learns sample by sample, in order. Any split of the same samples into batches gives the same
    state and the same outputs, bit for bit. ``predict`` never changes the state.

    Samples are float32 of shape ``(n, dim)``; NaN marks a missing value. One sample may have shape
    ``(dim,)``.

    Several threads may use one model. Each call is whole: no other call reads or changes the state meanwhile.
    ``state`` holds the live arrays and is not protected; ``copy_state`` is.
    """

    Spec: ClassVar[type[Spec]]
    outputs_class: ClassVar[type[ModelOutputs]] = ModelOutputs
    """The outputs of ``learn`` and ``predict``, declared with dtype, shape and meaning."""
    target_outputs_class: ClassVar[type[TargetOutputs]] = TargetOutputs
    """The outputs of ``learn_targets``."""
    outputs: int = 0
    """Columns of a forecast; 0 if the model makes none."""

    _one_sample: OneSample | GeneralWay | None = None
    """Learns a sample that comes alone; None: not yet known."""

    def __init_subclass__(cls, **options: Any) -> None:
        """Generate signature and docstring from the spec."""
        super().__init_subclass__(**options)
        if "Spec" in vars(cls):  # a concrete model
            document(cls)

    def __init__(self, /, **parameters: Any) -> None:
        self.spec = self.valid_spec(parameters)
        self.explains_learning = self.spec.alarm is not None and not self.explains_targets
        self._precision = PrecisionMonitor(f"this {self.kind}")
        self.decay = decay_per_sample(self.spec.memory_samples)
        self._lock = threading.RLock()
        self.interrupt = NEVER  # ends `learn_validated` early, see kernels/stream/interrupt.py
        self.state = {
            "samples": np.zeros(1, np.int64),
        }
        self._components: list[state_checks.Component] = []
        self._own_ranges: Mapping[str, Range] = _OWN_RANGES
        score_decay = decay_per_sample(self.spec.score_half_life)
        self._score = self._add(ScoreReference(self.scored_values, score_decay))
        self._watching = self._add(Watching(Rules.of(self.spec), self.scored_values, self.has_lookahead))
        self._features: FeatureStage | None = None
        if self.spec.features is not None:
            keys, samples = getattr(self.spec, "keys", None), self.state["samples"]
            self._features = self._add(FeatureStage(self.spec.features, self.dim, keys, samples))
        self._statistics = self._add(Statistics("statistics", self.method, self.inputs))
        self._schedules = self._add(Schedules(self.spec.schedules))
        self._detector = None
        if self.spec.drift is not None:
            self._detector = self._add(DriftDetector(Drift.of(self.spec)))
        self._alarms = None
        self._sequences = None
        if self.spec.alarm is not None:
            keys = None if self.has_lookahead else getattr(self.spec, "keys", None)
            one_channel = self.dim == 1 and not self.has_lookahead and not self.needs_keys
            samples = self.state["samples"]
            self._alarms = self._add(
                AlarmDetector(
                    self.spec.alarm, self.dim, keys, samples, one_channel, self.expects, self._detector
                )
            )
            self._alarms.share(self.state)
            if self.spec.alarm.compares_winners:
                units = self.spec.winning_units
                self._sequences = self._add(SequenceDetector(self.spec.alarm, units, self.dim))

    def _add(self, component: Component) -> Component:
        """Add the arrays of a component to the state, with their ranges. Return the component."""
        self.state |= component.state
        part: object = component
        if isinstance(part, state_checks.ByName):
            part.state = self.state
        self._components.append(component)
        return component

    def _share_state_keys(self) -> None:
        """Let the dict of the state share its keys with those of models with equal names of arrays."""
        if len(self.state) <= MOST_SHARED_KEYS:
            self.state = with_shared_keys(" ".join(self.state), self.state)
            for component in self._components:
                part: object = component
                if isinstance(part, state_checks.ByName):
                    part.state = self.state
            if self._alarms is not None:
                self._alarms.share(self.state)

    # Properties, not attributes: the models of a class share the keys of their dictionaries as long as each
    # has fewer than 30. A dictionary with keys of its own takes 1.3 kB more.

    @property
    def method(self) -> int:
        """How the kernels scale samples."""
        return scaling.METHODS[self.spec.scale]

    @property
    def _gate(self) -> NDArray[np.float64]:
        return self._watching.gate

    @property
    def ranges(self) -> dict[str, Range]:
        """Valid values of the state arrays. Every array that a kernel indexes by has one."""
        merged: dict[str, Range] = {}
        for component in self._components:
            merged |= component.ranges
        return {**merged, **self._own_ranges}

    @ranges.setter
    def ranges(self, ranges: Mapping[str, Range]) -> None:
        self._own_ranges = ranges

    @classmethod
    def valid_spec(cls, parameters: Mapping[str, Any]) -> Any:
        """Return the spec with these parameters. Raises BadSpec."""
        try:
            return cls.Spec.shared(parameters)
        except ValidationError as error:
            raise bad_spec(cls.kind, cls.Spec, error) from None

    @classmethod
    def unused_kernels(cls, spec: Any) -> set[ModuleType]:
        """Return kernel modules that the kind needs, and no model with this spec: all stages not in it."""
        unused = {feature_kernels} if spec.features is None else set()
        return unused | ({key_kernels} if getattr(spec, "keys", None) is None else set())

    # -- defined by each kind of model -------------------------------------------------------------------

    @abstractmethod
    def _learn(self, batch: Batch) -> ModelOutputs:
        """Call the kernel that learns ``batch``. Return the outputs of the samples that it did."""

    @abstractmethod
    def _quality(self) -> dict[str, Any]:
        """Return the part of ``quality`` that belongs to this kind of model."""

    def inconsistencies(self, state: State) -> Iterator[str]:
        """Describe values of ``state`` that contradict each other. Every array is within its range."""
        yield from self._schedules.inconsistencies(state)
        for component in (self._detector, self._alarms, self._sequences, self._features):
            if component is not None:
                yield from component.inconsistencies(state)

    @property
    def scored_values(self) -> int:
        """Number of values that the distance or error of a sample compares, if none is missing."""
        return self.inputs

    # -- public methods ----------------------------------------------------------------------------------

    @property
    def has_lookahead(self) -> bool:
        """Whether the outputs for a sample depend on later samples.

        Then the outputs have one row per sample that is complete, and ``sample`` holds its number.
        """
        return False

    @property
    def most_waiting(self) -> int:
        """How many samples may wait for their outputs at most; 0 without look-ahead."""
        return 0

    @property
    def uses_time(self) -> bool:
        """Whether the times of samples matter: for schedules in seconds and calendar features."""
        features = self.spec.features
        return self._schedules.uses_time or (features is not None and bool(features.calendar))

    @property
    def samples(self) -> int:
        """Number of samples learned so far."""
        return int(self.state["samples"][0])

    def learn(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        keys: Any = None,
        ids: Any = None,
        times: ArrayLike | None = None,
    ) -> ModelOutputs:
        """Learn samples in order, one by one.

        Parameters
        ----------
        X : array_like of shape (n, dim)
            Samples in the stream's own units. NaN marks a missing value.
        y : array_like of shape (n, target_dim), optional
            Targets, for models that take them. NaN marks a missing target.
        keys : sequence of int or str of shape (n,), optional
            The stream of each sample, for models with ``keys``. One key may stand for all samples.
        ids : sequence of int or str of shape (n,), optional
            Names of the samples, for targets that arrive later. The default is the sample's number, counted
            from 0.
        times : array_like of shape (n,), optional
            The times of the samples, or one for all: ``datetime64``, datetimes with a time zone, nanoseconds
            (int) or seconds (float) since 1970. The default is now, if the model uses times.

        Returns
        -------
        ModelOutputs
            One row per sample: the outputs of the model before it learned that sample.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If an argument does not fit this model. Nothing is learned.
        """
        with self._lock:
            one = self._one_sample
            if one is not None and y is None and keys is None and ids is None and times is None:
                found = one.learn_given(X)
                if found is not None:
                    return found
            if times is None and self.uses_time:
                times = time.time_ns()
            out = self.learn_validated(self.validate(X, y, keys, ids, times))
            return typed(self.outputs_class, out)  # before another thread learns a sample

    def learn_targets(self, ids: Any, y: ArrayLike, keys: Any = None) -> TargetOutputs:
        """Learn targets that arrive after their samples.

        Parameters
        ----------
        ids : sequence of int or str of shape (n,)
            The ids of the samples. A sample that came without an id has its number, counted from 0.
        y : array_like of shape (n, target_dim)
            The targets.
        keys : sequence of int or str of shape (n,), optional
            The stream of each sample, for models with ``keys``.

        Returns
        -------
        TargetOutputs
            One row per target: the outputs that ``learn`` gave for its sample. ``sample`` is the number of
            that sample; −1 if no sample with this id waits for a target. Such a target is counted in
            ``quality()["unmatched_targets"]`` and has no other effect.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If an argument does not fit this model. Nothing is learned.
        """
        with self._lock:
            out = self.learn_validated(self.validate_targets(ids, y, keys))
        return typed(self.target_outputs_class, out)

    def learn_validated(self, batch: Batch | Targets) -> NamedArrays:
        """Learn a batch that ``validate`` or ``validate_targets`` returned.

        This is the hot path of the daemon. It does not lock: only one thread may call it.

        If ``interrupt`` is set meanwhile, only the first rows are learned, at least one of them. ``samples``
        counts the samples that were learned; of late targets, every one that was learned has an output.
        """
        if isinstance(batch, Batch) and batch.ids is not None:
            batch = batch.numbered(self.samples)
        if isinstance(batch, Targets):
            return self._learn_rows(batch)
        if self._features is None:
            out = self._learn_rows(batch)
        else:
            first = self.samples
            inputs, streams = self._features.extract(batch)
            out = self._learn_rows(inputs)
            self._features.advance(batch, streams, self.samples - first)
        if batch.times is not None and not self.has_lookahead:
            out.arrays["time"] = batch.times[: len(out)]
        return out

    def _learn_rows(self, batch: Batch | Targets) -> NamedArrays:
        """Learn a batch that has its features."""
        return self._watching.learn(batch, self)

    def _learn_part(self, batch: Batch | Targets, watch: bool) -> tuple[int, NamedArrays]:
        """Learn or watch rows of ``batch``. Return how many, and their outputs."""
        first = self.samples
        if isinstance(batch, Targets):
            out: NamedArrays = self._learn_late_targets(batch, learning=not watch)
            rows = len(out)
            out.arrays["watched"] = np.full(rows, watch)
        else:
            out = self._learn(batch)
            rows = self.samples - first
        self._judge(batch, rows, out, first)
        return rows, out

    def _undo_rest(self, batch: Batch, rows: int) -> None:
        """Set the clock of the schedules to the end of the first ``rows`` samples, which were done."""
        if rows < batch.rows:
            self._schedules.correct(part(batch, 0, rows))

    def _learn_late_targets(self, targets: Targets, learning: bool) -> TargetOutputs:
        """Learn targets of earlier samples (``accepts_late_targets``). Return the outputs of these samples.

        If ``learning`` is false, nothing changes, and the outputs are those of each target alone.
        """
        raise AssertionError(f"a {self.kind} accepts no late targets")

    @locked
    def quality(self) -> dict[str, Any]:
        """Return the live quality: how well the model fits recent samples.

        Returns
        -------
        dict
            Exponentially weighted means over recent samples (``half_life``); NaN before the first sample.
            The names depend on the kind of model. Every model adds ``schedules`` (current values by name) if
            the spec has schedules, ``drift_alarms``, ``last_drift`` and ``drift_settled`` if there is a drift
            detector. Every model has ``paused`` (whether learning is paused), ``watched`` (samples that will
            still be watched after a drift alarm) and ``watched_samples`` (samples watched so far).
        """
        quality = self._quality()
        for component in (self._detector, self._alarms, self._sequences, self._watching):
            quality |= component.quality() if component is not None else {}
        return quality | ({"schedules": self.schedules} if self.spec.schedules else {})

    @property
    @locked
    def schedules(self) -> dict[str, float]:
        """Current values of the schedules by name, at the arrival time of the last sample."""
        return self._schedules.current()

    @locked
    def reheat(self, heat: float = 1.0) -> None:
        """Start all schedules again, with the next sample at t = 0. Ends the reaction to a drift alarm.

        From then on v(t) = end + (start − end)·heat·g(t), where g falls from 1 to 0 as the schedule defines.
        Score and drift detector begin again: distances from before do not count.

        Parameters
        ----------
        heat : float, default 1.0
            How far back towards ``start`` the schedules go. Range: above 0, up to 1.

        Raises
        ------
        BadValue
            If ``heat`` is out of range, or if no parameter of this model changes over time.
        """
        self._schedules.reheat(self.validate_heat(heat))
        self._raise_rates(heat)
        self._restart_score()
        if self._detector is not None:
            self._detector.restart()
        if self._sequences is not None:
            self._sequences.restart()
        self._watching.end()

    @property
    @locked
    def paused(self) -> bool:
        """Whether learning is paused."""
        return self._watching.paused

    @locked
    def pause(self) -> None:
        """Watch all samples until ``resume``: the model returns outputs and learns nothing."""
        self._watching.paused = True

    @locked
    def resume(self) -> None:
        """Learn again: after ``pause``, after a drift alarm, and what ``learn_below`` watches now.

        With ``learn_below``, all samples are learned until a sample is usual again.
        """
        self._watching.paused = False
        self._watching.end()
        self._watching.accept()

    def validate_heat(self, heat: Any) -> float:
        """Return ``heat`` if ``reheat`` accepts it, or raise BadValue."""
        if not isinstance(heat, (int, float, np.floating)) or not 0 < heat <= 1:
            raise BadValue(f"heat is {heat!r}; a number above 0 and at most 1 was expected")
        if not self.spec.can_reheat and self.spec.on_drift is None:
            raise BadValue(f"this {self.kind} has no schedule that changes: nothing to reheat")
        return float(heat)

    def __repr__(self) -> str:
        """Return the parameters that were given, and the number of samples learned."""
        return f"{type(self).__name__}({self.spec.given_parameters()}; {self.samples} samples learned)"
