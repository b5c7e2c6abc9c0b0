"""What every model is: an immutable spec, a state that is nothing but named arrays, and the rules around
them (R1, R2)."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping
from decimal import Context, Decimal
from pathlib import Path
from typing import Any, ClassVar, Literal, Self

import numpy as np
import xxhash
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from streamlearn_client.outputs import Outputs

from ..errors import BadCheckpoint, BadDtype, BadShape, BadSpec, BadValue
from ..kernels import scale, score
from ..store import tensors
from ..store.fs import FS, write_whole
from .drift import Watch
from .schedule import Positive

Float32 = NDArray[np.float32]
State = dict[str, NDArray[Any]]

MAX_STATE_VALUES = (
    1 << 27
)  # half a gigabyte of float32: a spec over it is a mistake that would take the daemon down
FORMAT = "1"


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
    seed: int = Field(0, ge=0, lt=1 << 63, description="of the random initial weights")


class Model(ABC):
    """A live learner. ``learn`` and ``predict`` are kernel calls on ``state``; nothing else changes, and
    ``predict`` nothing.

    Samples are ``(n, dim)`` float32, NaN where a value is missing; one sample may be given as ``(dim,)``.
    """

    kind: ClassVar[str]
    Spec: ClassVar[type[Spec]]
    spec: Any
    state: State

    def __init__(self, /, **parameters: Any) -> None:
        try:
            self.spec = self.Spec(**parameters)
        except ValidationError as error:
            raise bad_spec(self.kind, error) from None
        self.method = scale.METHODS[self.spec.scale]
        self.decay = decay_per_sample(self.spec.half_life)
        self.state = {
            "samples": np.zeros(1, np.int64),
            "scale.statistics": np.zeros((3, self.dim)),
            "score.tree": np.zeros(score.SIZE),
            "score.head": np.array([1.0, 0.0]),
        }
        self._watch: Watch | None = None
        if self.spec.drift is not None:
            self._watch = Watch(self.spec.drift, self.spec.drift_delta, self.spec.drift_threshold)
            self.state |= self._watch.state

    # -- what a model must have --------------------------------------------------------------------------

    @abstractmethod
    def _learn(self, x: Float32, y: Float32 | None) -> Outputs:
        """The kernel's call: learn ``x`` ``(n, dim)`` and ``y`` ``(n, target_dim)``."""

    @abstractmethod
    def predict_validated(self, x: Float32) -> Outputs:
        """What the model says of ``x`` ``(n, dim)``, which ``validate`` has passed."""

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
    def samples(self) -> int:
        """How many samples have been learned."""
        return int(self.state["samples"][0])

    def learn(self, X: ArrayLike, y: ArrayLike | None = None) -> Outputs:
        """Learn samples in order, one by one, and return of each what the model said before it learned it.

        Raises BadShape, BadDtype or BadValue and learns nothing if anything in ``X`` or ``y`` cannot be
        learned.
        """
        return self.learn_validated(*self.validate(X, y))

    def learn_validated(self, x: Float32, y: Float32 | None = None) -> Outputs:
        """Learn ``x`` (and ``y``) that ``validate`` has passed: the daemon's hot path."""
        first = self.samples
        out = self._learn(x, y)
        if self._watch is not None:
            out.arrays["drift"] = self._watch.look(out.score, first)
        return out

    def quality(self) -> dict[str, Any]:
        """Live quality: exponentially weighted over recent samples (``half_life``), NaN before there are
        any; and where the score is watched, the alarms of drift."""
        return self._quality() | (self._watch.quality() if self._watch is not None else {})

    def predict(self, X: ArrayLike) -> Outputs:
        """What the model says of each sample as it stands. Changes nothing. Raises as ``learn`` does."""
        return self.predict_validated(self.read(X))

    def read(self, X: ArrayLike) -> Float32:
        """``X`` as ``(n, dim)`` float32, refused by a typed error if it is nothing this model takes."""
        return as_rows("x", X, self.dim)

    def validate(self, X: ArrayLike, y: ArrayLike | None = None) -> tuple[Float32, Float32 | None]:
        """``X`` and ``y`` as kernels take them: float32, C-contiguous, ``(n, dim)`` and ``(n, target_dim)``.

        Raises BadShape, BadDtype, or BadValue (±inf, or too large for float32), saying what and where.
        """
        x = self.read(X)
        if self.target_dim == 0:
            if y is not None:
                raise BadShape(f"this {self.kind} learns from x alone: leave y out", expected=None)
            return x, None
        if y is None:
            raise BadShape(
                f"this {self.kind} needs y, ({len(x)}, {self.target_dim}), for every x",
                expected=[len(x), self.target_dim],
            )
        targets = as_rows("y", y, self.target_dim)
        if len(targets) != len(x):
            raise BadShape(
                f"y has {len(targets)} rows for {len(x)} rows of x", expected=len(x), got=len(targets)
            )
        return x, targets

    # -- the same model elsewhere ------------------------------------------------------------------------

    def spec_dict(self) -> dict[str, Any]:
        """The spec as JSON-able values; ``create(kind, spec)`` makes the same model of it."""
        return dict(self.spec.model_dump(mode="json"))

    def state_hash(self) -> str:
        """32 hex digits (xxh3_128 of kind and state). Equal hashes: the same model, bit for bit."""
        digest = xxhash.xxh3_128(self.kind.encode())
        for name in sorted(self.state):
            array = self.state[name]
            digest.update(f"\0{name} {array.dtype.str} {array.shape}\0".encode())
            digest.update(array.data if array.size else b"")
        return digest.hexdigest()

    def metadata(self) -> dict[str, str]:
        """What a checkpoint says beside the arrays."""
        return {"format": FORMAT, "kind": self.kind, "spec": json.dumps(self.spec_dict())}

    def copy_state(self) -> State:
        """A copy of every array, for a checkpoint that is written while the learning goes on."""
        return {name: array.copy() for name, array in self.state.items()}

    def adopt(self, arrays: Mapping[str, NDArray[Any]]) -> None:
        """Take over a saved state. Raises BadCheckpoint, and changes nothing, unless names, types and shapes
        are this model's."""
        problems = [f"'{name}' is missing" for name in sorted(self.state.keys() - arrays.keys())]
        problems += [f"'{name}' is unknown" for name in sorted(arrays.keys() - self.state.keys())]
        for name in sorted(self.state.keys() & arrays.keys()):
            want, have = self.state[name], arrays[name]
            if want.shape != have.shape or want.dtype != have.dtype:
                problems.append(f"'{name}' is {have.dtype}{have.shape}, not {want.dtype}{want.shape}")
        if problems:
            raise BadCheckpoint(
                f"not the state of this {self.kind}: {'; '.join(problems)}", problems=problems
            )
        for name, array in arrays.items():
            self.state[name][...] = array

    def save(self, path: str | Path) -> None:
        """Write the model to one file (safetensors, as a checkpoint has it); it is there whole or not at
        all."""
        write_whole(FS(), Path(path), tensors.encode(self.state, self.metadata()))

    @classmethod
    def from_spec(cls, spec: Mapping[str, Any]) -> Self:
        return cls(**spec)

    def __repr__(self) -> str:
        given = ", ".join(
            f"{name}={getattr(self.spec, name)!r}" for name in sorted(self.spec.model_fields_set)
        )
        return f"{type(self).__name__}({given}; {self.samples} samples learned)"


def decay_per_sample(half_life: float) -> float:
    """2^(−1/half_life), the same double on every machine: the last bit of libm's pow is not."""
    exact = Context(prec=40)
    return float(exact.power(2, exact.divide(-1, Decimal(half_life))))


def bad_spec(kind: str, error: ValidationError) -> BadSpec:
    """Every mistake in a spec at once."""
    errors = [
        {"field": ".".join(str(part) for part in each["loc"]) or "spec", "message": each["msg"]}
        for each in error.errors(include_url=False, include_input=False, include_context=False)
    ]
    told = "; ".join(f"{each['field']}: {each['message']}" for each in errors)
    return BadSpec(f"this is no spec of a {kind}: {told}", errors=errors)


def as_rows(name: str, values: ArrayLike, columns: int) -> Float32:
    """``values`` as a writable C-contiguous float32 ``(n, columns)``, finite or NaN.

    One axis is one row, or for a single column ``n`` rows of it.
    """
    try:
        given = np.asarray(values)
    except ValueError:
        raise BadShape(
            f"{name} is not a table of numbers: its rows differ in length", expected=["n", columns]
        ) from None
    if given.dtype.kind not in "fiu":
        raise BadDtype(
            f"{name} has dtype {given.dtype}; numbers that fit float32 were expected", got=str(given.dtype)
        )
    shape = given.shape
    if given.ndim == 1:
        given = given.reshape(-1, 1) if columns == 1 else given.reshape(1, -1)
    if given.ndim != 2 or given.shape[1] != columns:
        raise BadShape(
            f"{name} has shape {shape}; (n, {columns}) was expected", expected=["n", columns], got=list(shape)
        )
    rows: Float32 = given
    if given.dtype != np.float32:
        with np.errstate(over="ignore"):
            rows = given.astype(np.float32, order="C")
    elif not given.flags.carray:  # C-contiguous, aligned and writable
        rows = given.copy(order="C")
    infinite = np.isinf(rows)
    if np.count_nonzero(infinite):
        row, column = (int(i) for i in np.argwhere(infinite)[0])
        raise BadValue(
            f"{name}[{row}, {column}] is {given[row, column]}, infinite as float32; give a finite number,"
            " or NaN where the value is missing",
            row=row,
            column=column,
        )
    return rows
