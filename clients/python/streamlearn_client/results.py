"""What calls of the client return, where a plain mapping would say too little."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from streamlearn_client.outputs import Outputs
from streamlearn_client.protocol import Frame, decode_event

__all__ = ["Ack", "Event", "Position", "read_ack", "read_event"]


@dataclass(frozen=True, slots=True)
class Ack:
    """What the daemon promises about a batch that it took."""

    lsn: int
    """the batch's place in the journal"""
    durable_lsn: int
    """everything up to here survives a power cut"""
    applied_lsn: int
    """everything up to here has been learned by the model"""
    duplicate: bool = False
    """it had been taken before: an earlier try arrived, and only its answer was lost"""
    rows: int = 0
    """how many samples, or later targets, the batch had"""


@dataclass(frozen=True, slots=True)
class Event:
    """Something that happened to a model."""

    kind: str
    """``output``, ``targets``, ``drift``, ``checkpoint``, ``created``, ``deleted``, ``restored`` or
    ``reheated``"""
    model: str
    lsn: int
    first: int
    """``output``, ``targets``: how many samples the model had learned before; unless ``outputs.sample`` says
    otherwise, the first row is about the sample of that number, counted from 0"""
    rows: int
    """of ``outputs``, if these are of samples"""
    time: int
    """nanoseconds since the epoch, the daemon's clock"""
    outputs: Outputs
    """``output``: what the model said of each sample before it learned it. ``targets``: what it had said of
    each sample whose target came now. ``drift``: ``sample`` (k,), where there was an alarm. Else empty"""


@dataclass(frozen=True, slots=True)
class Position:
    """Where the daemon stands with a producer of a model."""

    epoch: int
    """the producer's newest epoch; 0 if it is not known"""
    next_seq: int
    """the number of the batch that it expects next"""


def read_ack(ok: Mapping[str, Any]) -> Ack:
    return Ack(
        int(ok.get("lsn", 0)),
        int(ok.get("durable_lsn", 0)),
        int(ok.get("applied_lsn", 0)),
        bool(ok.get("duplicate", False)),
        int(ok.get("rows", 0)),
    )


def read_event(frames: Sequence[Frame]) -> Event:
    """Raises ``BadMessage`` and the like for what is not an event."""
    event = decode_event(frames)
    outputs = Outputs(**event.arrays)
    return Event(event.kind, event.model, event.lsn, event.first, event.rows, event.time, outputs)
