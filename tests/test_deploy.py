"""The systemd units in `deploy/` are hardened, and systemd reads all of them."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

DEPLOY = Path(__file__).parents[1] / "deploy"
UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
MOST_EXPOSURE = 25  # in tenths, of 10


pytestmark = pytest.mark.parametrize("unit", UNITS, ids=lambda unit: str(unit.stem))


def test_the_unit_is_hardened(unit):
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", unit]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_systemd_reads_every_line_of_the_unit(tmp_path, unit):
    """systemd ignores unknown names with a warning."""
    copy = tmp_path / unit.name
    copy.write_text(re.sub("/opt/streamlearn/bin/streamlearn", "/bin/true", unit.read_text()))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
    about_unit = [line for line in done.stderr.splitlines() if unit.name in line]
    assert not about_unit
