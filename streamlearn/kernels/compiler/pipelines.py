"""What Numba does with a function: one pipeline for pieces, one for entry points, and how kernels call them.

Numba optimises every function by itself and emits machine code for it. A piece is always inlined into entry
points, which are optimised afterwards. So a piece is translated to LLVM code and no further: no optimisation,
no machine code, no wrapper for a call from Python. This halves the time of a compilation.

Numba's cache holds machine code and LLVM code of an entry point. The LLVM code would only be needed to inline
the entry point into another function. Each start would read it and keep it in memory. So the cache holds
empty functions of the same names instead.

A called kernel is an entry point that other kernels call too. Each of them would otherwise contain its code,
and compile it again. They contain its name only. The name stands for an address in this process, which
LLVM looks up when it loads a kernel that calls it.

A process that only compiles for others translates kernels, and leaves the rest of each to a fork (`finish`).
It cannot call kernels.

`PieceCompiler` and `EntryPointCompiler` are values of ``pipeline_class`` of ``numba.njit``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from copy import copy
from functools import partial
from typing import Any

from llvmlite import binding as llvm
from numba.core import types
from numba.core.cgutils import normalize_ir_text
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, Flags
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.lowering import Lower
from numba.core.registry import CPUDispatcher
from numba.core.typed_passes import (
    IRLegalization,
    NativeLowering,
    NoPythonBackend,
    NopythonRewrites,
    NopythonTypeInference,
    PreLowerStripPhis,
)
from numba.core.untyped_passes import (
    DeadBranchPrune,
    FixupArgs,
    GenericRewrites,
    IRProcessing,
    ReconstructSSA,
    RewriteSemanticConstants,
)

from .indexing import kernel_context
from .lowering import KernelLower, PieceLower, piece_call
from .passes import NoPhis, Passes, Rewrites, SingleAssignments, Translate
from .resolution import kernel_typing
from .stored import StoredKernels

PIECE: dict[str, Any] = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
ENTRY_POINT: dict[str, Any] = {"no_cfunc_wrapper": True}

# Numba's passes up to the lowering. Those are left out that kernels have no use for: context managers,
# closures and comprehensions, functions that Numba inlines, literal arguments, and a listing of the types.
COUNTING_PASSES = (
    Translate,
    FixupArgs,
    IRProcessing,
    RewriteSemanticConstants,
    DeadBranchPrune,
    GenericRewrites,
    ReconstructSSA,
    NopythonTypeInference,
    PreLowerStripPhis,
    NopythonRewrites,
    IRLegalization,
)
PASSES = (  # of a function that counts no references
    Translate,
    FixupArgs,
    RewriteSemanticConstants,
    DeadBranchPrune,
    Rewrites,
    SingleAssignments,
    NopythonTypeInference,
    NoPhis,
)

finish: Callable[[Callable[[], None]], None] | None = None  # what optimises and stores, if not this process
_NO_ADDRESS = 1  # of code that this process does not have


def new_key() -> Callable[..., Any]:
    """A built-in function of its own, by which Numba identifies a function. It raises if it is called."""
    empty: list[None] = []
    return empty.remove


class _Library(JITCodeLibrary):
    """LLVM code whose functions are not optimised one by one."""

    def _optimize_functions(self, ll_module: Any) -> None:
        """Set the data layout, as Numba's method does, and do nothing else."""
        ll_module.data_layout = self._codegen._data_layout

    def add_ir_module(self, ir_module: Any) -> None:
        """Add code. Numba's method verifies it too; `finalize` of an entry point verifies all of its code."""
        self._raise_if_finalized()
        module = llvm.parse_assembly(normalize_ir_text(str(ir_module)))
        module.name = ir_module.name
        self.add_llvm_module(module)


class PieceLibrary(_Library):
    """LLVM code of a piece, which names the pieces that it calls."""

    def add_llvm_module(self, ll_module: Any) -> None:
        """Hold the code, without a copy."""
        self._optimize_functions(ll_module)
        self._final_module = ll_module

    def finalize(self) -> None:
        """Add nothing afterwards. The pieces that it calls are added to what is optimised, each once."""
        self._raise_if_finalized()
        self._finalize_dynamic_globals()
        self._finalized = True


class EntryPointLibrary(_Library):
    """LLVM code and machine code of an entry point with its pieces."""

    def _optimize_final_module(self) -> None:
        """Optimise once. Numba's method does it twice, to remove reference counts in between.

        Loops are not unrolled. Those over lanes are written out, and copies of other loops' bodies were a
        third of the code and no faster.
        """
        options = llvm.create_pipeline_tuning_options(speed_level=2)
        options.slp_vectorization = options.loop_unrolling = False
        builder = llvm.create_pass_builder(self._codegen._tm, options)
        passes = builder.getModulePassManager()
        passes.add_refprune_pass()
        passes.run(self._final_module, builder)

    def serialize_using_object_code(self) -> tuple[str, str, tuple[bytes, bytes]]:
        """Return what the cache stores: machine code, and empty functions in place of the LLVM code."""
        name, kind, (machine_code, _) = super().serialize_using_object_code()
        defined = "".join(
            f'define void @"{each.name}"() {{ ret void }}\n' for each in self.get_defined_functions()
        )
        return name, kind, (machine_code, llvm.parse_assembly(defined).as_bitcode())


class _KernelLowering(NativeLowering):
    """Numba's lowering, and another one for functions that count no references."""

    lowering_class: type[Lower] = Lower
    without_counts: type[Lower]

    def run_pass(self, state: Any) -> bool:
        """Lower the function."""
        self.lowering_class = Lower if state.targetctx.enable_nrt else self.without_counts
        return super().run_pass(state)


@register_pass(mutates_CFG=True, analysis_only=False)
class PieceLowering(_KernelLowering):
    """Lowering into a `PieceLibrary`."""

    _name = "piece_lowering"
    without_counts = PieceLower

    def run_pass(self, state: Any) -> bool:
        """Lower the piece and declare it to Numba."""
        state.library = PieceLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        key = new_key()
        pieces = [state.library, *dict.fromkeys(state.library._linking_libraries)]  # callers first
        if state.targetctx.enable_nrt:
            state.targetctx.insert_user_function(key, state.cr.fndesc, pieces)
        else:
            call = piece_call(state.cr.fndesc, pieces)
            state.targetctx.insert_func_defn([(call, key, call.signature)])
        state.reload_init.extend(state.library._reload_init)
        state.cr = state.cr._replace(cfunc=key)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class EntryPointLowering(_KernelLowering):
    """Lowering into an `EntryPointLibrary`."""

    _name = "entry_point_lowering"
    without_counts = KernelLower

    def run_pass(self, state: Any) -> bool:
        """Lower the entry point."""
        state.library = EntryPointLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        state.flags.no_compile = finish is not None
        super().run_pass(state)
        if finish is not None:
            state.cr = state.cr._replace(cfunc=new_key())
        return True


class KernelCache(StoredKernels):
    """A cache that stores what is compiled."""

    def save_overload(self, sig: Any, data: Any) -> None:
        """Store a compiled function. It is optimised first, if it is only translated."""
        save = partial(super().save_overload, sig, data)
        if finish is None:
            save()
        else:
            finish(save)


class _Flags(Flags):
    """Numba's flags, which it compares some hundred times per function, with a quick comparison."""

    def __hash__(self) -> int:
        return _HASH

    def __eq__(self, other: object) -> bool:
        return self._options() == other._options() if isinstance(other, _Flags) else super().__eq__(other)

    def _options(self) -> tuple[Any, ...]:
        return tuple(map(self._values.get, _NAMES, _DEFAULTS))


_HASH = hash(Flags())  # Numba's hash is that of the options' names, so it is the same for all flags
_NAMES, _DEFAULTS = zip(*((name, option.default) for name, option in Flags.options.items()), strict=True)


class _Compiler(CompilerBase):
    """Numba's compiler with one of the lowerings above."""

    lowering: type[NativeLowering]

    def __init__(
        self,
        typing: Any,
        target: Any,
        library: Any,
        arguments: Any,
        return_type: Any,
        flags: Flags,
        local_types: Any,
    ) -> None:
        super().__init__(
            kernel_typing(typing),
            kernel_context(target),
            library,
            arguments,
            return_type,
            _Flags(flags),
            local_types,
        )

    def define_pipelines(self) -> list[PassManager]:
        """Return the passes in order."""
        passes = Passes(self.lowering._name)
        before = COUNTING_PASSES if self.state.targetctx.enable_nrt else PASSES
        for each in (*before, self.lowering, NoPythonBackend):
            passes.add_pass(each, each._name)
        passes.finalize()
        return [passes]


class PieceCompiler(_Compiler):
    """The compiler of pieces."""

    lowering = PieceLowering


class EntryPointCompiler(_Compiler):
    """The compiler of entry points."""

    lowering = EntryPointLowering


class Piece(CPUDispatcher):
    """A piece, compiled for the types of its arguments.

    Numba would compile it again for each constant that it is called with. It is inlined, so LLVM knows the
    constants anyway.
    """

    def __init__(self, function: Callable[..., Any], options: dict[str, Any]) -> None:
        super().__init__(function, targetoptions={"nopython": True} | options, pipeline_class=PieceCompiler)

    def get_call_template(self, args: Sequence[types.Type], kws: dict[str, types.Type]) -> Any:
        """Compile the piece unless it is compiled for these types. Return what Numba needs to call it."""
        named = {name: types.unliteral(each) for name, each in kws.items()}
        return super().get_call_template([types.unliteral(each) for each in args], named)


class CalledKernel(CPUDispatcher):
    """An entry point that other kernels call by an address. `declare` names the address."""

    key: Any = None
    ready: Callable[[], None]  # compiles or loads it

    def declare(self) -> None:
        """Give the compiled function its name in this process, and declare it to Numba without its code."""
        (result,) = self.overloads.values()
        function = copy(result.fndesc)
        function.mangled_name = f"{self.py_func.__module__}.{self.py_func.__name__}"
        address = _NO_ADDRESS
        if finish is None:
            address = result.library.get_pointer_to_function(result.fndesc.llvm_func_name)
        llvm.add_symbol(function.mangled_name, address)
        self.key = new_key()
        self.targetctx.insert_user_function(self.key, function, [])

    def get_call_template(self, args: Sequence[types.Type], kws: dict[str, types.Type]) -> Any:
        """Compile or load the kernel. Return what Numba needs to call it."""
        self.ready()
        return super().get_call_template(args, kws)

    def get_overload(self, sig: Any) -> Any:
        """Return what identifies the function to Numba."""
        return self.key
