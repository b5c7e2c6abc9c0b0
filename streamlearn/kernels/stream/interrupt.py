"""A learn call that ends early: after the sample during which a thread or a file descriptor requests it.

A kernel calls `requested` after each sample, and returns the number of samples that it did:

    for n in range(x.shape[0]):
        ...                                    # learn sample n
        if requested(interrupt):
            return n + 1
    return x.shape[0]

So at least one sample is done. Any split of a batch gives the same bits, and so does any end.

`interrupt_words` has the layout of ``interrupt``. The kernel calls ``poll(2)`` every EVERY samples, and sets
the flag when the descriptor is readable. A call takes 0.3 µs. A thread that polls instead would first have to
be woken: this took 75 µs longer on an idle processor, and takes up to a time slice of the scheduler on a busy
one.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import cgutils, types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from ..compiler import device
from .interrupt_words import EVERY, LEFT, POLL, POLLFD, WORDS


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
        shape, strides = ([context.get_constant(types.intp, number)] for number in (WORDS, 8))
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
