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
from numba.core.compiler import CompilerBase, DefaultPassBuilder
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.typed_passes import NativeLowering

PIECE: dict[str, Any] = {"forceinline": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
ENTRY_POINT: dict[str, Any] = {"no_cfunc_wrapper": True}


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


class PieceCompiler(CompilerBase):
    """Numba's compiler with `PieceLowering`."""

    def define_pipelines(self) -> list[PassManager]:
        """Return the passes in order."""
        return [_passes(self.state, PieceLowering)]


class EntryPointCompiler(CompilerBase):
    """Numba's compiler with `EntryPointLowering`."""

    def define_pipelines(self) -> list[PassManager]:
        """Return the passes in order."""
        return [_passes(self.state, EntryPointLowering)]


def _passes(state: Any, lowering: type[NativeLowering]) -> PassManager:
    """Numba's passes, with ``lowering`` in the place of Numba's."""
    passes = PassManager(lowering._name)
    for each, description in DefaultPassBuilder.define_nopython_pipeline(state).passes:
        passes.add_pass(lowering if each is NativeLowering else each, description)
    passes.finalize()
    return passes
