"""A kernel ends after the sample during which a thread sets the flag, or a file descriptor gets readable."""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator

import numba as nb
import numpy as np
import pytest

from streamlearn.kernels.stream.interrupt import requested
from streamlearn.kernels.stream.interrupt_words import EVERY, FLAG, LEFT, NEVER, watching

ROUNDS = 10_000_000_000  # far more than a thread does before it is stopped


@nb.njit("i8(i8[::1], u1[::1], i8)", nogil=True)
def count(started, interrupt, rounds):
    """Count rounds until the end is requested. ``started[0]`` becomes 1 with the first round."""
    for n in range(rounds):
        started[0] = 1
        if requested(interrupt):
            return n + 1
    return rounds


def run(interrupt: np.ndarray, rounds: int = 100) -> int:
    return int(count(np.zeros(1, np.int64), interrupt, rounds))


def rearm(interrupt: np.ndarray, every: int) -> None:
    """Clear the flag. The next question comes after ``every`` samples."""
    words = interrupt.view(np.int64)
    words[FLAG] = 0
    words[EVERY] = words[LEFT] = every


class Running:
    """A loop that runs on its own thread until it is ended."""

    def __init__(self, interrupt: np.ndarray) -> None:
        started = np.zeros(1, np.int64)
        self.done: list[int] = []
        self.thread = threading.Thread(target=lambda: self.done.append(count(started, interrupt, ROUNDS)))
        self.thread.start()
        while not started[0]:
            self.thread.join(0.001)
            assert self.thread.is_alive()

    def ends_early(self) -> bool:
        self.thread.join(60)
        return not self.thread.is_alive() and 1 <= self.done[0] < ROUNDS


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    ends = os.pipe()
    yield ends
    for end in ends:
        os.close(end)


def test_a_flag_that_is_set_ends_a_call_after_one_sample():
    flag = np.zeros(1, np.uint8)
    assert run(flag) == 100
    flag[0] = 1
    assert run(flag) == 1
    assert run(NEVER) == 100


def test_a_flag_that_another_thread_sets_ends_a_running_call():
    flag = np.zeros(1, np.uint8)
    running = Running(flag)
    flag[0] = 1
    assert running.ends_early()


def test_a_descriptor_that_gets_readable_ends_a_running_call(pipe):
    reader, writer = pipe
    interrupt = watching(reader, every=1000)
    running = Running(interrupt)
    os.write(writer, b"x")
    assert running.ends_early()
    assert running.done[0] % 1000 == 0
    assert interrupt[0] == 1


@pytest.mark.parametrize("every", [1, 3, 100])
def test_a_readable_descriptor_ends_a_call_at_the_next_question(pipe, every):
    reader, writer = pipe
    interrupt = watching(reader, every)
    assert run(interrupt, rounds=150) == 150
    os.write(writer, b"x")
    rearm(interrupt, every)
    assert run(interrupt) == every
    os.read(reader, 1)
    assert run(interrupt) == 1  # the flag is still set
    rearm(interrupt, every)
    assert run(interrupt, rounds=150) == 150


@pytest.mark.parametrize("every", [1, 3, 99])
def test_without_a_descriptor_a_call_ends_after_a_number_of_samples(every):
    interrupt = watching(every=every)
    assert run(interrupt) == every
    rearm(interrupt, 7)
    assert run(interrupt) == 7
