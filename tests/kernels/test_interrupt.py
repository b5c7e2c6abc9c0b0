"""A kernel ends after the sample during which another thread set the flag."""

from __future__ import annotations

import threading

import numba as nb
import numpy as np

from streamlearn.kernels.stream.interrupt import requested

TIMEOUT = 10_000_000_000  # rounds: far more than a thread needs to start


@nb.njit(nogil=True)
def count(started, interrupt, rounds):
    """Count rounds until the flag is set. ``started[0]`` becomes 1 with the first round."""
    for n in range(rounds):
        started[0] = 1
        if requested(interrupt):
            return n + 1
    return rounds


def test_a_flag_that_is_set_ends_the_loop_after_one_round():
    flag = np.zeros(1, np.uint8)
    started = np.zeros(1, np.int64)
    assert count(started, flag, 100) == 100
    flag[0] = 1
    assert count(started, flag, 100) == 1


def test_a_flag_that_another_thread_sets_ends_a_running_loop():
    flag, started = np.zeros(1, np.uint8), np.zeros(1, np.int64)
    count(started, flag, 1)  # compile before the thread runs
    started[0] = 0
    done: list[int] = []
    thread = threading.Thread(target=lambda: done.append(count(started, flag, TIMEOUT)))
    thread.start()
    while not started[0]:
        thread.join(0.001)
        assert thread.is_alive()
    flag[0] = 1
    thread.join(60)
    assert not thread.is_alive()
    assert 1 <= done[0] < TIMEOUT
