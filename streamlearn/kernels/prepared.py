"""Calls of entry points with arguments that were converted once.

Numba converts every argument of every call from Python, an array in some 0.1 µs. For one sample this takes
longer than to learn it. So a model that learns single samples keeps its arguments as compiled code takes
them, in two rows of int64:

- ``table``: the address of the entry point's code, then its arguments. A number is one word. An array is its
  shape. Models with equal specs share the table.
- ``addresses``: the address of the values of each array; 0 for those that come with each call. The model must
  keep the arrays.

A kernel calls the entry point by `caller`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from ctypes import c_void_p
from functools import cache
from typing import Any

import numpy as np
from llvmlite import ir
from numba.core import cgutils, sigutils, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from . import compiler
from .arguments import parameters
from .compiler.arrays import new_array

_WORD = ir.IntType(64)
_HEAD_BYTES = object.__basicsize__  # of every object, before its own fields
_FORMS = {types.float64: "<d", types.float32: "<f4x"}  # of numbers in a word


class Prepared:
    """An entry point that kernels call with prepared arguments.

    Parameters
    ----------
    entry_point
        What `compiler.kernel` returned.
    given : sequence of str, optional
        Arrays whose addresses come with each call, in the order of `caller`.
    after : Prepared, optional
        The one before it in the same table.
    first_address : int, default 0
        Place of its first address, if none is before it: so many words are the kernel's own.
    """

    def __init__(
        self,
        entry_point: Any,
        given: Sequence[str] = (),
        *,
        after: Prepared | None = None,
        first_address: int = 0,
    ) -> None:
        (declared,) = (each for each in compiler.declared() if each.dispatcher is entry_point)
        self._entry_point = declared
        self.function: Any = entry_point.py_func
        self.argument_types, self.return_type = sigutils.normalize_signature(declared.signature)
        self._parameters = [
            (name, kind, np.dtype(str(kind.dtype)) if isinstance(kind, types.Array) else None)
            for name, kind in zip(parameters(entry_point.py_func), self.argument_types, strict=True)
        ]
        self._array_names = [name for name, _, dtype in self._parameters if dtype is not None]
        self.given = given
        self.first_word: int = 0 if after is None else after.first_word + after.words
        self.first_address: int = first_address if after is None else after.end
        self.words: int = 1 + sum(map(_words, self.argument_types))
        self.arrays: int = sum(isinstance(each, types.Array) for each in self.argument_types)
        self.end: int = self.first_address + self.arrays  # of the addresses

    def place(self, name: str) -> int:
        """Return the place of an array in the row of addresses."""
        return self.first_address + self._array_names.index(name)

    def convert(self, arguments: Mapping[str, Any]) -> tuple[tuple[Any, ...], list[int]]:
        """Return what `table` needs, which is equal for models with equal specs, and the row of addresses.

        TypeError unless each array is what the signature has: compiled code cannot tell.
        """
        key, addresses = [], []
        for name, kind, dtype in self._parameters:
            value = arguments[name]
            if dtype is None:
                key.append(value)
                continue
            if value.dtype != dtype or value.ndim != kind.ndim or not value.flags.carray:
                raise TypeError(f"{name} is {value.dtype} {value.shape}, not {kind}")
            key.append(value.shape)
            addresses.append(0 if name in self.given else address_of(value))
        return tuple(key), addresses

    def table(self, key: tuple[Any, ...]) -> list[int]:
        """Return the row of the table."""
        table = [address_of_code(self._entry_point.dispatcher)]
        for value, (_, kind, dtype) in zip(key, self._parameters, strict=True):
            if dtype is None:
                table += struct.unpack("<q", struct.pack(_FORMS.get(kind, "<q"), value))
            else:
                table += value
        return table


@cache
def address_of_code(entry_point: Any) -> int:
    """Return the address of the code of an entry point that is compiled."""
    (compiled,) = entry_point.overloads.values()
    return int(compiled.library.get_pointer_to_function(compiled.fndesc.llvm_func_name))


def address_of(array: NDArray[Any]) -> int:
    """Return the address of the values; 0 if there are none.

    It is the first field of an array in NumPy's C API. ``array.ctypes.data`` takes ten times as long, and
    NumPy keeps 100 bytes with each array whose buffer was asked for.
    """
    return c_void_p.from_address(id(array) + _HEAD_BYTES).value or 0 if array.size else 0


def caller(prepared: Prepared) -> Any:
    """Return a function for kernels: ``call(table, addresses, *given)`` calls the entry point.

    ``table`` and ``addresses`` are addresses of int64; ``given`` are those of the arrays ``prepared.given``.
    """

    places = [prepared.place(name) for name in prepared.given]

    @intrinsic
    def call(typing: Any, table: Any, addresses: Any, *given: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            words, data = (builder.inttoptr(each, _WORD.as_pointer()) for each in arguments[:2])
            at_call = dict(zip(places, cgutils.unpack_tuple(builder, arguments[2], len(places)), strict=True))

            def word(rows: Any, index: int) -> Any:
                return builder.gep(rows, [context.get_constant(types.intp, index)])

            at, array_number = prepared.first_word + 1, prepared.first_address
            values = []
            for kind in prepared.argument_types:
                if isinstance(kind, types.Array):
                    address = at_call.get(array_number)
                    if address is None:
                        address = builder.load(word(data, array_number))
                    shape = [builder.load(word(words, at + axis)) for axis in range(kind.ndim)]
                    pointer = builder.inttoptr(address, context.get_data_type(kind.dtype).as_pointer())
                    values.append(new_array(context, builder, kind, pointer, shape))
                    array_number += 1
                else:
                    form = context.get_value_type(kind)
                    values.append(builder.load(builder.bitcast(word(words, at), form.as_pointer())))
                at += _words(kind)
            code = builder.load(word(words, prepared.first_word))
            return _call(context, builder, code, prepared.return_type, prepared.argument_types, values)

        word_kinds = types.StarArgTuple.from_types([types.int64] * len(places))
        return prepared.return_type(types.int64, types.int64, word_kinds), build

    return call


@intrinsic
def call_step(typing: Any, code: Any, table: Any, addresses: Any, x: Any, y: Any) -> Any:
    """Call the entry point with the code at an address, of the signature ``i8(i8, i8, i8, i8)``."""
    word = types.int64

    def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return _call(context, builder, arguments[0], word, (word,) * 4, arguments[1:])

    return word(*[word] * 5), build


def _call(context: Any, builder: Any, code: Any, result: Any, kinds: Any, values: Any) -> Any:
    """Call the code at the address ``code``. An exception in it is one of the caller."""
    convention = context.call_conv
    pointer = builder.inttoptr(code, convention.get_function_type(result, kinds).as_pointer())
    status, value = convention.call_function(builder, pointer, result, kinds, values)
    with cgutils.if_unlikely(builder, status.is_error):
        convention.return_status_propagate(builder, status)
    return value


def arrays_at(dtype: Any) -> Any:
    """Return a function for kernels: ``array(address, size)`` is the array of this type at an address."""
    kind = types.Array(dtype, 1, "C")

    @intrinsic
    def array(typing: Any, address: Any, size: Any) -> Any:
        def build(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            values = builder.inttoptr(arguments[0], context.get_data_type(dtype).as_pointer())
            return new_array(context, builder, kind, values, [arguments[1]])

        return kind(types.int64, types.intp), build

    return array


words_at = arrays_at(types.int64)


@compiler.device
def address_in(array):
    """Return the address of the values of the array whose ``id`` is given, as `address_of` does."""
    return words_at(array + _HEAD_BYTES, 1)[0]


@cache
def without_dispatcher(entry_point: Any) -> Any:
    """Return the function that is compiled. It does not compare the types of its arguments with its own."""
    (compiled,) = entry_point.overloads.values()
    return compiled.entry_point


def _words(kind: Any) -> int:
    return kind.ndim if isinstance(kind, types.Array) else 1
