"""The parameters that every model has. A model's spec adds its own fields to these."""

from __future__ import annotations

import json
import reprlib
from collections import Counter
from collections.abc import Mapping
from decimal import Context, Decimal
from functools import cached_property, lru_cache
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, model_validator

from ..kernels.simd.blocks import WIDTH
from ..kernels.stream.sizes import NODES
from .accepts import Accepts
from .row_cost import FIXED, RANDOM_ACCESS, SCALAR, SCALING, Cost
from .sharing import shared
from .stream.alarm_spec import DESCRIPTION, AlarmOrNone
from .stream.features import Features
from .stream.schedules import Positive, Schedule, changing

MAX_STATE_VALUES = 1 << 27  # half a gigabyte of float32: a larger spec is a mistake and would stop the daemon
LARGEST_DIM = 1 << 20
_ALARM, _OF_GROUP = 60, 2  # of a channel; the inverse of the correlations of its group
_ADWIN = 5000  # multiply-adds of a test: every cut of a window of 2⁴⁷ values


_LONGEST_NAME = 64


def _name(text: str) -> str:
    """Check the name or the unit of a channel."""
    if not text.isprintable() or text != text.strip():
        raise ValueError(f"{text!r} has spaces around it, or a character that is not printable")
    return text


Unit = Annotated[str, Field(max_length=_LONGEST_NAME), AfterValidator(_name)]
Name = Annotated[str, Field(min_length=1, max_length=_LONGEST_NAME), AfterValidator(_name)]

_SHARED_BYTES = 4096  # longer parameters, for example given weights, are rarely equal


class Spec(BaseModel):
    """Parameters of every model. Immutable; unknown names are refused.

    ``description`` of a field becomes its text in the docstring of the model's class; the range of the value
    is appended from the field's constraints.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(ge=1, le=LARGEST_DIM, description="Channels of a sample.")
    scale: Literal["standard", "ewma", "minmax"] | None = Field(
        None,
        description="How each channel is scaled, from the samples before the current one: 'standard' uses"
        " running mean and standard deviation, 'ewma' the same with exponential weights, 'minmax' the recent"
        " range. Spikes are cut before they join these statistics, and a width has a floor from the channel's"
        " resolution. None keeps values as they are. Set it if channels differ in unit or size: otherwise the"
        " largest channels decide the distance.",
    )
    scale_clip: Positive = Field(
        6.0,
        description="Scaled values are cut to ±scale_clip, in standard deviations (ranges for 'minmax'), so"
        " that one spike does not move the weights far.",
    )
    half_life: Positive = Field(
        10_000.0,
        description="Memory of the live quality, and of 'ewma' and 'minmax' scaling, in samples: after so"
        " many samples an observation counts half. Shorten it if the usual behaviour changes faster.",
    )
    score_half_life: float = Field(
        10_000.0,
        ge=1,
        allow_inf_nan=False,
        description="Memory of the score, in samples: after so many samples a distance counts half. A score"
        " above 0.999 needs some thousand samples to compare with. Level and noise of the stream are followed"
        " within hundreds of samples at any memory.",
    )
    drift: Literal["blocks", "page_hinkley", "adwin"] | None = Field(
        "blocks",
        description="Detector of a lasting rise of the distance or error. Each processes means of blocks,"
        " relative to those before: 'blocks' by a CUSUM (Page 1954), 'page_hinkley' by Page–Hinkley, 'adwin'"
        " by ADWIN (Bifet & Gavaldà 2007). None: no detector.",
    )
    drift_delta: Positive | None = Field(
        None,
        description="Of the detector: k of 'blocks' and δ of 'page_hinkley', the rise that is ignored, in"
        " widths of a block mean; the confidence δ of 'adwin'. None: 1, for 'adwin' 0.002.",
    )
    drift_threshold: Positive | None = Field(
        None,
        description="Of 'blocks' and 'page_hinkley': an alarm comes when the cumulated rise exceeds it, in"
        " widths of a block mean. None: 12, which a large jump exceeds after 3 blocks. Raise it for fewer"
        " alarms.",
    )
    drift_both: bool = Field(False, description="Whether a fall of the distance or error is an alarm, too.")
    drift_block: int = Field(
        64,
        ge=1,
        le=1 << 20,
        description="Samples of a block. Longer blocks detect smaller rises, later.",
    )
    drift_rest: int = Field(
        64,
        ge=1,
        le=1 << 20,
        description="Blocks without a change until the detector is settled: at first, after an alarm, and"
        " after a fall. There is no alarm before.",
    )
    on_drift: Literal["watch", "reheat", "reseed", "adapt"] | None = Field(
        None,
        description="Reaction to an alarm of a rise: 'watch' learns nothing for the next watch_for samples,"
        " 'reheat' raises the schedules again, to drift_heat; 'reseed' moves units that win no samples to"
        " where the error is; 'adapt' does what the kind supports of these two. None: only report the alarm.",
    )
    drift_heat: Annotated[float, Field(gt=0, le=1)] = Field(
        0.1,
        description="How far on_drift='reheat' and 'adapt' raise the schedules from end towards start, as a"
        " share. A schedule that is higher stays. At 1 the model learns as if it were new.",
    )
    learn_for: int | None = Field(
        None,
        ge=1,
        le=1 << 62,
        description="Only the first learn_for samples of the stream are learned. All later ones are watched:"
        " they have outputs and are not learned. None: no end.",
    )
    learn_below: Annotated[float, Field(gt=0, lt=1)] | None = Field(
        None,
        description="A sample with a higher score is watched, for example at 0.99, and so is every sample of"
        " a stretch in which scores are higher than usual. So a fault is not learned. None: learning does not"
        " depend on the score.",
    )
    patience: int | None = Field(
        None,
        ge=1,
        le=1 << 62,
        description="For learn_below: after so many watched samples in a row, the next ones are learned after"
        " all, until one is usual again. So a permanent change is learned. None: as many as the model has"
        " learned so far, at least 10,000. So a fault of half the stream is not learned.",
    )
    watch_missing: Annotated[float, Field(ge=0, lt=1)] | None = Field(
        None,
        description="A sample is watched if a larger share of its values is missing. None: every sample"
        " is learned.",
    )
    watch_for: int = Field(
        1000,
        ge=1,
        le=1 << 62,
        description="Samples that are watched after a drift alarm, for on_drift='watch'.",
    )
    alarm: AlarmOrNone = Field(None, description=DESCRIPTION)
    seed: int = Field(
        0, ge=0, lt=1 << 63, description="Seed of the random initial weights. Equal seeds give equal models."
    )
    features: Annotated[Features | None, Accepts("Mapping[str, Any] | None", "dict")] = Field(
        None,
        description="What the model gets beside the channels of a sample, as a dict: 'lags' [1, 24] (values"
        " so many samples ago), 'differences' [1] (changes since then), 'period' 24 (values and changes one"
        " season ago), 'calendar' ['hour', 'weekday'] (sine and cosine of the sample's time), 'utc_offset'"
        " (hours). None: only the channels.",
    )
    channels: tuple[Name, ...] | None = Field(
        None,
        description="Names of the channels, one for each of dim, all different. Samples that have names (a"
        " DataFrame, a dict of columns, the header of a CSV, a message with channels) are then compared by"
        " name: another order, a missing or an unknown name is an error. None: channels have numbers only.",
    )
    channel_units: tuple[Unit, ...] | None = Field(
        None,
        description="Units of the channels, one for each of dim, for display: 'bar', 'm³/h'; '' for none.",
    )

    @classmethod
    def shared(cls, parameters: Mapping[str, Any]) -> Self:
        """Return the spec with these parameters, the same object for all models that have equal ones.

        Raises ``ValidationError``.
        """
        try:
            key = cls, json.dumps(parameters, sort_keys=True)
        except (TypeError, ValueError):  # an array, for example
            return cls(**parameters)
        if len(key[1]) > _SHARED_BYTES:
            return cls(**parameters)
        return shared(key, lambda: cls(**parameters))

    @cached_property
    def text(self) -> str:
        """The spec as JSON."""
        return json.dumps(self.model_dump(mode="json", by_alias=True))

    can_reseed: ClassVar[bool] = False
    """Whether units can be moved to where the error is."""
    adapts_by_reseeding: ClassVar[bool] = False
    """Whether on_drift='adapt' moves units."""

    size_parameters: ClassVar[tuple[str, ...]] = ()
    """Parameters that determine the size of the state."""

    @property
    def winning_units(self) -> int:
        """Number of units of which one wins each sample; 0 if there are none."""
        return 0

    @property
    def memory_samples(self) -> float:
        """Half-life of the live quality in samples."""
        return self.half_life

    @property
    def schedules(self) -> dict[str, Schedule]:
        """Parameters that may change over the stream, in the order of the kernel's arguments."""
        return {}

    @property
    def inputs(self) -> int:
        """Channels of the learner: those of a sample, and its features."""
        return self.dim + (0 if self.features is None else self.features.columns(self.dim))

    def row_costs(self) -> list[Cost]:
        """Return the parts of the work of one row: see ``row_cost.py``."""
        parts = [Cost(FIXED, ()), Cost(self.inputs * (SCALING if self.scale else SCALAR), ("dim",))]
        if self.features is not None:
            columns = self.inputs - self.dim
            parts.append(Cost(columns * RANDOM_ACCESS + 16 * SCALAR, ("features", "dim")))
        if self.alarm is not None:
            parts.append(
                Cost(
                    self.dim * (_ALARM + _OF_GROUP * min(self.dim, WIDTH) ** 2),
                    ("dim", "alarm"),
                    learning=True,
                )
            )
        if self.alarm is not None and self.alarm.compares_winners:
            work = 2 * min(self.winning_units, NODES) ** 3  # the search for regions, at one row in thousands
            parts.append(Cost(work, ("alarm", *self.size_parameters), learning=True))
        if self.drift == "adwin":
            parts.append(Cost(_ADWIN, ("drift",), learning=True))
        return parts

    @cached_property
    def total_costs(self) -> tuple[int, int]:
        """The multiply-adds of one row, and of one row of a query: the sums of `row_costs`."""
        costs = self.row_costs()
        return (
            sum(cost.multiply_adds for cost in costs),
            sum(cost.multiply_adds for cost in costs if not cost.learning),
        )

    @cached_property
    def row_bytes(self) -> dict[Any, int]:
        """The bytes of a row of outputs, by their class, as far as ``outputs.row_bytes`` was asked."""
        return {}

    @property
    def reheats(self) -> bool:
        """Whether an alarm raises the schedules again."""
        return self.on_drift in ("reheat", "adapt") and self.can_reheat

    @property
    def can_reheat(self) -> bool:
        """Whether a rate can be raised again: a schedule changes."""
        return bool(changing(self.schedules))

    @property
    def reseeds(self) -> bool:
        """Whether units are moved after an alarm."""
        return self.on_drift == "reseed" or (self.on_drift == "adapt" and self.adapts_by_reseeding)

    @property
    def state_values(self) -> int:
        """Number of values in the large arrays of the state."""
        raise AssertionError("every subclass defines the size of its state")

    def given_parameters(self) -> str:
        """Return the parameters that were given, as text: ``name=value, …``. Long values are shortened."""
        short = reprlib.Repr()  # init may hold all weights of a map
        short.maxtuple, short.maxother, short.maxstring = 3, 200, 200
        return ", ".join(
            f"{name}={short.repr(getattr(self, name))}" for name in sorted(self.model_fields_set)
        )

    @model_validator(mode="after")
    def _names_every_channel_once(self) -> Self:
        for field, names in (("channels", self.channels), ("channel_units", self.channel_units)):
            if names is not None and len(names) != self.dim:
                raise ValueError(
                    f"{field} has {len(names)} entries; dim={self.dim} needs one for each channel"
                )
        if self.channels is not None:
            repeated = [name for name, count in Counter(self.channels).items() if count > 1]
            if repeated:
                raise ValueError(f"channels has {repeated[0]!r} twice; every channel needs a name of its own")
        return self

    @model_validator(mode="after")
    def _features_fit(self) -> Self:
        if self.features is None:
            return self
        if getattr(self, "symbols", None) is not None:
            raise ValueError("features are numbers, and symbols are not: remove features or symbols")
        if self.inputs > LARGEST_DIM:
            raise ValueError(
                f"features make {self.inputs} inputs of dim={self.dim}; {LARGEST_DIM} are the most"
            )
        values = (getattr(self, "keys", None) or 1) * self.features.depth * self.dim
        if values > MAX_STATE_VALUES:
            raise ValueError(
                f"features keep {self.features.depth} samples of each stream, {values} values in all;"
                f" {MAX_STATE_VALUES} are the most. Use smaller lags, differences or period, or fewer keys"
            )
        return self

    @model_validator(mode="after")
    def _has_winners_to_compare(self) -> Self:
        if self.alarm is not None and self.alarm.compares_winners and self.winning_units == 0:
            raise ValueError(
                "transitions, dwell and cycle of alarm need one winning unit for each sample, which this kind"
                " does not have: remove them, or use som, competitive, gng, hamming, malsburg or cognitron"
            )
        return self

    @model_validator(mode="after")
    def _can_react_to_an_alarm(self) -> Self:
        if self.on_drift is not None and self.drift is None:
            raise ValueError(f"on_drift={self.on_drift!r} needs a drift detector: remove drift=None")
        if self.on_drift == "reheat" and not self.can_reheat:
            raise ValueError("on_drift='reheat' needs a schedule that changes: every parameter is constant")
        if self.on_drift == "reseed" and not self.can_reseed:
            raise ValueError(
                "on_drift='reseed' needs units with weights in the space of the samples: use"
                " 'adapt', or one of the kinds som, competitive, gng"
            )
        return self


@lru_cache(maxsize=4096)
def decay_per_sample(half_life: float, samples: int = 1) -> float:
    """2^(−samples/half_life), the same double on every machine: the last bit of libm's pow is not."""
    exact = Context(prec=40)
    return float(exact.power(2, exact.divide(-samples, Decimal(half_life))))
