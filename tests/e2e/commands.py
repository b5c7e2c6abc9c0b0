"""Running ``streamlearn`` as a user types it."""

from __future__ import annotations

import os
import subprocess
import sys


def against(daemon):
    """Run ``streamlearn`` against the daemon; no run may show a traceback."""

    def run(*arguments, stdin="", code=0):
        done = subprocess.run(
            [sys.executable, "-m", "streamlearn", *map(str, arguments)],
            input=stdin,
            capture_output=True,
            text=True,
            timeout=120,
            env={**os.environ, "STREAMLEARN_ENDPOINT": daemon.endpoint},
        )
        assert "Traceback" not in done.stderr
        assert done.returncode == code, done
        return done

    return run
