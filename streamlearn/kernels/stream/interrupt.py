"""A learn call that ends early: after the sample during which a thread or a file descriptor requests it.

A kernel calls `requested` after each sample, and returns the number of samples that it did:

    for n in range(x.shape[0]):
        ...                                    # learn sample n
        if requested(interrupt):
            return n + 1
    return x.shape[0]

So at least one sample is done. Any split of a batch gives the same bits, and so does any end.

``interrupt``: uint8 ``(1,)`` is a flag. Another thread may set it to 1.

``interrupt``: uint8 ``(40,)``, made by `watching`, also has a file descriptor. The kernel calls ``poll(2)``
every EVERY samples, and sets the flag when the descriptor is readable. A call takes 0.3 µs. A thread that
polls instead would first have to be woken: this took 75 µs longer on an idle processor, and takes up to a
time slice of the scheduler on a busy one.
"""

from __future__ import annotations

import ctypes
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array
from numpy.typing import NDArray

from ..compiler import device

# Words of 8 bytes: the flag, in byte 0; samples between two calls of poll; samples left until the next call;
# address of the function poll, 0: end instead of a call; its struct pollfd.
FLAG, EVERY, LEFT, POLL, POLLFD = range(5)
_WORDS = 5
_POLLFD = np.dtype([("fd", np.int32), ("events", np.int16), ("revents", np.int16)])
_POLLIN = 1

NEVER = np.zeros(1, np.uint8)  # the flag of a call that no thread ends early; stays 0


def watching(fd: int | None = None, every: int = 1) -> NDArray[np.uint8]:
    """Return an ``interrupt`` that ends a call when the file descriptor ``fd`` is readable.

    The kernel asks every ``every`` samples. Without ``fd``, every call ends after ``every`` samples.
    """
    words = np.zeros(_WORDS, np.int64)
    words[EVERY] = words[LEFT] = every
    if fd is not None:
        words[POLL] = ctypes.cast(ctypes.CDLL(None).poll, ctypes.c_void_p).value or 0
        words[POLLFD:].view(_POLLFD)[0] = fd, _POLLIN, 0
    return words.view(np.uint8)


@intrinsic
def _load_atomic(typing: Any, array: Any) -> Any:
    """``array[0]``, read from memory at each call. The compiler may move a plain load out of a loop.

    The order "monotonic" orders no other access. The load costs as much as a plain one.
    """

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = make_array(array)(context, builder, arguments[0]).data
        return builder.load_atomic(data, "monotonic", align=1)

    return types.uint8(array), build


@intrinsic
def _words_of(typing: Any, array: Any) -> Any:
    """The memory of ``array`` as int64 ``(5,)``, without a reference count."""
    view = types.Array(types.int64, 1, "C")

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = make_array(array)(context, builder, arguments[0]).data
        words = make_array(view)(context, builder)
        pointer = builder.bitcast(data, words.data.type)
        shape, strides = ([context.get_constant(types.intp, number)] for number in (_WORDS, 8))
        populate_array(words, pointer, shape, strides, context.get_constant(types.intp, 8), meminfo=None)
        return words._getvalue()

    return view(array), build


@intrinsic
def _poll(typing: Any, words: Any) -> Any:
    """Call ``poll(&pollfd, 1, 0)``: 0 if the descriptor is not readable."""
    kind = ir.FunctionType(ir.IntType(32), [ir.IntType(64), ir.IntType(64), ir.IntType(32)])

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        data = make_array(words)(context, builder, arguments[0]).data
        address = builder.load(cgutils.gep(builder, data, POLL))
        pollfd = builder.ptrtoint(cgutils.gep(builder, data, POLLFD), ir.IntType(64))
        poll = builder.inttoptr(address, kind.as_pointer())
        return builder.call(poll, [pollfd, ir.Constant(ir.IntType(64), 1), ir.Constant(ir.IntType(32), 0)])

    return types.int32(words), build


@device
def requested(interrupt):
    """Whether the kernel is to end after this sample."""
    if _load_atomic(interrupt) != 0:
        return True
    if interrupt.size == 1:
        return False
    words = _words_of(interrupt)
    words[LEFT] -= 1
    if words[LEFT] > 0:
        return False
    words[LEFT] = words[EVERY]
    if words[POLL] != 0 and _poll(words) == 0:
        return False
    interrupt[0] = 1
    return True
