"""The epochs of a producer: which one follows, and which refusals a new epoch repairs."""

from __future__ import annotations

from streamlearn_client.errors import BadValue, StreamlearnError, UnknownProducer
from streamlearn_client.protocol.wire import UINT63

__all__ = ["needs_new_epoch", "next_epoch"]


def needs_new_epoch(refusal: StreamlearnError) -> bool:
    """Return whether the daemon refused the epoch of a batch and accepts the batch in another epoch.

    The daemon has forgotten the producer, or the epoch is too far ahead of the daemon's clock.
    """
    return isinstance(refusal, UnknownProducer) or _largest(refusal) is not None


def next_epoch(producer: str, epoch: int, refusal: StreamlearnError | None = None) -> int:
    """Return the epoch after ``epoch`` that the daemon accepts, given its refusal of a batch.

    The next epoch is ``epoch + 1``, not the time: a newer client of the same name then keeps the larger one.
    Raise ``BadValue`` if no epoch is left.
    """
    following = epoch + 1
    if isinstance(refusal, UnknownProducer):
        following = max(following, refusal.detail["epoch"])
    elif refusal is not None:
        following = _largest(refusal) or following
    if following >= UINT63:
        raise BadValue(
            f"producer {producer!r} has no epochs left; use another producer name", field="producer"
        )
    return following


def _largest(refusal: StreamlearnError) -> int | None:
    """Return the largest epoch that the daemon accepts, if it refused an epoch that is too large."""
    largest = refusal.detail.get("largest")
    if isinstance(refusal, BadValue) and refusal.detail.get("field") == "epoch" and type(largest) is int:
        return largest if 0 < largest < UINT63 else None
    return None
