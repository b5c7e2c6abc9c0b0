"""The memory of an interrupt, with which a kernel decides when a call ends early, see ``interrupt.py``.

``interrupt``: uint8 ``(1,)`` is a flag. Another thread may set it to 1.

``interrupt``: uint8 ``(40,)``, made by `watching`, also has a file descriptor.

This module needs no Numba: a daemon without models has interrupts.
"""

from __future__ import annotations

import ctypes

import numpy as np
from numpy.typing import NDArray

# Words of 8 bytes: the flag, in byte 0; samples between two calls of poll; samples left until the next call;
# address of the function poll, 0: end instead of a call; its struct pollfd.
FLAG, EVERY, LEFT, POLL, POLLFD = range(5)
WORDS = 5
_POLLFD = np.dtype([("fd", np.int32), ("events", np.int16), ("revents", np.int16)])
_POLLIN = 1

NEVER = np.zeros(1, np.uint8)  # the flag of a call that no thread ends early; stays 0


def watching(fd: int | None = None, every: int = 1) -> NDArray[np.uint8]:
    """Return an ``interrupt`` that ends a call when the file descriptor ``fd`` is readable.

    The kernel asks every ``every`` samples. Without ``fd``, every call ends after ``every`` samples.
    """
    words = np.zeros(WORDS, np.int64)
    words[EVERY] = words[LEFT] = every
    if fd is not None:
        words[POLL] = ctypes.cast(ctypes.CDLL(None).poll, ctypes.c_void_p).value or 0
        words[POLLFD:].view(_POLLFD)[0] = fd, _POLLIN, 0
    return words.view(np.uint8)
