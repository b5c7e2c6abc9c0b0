"""What Numba does with a function after type inference: one pipeline for pieces, one for entry points.

Numba optimises every function by itself and emits machine code for it. A piece is always inlined into entry
points, which are optimised afterwards. So a piece is translated to LLVM code and no further: no optimisation,
no machine code, no wrapper for a call from Python. This halves the time of a compilation.

Numba's cache holds machine code and LLVM code of an entry point. The LLVM code would only be needed to inline
the entry point into another function. Each start would read it and keep it in memory. So the cache holds
empty functions of the same names instead.

`PieceCompiler` and `EntryPointCompiler` are values of ``pipeline_class`` of ``numba.njit``.
"""

from __future__ import annotations

from typing import Any

from llvmlite import binding as llvm
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler import CompilerBase, Flags
from numba.core.compiler_machinery import PassManager, register_pass
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
    TranslateByteCode,
)

PIECE: dict[str, Any] = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
ENTRY_POINT: dict[str, Any] = {"no_cfunc_wrapper": True}

# Numba's passes up to the lowering. Those are left out that kernels have no use for: context managers,
# closures and comprehensions, functions that Numba inlines, literal arguments, and a listing of the types.
PASSES = (
    TranslateByteCode,
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


class PieceLibrary(JITCodeLibrary):
    """LLVM code of a piece and of the pieces that it calls."""

    def _optimize_functions(self, ll_module: Any) -> None:
        """Set the data layout, as Numba's method does, and do nothing else."""
        ll_module.data_layout = self._codegen._data_layout

    def _optimize_final_module(self) -> None:
        """Do nothing. The entry point that the piece is inlined into is optimised."""

    def _finalize_final_module(self) -> None:
        """Check the code as Numba's method does, but emit no machine code."""
        self._finalize_dynamic_globals()
        self._verify_declare_only_symbols()
        self._finalized = True


class EntryPointLibrary(JITCodeLibrary):
    """LLVM code and machine code of an entry point with its pieces."""

    def _optimize_final_module(self) -> None:
        """Optimise once. Numba's method does it twice, to remove reference counts in between."""
        passes, builder = self._codegen._module_pass_manager()
        passes.run(self._final_module, builder)

    def serialize_using_object_code(self) -> tuple[str, str, tuple[bytes, bytes]]:
        """Return what the cache stores: machine code, and empty functions in place of the LLVM code."""
        name, kind, (machine_code, _) = super().serialize_using_object_code()
        defined = "".join(
            f'define void @"{each.name}"() {{ ret void }}\n' for each in self.get_defined_functions()
        )
        return name, kind, (machine_code, llvm.parse_assembly(defined).as_bitcode())


@register_pass(mutates_CFG=True, analysis_only=False)
class PieceLowering(NativeLowering):
    """Numba's lowering into a `PieceLibrary`."""

    _name = "piece_lowering"

    def run_pass(self, state: Any) -> bool:
        """Lower the piece and declare it to Numba."""
        state.library = PieceLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.flags.no_compile = True
        super().run_pass(state)
        empty: list[None] = []
        key = empty.remove  # Numba identifies a function by a built-in of its own. This one raises if called
        state.targetctx.insert_user_function(key, state.cr.fndesc, [state.library])
        state.reload_init.extend(state.library._reload_init)
        state.cr = state.cr._replace(cfunc=key)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class EntryPointLowering(NativeLowering):
    """Numba's lowering into an `EntryPointLibrary`."""

    _name = "entry_point_lowering"

    def run_pass(self, state: Any) -> bool:
        """Lower the entry point."""
        state.library = EntryPointLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().run_pass(state)


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
        super().__init__(typing, target, library, arguments, return_type, _Flags(flags), local_types)

    def define_pipelines(self) -> list[PassManager]:
        """Return the passes in order."""
        passes = PassManager(self.lowering._name)
        for each in (*PASSES, self.lowering, NoPythonBackend):
            passes.add_pass(each, each._name)
        passes.finalize()
        return [passes]


class PieceCompiler(_Compiler):
    """The compiler of pieces."""

    lowering = PieceLowering


class EntryPointCompiler(_Compiler):
    """The compiler of entry points."""

    lowering = EntryPointLowering
