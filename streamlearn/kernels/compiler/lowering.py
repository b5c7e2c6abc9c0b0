"""How a piece becomes LLVM code: its arguments and variables are values, whole records of arrays too.

In Numba's convention a function returns a status, and each number of each array is an argument. A variable
that several blocks use is in memory: each use loads a whole record, and each assignment loads the old value.
LLVM removes all of this again, because pieces are inlined. Without it there is half as much code to optimise.

A result that is a record or a tuple is in memory of the caller, as it is with Numba.
"""

from __future__ import annotations

import operator
from collections import Counter
from collections.abc import Sequence
from typing import Any

from llvmlite import ir as llvm
from numba.core import cgutils, ir, types
from numba.core.analysis import compute_cfg_from_blocks, compute_use_defs
from numba.core.callconv import CPUCallConv
from numba.core.lowering import Lower

_MARK = ".piece"  # ends the names of pieces


class KernelCallConv(CPUCallConv):
    """Numba's convention, with which pieces call other functions. A piece has no errors to return."""

    def return_status_propagate(self, builder: Any, status: Any) -> None:
        """Return the error of a function that this one called."""
        if _is_piece(builder.function):
            _stop(builder)
        else:
            super().return_status_propagate(builder, status)

    def return_user_exc(self, builder: Any, *exception: Any, **details: Any) -> None:
        """Return an error."""
        if _is_piece(builder.function):
            _stop(builder)
        else:
            super().return_user_exc(builder, *exception, **details)


class KernelLower(Lower):
    """Numba's lowering of a function that counts no references. A variable assigned once is a value."""

    def _find_singly_assigned_variable(self) -> None:
        """Find the variables that are values."""
        dominators = compute_cfg_from_blocks(self.blocks).dominators()
        uses = compute_use_defs(self.blocks).usemap
        assignments = [
            (each.target.name, offset)
            for offset, block in self.blocks.items()
            for each in block.find_insts(ir.Assign)
        ]
        counts = Counter(name for name, _ in assignments)
        origins = {name: offset for name, offset in assignments if counts[name] == 1}
        in_memory = {
            name
            for offset, names in uses.items()
            for name in names & origins.keys()
            # blocks are lowered in the order of their offsets
            if origins[name] not in dominators[offset] or origins[name] >= offset
        }
        self._singly_assigned_vars = origins.keys() - in_memory
        self._blk_local_varmap: dict[str, Any] = {}

    def storevar(self, value: Any, name: str, argidx: int | None = None) -> None:
        """Store a variable. There is no reference to its old value."""
        if name in self._singly_assigned_vars:
            self._blk_local_varmap[name] = value
        else:
            self.builder.store(value, self.getvar(name))

    def lower_binop(self, result_type: Any, expression: Any, operation: Any) -> Any:
        """Lower an operation on two variables."""
        signature = self.fndesc.calltypes[expression]
        result = self._lower_operation(operation, signature, expression.lhs, expression.rhs)
        return self.context.cast(self.builder, result, signature.return_type, result_type)

    def lower_getitem(self, result_type: Any, expression: Any, value: Any, index: Any, signature: Any) -> Any:
        """Lower a read access."""
        result = self._lower_operation(operator.getitem, signature, value, index)
        return self.context.cast(self.builder, result, signature.return_type, result_type)

    def lower_setitem(self, target: Any, index: Any, value: Any, signature: Any) -> Any:
        """Lower a write access."""
        return self._lower_operation(operator.setitem, signature, target, index, value)

    def _lower_operation(self, operation: Any, signature: Any, *variables: Any) -> Any:
        typing = self.context.typing_context
        function = typing.resolve_value_type(operation)
        found = typing.resolve_function_type(function, signature.args, {})
        implementation = self.context.get_function(function, found)
        arguments = []
        for each, kind, final in zip(variables, signature.args, found.args, strict=True):
            value = self.context.cast(self.builder, self.loadvar(each.name), self.typeof(each.name), kind)
            arguments.append(self.context.cast(self.builder, value, kind, final))
        return implementation(self.builder, arguments)

    def delvar(self, name: str) -> None:
        """Do nothing: nothing is freed."""


class PieceLower(KernelLower):
    """The lowering of a piece."""

    def setup_function(self, description: Any) -> None:
        """Begin the function."""
        description.mangled_name += _MARK
        self.function = _declare(self.context, self.module, description)
        self.function.linkage = "linkonce_odr"  # what Numba makes of a function before it links it
        self.entry_block = self.function.append_basic_block("entry")
        self.builder = llvm.IRBuilder(self.entry_block)
        self.call_helper = self.call_conv.init_call_helper(self.builder)

    def extract_function_arguments(self) -> Sequence[Any]:
        """Return the arguments."""
        rest = list(self.function.args)
        self.result = rest.pop(0) if _result_in_memory(self.context, self.fndesc) else None
        self.fnargs: list[Any] = []
        for kind in self.fndesc.argtypes:
            packer = _packer(self.context, kind)
            count = len(packer.argument_types) if packer else 1
            values, rest = rest[:count], rest[count:]
            self.fnargs += packer.from_arguments(self.builder, tuple(values)) if packer else values
        return self.fnargs

    def lower_inst(self, instruction: Any) -> None:
        """Lower a statement."""
        if not isinstance(instruction, ir.Return):
            super().lower_inst(instruction)
            return
        value = self.loadvar(instruction.value.name)
        if self.result is None:
            self.builder.ret(value)
        else:
            self.builder.store(value, self.result)
            self.builder.ret_void()


def piece_call(description: Any, libraries: Sequence[Any]) -> Any:
    """Return what lowers a call of a piece. ``libraries`` contain its code."""

    def call(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        function = _declare(context, builder.module, description)
        values: list[Any] = []
        for kind, value in zip(description.argtypes, arguments, strict=True):
            packer = _packer(context, kind)
            values += packer.as_arguments(builder, [value]) if packer else [value]
        if not _result_in_memory(context, description):
            return builder.call(function, values)
        result = cgutils.alloca_once(builder, context.get_value_type(description.restype))
        builder.call(function, [result, *values])
        return builder.load(result)

    call.signature = description.argtypes  # type: ignore[attr-defined]
    call.libs = tuple(libraries)  # type: ignore[attr-defined]
    return call


def _declare(context: Any, module: Any, description: Any) -> Any:
    arguments: list[Any] = []
    for kind in description.argtypes:
        packer = _packer(context, kind)
        arguments += packer.argument_types if packer else [context.get_value_type(kind)]
    result = context.get_value_type(description.restype)
    in_memory = _result_in_memory(context, description)
    if in_memory:
        arguments, result = [result.as_pointer(), *arguments], llvm.VoidType()
    name = description.mangled_name
    function = cgutils.get_or_insert_function(module, llvm.FunctionType(result, arguments), name)
    function.attributes.add("alwaysinline")
    if in_memory:
        function.args[0].add_attribute("noalias")
    return function


def _result_in_memory(context: Any, description: Any) -> bool:
    """Whether the result is in memory of the caller: not a number or a vector."""
    return isinstance(context.get_value_type(description.restype), llvm.Aggregate)


def _packer(context: Any, kind: Any) -> Any:
    """What splits a tuple into its numbers; None for a record of arrays and for all else.

    A loop often computes tuples. LLVM would keep all numbers of one, also those that nothing needs.
    """
    tuples = isinstance(kind, types.BaseTuple) and not _has_arrays(kind)
    return context.get_arg_packer((kind,)) if tuples else None


def _has_arrays(kind: Any) -> bool:
    if isinstance(kind, types.BaseTuple):
        return any(_has_arrays(each) for each in kind)
    return isinstance(kind, types.Array)


def _is_piece(function: Any) -> bool:
    return bool(function.name.endswith(_MARK))


def _stop(builder: Any) -> None:
    kind = llvm.FunctionType(llvm.VoidType(), ())
    builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.trap"), ())
    builder.unreachable()
