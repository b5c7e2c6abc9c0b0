"""``Alarm``: when an alarm begins and ends, as a part of a model's spec."""

from __future__ import annotations

from typing import Annotated, Any

from pydantic import AliasChoices, BeforeValidator, ConfigDict, Field, model_validator
from pydantic.dataclasses import dataclass

_MOST_SAMPLES = 62  # of the window: the kernel keeps a bit for each

Evidence = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Samples = Annotated[int, Field(ge=1, le=_MOST_SAMPLES)]


@dataclass(frozen=True, config=ConfigDict(extra="forbid"))
class Alarm:
    """When an alarm begins and ends.

    The evidence of a sample is −log of how improbable its distance or error, or the deviation of one of its
    channels, is by the recent stream, or its mean over about eight samples if that is more. It is at most 30.
    Without ``above``, the threshold is calibrated on the stream's own evidence, and counts groups: high
    evidence within ``quiet`` samples is one alarm.

    Parameters
    ----------
    above : float, optional
        Evidence above which a sample counts for an alarm, in place of the calibrated threshold. Range: above
        0.
    false_alarms : float, default 1.0
        Alarms to expect in 100,000 samples of a healthy stream, by the calibrated threshold. Raise it to find
        weaker faults. Range: above 0, up to 20.
    for_ : int or tuple of int, default 1
        An alarm begins when so many samples in a row are above the threshold; (k, m): k of the last m
        samples. In a dict, and on the wire, its name is ``for``. Range: 1 to 62.
    clear : float, default 3.0
        An alarm ends when the evidence stays below this for m samples, at least 8. The threshold is at least
        as high. Range: above 0, up to ``above``.
    quiet : int, default 200
        High evidence within so many samples of earlier high evidence belongs to the same fault. It begins a
        new alarm only if it exceeds all of the earlier evidence by 1. Range: at least 0.
    after : int, default 500
        Samples before the first alarm, in which the model and its score settle. Range: at least 0.
    stuck : bool, default True
        Whether a channel that repeats one value raises an alarm: its run is longer than 16 samples, and
        longer than three times the longest run that the channel ever had.
    transitions : bool, default False
        Whether a rare transition raises an alarm, of a model whose samples have a winner: the stream goes
        from one region of units to another as it never did, though it left the first and entered the second
        at least 50 times.
    dwell : bool, default False
        Whether a stay raises an alarm: the stream is in one region for longer than nearly all times before.
    cycle : bool, default False
        Whether a cycle raises an alarm: a region that the stream enters regularly has not been entered for
        longer than nearly all times before. ``false_alarms`` holds for the three together.
    silent : bool, default True
        Whether a daemon reports that no sample came for more than 5 seconds and more than three times the
        longest interval that the stream, or a key of it, ever had.

    Raises
    ------
    pydantic.ValidationError
        If a value is out of its range.

    Examples
    --------
    >>> import streamlearn as sl
    >>> som = sl.SOM(dim=3, grid=(5, 5), scale="standard", alarm=sl.Alarm(above=12, for_=(2, 4)))
    >>> som.spec.alarm.above
    12.0
    """

    above: Evidence | None = None
    false_alarms: Annotated[float, Field(gt=0, le=20)] = 1.0
    for_: Samples | tuple[Samples, Samples] = Field(
        default=1, validation_alias=AliasChoices("for", "for_"), serialization_alias="for"
    )
    clear: Evidence = 3.0
    quiet: Annotated[int, Field(ge=0, le=1 << 62)] = 200
    after: Annotated[int, Field(ge=0, le=1 << 62)] = 500
    stuck: bool = True
    silent: bool = True
    transitions: bool = False
    dwell: bool = False
    cycle: bool = False

    @model_validator(mode="after")
    def _is_consistent(self) -> Alarm:
        count, window = self.counts
        if count > window:
            raise ValueError(f"for is ({count}, {window}): at most {window} of {window} samples can be above")
        if self.above is not None and self.clear > self.above:
            raise ValueError(f"clear is {self.clear:g}; it may be as large as above, {self.above:g}")
        return self

    @property
    def compares_winners(self) -> bool:
        """Whether the order or the pace of the winners raises alarms."""
        return self.transitions or self.dwell or self.cycle

    @property
    def counts(self) -> tuple[int, int]:
        """Samples that must be above ``above``, and of how many."""
        return self.for_ if isinstance(self.for_, tuple) else (self.for_, self.for_)


def given(value: Any) -> Any:
    """Return ``True`` as the default alarm, and ``False`` as none."""
    return {True: Alarm(), False: None}[value] if isinstance(value, bool) else value


AlarmOrNone = Annotated[Alarm | None, BeforeValidator(given)]
DESCRIPTION = (
    "When an alarm begins and ends: see Alarm. A dict with some of its parameters is enough, {'above': 16}."
    " True: Alarm(). None or False: no alarms, at no cost."
)
