"""The systemd unit in `deploy/` is hardened, and systemd reads all of it."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

DEPLOY = Path(__file__).parents[1] / "deploy"
UNIT = DEPLOY / "systemd" / "streamlearn.service"
MOST_EXPOSURE = 25  # in tenths, of 10


def test_the_unit_is_hardened():
    command = ["systemd-analyze", "security", "--offline=true", f"--threshold={MOST_EXPOSURE}", UNIT]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_systemd_reads_every_line_of_the_unit(tmp_path):
    """systemd ignores unknown names with a warning."""
    copy = tmp_path / UNIT.name
    copy.write_text(re.sub("/opt/streamlearn/bin/streamlearn", "/bin/true", UNIT.read_text()))
    done = subprocess.run(["systemd-analyze", "verify", copy], capture_output=True, text=True)
    about_unit = [line for line in done.stderr.splitlines() if UNIT.name in line]
    assert not about_unit
