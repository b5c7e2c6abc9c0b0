"""Runs compilers and compiled programs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

C = Path(__file__).parents[2] / "clients" / "c"


def output_of(
    *command: str | Path, input: str | None = None, environment: Mapping[str, str] | None = None
) -> str:
    """Return the standard output of a command. It must succeed and write nothing to standard error."""
    done = subprocess.run(
        [str(each) for each in command],
        check=False,
        input=input,
        capture_output=True,
        text=True,
        timeout=300,
        env={**os.environ, **(environment or {})},
    )
    shown = (
        f"{' '.join(map(str, command))} ended with {done.returncode}:\n{done.stdout[-4000:]}\n{done.stderr}"
    )
    assert done.returncode == 0, shown
    assert not done.stderr, shown
    return done.stdout
