"""R3: the same samples make the same model in another process and on another CPU, bit for bit."""

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


def elsewhere(**environment: str) -> dict[str, list[str]]:
    """The hashes that a fresh process finds."""
    command = [sys.executable, "-m", "tests.conformance.hashes"]
    env = {**os.environ, **environment}
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.fixture(scope="module")
def here() -> dict[str, list[str]]:
    return hashes()


def test_again_in_this_process(here):
    assert hashes() == here


def test_in_another_process(here):
    assert elsewhere(PYTHONHASHSEED="12345") == here


def test_on_a_cpu_without_extensions(here):
    """LLVM's generic CPU: no AVX and no FMA instruction, so vectors are split and fma is computed."""
    generic = elsewhere(NUMBA_CPU_NAME="generic")
    assert generic.keys() == SPECS.keys()
    assert {name: pair for name, pair in generic.items() if pair != here[name]} == {}


def test_examples_differ(here):
    """The hash tells models apart."""
    assert len({state for state, _, _ in here.values()}) == len(here)
