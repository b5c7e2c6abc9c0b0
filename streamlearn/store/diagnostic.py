"""What ``streamlearn verify`` reports."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal


@dataclass(frozen=True, slots=True)
class Diagnostic:
    """One thing found in a data directory: ``damage`` has to be acted upon, a ``note`` only explains."""

    level: Literal["damage", "note"]
    path: Path
    message: str
