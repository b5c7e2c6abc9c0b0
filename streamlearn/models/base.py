"""What every model is: an immutable spec, a state that is nothing but named arrays, and the rules around
them (R1, R2)."""

from __future__ import annotations

import reprlib
import time
from abc import ABC, abstractmethod
from decimal import Context, Decimal
from typing import Annotated, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from streamlearn_client.outputs import Outputs
from streamlearn_client.protocol import as_identifiers

from ..errors import BadShape, BadValue
from ..kernels.stream import scaling, score
from .batch import NUMBER, Batch, Float32, Integers, Targets
from .serialization import Kept
from .spec_errors import bad_spec
from .stream.drift import Watch
from .stream.freeze import Freeze
from .stream.schedules import Positive, Schedule, Schedules, changing
from .validation import as_rows, as_times

MAX_STATE_VALUES = (
    1 << 27
)  # half a gigabyte of float32: a spec over it is a mistake that would take the daemon down


class Spec(BaseModel):
    """The parameters every model has."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(ge=1, le=1 << 20, description="channels of a sample")
    scale: Literal["standard", "ewma", "minmax"] | None = Field(
        None, description="how channels are scaled, online"
    )
    scale_clip: Positive = Field(6.0, description="scaled values are cut to ±this")
    half_life: Positive = Field(
        10_000.0, description="samples after which the score, the live quality and ewma scaling forget half"
    )
    drift: Literal["page_hinkley", "adwin"] | None = Field(
        None, description="what watches the score for a change"
    )
    drift_delta: Positive | None = Field(None, description="its δ; by default 0.005 or, of adwin, 0.002")
    drift_threshold: Positive = Field(50.0, description="page_hinkley: λ")
    on_drift: Literal["freeze", "reheat"] | None = Field(
        None, description="what an alarm leads to: no learning for freeze_for samples, or schedules reheated"
    )
    freeze_for: int = Field(1000, ge=1, le=1 << 62, description="samples not learned after an alarm")
    freeze_missing: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None, description="a sample of which a larger share of values is missing is not learned"
    )
    seed: int = Field(0, ge=0, lt=1 << 63, description="of the random initial weights")

    @property
    def schedules(self) -> dict[str, Schedule]:
        """What may change over the stream, in the order in which the learner's kernel takes it."""
        return {}

    @model_validator(mode="after")
    def _has_an_alarm_to_answer(self) -> Self:
        if self.on_drift is not None and self.drift is None:
            raise ValueError(f"on_drift={self.on_drift!r} needs a drift detector: page_hinkley or adwin")
        if self.on_drift == "reheat" and not changing(self.schedules):
            raise ValueError("on_drift='reheat' needs a schedule that changes: every parameter is constant")
        return self


class Model(Kept, ABC):
    """A live learner. ``learn`` and ``predict`` are kernel calls on ``state``; nothing else changes, and
    ``predict`` nothing.

    Samples are ``(n, dim)`` float32, NaN where a value is missing; one sample may be given as ``(dim,)``.
    """

    Spec: ClassVar[type[Spec]]
    outputs: int = 0
    """columns of a forecast; 0 where a model makes none"""

    def __init__(self, /, **parameters: Any) -> None:
        try:
            self.spec = self.Spec(**parameters)
        except ValidationError as error:
            raise bad_spec(self.kind, self.Spec, error) from None
        self.method = scaling.METHODS[self.spec.scale]
        self.decay = decay_per_sample(self.spec.half_life)
        self.state = {
            "samples": np.zeros(1, np.int64),
            "scale.statistics": np.zeros((3, self.dim)),
            "score.tree": np.zeros(score.SIZE),
            "score.head": np.array([1.0, 0.0]),
        }
        self._schedules = Schedules(self.spec.schedules)
        self.state |= self._schedules.state
        self._watch: Watch | None = None
        if self.spec.drift is not None:
            self._watch = Watch(self.spec.drift, self.spec.drift_delta, self.spec.drift_threshold)
            self.state |= self._watch.state
        self._freeze: Freeze | None = None
        if self.spec.on_drift is not None or self.spec.freeze_missing is not None:
            self._freeze = Freeze(self.spec.on_drift, self.spec.freeze_for, self.spec.freeze_missing)
            self.state |= self._freeze.state

    # -- what a model must have --------------------------------------------------------------------------

    @abstractmethod
    def _learn(self, batch: Batch) -> Outputs:
        """The kernel's call."""

    @abstractmethod
    def predict_validated(self, batch: Batch) -> Outputs:
        """What the model says of ``x`` (and ``keys``), which ``validate`` has passed."""

    @abstractmethod
    def _quality(self) -> dict[str, Any]:
        """What ``quality`` tells of this kind of model."""

    # -- what users call ---------------------------------------------------------------------------------

    @property
    def dim(self) -> int:
        return int(self.spec.dim)

    @property
    def target_dim(self) -> int:
        """Columns of ``y``; 0 where the model takes none."""
        return 0

    @property
    def accepts_late_targets(self) -> bool:
        """Whether a target may come later than its sample (`learn_targets`), or not at all."""
        return False

    @property
    def needs_keys(self) -> bool:
        """Whether every sample needs a key."""
        return False

    @property
    def has_lookahead(self) -> bool:
        """Whether what is said of a sample waits for those after it: outputs have a row for each sample whose
        time has come, and say by ``sample`` which it is."""
        return False

    @property
    def uses_time(self) -> bool:
        """Whether it counts when samples arrive: it does for a schedule in seconds."""
        return self._schedules.uses_time

    @property
    def samples(self) -> int:
        """How many samples have been learned."""
        return int(self.state["samples"][0])

    def learn(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        *,
        keys: Any = None,
        ids: Any = None,
        times: ArrayLike | None = None,
    ) -> Outputs:
        """Learn samples in order, one by one, and return of each what the model said before it learned it.

        ``y`` ``(n, target_dim)``, ``keys`` ``(n,)`` and ``ids`` ``(n,)`` are for models that take them; one
        key may stand for all samples. ``times`` ``(n,)``, seconds since the epoch, are when the samples
        arrived, by default now.

        Raises BadShape, BadDtype or BadValue and learns nothing if anything of it cannot be learned.
        """
        if self.uses_time and times is None:
            times = time.time()
        return self.learn_validated(self.validate(X, y, keys, ids, times))

    def learn_targets(self, ids: Any, y: ArrayLike, keys: Any = None) -> Outputs:
        """Learn targets ``y`` ``(n, target_dim)`` of samples that were learned before, by the ``ids``
        ``(n,)`` that these came with; a sample that came without has its number for an id, counted from 0.

        Returns of each target what was said of its sample then. ``sample`` is the sample's number; −1 where
        no such sample waits for a target (any more), which is counted and otherwise leaves things as they
        are. Raises as ``learn`` does.
        """
        return self.learn_validated(self.validate_targets(ids, y, keys))

    def learn_validated(self, batch: Batch | Targets) -> Outputs:
        """Learn what ``validate`` or ``validate_targets`` has passed: the daemon's hot path."""
        first = self.samples
        if isinstance(batch, Batch):
            batch = batch.numbered(first)
        if self._freeze is not None:
            return self._freeze.learn(self, batch)
        return self._watched(self._take(batch), first)

    def _take(self, batch: Batch | Targets) -> Outputs:
        return (
            self._learn(batch) if isinstance(batch, Batch) else self._learn_late_targets(batch, learning=True)
        )

    def _watched(self, out: Outputs, first: int) -> Outputs:
        """Add the alarms of drift. ``first``: how many samples there were before these."""
        if self._watch is not None and "score" in out.arrays:
            numbers = out.arrays.get("sample")
            if numbers is None:
                numbers = np.arange(first, first + len(out))
            out.arrays["drift"] = self._watch.look(out.score, numbers)
        return out

    def _learn_late_targets(self, targets: Targets, learning: bool) -> Outputs:
        """Learn targets of earlier samples (``accepts_late_targets``); return the outputs of their samples.

        Without ``learning`` nothing changes, and each target is answered as if it came alone.
        """
        raise AssertionError(f"{self.kind} took targets that it does not take")

    def _skip(self, batch: Batch) -> Outputs:
        """What is said of samples that are not learned. Nothing remains of them but their number."""
        out = self.predict_validated(batch)
        self.state["samples"] += batch.rows
        return out

    def quality(self) -> dict[str, Any]:
        """Live quality: exponentially weighted over recent samples (``half_life``), NaN before there are
        any; and where the score is watched, the alarms of drift. ``schedules``: the values of the spec's
        schedules now, by name. Where samples may be frozen, how many are (`Freeze.quality`)."""
        told = self._quality()
        for each in (self._watch, self._freeze):
            told |= each.quality() if each is not None else {}
        return told | ({"schedules": self.schedules} if self.spec.schedules else {})

    @property
    def schedules(self) -> dict[str, float]:
        """The values of the spec's schedules for the next sample, if it arrived with the last one."""
        return self._schedules.told()

    def reheat(self, heat: float = 1.0) -> None:
        """Let the schedules begin again, with the next sample at t = 0: from now on v(t) = end +
        (start − end)·``heat``·g(t), where g falls from 1 to 0 as the spec says. Ends a freeze.

        Raises BadValue, as ``validate_heat`` does.
        """
        self._schedules.reheat(self.validate_heat(heat))
        if self._freeze is not None:
            self._freeze.thaw()

    def validate_heat(self, heat: Any) -> float:
        """``heat``, which is refused by BadValue unless 0 < ``heat`` ≤ 1, and wherever no schedule of this
        model changes and nothing can be frozen."""
        if not isinstance(heat, (int, float, np.floating)) or not 0 < heat <= 1:
            raise BadValue(f"heat is {heat!r}; a number above 0, up to 1 (all the way back), was expected")
        if not changing(self.spec.schedules) and self.spec.on_drift is None:
            raise BadValue(f"no parameter of this {self.kind} changes over time: there is nothing to reheat")
        return float(heat)

    def predict(self, X: ArrayLike, keys: Any = None) -> Outputs:
        """What the model says of each sample as it stands. Changes nothing. Raises as ``learn`` does."""
        x = self.read(X)
        return self.predict_validated(Batch(x, keys=self._read_keys(keys, len(x))))

    def forecast(self, steps: int, key: int | str | None = None) -> Float32:
        """The next ``steps`` samples, ``(steps, dim)``, of the stream ``key`` if there are keys, as the model
        goes on from its live state. Changes nothing. Raises BadValue for a model that does not forecast."""
        raise BadValue(f"a {self.kind} does not forecast; a recurrent net (rnn) with target='next' does")

    def sample(
        self, n: int, temperature: float = 1.0, seed: int = 0, key: int | str | None = None
    ) -> NDArray[np.int32]:
        """``n`` symbols ``(n,)``, drawn as the model goes on likewise. Raises as ``forecast`` does."""
        raise BadValue(f"a {self.kind} draws no symbols; a recurrent net (rnn) with symbols=… does")

    def read(self, X: ArrayLike) -> Float32:
        """``X`` as ``(n, dim)`` float32, refused by a typed error if it is nothing this model takes."""
        return as_rows("x", X, self.dim)

    def read_targets(self, y: ArrayLike) -> Float32:
        """``y`` as ``(n, target_dim)`` float32, refused likewise."""
        return as_rows("y", y, self.target_dim)

    def validate(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        keys: Any = None,
        ids: Any = None,
        times: ArrayLike | None = None,
    ) -> Batch:
        """All of it as kernels take it: float32, int64 and float64, C-contiguous.

        Raises BadShape, BadDtype, or BadValue (±inf, or too large for float32), saying what and where.
        """
        x = self.read(X)
        rows = len(x)
        if ids is not None and not self.accepts_late_targets:
            raise BadShape(f"this {self.kind} takes no targets later: leave ids out", expected=None)
        names = None
        if self.accepts_late_targets:
            names = np.full(rows, NUMBER) if ids is None else as_identifiers(ids, rows, "ids")
        arrival = None
        if self.uses_time and times is not None:
            arrival = as_times(times, rows)
        return Batch(x, self._read_y(y, rows), self._read_keys(keys, rows), names, arrival)

    def validate_targets(self, ids: Any, y: ArrayLike, keys: Any = None) -> Targets:
        """All of it as kernels take it. Raises as ``validate`` does."""
        if not self.accepts_late_targets:
            raise BadShape(f"this {self.kind} takes no targets later", expected=None)
        targets = self.read_targets(y)
        names = as_identifiers(ids, len(targets), "ids")
        return Targets(names, targets, self._read_keys(keys, len(targets)))

    def _read_y(self, y: ArrayLike | None, rows: int) -> Float32 | None:
        if self.target_dim == 0:
            if y is not None:
                raise BadShape(f"this {self.kind} learns from x alone: leave y out", expected=None)
            return None
        if y is None:
            if self.accepts_late_targets:
                return np.full((rows, self.target_dim), np.nan, np.float32)
            raise BadShape(
                f"this {self.kind} needs y, ({rows}, {self.target_dim}), for every x",
                expected=[rows, self.target_dim],
            )
        targets = self.read_targets(y)
        if len(targets) != rows:
            raise BadShape(f"y has {len(targets)} rows for {rows} rows of x", expected=rows, got=len(targets))
        return targets

    def _read_keys(self, keys: Any, rows: int) -> Integers | None:
        if keys is None and not self.needs_keys:
            return None
        if not self.needs_keys:
            raise BadShape(f"this {self.kind} has no keys: leave keys out", expected=None)
        if keys is None:
            raise BadShape(
                f"this {self.kind} needs a key for every sample: numbers or names, {rows} or one for all",
                expected=[rows],
            )
        return as_identifiers(keys, rows, "keys")

    def __repr__(self) -> str:
        given = ", ".join(
            f"{name}={_short.repr(getattr(self.spec, name))}" for name in sorted(self.spec.model_fields_set)
        )
        return f"{type(self).__name__}({given}; {self.samples} samples learned)"


_short = reprlib.Repr()  # of a spec's values, among which may be all weights of a map
_short.maxtuple, _short.maxother, _short.maxstring = 3, 200, 200


def decay_per_sample(half_life: float, samples: int = 1) -> float:
    """2^(−samples/half_life), the same double on every machine: the last bit of libm's pow is not."""
    exact = Context(prec=40)
    return float(exact.power(2, exact.divide(-samples, Decimal(half_life))))
