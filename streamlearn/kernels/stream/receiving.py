"""Receiving batches: a loop around ZeroMQ's functions, without Python between two messages.

The functions are called by their addresses, so this module needs no ZeroMQ.
"""

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba.core import types
from numba.extending import intrinsic
from numba.np.arrayobj import make_array, populate_array

from ..compiler import device, kernel
from ..simd.views import row_of
from .receiving_words import (
    ARRAY_ADDRESS,
    ARRAY_BYTES,
    ARRAY_MORE,
    ARRAYS,
    BURST,
    DESCRIPTORS,
    END,
    HEADER_ADDRESS,
    HEADER_BYTES,
    HEADER_MORE,
    INTERRUPTED,
    MESSAGE_BYTES,
    NAME_BYTES,
    OTHER_ARRAY,
    OTHER_HEADER,
    OTHER_SENDER,
    POLLFDS,
    PPOLL,
    SENDER_ADDRESS,
    SENDER_BYTES,
    SENDER_MORE,
    TIMEOUT,
    WAITED_AT,
    WAITING,
    WAITS,
)

_DONTWAIT = 1


def _caller(arguments: int, bits: int) -> Any:
    """Return the code of a call of a C function by its address. It takes and returns integers."""
    word = ir.IntType(64)
    kind = ir.FunctionType(ir.IntType(bits), [word] * arguments)

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        result = builder.call(builder.inttoptr(values[0], kind.as_pointer()), values[1:])
        return result if bits == 64 else builder.sext(result, word)

    return build


@intrinsic
def _receive(typing: Any, function: Any, message: Any, socket: Any, flags: Any) -> Any:
    """``int zmq_msg_recv(zmq_msg_t *, void *socket, int flags)``."""
    return types.int64(types.int64, types.int64, types.int64, types.int64), _caller(3, 32)


@intrinsic
def _data(typing: Any, function: Any, message: Any) -> Any:
    """``void *zmq_msg_data(zmq_msg_t *)``."""
    return types.int64(types.int64, types.int64), _caller(1, 64)


@intrinsic
def _more(typing: Any, function: Any, message: Any) -> Any:
    """``int zmq_msg_more(const zmq_msg_t *)``."""
    return types.int64(types.int64, types.int64), _caller(1, 32)


@intrinsic
def _compare(typing: Any, function: Any, a: Any, b: Any, size: Any) -> Any:
    """``int memcmp(const void *, const void *, size_t)``."""
    return types.int64(types.int64, types.int64, types.int64, types.int64), _caller(3, 32)


@intrinsic
def _copy(typing: Any, function: Any, to: Any, source: Any, size: Any) -> Any:
    """``void *memcpy(void *, const void *, size_t)``."""
    return types.int64(types.int64, types.int64, types.int64, types.int64), _caller(3, 64)


@intrinsic
def _ppoll(typing: Any, function: Any, descriptors: Any, number: Any, timeout: Any, signals: Any) -> Any:
    """``int ppoll(struct pollfd *, nfds_t, const struct timespec *, const sigset_t *)``."""
    return types.int64(types.int64, types.int64, types.int64, types.int64, types.int64), _caller(4, 32)


@intrinsic
def _memory(typing: Any, address: Any, size: Any) -> Any:
    """The ``size`` bytes at ``address`` as an array, without a reference count."""
    view = types.Array(types.uint8, 1, "C")

    def build(context: Any, builder: Any, signature: Any, values: Any) -> Any:
        array = make_array(view)(context, builder)
        pointer = builder.inttoptr(values[0], array.data.type)
        one = context.get_constant(types.intp, 1)
        populate_array(array, pointer, [values[1]], [one], one, meminfo=None)
        return array._getvalue()

    return view(types.int64, types.int64), build


@device
def _integer_bytes(first):
    """Length of a MessagePack integer of 0 or more, or nil, by its first byte; 0 for all other values."""
    if first < 0x80 or first == 0xC0:
        return 1
    if first == 0xCC:
        return 2
    if first == 0xCD:
        return 3
    if first == 0xCE:
        return 5
    if first == 0xCF:
        return 9
    return 0


@device
def _integer(header, at, size):
    """The integer of ``size`` bytes at ``at``; negative for nil, and if it does not fit into 63 bits."""
    first = header[at]
    if first == 0xC0:
        return -1
    value = 0 if size > 1 else first + 0
    for n in range(1, size):
        value = (value << 8) | header[at + n]
    return value


@device
def _copied_name(header, at, size, names):
    """Copy the text at ``at`` into ``names``, with zeros after it. Return its end; 0 if it is not ASCII."""
    first = header[at] + 0
    at += 1
    length = first - 0xA0  # of a text of up to 31 bytes
    if first == 0xD9 and at < size:  # a longer one
        length = header[at] + 0
        at += 1
    elif length > 31:
        return 0
    if length < 1 or length > NAME_BYTES or at + length > size:
        return 0
    for n in range(NAME_BYTES):
        names[n] = header[at + n] if n < length else 0
        if n < length and not 0 < names[n] < 0x80:
            return 0
    return at + length


@device
def _fits(address, size, compare, text, parts, seq, ids, names, seqs, batch):
    """Whether a header consists of the four parts, with an integer or nil as `id` and ``seq`` as `seq`.

    If there are ``ids``, the `id` must be an integer that fits into 63 bits. It becomes ``ids[batch]``. With
    ``names`` the model's name is between the second part and the third, and it and any `seq` are results.
    """
    header = _memory(address, size)
    at = 0
    for part in range(4):
        length = parts[part]
        if at + length > size or _compare(compare, address + at, text, length) != 0:
            return False
        at += length
        text += length
        if part == 1 and names.shape[0] > 0:
            at = _copied_name(header, at, size, row_of(names, batch)) if at < size else 0
            if at == 0:
                return False
        if (part == 0 and length > 0) or (part == 2 and seq >= 0):
            if at >= size:
                return False
            length = _integer_bytes(header[at])
            if length == 0 or at + length > size:
                return False
            number = _integer(header, at, length)
            if part == 2 and seqs.size > 0:
                if number < 0:
                    return False
                seqs[batch] = number
            elif part == 2 and number != seq:
                return False
            if part == 0 and ids.size > 0:
                if number < 0:
                    return False
                ids[batch] = number
            at += length
    return at == size


@device
def _waits(patience, batch):
    """Wait until a descriptor is readable, if the last batches came in a burst. Return whether one is."""
    if patience[WAITS] == 0 or batch - patience[WAITED_AT] < patience[BURST]:
        return False
    patience[WAITS] -= 1
    patience[WAITED_AT] = batch
    descriptors = patience[DESCRIPTORS]
    return _ppoll(patience[PPOLL], descriptors, 2, descriptors + 8 * (TIMEOUT - POLLFDS), 0) > 0


@kernel(
    "i8(i8, i8[::1], i8, i8[::1], i8, i8, i8[::1], i8, i8[::1], i8, "
    "u1[::1], i8, i8, i8[::1], u1[:,::1], i8[::1], i8[::1])"
)
def receive_batches(
    # ZeroMQ
    socket,  # address of the socket
    functions,  # (5,): addresses of zmq_msg_recv, zmq_msg_data, zmq_msg_more, memcmp and memcpy
    messages,  # address of three initialized zmq_msg_t: for the header, for an array, for the sender
    patience,  # (PATIENCE,)
    # the expected messages
    sender,  # address of their first frame
    sender_bytes,  # bytes of it; 0: the header is the first frame
    parts,  # (4,): bytes of the header up to the values of `id`, of `model` and of `seq`, and after them
    text,  # address of these bytes
    sizes,  # (arrays,): bytes of each array
    seq,  # number of the first batch, or 0 with `seqs`; -1: the headers have no `seq`
    # results
    arena,  # (bytes,): the arrays of the batches, from `begin` on without gaps
    begin,
    most,  # batches
    ids,  # (most,): the `id` of each batch; empty: not of interest
    names,  # (most, NAME_BYTES): the model of each batch; empty: the one in `text`
    seqs,  # (most,): the number of each batch; empty: they follow each other
    outcome,  # (OUTCOME,)
):
    """Receive batches until something else comes. Return the number of batches.

    An unexpected frame stays in its zmq_msg_t until the next call.
    """
    header_message = messages
    array_message = messages + MESSAGE_BYTES
    sender_message = messages + 2 * MESSAGE_BYTES
    at = begin
    outcome[END] = WAITING
    patience[WAITED_AT] = 0
    for batch in range(most):
        if sender_bytes > 0:
            size = _receive(functions[0], sender_message, socket, _DONTWAIT)
            while size < 0 and _waits(patience, batch):
                size = _receive(functions[0], sender_message, socket, _DONTWAIT)
            if size < 0:
                return batch
            address = _data(functions[1], sender_message)
            outcome[SENDER_ADDRESS] = address
            outcome[SENDER_BYTES] = size
            outcome[SENDER_MORE] = _more(functions[2], sender_message)
            if size != sender_bytes or _compare(functions[3], address, sender, size) != 0:
                outcome[END] = OTHER_SENDER
                return batch
        size = _receive(functions[0], header_message, socket, _DONTWAIT)
        while size < 0 and sender_bytes == 0 and _waits(patience, batch):
            size = _receive(functions[0], header_message, socket, _DONTWAIT)
        if size < 0:
            if sender_bytes > 0:
                outcome[END] = OTHER_SENDER
            return batch
        address = _data(functions[1], header_message)
        more = _more(functions[2], header_message)
        outcome[HEADER_ADDRESS] = address
        outcome[HEADER_BYTES] = size
        outcome[HEADER_MORE] = more
        if more == 0 or not _fits(address, size, functions[3], text, parts, seq, ids, names, seqs, batch):
            outcome[END] = OTHER_HEADER
            return batch
        for array in range(sizes.size):
            size = _receive(functions[0], array_message, socket, _DONTWAIT)
            outcome[ARRAYS] = array
            if size < 0:
                outcome[END] = INTERRUPTED
                return batch
            address = _data(functions[1], array_message)
            more = _more(functions[2], array_message)
            if size != sizes[array] or (more != 0) != (array + 1 < sizes.size):
                outcome[ARRAY_ADDRESS] = address
                outcome[ARRAY_BYTES] = size
                outcome[ARRAY_MORE] = more
                outcome[END] = OTHER_ARRAY
                return batch
            _copy(functions[4], arena.ctypes.data + at, address, size)
            at += size
        if seq >= 0:
            seq += 1
    return most
