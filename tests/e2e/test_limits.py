"""Attacks on a real daemon: its memory stays within the budget, and the attacker gets typed answers.

The attacks are those of `python -m benchmarks.attacks`, which also measures another client's latencies.
"""

from __future__ import annotations

import pytest

from benchmarks import attacks

MEMORY = 512 << 20
SECONDS = 1.0


@pytest.mark.e2e
@pytest.mark.parametrize(
    ("attack", "expected"),
    [
        ("unread_answers", "BUSY"),
        ("large_prediction", "TOO_LARGE (limits.unread_bytes)"),
        ("large_batches", "BUSY (limits.memory_bytes)"),
        ("checkpoints", "ok"),
        ("restores", "ok"),
        ("large_models", "TOO_LARGE (limits.memory_bytes)"),
        ("many_subscriptions", "closed"),
    ],
)
def test_memory_stays_within_the_budget(attack: str, expected: str) -> None:
    for seconds in (SECONDS, 4 * SECONDS, 16 * SECONDS):  # beside other tests an attacker gets little done
        outcome = attacks.run(attack, MEMORY, seconds, settle=0.2)
        assert 1.1 * outcome.budget > outcome.rss > 0
        if any(answer.startswith(expected) for answer in outcome.answers):
            return
    pytest.fail(f"the attacker got {outcome.answers}")
