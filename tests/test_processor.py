"""The processor that kernels are compiled for, and caches that other machines can use."""

from __future__ import annotations

import os
import platform
import subprocess
import sys

import pytest

from streamlearn import processor

# The lines "flags" of three machines, without what decides no level.
OLD = "fpu sse sse2"
ATOM = f"{OLD} cx16 lahf_lm popcnt sse4_1 sse4_2 ssse3"
HASWELL = f"{ATOM} abm avx avx2 bmi1 bmi2 f16c fma movbe xsave"
SKYLAKE_X = f"{HASWELL} avx512f avx512bw avx512cd avx512dq avx512vl"
ODD = f"{OLD} avx512f avx512bw avx512cd avx512dq avx512vl"  # a virtual machine that hides the lower levels


def cpuinfo(flags: str) -> str:
    return f"processor\t: 0\nmodel name\t: some: name\nflags\t\t: {flags}\nbugs\t\t: spectre_v1\n\n"


@pytest.mark.parametrize(
    ("flags", "level"),
    [
        (OLD, "x86-64"),
        (ATOM, "x86-64-v2"),
        (HASWELL, "x86-64-v3"),
        (SKYLAKE_X, "x86-64-v4"),
        (ODD, "x86-64"),
    ],
)
def test_the_highest_level_that_a_processor_has(monkeypatch, flags, level):
    monkeypatch.setattr(platform, "machine", lambda: "x86_64")
    assert processor.highest_level(cpuinfo(flags)) == level


def test_arm64_has_one_level(monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    assert processor.choices() == ["native", "portable", "generic"]
    assert processor.highest_level("Features\t: fp asimd\n") == "generic"


def run(command: list[str], **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, env=os.environ | variables, capture_output=True, text=True)


def test_a_wrong_name_is_refused_with_those_that_exist():
    done = run([sys.executable, "-m", "streamlearn", "verify", "nowhere"], STREAMLEARN_PROCESSOR="haswell")
    assert done.returncode == 2
    assert "STREAMLEARN_PROCESSOR is 'haswell'; expected one of native, portable, " in done.stderr


CACHE = """
from streamlearn import processor
processor.choose()
from streamlearn.kernels.compiler import cache
path = cache.installation_path  # executes the module, which would set again what is set before
cache._this_machine = lambda: "another"
print(path().name)
"""
"""Prints where the cache of a machine with another processor is."""


def test_kernels_for_a_level_are_found_by_machines_of_another_type():
    level = processor.highest_level()
    other = CACHE.splitlines()
    same = "\n".join(line for line in other if "another" not in line)
    found = [
        run([sys.executable, "-c", program], STREAMLEARN_PROCESSOR=wanted).stdout
        for wanted in (level, "portable", "native")
        for program in (same, CACHE)
    ]
    assert all(found)
    assert len(set(found[:4])) == 1
    assert len({found[0], *found[4:]}) == 3
