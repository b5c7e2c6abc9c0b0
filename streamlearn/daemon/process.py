"""The process before the daemon serves: its signals and its imports.

`prepare` runs before anything else of `serve`. So this module imports nothing that takes time.
"""

from __future__ import annotations

import signal
import sys
from types import FrameType


class Terminated(BaseException):
    """SIGTERM arrived before the daemon served."""


_terminated = False


def prepare() -> None:
    """Install the first signal handlers, and keep modules out of the process that it does not need.

    SIGTERM raises `Terminated` in the main thread. The kernel does not deliver a signal without a handler to
    the first process of a container. SIGHUP is ignored: it never ends the daemon.

    Numba imports SciPy for BLAS if it is installed: 0.2 s and 15 MB. Kernels use no BLAS (R3). It imports
    PyYAML for a configuration file, and structlog imports Rich for coloured tracebacks: 0.05 s and 5 MB.
    """
    _hide("scipy")
    _hide("yaml")
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.unraisablehook = _report_unraisable
    if _hide("rich"):
        import structlog  # noqa: F401

        del sys.modules["rich"]  # the command line formats errors with it


def _hide(name: str) -> bool:
    """Make Python refuse to import a module. Return whether it was not imported yet."""
    return sys.modules.setdefault(name, None) is None  # type: ignore[arg-type]


def check_terminated() -> None:
    """Raise `Terminated` if SIGTERM has arrived. A callback of the compiler may have lost the exception."""
    if _terminated:
        raise Terminated


def _report_unraisable(unraisable: sys.UnraisableHookArgs) -> None:
    if not isinstance(unraisable.exc_value, Terminated):
        sys.__unraisablehook__(unraisable)


def _terminate(number: int, frame: FrameType | None) -> None:
    global _terminated  # noqa: PLW0603 - a signal handler has no other place
    _terminated = True
    raise Terminated
