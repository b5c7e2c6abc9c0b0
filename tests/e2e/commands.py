"""Running ``streamlearn`` as a user types it."""

from __future__ import annotations

from tests.processes import run as run_command


def against(daemon):
    """Run ``streamlearn`` against the daemon; no run may show a traceback."""

    def run(*arguments, stdin="", code=0):
        variables = {"STREAMLEARN_ENDPOINT": daemon.endpoint}
        done = run_command(*map(str, arguments), variables=variables, stdin=stdin)
        assert "Traceback" not in done.stderr
        assert done.returncode == code, done
        return done

    return run
