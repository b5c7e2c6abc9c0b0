"""R2 for calls that end early: the rows that are left give the same model and the same outputs later."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamlearn.kernels.stream.interrupt_words import watching
from streamlearn.models import Model
from streamlearn_client.outputs import NamedArrays
from tests.conformance import test_late
from tests.conformance.examples import SPECS, USUAL, join, make, outputs_hash, part, stream

N = 60
ENDS = st.lists(st.integers(1, 25), max_size=30)
WHOLE = 1 << 60  # samples: no end


def learn_interrupted(model: Model, step: str, arguments: dict[str, Any], ends: Iterator[int]) -> NamedArrays:
    """Learn the rows that are left again and again, as a daemon does. A call ends after ``ends`` samples."""
    done, parts = 0, []
    rows = len(next(iter(arguments.values())))
    validate = {"learn": model.validate, "learn_targets": model.validate_targets}[step]
    while done < rows:
        model.interrupt = watching(every=next(ends, WHOLE))
        before = model.samples
        out = model.learn_validated(validate(**part(arguments, done, rows)))
        learned = model.samples - before if step == "learn" else len(out)
        assert 1 <= learned <= rows - done
        assert model.has_lookahead or len(out) == learned
        done += learned
        parts.append(out)
    return join(parts)


@pytest.mark.parametrize("example", SPECS)
@settings(max_examples=6)
@given(ends=ENDS)
def test_a_call_that_ends_early_continues_with_the_same_bits(example, ends):
    whole, pieces = make(example), make(example)
    samples = stream(whole, N)
    expected = whole.learn(**samples)
    found = learn_interrupted(pieces, "learn", samples, iter(ends))
    assert pieces.state_hash() == whole.state_hash()
    assert outputs_hash(found) == outputs_hash(expected)


@pytest.mark.parametrize("example", test_late.LATE)
@settings(max_examples=4)
@given(ends=ENDS)
def test_late_targets_that_end_early_continue_with_the_same_bits(example, ends):
    whole, pieces = make(example), make(example)
    iterator = iter(ends)
    for name, arguments in test_late.steps(whole):
        expected = getattr(whole, name)(**arguments)
        found = learn_interrupted(pieces, name, arguments, iterator)
        assert pieces.state_hash() == whole.state_hash()
        assert outputs_hash(found) == outputs_hash(expected)


@pytest.mark.parametrize("example", USUAL)
@pytest.mark.parametrize("samples", [1, 7])
def test_every_model_ends_after_the_sample_at_which_it_is_requested(example, samples):
    model = make(example)
    model.interrupt = watching(every=samples)
    model.learn_validated(model.validate(**stream(model, N)))
    assert model.samples == samples


@pytest.mark.parametrize("example", USUAL)
def test_another_thread_ends_calls_at_any_time(example):
    """The bits do not depend on when it does."""
    whole, pieces = make(example), make(example)
    samples = stream(whole, 1000)
    expected = whole.learn(**samples)
    flag, stopped = np.zeros(1, np.uint8), threading.Event()

    def interrupt() -> None:
        while not stopped.wait(1e-4):
            flag[0] = 1

    thread = threading.Thread(target=interrupt)
    thread.start()
    parts = []
    pieces.interrupt = flag
    while pieces.samples < 1000:
        flag[0] = 0
        parts.append(pieces.learn_validated(pieces.validate(**part(samples, pieces.samples, 1000))))
    stopped.set()
    thread.join()
    assert pieces.state_hash() == whole.state_hash()
    assert outputs_hash(join(parts)) == outputs_hash(expected)
