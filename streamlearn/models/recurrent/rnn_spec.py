"""The parameters of ``sl.RNN``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from functools import cached_property
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BeforeValidator, Field, model_validator

from ...kernels.recurrent import memory_layout
from ...kernels.simd.blocks import WIDTH
from .. import base
from ..accepts import Accepts
from ..row_cost import Cost
from ..stream.alarm_spec import DESCRIPTION, Alarm, AlarmOrNone
from ..stream.schedules import Decay, Positive, Schedule
from . import bands, costs, forecaster_sizes, relations, target_sizes
from .base import RecurrentSpec, Steps

_HALF_LIFE, _ERROR_LIMIT, _COVERAGE = 1400.0, 2.0, 0.9  # of least squares
_RIDGE, _TARGET_RIDGE = 100.0, 0.1


def _as_periods(value: Any) -> Any:
    """One period is a sequence of one."""
    return (value,) if isinstance(value, int) else value


class RNNSpec(RecurrentSpec):
    """Parameters of ``RNN``."""

    only_adam: ClassVar[tuple[str, ...]] = (
        *("cell", "layers", "bias", "head_bias", "optimizer", "learning_rate", "loss", "delay"),
        *("symbols", "classes", "tbptt", "record_lags"),
    )
    only_rls: ClassVar[tuple[str, ...]] = ("period", "lags", "memory", "ridge", "mix", "replay")

    hidden: int | None = Field(
        None,
        ge=0,
        le=1 << 14,
        description=(
            "Units of a layer. More units fit more, at a cost that grows with the square. With "
            "readout='rls', the units of each channel's GRU; 0: none. None: 32, and 16 for 'rls'."
        ),
    )
    readout: Literal["rls", "adam"] | None = Field(
        None,
        description=(
            "How the read-out learns: 'rls', by recursive least squares on recent values and the state of "
            "a small GRU, mixed with the naive forecasts; 'adam', by backpropagation, together with the "
            "cells and with the same optimizer. None: 'adam' if a parameter is given that only it "
            "has, for example cell, symbols or a later target; else 'rls'."
        ),
    )
    tbptt: tuple[Steps, Steps] = Field(
        (16, 16),
        description=(
            "(k₁, k₂) of truncated backpropagation through time: one update every k₁ samples, through "
            "the last k₂ ≥ k₁. Equal values are cheapest. Raise k₂ if the net must remember for "
            "longer than 16 samples. Cell 'rtu' has no window: k₂ = k₁, (1, 1) by default."
        ),
    )
    period: Annotated[tuple[Steps, ...], Accepts("int | Sequence[int]"), BeforeValidator(_as_periods)] = (
        Field(
            (),
            description=(
                "Read-out 'rls': length of the season in samples, or of several seasons, for example 24 or "
                "(24, 168) for hourly values. The season before becomes a feature and a naive forecast."
            ),
        )
    )
    lags: Literal["auto"] | Steps = Field(
        "auto",
        description=(
            "Read-out 'rls': number of recent values among the features. 'auto': 48, or four more than the "
            "longest period of 45 to 96 samples."
        ),
    )
    memory: Literal["auto"] | Annotated[int, Field(ge=0, le=256, strict=True)] = Field(
        "auto",
        description=(
            "Read-out 'rls': number of running averages among the features, with time constants from lags "
            "to 10,000 samples. They follow slow effects, for example of a heater. 'auto': 9 with "
            "target='given' (fewer with more than 8 channels), else 0."
        ),
    )
    half_life: Positive | None = Field(  # type: ignore[assignment]
        None,
        description=(
            "Memory of the live quality, and with readout='rls' of the pairs that it has learned, in "
            "samples: after so many samples the past counts half. Shorten it if the dynamics of the "
            "stream change faster. None: 1,400 with 'rls', else 10,000."
        ),
    )
    ridge: Annotated[float, Field(ge=1e-9, le=1e9)] | None = Field(
        None,
        description=(
            "Read-out 'rls': strength of the pull of its weights towards 0, where the read-out is the "
            "last value or the mean target. It fades with time. None: 100, and 0.1 with target='given'."
        ),
    )
    clip: Literal["auto"] | Positive | None = Field(  # type: ignore[assignment]
        "auto",
        description=(
            "Limit of what one sample can change. Read-out 'rls': an error counts up to this many times "
            "its usual size, 2 by default. So forecasts tend towards the median and rare spikes teach "
            "little: intermittent demand is forecast near 0. None: no limit, and forecasts tend towards "
            "the mean. Read-out 'adam': the gradient is scaled down to this norm if it is larger; no limit "
            "by default."
        ),
    )
    mix: bool = Field(
        True,
        description=(
            "Read-out 'rls': whether a forecast is the mean of the read-out and the naive forecasts, "
            "weighted by their recent errors. False: the read-out alone."
        ),
    )
    replay: Annotated[int, Field(ge=0, le=64, strict=True)] = Field(
        0,
        description=(
            "Read-out 'rls': earlier windows of 12 samples that the GRU learns again after each of its "
            "updates, drawn from the last 64. Each takes the time of an update."
        ),
    )
    coverage: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description=(
            "Share of samples that the band of a forecast contains; of forecasts that are numbers. None: 0.9 "
            "with readout='rls', else no bands. With 'adam' each band takes about 0.2 µs per sample."
        ),
    )
    alarm: AlarmOrNone = Field(
        None,
        description=f"{DESCRIPTION} Not given: Alarm() with readout='rls', else None.",
        json_schema_extra={"default": {}},  # a page that shows it refers to the documentation
    )
    target: Literal["next", "given", "later"] = Field(
        "next",
        description=(
            "What is predicted: 'next', the next sample; 'given', a y that comes with its sample; "
            "'later', a y that may also come later by the sample's id."
        ),
    )
    horizon: Steps | None = Field(
        None,
        description=(
            "Target 'next': samples that are forecast at once, each with its own rows of the "
            "read-out. None: one, without an axis for the step."
        ),
    )
    residual: bool | None = Field(
        None,
        description=(
            "Target 'next': the read-out is the change from the last sample, so that an untrained net "
            "forecasts about the last value. None: True for readout='rls', else False."
        ),
    )
    record_lags: bool = Field(
        False,
        description=(
            "Whether to record the gradient's norm by lag (gradient_by_lag). Costs one more backward "
            "pass per update."
        ),
    )

    @model_validator(mode="before")
    @classmethod
    def _set_defaults_of_cell(cls, given: Any) -> Any:
        if isinstance(given, dict) and given.get("cell") == "rtu":
            return {"tbptt": (1, 1), "learning_rate": Decay(0.005, 0.001, 5000.0), **given}
        return given

    @model_validator(mode="after")
    def _has_alarms_by_default(self) -> RNNSpec:
        if self.least_squares and "alarm" not in self.model_fields_set:
            vars(self)["alarm"] = Alarm()  # the spec is frozen
        return self

    @model_validator(mode="after")
    def _check(self) -> RNNSpec:
        self._check_readout()
        if self.target == "next" and self.outputs not in (None, self.dim):
            raise ValueError(
                f"with target='next', outputs must equal dim={self.dim}; got outputs={self.outputs}."
                " Remove outputs"
            )
        if self.target != "next" and self.residual:
            raise ValueError(
                "residual=True needs target='next', because it adds to the last sample;"
                f" got target={self.target!r}. Remove residual"
            )
        if self.least_squares:
            self._check_size("hidden, horizon, period, lags, memory, outputs, keys or replay")
            return self
        k1, k2 = self.tbptt
        if k2 < k1:
            raise ValueError(
                f"tbptt=(k1, k2) needs k2 ≥ k1, or some samples are never learned; got ({k1}, {k2})"
            )
        if self.cell == "rtu":
            self._check_rtu()
        if self.horizon is not None and (self.target != "next" or self.symbols is not None):
            raise ValueError(
                "horizon needs target='next' and symbols=None;"
                f" got target={self.target!r}, symbols={self.symbols}. Remove horizon"
            )
        self._check_symbols_and_classes()
        self._check_size("hidden, layers, k2, keys, horizon or delay")
        return self

    def _check_readout(self) -> None:
        """Raise ValueError for a parameter that the read-out does not have."""
        own, other = ("rls", "adam") if self.least_squares else ("adam", "rls")
        given = self._set(self.only_adam if self.least_squares else self.only_rls)
        if self.least_squares and self.target == "later":
            raise ValueError("readout='rls' has no target='later': remove readout, or set readout='adam'")
        if given:
            raise ValueError(
                f"readout={own!r} has no {' and no '.join(given)}: remove"
                f" {'it' if len(given) == 1 else 'them'}, or set readout={other!r}"
            )
        next_sample = self.least_squares and self.target == "next"
        if self.least_squares and not next_sample and self.period:
            raise ValueError(
                "period needs target='next', whose season it is; for seasons of the samples set"
                f" features={{'period': {list(self.period)}}}"
            )
        if next_sample and self.features is not None and (self.features.terms or self.features.memory):
            raise ValueError(
                "readout='rls' has recent values and seasons of its own: set lags, period and memory beside"
                " features instead of in it. features takes only calendar"
            )
        if self.replay and self.hidden == 0:
            raise ValueError(
                "replay needs hidden units, which learn the windows again: remove hidden=0 or replay"
            )
        if self.hidden == 0 and not self.least_squares:
            raise ValueError("hidden=0 needs readout='rls'; with readout='adam' it must be at least 1")

    def _check_size(self, parameters: str) -> None:
        if self.state_values > base.MAX_STATE_VALUES:
            raise ValueError(
                f"the state of the network has more than {base.MAX_STATE_VALUES} values;"
                f" use a smaller {parameters}"
            )

    def _check_rtu(self) -> None:
        k1, k2 = self.tbptt
        if k1 != k2:
            raise ValueError(
                f"cell='rtu' has no window, so tbptt=(k1, k2) needs k1 = k2; got ({k1}, {k2})."
                f" Set tbptt=({k1}, {k1})"
            )
        if self.layers > 1 or self.symbols is not None or self.record_lags:
            raise ValueError(
                "cell='rtu' has one layer, numbers as samples and no gradient by lag;"
                f" got layers={self.layers}, symbols={self.symbols}, record_lags={self.record_lags}."
                " Remove them or change the cell"
            )

    def _check_symbols_and_classes(self) -> None:
        cross_entropy = self.loss == "cross_entropy"
        if self.symbols is not None and self.residual:
            raise ValueError(
                "residual=True cannot be used with symbols, because symbol numbers cannot be added."
                " Remove residual"
            )
        if self.target == "next" and cross_entropy != (self.symbols is not None):
            raise ValueError(
                "with target='next', symbols=… needs loss='cross_entropy' and loss='cross_entropy' needs"
                f" symbols=…; got symbols={self.symbols}, loss={self.loss!r}"
            )
        if (self.classes is not None) != (cross_entropy and self.target != "next"):
            raise ValueError(
                "classes=… needs loss='cross_entropy' and target='given' or 'later', and these need"
                f" classes=…; got classes={self.classes}, loss={self.loss!r}, target={self.target!r}"
            )

    @property
    def forecasts_values(self) -> bool:
        """Whether the net forecasts the values of samples, which are no symbols."""
        return self.target == "next" and self.class_count is None

    @property
    def compares_channels(self) -> bool:
        """Whether samples are compared by the relations of their channels, and not by the error alone."""
        return self.forecasts_values and (self.least_squares or self.alarm is not None)

    @property
    def state_values(self) -> int:
        """Number of values in the large arrays of the state and of the scratch memory."""
        if self.least_squares:
            return int(self.sizes_module.state_values(self))
        layout, _ = self.layout
        rows = 3 * int(layout[memory_layout.PARAMETER_ROWS])
        rows += self.window_slots * int(
            (self.keys or 1) * layout[memory_layout.WINDOW_ROWS] + layout[memory_layout.ACTIVATION_ROWS]
        )
        values = relations.state_values(self.dim if self.compares_channels else 0, self.keys or 1)
        values += bands.state_values(self.keys or 1, *self.band_shape) if self.has_bands else 0
        return rows * WIDTH + values

    def row_costs(self) -> list[Cost]:
        """Add one step forward, and as many updates as one row can complete.

        A late target completes its own pair and all that waited for it.
        """
        if self.least_squares:
            return [*base.Spec.row_costs(self), *self.sizes_module.row_costs(self)]
        k1, k2 = self.tbptt
        layout = self.layout
        forward, backward = costs.forward(layout), costs.backward(layout)
        passes = (forward if self.needs_replay else 0) + backward * (2 if self.record_lags else 1)
        shift = self.window_slots * WIDTH * int(layout[0][memory_layout.WINDOW_ROWS])
        updates = 1 + self.max_waiting // k1
        delay = ("delay",) if self.max_waiting else ()
        names = ("hidden", "layers", "tbptt", *delay, *self.output_parameters)
        return [
            *super().row_costs(),
            *(relations.row_costs(self.dim) if self.compares_channels else []),
            Cost(forward, ("hidden", "layers", *self.output_parameters)),
            Cost(updates * (k2 * passes + shift), names, learning=True),
            Cost(updates * costs.update(layout), names, learning=True),
            *([bands.row_cost(*self.band_shape, self.output_parameters)] if self.has_bands else []),
        ]

    @cached_property
    def least_squares(self) -> bool:
        """Whether the read-out learns by recursive least squares."""
        if self.readout is not None:
            return self.readout == "rls"
        return self.target != "later" and not self._set(self.only_adam)

    @property
    def has_bands(self) -> bool:
        """Whether the forecasts have bands: only numbers do."""
        return self.band_coverage is not None

    @property
    def band_coverage(self) -> float | None:
        """Share of samples that the bands contain; None without bands."""
        if self.class_count is not None:
            return None
        return _COVERAGE if self.coverage is None and self.least_squares else self.coverage

    @property
    def band_shape(self) -> tuple[int, int]:
        """Steps and columns of a forecast of numbers."""
        return self.horizon or 1, self.dim if self.target == "next" else self.outputs or 1

    @property
    def learner(self) -> str:
        """Name of the class that learns."""
        if not self.least_squares:
            return "adam"
        return "rls" if self.target == "next" else "rls target"

    @property
    def sizes_module(self) -> Any:
        """The sizes of the arrays with least squares."""
        return forecaster_sizes if self.target == "next" else target_sizes

    @property
    def memory_samples(self) -> float:
        """Half-life of the live quality, and of what least squares have learned, in samples."""
        usual = _HALF_LIFE if self.least_squares else base.Spec.model_fields["half_life"].default
        return float(self.half_life or usual)

    @property
    def error_limit(self) -> float:
        """Limit of an error in units of its usual size, with least squares."""
        if self.clip == "auto":
            return _ERROR_LIMIT
        return math.inf if self.clip is None else self.clip

    @property
    def largest_norm(self) -> float:
        """Largest norm of the gradient."""
        return math.inf if self.clip in (None, "auto") else float(self.clip)

    @property
    def strength(self) -> float:
        """The ridge."""
        return self.ridge or (_RIDGE if self.target == "next" else _TARGET_RIDGE)

    def _set(self, names: Iterable[str]) -> list[str]:
        """Return those of the parameters that differ from their defaults."""
        fields = type(self).model_fields
        return [name for name in names if getattr(self, name) != fields[name].default]

    @property
    def units(self) -> int:
        """Units of a layer."""
        if self.hidden is None and self.least_squares:
            return forecaster_sizes.UNITS
        return super().units

    @property
    def schedules(self) -> dict[str, Schedule]:
        """Parameters that may change over the stream; none with least squares."""
        return {} if self.least_squares else super().schedules

    @property
    def class_count(self) -> int | None:
        """Number of classes that a forecast has probabilities of; None if it consists of values."""
        if self.loss != "cross_entropy":
            return None
        return self.symbols if self.target == "next" else self.classes

    @property
    def layout(self) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """``layout`` and ``matrices`` of the network, see ``kernels/recurrent/memory_layout.py``."""
        forecast = self.dim * (self.horizon or 1)
        outputs = self.class_count or (forecast if self.target == "next" else self.outputs or 1)
        return memory_layout.network_layout(
            self.cell,
            self.inputs,
            self.units,
            self.layers,
            outputs,
            channels=self.dim if self.target == "next" else None,
            residual=bool(self.residual),
            symbols=self.symbols,
            classes=self.class_count is not None,
            bias=self.bias,
            head_bias=self.head_bias,
        )

    @property
    def window_slots(self) -> int:
        """Slots of a window: k2 pairs, the waiting steps, and the state after the last one."""
        return self.tbptt[1] + (self.horizon or 1) + self.max_waiting

    @property
    def needs_replay(self) -> bool:
        """Whether some steps of a window may have run with parameters older than the current ones."""
        k1, k2 = self.tbptt
        if self.cell == "rtu":  # the traces belong to the parameters with which the steps ran
            return False
        return k1 < k2 or self.max_waiting > 0 or (self.horizon or 1) > 1 or self.keys is not None
