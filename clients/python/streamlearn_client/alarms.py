"""Alarms as events: what began or ended, when, how strong, and which channels did it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, ClassVar, Final, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

__all__ = ["ALARM_CODES", "AlarmCause", "AlarmEvent", "alarm_arrays", "check_alarms", "read_alarms"]

ALARM_CODES: Final = {"none": 0, "begin": 1, "on": 2, "end": 3}
"""The values of the output ``alarm``."""

AlarmCause: TypeAlias = Literal["score", "stuck", "silent", "transition", "dwell", "cycle"]
"""What raised an alarm: unusual samples, a channel that repeats one value, no samples, a rare transition of
the winner, a stay in one region of units that is too long, or a cycle that is."""


@dataclass(frozen=True, slots=True)
class AlarmEvent:
    """An alarm that begins or ends.

    Parameters
    ----------
    state : {"begin", "end"}
        Whether the alarm begins or ends.
    cause : {"score", "stuck", "silent", "transition", "dwell", "cycle"}
        What raised it: unusual samples, a channel that repeats one value, no samples, a rare transition of
        the winner, a stay in one region of units that is too long, or a cycle that is.
    sample : int
        Number of the sample at which it began or ended, counted from 0.
    first, last : int
        Numbers of its first sample, and of its last one so far.
    peak : int
        Number of the sample with the most evidence.
    samples : int
        Number of its samples so far. ``stuck``: of the channel's equal values. ``dwell``: since the region
        was entered. ``cycle``: since it was entered last.
    score, evidence : float
        Largest score and largest evidence of its samples. NaN without a score.
    channel : int
        The channel that contributed most; −1: unknown.
    contribution : ndarray of float32, (dim,)
        Share of each channel in the deviation, summed over the alarm, 1 in total. NaN if it is unknown.
        ``stuck``: equal shares of the channels that are stuck.
    expected : ndarray of float32, (dim,)
        What the model expected of the sample ``peak``, in the stream's own units. NaN if it is unknown.
    fault : str
        Name of the fault, if a person called such a sample a fault by feedback; empty otherwise.
    seconds : float
        ``silent``: seconds since the last sample. 0 for other causes.
    from_unit, to_unit : int
        ``transition``: the last winner before it, and the first one after it. ``dwell``: the last winner,
        twice. ``cycle``: the last winner, and a unit of the region that the stream does not return to. −1 for
        other causes.
    from_label, to_label : str
        The labels of these units; empty without one.
    usual : float
        ``dwell`` and ``cycle``: the usual number of samples, the median of the last ones. 0 for other
        causes.
    probability : float
        ``transition``: share of the departures from the first region that went to the second one before. 0
        for other causes.
    key, id, time : int or None
        Key, id and time (in nanoseconds since 1970) of the sample, if the event has them.
    row : int
        Row of the outputs, or of the batch, that the event came with; −1 without one.
    """

    state: Literal["begin", "end"]
    cause: AlarmCause
    sample: int
    first: int
    last: int
    peak: int
    samples: int
    score: float
    evidence: float
    channel: int
    contribution: NDArray[np.float32] = field(repr=False, compare=False)
    expected: NDArray[np.float32] = field(repr=False, compare=False)
    fault: str = ""
    seconds: float = 0.0
    from_unit: int = -1
    to_unit: int = -1
    from_label: str = ""
    to_label: str = ""
    usual: float = 0.0
    probability: float = 0.0
    key: int | str | None = None
    id: int | None = None
    time: int | None = None
    row: int = field(default=-1, repr=False, compare=False)

    CAUSES: ClassVar[tuple[AlarmCause, ...]] = ("score", "stuck", "silent", "transition", "dwell", "cycle")
    """The causes in the order of their codes."""


_DTYPES: Final = {
    "alarm": "|i1",
    "cause": "|i1",
    "sample": "<i8",
    "first": "<i8",
    "last": "<i8",
    "peak": "<i8",
    "samples": "<i8",
    "score": "<f4",
    "evidence": "<f4",
    "channel": "<i4",
    "contribution": "<f4",
    "expected": "<f4",
    "name": "|u1",
    "seconds": "<f8",
    "from_unit": "<i4",
    "to_unit": "<i4",
    "from_label": "|u1",
    "to_label": "|u1",
    "usual": "<f4",
    "probability": "<f4",
}
"""The arrays of an ``alarm`` event."""
NAME_BYTES: Final = 32
"""Longest name of a fault, in UTF-8."""
_TEXTS: Final = {"name": "fault", "from_label": "from_label", "to_label": "to_label"}
"""The arrays of texts, and their fields."""
_INTEGERS = ("sample", "first", "last", "peak", "samples")


def alarm_arrays(events: Sequence[AlarmEvent]) -> dict[str, NDArray[Any]]:
    """Return alarms as the arrays of an event message.

    Parameters
    ----------
    events : sequence of AlarmEvent
        The alarms, at least one.

    Returns
    -------
    dict of str to ndarray
        One row per alarm. ``alarm`` and ``cause`` are codes.
    """
    arrays: dict[str, NDArray[Any]] = {
        "alarm": np.array([ALARM_CODES[each.state] for each in events], np.int8),
        "cause": np.array([AlarmEvent.CAUSES.index(each.cause) for each in events], np.int8),
    }
    for name in _INTEGERS:
        arrays[name] = np.array([getattr(each, name) for each in events], np.int64)
    arrays["score"] = np.array([each.score for each in events], np.float32)
    arrays["evidence"] = np.array([each.evidence for each in events], np.float32)
    arrays["channel"] = np.array([each.channel for each in events], np.int32)
    for name, field_name in _TEXTS.items():
        texts = b"".join(getattr(each, field_name).encode().ljust(NAME_BYTES, b"\0") for each in events)
        arrays[name] = np.frombuffer(texts, np.uint8).reshape(-1, NAME_BYTES)
    for name in ("from_unit", "to_unit"):
        arrays[name] = np.array([getattr(each, name) for each in events], np.int32)
    for name in ("usual", "probability"):
        arrays[name] = np.array([getattr(each, name) for each in events], np.float32)
    arrays["seconds"] = np.array([each.seconds for each in events], np.float64)
    arrays["contribution"] = np.array([each.contribution for each in events], np.float32)
    arrays["expected"] = np.array([each.expected for each in events], np.float32)
    return arrays


def check_alarms(arrays: Mapping[str, NDArray[Any]]) -> None:
    """Raise ``ValueError`` unless an event message has the arrays of alarms.

    Parameters
    ----------
    arrays : Mapping of str to ndarray
        The arrays of the message, all with the same number of rows.
    """
    for name, dtype in _DTYPES.items():
        array = arrays.get(name)
        if (
            array is None
            or array.dtype.str != dtype
            or array.ndim != 1 + (name in _TEXTS or name in ("contribution", "expected"))
        ):
            found = "missing" if array is None else f"{array.dtype.str} {array.shape}"
            raise ValueError(f"the array {name!r} of an alarm is {found}; it must have dtype {dtype}")
    causes = arrays["cause"]
    if ((causes < 0) | (causes >= len(AlarmEvent.CAUSES))).any():
        raise ValueError("an alarm has an unknown cause; use a client of the daemon's version")


def read_alarms(
    arrays: Mapping[str, NDArray[Any]], key_names: Mapping[int, str] = MappingProxyType({})
) -> list[AlarmEvent]:
    """Return the alarms in the arrays of an event message.

    Parameters
    ----------
    arrays : Mapping of str to ndarray
        The arrays that `alarm_arrays` returned. Further ones are ignored.
    key_names : Mapping of int to str, default {}
        The texts of keys.

    Returns
    -------
    list of AlarmEvent
        The alarms in order.
    """
    return [
        AlarmEvent(
            state="begin" if arrays["alarm"][k] == ALARM_CODES["begin"] else "end",
            cause=AlarmEvent.CAUSES[int(arrays["cause"][k])],
            **{name: int(arrays[name][k]) for name in _INTEGERS},
            score=float(arrays["score"][k]),
            evidence=float(arrays["evidence"][k]),
            channel=int(arrays["channel"][k]),
            contribution=arrays["contribution"][k],
            expected=arrays["expected"][k],
            fault=_text(arrays["name"][k]),
            from_label=_text(arrays["from_label"][k]),
            to_label=_text(arrays["to_label"][k]),
            seconds=float(arrays["seconds"][k]),
            from_unit=int(arrays["from_unit"][k]),
            to_unit=int(arrays["to_unit"][k]),
            usual=float(arrays["usual"][k]),
            probability=float(arrays["probability"][k]),
            **{name: int(arrays[name][k]) for name in ("id", "time") if name in arrays},
            key=_key_of(arrays["key"][k], key_names) if "key" in arrays else None,
        )
        for k in range(len(arrays["alarm"]))
    ]


def _text(row: NDArray[np.uint8]) -> str:
    return row.tobytes().rstrip(b"\0").decode(errors="replace")


def _key_of(number: Any, key_names: Mapping[int, str]) -> int | str:
    return key_names.get(int(number), int(number))
