"""Memory of a library's code is given back, and the library still works."""

from __future__ import annotations

from pathlib import Path

from llvmlite import binding as llvm

from streamlearn.daemon.kernels import LLVM
from streamlearn.daemon.limits.system_memory import release_code

SOURCE = 'define i64 @"twice"(i64 %x) { %y = add i64 %x, %x ret i64 %y }'


def _compile() -> str:
    """Compile a function with LLVM, and return its assembly."""
    module = llvm.parse_assembly(SOURCE.replace(") {", ") {\n").replace("%y ret", "%y\n ret"))
    module.verify()
    return str(llvm.Target.from_default_triple().create_target_machine().emit_assembly(module))


def _resident_code() -> int:
    """Return the resident bytes of LLVM's code."""
    total, is_code = 0, False
    for line in Path("/proc/self/smaps").read_text().splitlines():
        fields = line.split()
        if not fields[0].endswith(":"):
            is_code = fields[1] == "r-xp" and LLVM in line
        elif is_code and fields[0] == "Rss:":
            total += int(fields[1]) << 10
    return total


def test_code_that_was_given_back_runs_again() -> None:
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    before = _compile()
    resident = _resident_code()
    assert resident > 1 << 20
    release_code(LLVM)
    assert _resident_code() < resident / 4
    assert _compile() == before
    release_code("no library of this name")
