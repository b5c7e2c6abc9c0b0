"""The settings of a stream, and the checks of the rows that it accepts."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from streamlearn_client.errors import BadShape, BadValue
from streamlearn_client.label_codes import label_codes
from streamlearn_client.protocol import Learn, check_channels

__all__ = ["INFINITY", "NARROW", "StreamConfig", "refuse_infinities"]

INFINITY: Final = re.compile(rb"\x00\x00\x80[\x7f\xff]").search
"""Finds the bytes of an infinite float32. It may also find them across two finite values."""
NARROW: Final = 64
"""Samples of up to so many channels are searched faster than NumPy compares them."""


@dataclass(frozen=True, slots=True)
class StreamConfig:
    """The settings of a stream, and the properties of its model that a stream checks."""

    model: str
    producer: str
    epoch: int
    ack: str
    dim: int
    targets: int
    needs_keys: bool = False
    accepts_late_targets: bool = False
    channels: tuple[str, ...] | None = None
    label_names: tuple[str, ...] = ()

    @property
    def accepts_plain_samples(self) -> bool:
        """Whether the model accepts samples without targets, keys and ids."""
        return (self.targets == 0 or self.accepts_late_targets) and not self.needs_keys

    def codes(self, y: Any) -> Any:
        """Return targets with the classes of names of labels. Raise ``BadValue`` for an unknown name."""
        return y if y is None or not self.label_names else label_codes(self.model, self.label_names, y)

    def check(self, batch: Learn) -> None:
        """Raise ``BadShape`` for rows that the model does not accept."""
        check_channels(batch.channels, self.channels)
        if batch.x is None and not self.accepts_late_targets:
            raise BadShape(
                f"{self.model!r} accepts no late targets; push targets together with their samples"
            )
        if batch.x is not None and batch.x.shape[1] != self.dim:
            raise BadShape(
                f"a sample has {batch.x.shape[1]} values and {self.model!r} takes {self.dim}",
                columns=batch.x.shape[1],
                expected=self.dim,
            )
        targets = 0 if batch.y is None else batch.y.shape[1]
        if targets != self.targets and not (batch.y is None and self.accepts_late_targets):
            raise BadShape(
                f"a sample has {targets} targets and {self.model!r} takes {self.targets}",
                targets=targets,
                expected=self.targets,
            )
        if (batch.keys is not None) != self.needs_keys:
            if self.needs_keys:
                raise BadShape(f"{self.model!r} needs a key for each sample; pass keys")
            raise BadShape(f"{self.model!r} has no keys; leave keys out")
        if batch.ids is not None and not self.accepts_late_targets:
            raise BadShape(f"{self.model!r} accepts no late targets and needs no ids; leave ids out")


def refuse_infinities(rows: NDArray[np.float32], name: str) -> None:
    """Raise ``BadValue`` for the first infinity."""
    if np.isinf(rows).any():
        row, channel = (int(i) for i in np.argwhere(np.isinf(rows))[0])
        raise BadValue(
            f"{name} has {rows[row, channel]} in column {channel} (row {row}); "
            "values must be finite, and NaN for a missing value",
            row=row,
            channel=channel,
        )
