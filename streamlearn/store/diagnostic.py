"""The result of a check of a data directory."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One line of the report of ``streamlearn verify``. ``damage`` needs action; a ``note`` does not."""

    level: Literal["damage", "note"]
    path: Path
    message: str
