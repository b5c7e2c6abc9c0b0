"""The type of a callback that reports the progress of a compilation."""

from __future__ import annotations

from collections.abc import Callable

Progress = Callable[[str, int, int], None]  # the kernel that comes next, how many are done, of how many
