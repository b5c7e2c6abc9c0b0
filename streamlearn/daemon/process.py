"""The process before the daemon serves: its signals and its imports.

`prepare` runs before anything else of `serve`. So this module imports nothing that takes time.
"""

from __future__ import annotations

import gc
import signal
import sys
from types import FrameType

GC_THRESHOLDS = (50_000, 20, 100)  # rare full collections: each one delays queries, and the imports


class Terminated(BaseException):
    """SIGTERM arrived before the daemon served."""


_terminated = False


def prepare() -> None:
    """Install the first signal handlers, and keep modules out of the process that it does not need.

    SIGTERM raises `Terminated` in the main thread. The kernel does not deliver a signal without a handler to
    the first process of a container. SIGHUP is ignored: it never ends the daemon.

    Numba imports SciPy for BLAS if it is installed: 0.2 s and 15 MB. Kernels use no BLAS (R3). It imports
    PyYAML for a configuration file.
    """
    gc.set_threshold(*GC_THRESHOLDS)
    _hide("scipy")
    _hide("yaml")
    signal.signal(signal.SIGTERM, _terminate)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    sys.unraisablehook = _report_unraisable


def _hide(name: str) -> None:
    """Make Python refuse to import a module, unless it is imported."""
    sys.modules.setdefault(name, None)  # type: ignore[arg-type]


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
