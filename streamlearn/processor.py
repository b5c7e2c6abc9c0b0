"""The processor that kernels are compiled for: this machine's own type, or a level that many types share.

By default the compiler uses everything that this machine's processor has, and compiled kernels are of use on
processors of the same type only. With ``STREAMLEARN_PROCESSOR=portable`` it compiles for the highest *level*
that the processor has: on x86-64 the levels of the psABI (x86-64-v2, v3 and v4), on arm64 the common base.
Kernels that ``streamlearn warmup`` compiled for that level, for example in a container image, are then of use
on every processor that has it. The level does not change a result, only the speed.

This module must be imported before Numba, which reads its settings once. It imports no other module.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

VARIABLE = "STREAMLEARN_PROCESSOR"
NATIVE, PORTABLE = "native", "portable"

ARM64 = "generic"  # LLVM's name of the base that every 64-bit ARM processor has
# Features by level, as Linux names them. A level includes those before it.
# Source: x86-64 psABI 1.0, table 3.1.
LEVELS: dict[str, frozenset[str]] = {
    "x86-64-v2": frozenset({"cx16", "lahf_lm", "popcnt", "sse4_1", "sse4_2", "ssse3"}),
    "x86-64-v3": frozenset({"abm", "avx", "avx2", "bmi1", "bmi2", "f16c", "fma", "movbe", "xsave"}),
    "x86-64-v4": frozenset({"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl"}),
}


class UnknownProcessor(ValueError):
    """The value of ``STREAMLEARN_PROCESSOR`` is not one of `choices`."""


def levels() -> list[str]:
    """The levels that kernels can be compiled for on this architecture, lowest first."""
    return [ARM64] if platform.machine() == "aarch64" else ["x86-64", *LEVELS]


def choices() -> list[str]:
    """The values that ``STREAMLEARN_PROCESSOR`` may have on this architecture."""
    return [NATIVE, PORTABLE, *levels()]


def highest_level(cpuinfo: str | None = None) -> str:
    """The highest level that this processor has.

    Parameters
    ----------
    cpuinfo : str, optional
        The text of ``/proc/cpuinfo``.
    """
    highest, *above = levels()
    if above:
        text = Path("/proc/cpuinfo").read_text() if cpuinfo is None else cpuinfo
        lines = (line.partition(":") for line in text.splitlines())
        has = next((set(value.split()) for name, _, value in lines if name.strip() == "flags"), set())
        for level in above:
            if not LEVELS[level] <= has:
                break
            highest = level
    return highest


def choose() -> None:
    """Tell Numba, by its environment variables, what ``STREAMLEARN_PROCESSOR`` asks for.

    Raises
    ------
    UnknownProcessor
        If the variable has a value that is not one of `choices`.
    """
    wanted = os.environ.get(VARIABLE, NATIVE)
    if wanted not in choices():
        raise UnknownProcessor(f"{VARIABLE} is {wanted!r}; expected one of {', '.join(choices())}")
    if wanted != NATIVE:
        compile_for(highest_level() if wanted == PORTABLE else wanted)


def compile_for(level: str) -> None:
    """Let Numba compile for ``level`` in this process and in processes that it starts."""
    os.environ["NUMBA_CPU_NAME"] = level
    os.environ["NUMBA_CPU_FEATURES"] = ""  # those of the level, not those of this machine
