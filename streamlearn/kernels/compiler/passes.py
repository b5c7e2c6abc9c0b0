"""Numba's passes without work that a function that counts no references has no use for.

Numba computes anew which variables are alive after each pass, only to know where references end.
"""

from __future__ import annotations

from typing import Any

from numba.core import interpreter
from numba.core.compiler_machinery import PassManager, register_pass
from numba.core.ir_utils import build_definitions
from numba.core.rewrites import rewrite_registry
from numba.core.ssa import reconstruct_ssa
from numba.core.transforms import canonicalize_cfg
from numba.core.typed_passes import PreLowerStripPhis
from numba.core.untyped_passes import GenericRewrites, ReconstructSSA, TranslateByteCode


class Passes(PassManager):
    """A list of passes that run without events, timings and checks of each other's work."""

    def _runPass(self, index: int, each: Any, state: Any) -> None:
        each.analysis = self._analysis
        each.run_initialization(state)
        each.run_pass(state)
        each.run_finalizer(state)


class _Interpreter(interpreter.Interpreter):
    """Numba's interpreter of bytecode, without searches for ``with`` and ``dict``: kernels have none."""

    def post_process(self, peepholes: Any, func_ir: Any) -> Any:
        """Simplify what Python's compiler writes."""
        needless = interpreter.peep_hole_delete_with_exit, interpreter.peep_hole_fuse_dict_add_updates
        return super().post_process([each for each in peepholes if each not in needless], func_ir)


@register_pass(mutates_CFG=True, analysis_only=False)
class Translate(TranslateByteCode):
    """Translate bytecode to Numba's own code."""

    _name = "translate"

    def run_pass(self, state: Any) -> bool:
        """Run the pass."""
        state.func_ir = _Interpreter(state.func_id).interpret(state.bc)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class Rewrites(GenericRewrites):
    """Rewrite what has a constant index or exponent."""

    _name = "rewrites"

    def run_pass(self, state: Any) -> bool:
        """Apply all rewrites to all blocks. Also give each loop one way back."""
        blocks = state.func_ir.blocks = canonicalize_cfg(state.func_ir.blocks)
        for kind in rewrite_registry.rewrites["before-inference"]:
            rewrite = kind(state)
            for offset in list(blocks):
                while rewrite.match(state.func_ir, blocks[offset], state.typemap, state.calltypes):
                    blocks[offset] = rewrite.apply()
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class SingleAssignments(ReconstructSSA):
    """Give each assignment of a variable a variable of its own."""

    _name = "single_assignments"

    def run_pass(self, state: Any) -> bool:
        """Run the pass."""
        state.func_ir = reconstruct_ssa(state.func_ir)
        self._patch_locals(state)
        state.func_ir._definitions = build_definitions(state.func_ir.blocks)
        return True


@register_pass(mutates_CFG=True, analysis_only=False)
class NoPhis(PreLowerStripPhis):
    """Replace phis by assignments."""

    _name = "no_phis"

    def run_pass(self, state: Any) -> bool:
        """Run the pass."""
        state.func_ir = self._strip_phi_nodes(state.func_ir)
        state.func_ir._definitions = build_definitions(state.func_ir.blocks)
        return True
