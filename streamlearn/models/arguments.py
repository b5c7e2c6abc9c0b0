"""The arguments of a model's methods: which ones a kind takes, and their conversion for the kernels."""

from __future__ import annotations

from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from streamlearn_client.protocol import (
    PrecisionMonitor,
    as_identifiers,
    as_times,
    check_channels,
    named_columns,
)

from ..errors import BadShape
from .batch import NUMBER, Batch, Float32, Integers, Targets
from .validation import are_rows, as_keys, as_rows


class Arguments:
    """Checks of the arguments of ``learn``, ``learn_targets`` and ``predict``."""

    kind: ClassVar[str]
    spec: Any
    explains_learning: bool
    """Whether ``learn`` returns the contributions of the channels: alarms need them."""
    _precision: PrecisionMonitor

    @property
    def dim(self) -> int:
        """Channels of a sample."""
        return int(self.spec.dim)

    @property
    def inputs(self) -> int:
        """Channels of the learner: those of a sample, and its ``features``."""
        return int(self.spec.inputs)

    def channels_of(self, inputs: Float32) -> Float32:
        """Return the channels of a sample in the learner's ``inputs`` ``(n, inputs)``: the first ``dim``."""
        return inputs if inputs.shape[1] == self.dim else np.ascontiguousarray(inputs[:, : self.dim])

    @property
    def target_dim(self) -> int:
        """Columns of ``y``; 0 if the model takes no targets."""
        return 0

    @property
    def accepts_late_targets(self) -> bool:
        """Whether a target may arrive after its sample (see ``learn_targets``) or never."""
        return False

    @property
    def needs_keys(self) -> bool:
        """Whether every sample needs a key."""
        return False

    @property
    def takes_only_x(self) -> bool:
        """Whether a batch needs nothing but samples."""
        return not (self.target_dim or self.accepts_late_targets or self.needs_keys)

    @property
    def uses_time(self) -> bool:
        """Whether the times of samples matter."""
        return False

    def read(self, X: ArrayLike) -> Float32:
        """Return ``X`` as float32 of shape (n, dim), or raise a typed error if this model cannot take it."""
        if are_rows(X, self.dim):
            return X
        X, names = named_columns(X)
        check_channels(names, self.spec.channels, "the columns of x")
        rows = as_rows("x", X, self.dim)
        self._precision.observe(X, rows)
        return rows

    def read_targets(self, y: ArrayLike) -> Float32:
        """Return ``y`` as float32 of shape (n, target_dim), or raise a typed error."""
        return as_rows("y", y, self.target_dim)

    def validate(
        self,
        X: ArrayLike,
        y: ArrayLike | None = None,
        keys: Any = None,
        ids: Any = None,
        times: ArrayLike | None = None,
    ) -> Batch:
        """Check the arguments of ``learn`` and convert them for the kernels.

        Raises
        ------
        BadShape, BadDtype, BadValue
            If a shape or dtype is wrong, or a value is infinite as float32. The message names the place.
        """
        x = self.read(X)
        if y is None and keys is None and ids is None and times is None and self.takes_only_x:
            return Batch(x)
        rows = len(x)
        if ids is not None and not self.accepts_late_targets:
            raise BadShape(f"this {self.kind} takes no targets later: leave ids out", expected=None)
        identifiers = None
        if self.accepts_late_targets:
            identifiers = np.full(rows, NUMBER) if ids is None else as_identifiers(ids, rows, "ids")
        given = None if times is None else as_times(times, rows)
        return Batch(x, self._read_y(y, rows), self._read_keys(keys, rows), identifiers, given)

    def validate_targets(self, ids: Any, y: ArrayLike, keys: Any = None) -> Targets:
        """Check the arguments of ``learn_targets`` and convert them. Raises as ``validate`` does."""
        if not self.accepts_late_targets:
            raise BadShape(f"this {self.kind} takes no targets later", expected=None)
        targets = self.read_targets(y)
        identifiers = as_identifiers(ids, len(targets), "ids")
        return Targets(identifiers, targets, self._read_keys(keys, len(targets)))

    def _read_y(self, y: ArrayLike | None, rows: int) -> Float32 | None:
        if self.target_dim == 0:
            if y is not None:
                raise BadShape(f"this {self.kind} takes no targets: leave y out", expected=None)
            return None
        if y is None:
            if self.accepts_late_targets:
                return np.full((rows, self.target_dim), np.nan, np.float32)
            raise BadShape(
                f"this {self.kind} needs y of shape ({rows}, {self.target_dim}), one row per sample",
                expected=[rows, self.target_dim],
            )
        targets = self.read_targets(y)
        if len(targets) != rows:
            raise BadShape(f"y has {len(targets)} rows for {rows} rows of x", expected=rows, got=len(targets))
        return targets

    @property
    def explains_targets(self) -> bool:
        """Whether an explanation compares targets: that of a net that predicts a target does."""
        return bool(getattr(self.spec, "target", "next") != "next")

    @property
    def explained(self) -> int:
        """Columns of an explanation: the channels, or the columns of the target if it compares targets."""
        return self.target_dim if self.explains_targets else self.dim

    def _read_explained_targets(self, y: ArrayLike | None, rows: int) -> Float32 | None:
        """Return the targets of ``rows`` samples, NaN without ``y``; None if the model explains samples."""
        if self.explains_targets:
            missing = np.full((rows, self.target_dim), np.nan, np.float32)
            return missing if y is None else self._read_y(y, rows)
        if y is not None:
            raise BadShape(f"this {self.kind} explains its samples, not targets: leave y out", expected=None)
        return None

    def _new_explanation(self, rows: int, columns: int) -> Float32:
        """Return an array for expected values or contributions of samples; with no rows if nobody needs them.

        Kernels of classic models write the expected values after the contributions: 2·``rows`` rows.
        """
        return np.empty((rows if self.explains_learning else 0, columns), np.float32)

    def _read_keys(self, keys: Any, rows: int) -> Integers | None:
        return as_keys(self.kind, keys, rows, required=self.needs_keys)
