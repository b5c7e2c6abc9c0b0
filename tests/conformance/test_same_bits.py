"""R3: the same samples give the same state, bit for bit, in another process and on another CPU."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conformance.examples import SPECS
from tests.conformance.hashes import hashes

ROOT = Path(__file__).parents[2]


def hashes_in_new_process(**environment: str) -> dict[str, list[str]]:
    """Return the hashes of all examples, computed by a new process."""
    command = [sys.executable, "-m", "tests.conformance.hashes"]
    env = {**os.environ, **environment}
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def reference() -> dict[str, list[str]]:
    return hashes()


def test_same_in_this_process_again(reference):
    assert hashes() == reference


def test_same_in_another_process(reference):
    """There glibc overwrites memory that a kernel frees, and unmaps large arrays: no kernel may use it later.

    Numba frees an array after the last use of its name in an entry point. A view of it may be in use.
    """
    overwrites = {"MALLOC_PERTURB_": "165", "MALLOC_MMAP_THRESHOLD_": "1024"}
    assert hashes_in_new_process(PYTHONHASHSEED="12345", **overwrites) == reference


def test_same_on_a_cpu_without_extensions(reference):
    """LLVM's generic CPU has no AVX and no FMA: it splits vectors and emulates fma."""
    generic = hashes_in_new_process(NUMBA_CPU_NAME="generic")
    assert generic.keys() == SPECS.keys()
    assert {name: pair for name, pair in generic.items() if pair != reference[name]} == {}


def test_different_examples_have_different_hashes(reference):
    assert len({state for state, _, _ in reference.values()}) == len(reference)
