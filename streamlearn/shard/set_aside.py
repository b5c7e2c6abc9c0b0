"""Why a model is set aside."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class SetAside(NamedTuple):
    """Why a model is set aside: the process died at record `lsn`. `time` is when it was set aside, in ns."""

    lsn: int
    deaths: int
    time: int

    @property
    def reason(self) -> str:
        """The reason as a sentence."""
        return (
            f"the daemon died {self.deaths} times while it applied record {self.lsn} "
            f"(set aside at {np.datetime64(self.time // 10**9, 's')} UTC)"
        )
