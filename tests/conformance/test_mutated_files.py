"""Damaged and foreign model files: each is refused, or its model can be used. No crash, no hang.

``mutations.py`` makes the files and loads them, in processes of its own, so that a crash is reported with the
seed of its file. ``python -m tests.conformance.mutations SEED SEED+1`` repeats one file. For a long campaign:
``pytest tests/conformance/test_mutated_files.py --mutated-files 100000 --timeout 36000``.
"""

from __future__ import annotations

import json
import os
import queue
import subprocess
import sys
import threading
import tracemalloc
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise

import numpy as np
import pytest

import streamlearn as sl
from streamlearn import models
from streamlearn.errors import BadCheckpoint
from streamlearn.store import tensors
from tests.conformance import mutations
from tests.conformance.examples import EXAMPLES, IN_SECONDS, SPECS, make, stream

SILENCE = 120.0  # seconds without a line of output: the process hangs


def lines_of(process: subprocess.Popen[str]) -> Iterator[str | None]:
    """Yield the lines that a process prints; None if it prints none for too long."""
    lines: queue.Queue[str | None] = queue.Queue()

    def read() -> None:
        assert process.stdout is not None
        for line in process.stdout:
            lines.put(line.strip())
        lines.put("end")

    threading.Thread(target=read, daemon=True).start()
    while True:
        try:
            line = lines.get(timeout=SILENCE)
        except queue.Empty:
            yield None
            return
        if line == "end":
            return
        yield line


def load_files(first: int, stop: int) -> tuple[list[str], int]:
    """Load the files with seeds ``first`` … ``stop − 1`` in a process.

    Return descriptions of wrong results, and the number of files that were accepted.
    """
    faults, loaded = [], 0
    while first < stop:
        command = [sys.executable, "-m", "tests.conformance.mutations", str(first), str(stop)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
            seed, ended = first, False
            for line in lines_of(process):
                if line is None:
                    faults.append(f"seed {seed}: hangs")
                    process.kill()
                    break
                kind, *words = line.split(" ", 2)
                if kind == "seed":
                    seed = int(words[0])
                elif kind == "fault":
                    faults.append(f"seed {seed}: {words[1]}")
                loaded += kind == "loaded"
                ended = kind == "done"
            if not ended and process.wait() != 0:
                _, error = process.communicate()
                faults.append(f"seed {seed}: exit code {process.returncode}, {error.strip()[-300:]}")
        first = stop if ended else seed + 1
    return faults, loaded


def test_mutated_files_are_refused_or_can_be_used(mutated_files):
    workers = min(os.cpu_count() or 1, 1 + mutated_files // 10_000)
    bounds = [mutated_files * part // (8 * workers) for part in range(8 * workers + 1)]
    bounds = bounds if workers > 1 else [0, mutated_files]
    with ThreadPoolExecutor(workers) as pool:
        results = list(pool.map(lambda pair: load_files(*pair), pairwise(bounds)))
    faults = [fault for found, _ in results for fault in found]
    assert not faults, f"{len(faults)} faults: " + "\n".join(faults[:20])
    assert sum(loaded for _, loaded in results) > mutated_files // 20


def test_every_mutation_changes_files():
    changed = set()
    for seed in range(400):
        data, file, mutation, _ = mutations.mutated(seed)
        if file != data:
            changed.add(mutation)
    assert changed == {mutation.__name__ for mutation in mutations.MUTATIONS}


LARGE = {
    "som": {"grid": [3000, 3000]},
    "competitive": {"units": 1 << 23},
    "gng": {"max_units": 8192},
    "rnn": {"readout": "adam", "hidden": 2000},
    "birnn": {"hidden": 1500},
    "grossberg": {"layers": [[1 << 20]]},
    "hamming": {"units": 1 << 20},
    "malsburg": {"sheet": 500},
    "cognitron": {"dim": 1 << 20, "shape": None},
}


@pytest.mark.parametrize("kind", models.kinds())
def test_a_small_file_with_a_large_spec_raises_before_memory_is_allocated(kind, tmp_path):
    model = models.create(kind, EXAMPLES[kind].usual)
    spec = model.spec_dict() | LARGE[kind]
    models.kinds()[kind].Spec(**spec)  # valid
    metadata = {**model.metadata(), "spec": json.dumps(spec)}
    (tmp_path / "file").write_bytes(tensors.encode(model.state, metadata))
    tracemalloc.start()
    try:
        with pytest.raises(BadCheckpoint, match="the arrays have far fewer"):
            sl.load(tmp_path / "file")
        assert tracemalloc.get_traced_memory()[1] < 8 << 20
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("example", SPECS)
def test_no_spec_needs_far_more_than_the_values_of_its_state(example):
    model = make(example)
    assert model.spec.state_values <= 8 * sum(array.size for array in model.state.values())


# the declared ranges


@pytest.mark.parametrize("example", SPECS)
def test_every_integer_array_has_a_range_that_learning_does_not_leave(example):
    model = make(example)
    integers = {name for name, array in model.state.items() if array.dtype.kind in "iu"}
    assert integers <= model.ranges.keys()
    for start in range(12):
        model.learn(**stream(model, 7, seed=start))
        model.adopt(model.copy_state())


@pytest.mark.parametrize("example", SPECS)
def test_values_beyond_a_range_raise_and_change_nothing(example):
    model = make(example)
    model.learn(**stream(model, 30))
    before = model.state_hash()
    for name in model.ranges.keys() & model.state.keys():
        array = model.state[name]
        low, high = (np.broadcast_to(limit, array.shape) for limit in model.ranges[name])
        for place in np.ndindex(array.shape[:1] if array.size > 20 else array.shape):
            at = (*place, *[0] * (array.ndim - len(place)))
            if array.dtype.kind == "f":
                beyond = [-np.inf, np.inf, np.nan]
            else:
                limits = np.iinfo(array.dtype)
                beyond = [v for v in (int(low[at]) - 1, int(high[at]) + 1) if limits.min <= v <= limits.max]
            for value in beyond:
                state = model.copy_state()
                state[name][at] = value
                with pytest.raises(BadCheckpoint, match=f"'{name}'"):
                    model.adopt(state)
    assert model.state_hash() == before


# Changes of single values within their ranges: (kind, changes to the usual spec, array, place, new value).
CONTRADICTIONS = {
    "more pairs than the window": ("rnn", {"readout": "adam", "tbptt": (4, 4)}, "progress", (0, 0), 0),
    "a symbol that does not exist": (
        "rnn",
        {"readout": "adam", "dim": 1, "symbols": 20, "loss": "cross_entropy"},
        "window",
        (0, 0, 0, 1),
        20,
    ),
    "half a symbol": (
        "rnn",
        {"readout": "adam", "dim": 1, "symbols": 20, "loss": "cross_entropy"},
        "window",
        (0, 0, 0, 1),
        0.5,
    ),
    "a key twice": ("rnn", {"readout": "adam", "keys": 3}, "keys.table", (0,), 0),
    "a key of a later sample": ("rnn", {"readout": "adam", "keys": 3}, "keys.last_sample", (0,), 30),
    "a part of a chunk": ("birnn", {"target": "later", "delay": 9}, "waiting.predicted", (0,), 1),
    "more samples than a chunk and its context": ("birnn", {"keys": 3}, "waiting", (0,), 6),
    "a class that does not exist": (
        "birnn",
        {"classes": 3, "loss": "cross_entropy"},
        "waiting.y",
        (0, 0, 0),
        3,
    ),
    "a symbol of a waiting sample that does not exist": (
        "birnn",
        {"dim": 1, "symbols": 20, "classes": 3, "loss": "cross_entropy"},
        "waiting.x",
        (0, 0, 0),
        -1,
    ),
    "a unit beyond the count": ("gng", {}, "pad", (0, 15), 0),
    "no unit within the count": ("gng", {}, "pad", (0, 0), np.inf),
    "an edge in one direction": ("gng", {}, "edges", (0, 1), 3),
    "an edge to itself": ("gng", {}, "edges", (1, 1), 0),
    "a window of another length": ("som", {"drift": "adwin"}, "drift.window", (0,), 7),
    "a time before the first": ("som", {"learning_rate": IN_SECONDS}, "schedule.clock", (1,), 1e9),
}


@pytest.mark.parametrize("contradiction", CONTRADICTIONS)
def test_values_that_contradict_each_other_raise_and_change_nothing(contradiction):
    kind, changes, name, place, value = CONTRADICTIONS[contradiction]
    model = models.create(kind, {**EXAMPLES[kind].usual, **changes})
    model.learn(**stream(model, 30))
    before, state = model.state_hash(), model.copy_state()
    model.adopt(state)
    if contradiction == "more pairs than the window":
        value = (state[name][place] + 1) % 4
    if contradiction == "a key twice":
        value = state[name][1]
    assert state[name][place] != value
    state[name][place] = value
    with pytest.raises(BadCheckpoint, match=f"'{name}'"):
        model.adopt(state)
    assert model.state_hash() == before
