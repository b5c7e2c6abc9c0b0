"""The routing ids before a message that a ROUTER socket received."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from streamlearn_client.protocol.messages import Frame

__all__ = ["split_envelope"]

GENERATED_ID_BYTES: Final = 5
ROUTING_ID_BYTES: Final = 255
MOST_ROUTING_IDS: Final = 8
MAP_BYTES: Final = frozenset({*range(0x80, 0x90), 0xDE, 0xDF})  # with which a MessagePack map begins


def split_envelope(frames: Sequence[Frame]) -> tuple[list[Frame], list[Frame]]:
    """Split the frames that a ROUTER socket received into envelope and message.

    Parameters
    ----------
    frames : sequence of bytes or memoryview
        The received frames.

    Returns
    -------
    envelope : list of bytes or memoryview
        The routing ids of the connection and of proxies before it, and the empty delimiter of a REQ socket.
        The reply must begin with it.
    message : list of bytes or memoryview
        The frames of the message.

    Notes
    -----
    The message begins after the first empty frame. Without one, it begins at the first frame that has not the
    form of the routing ids that ZeroMQ generates: 5 bytes, of which the first is 0. So a client that sets a
    routing id of its own sends an empty frame before the message if it connects to a proxy.
    """
    cut = 1
    while cut < len(frames) and len(frames[cut]) == GENERATED_ID_BYTES and frames[cut][0] == 0:
        cut += 1
    ids = cut
    while ids < min(len(frames), MOST_ROUTING_IDS) and _may_be_routing_id(frames[ids]):
        ids += 1
    if ids < len(frames) and not len(frames[ids]):
        cut = ids + 1
    return list(frames[:cut]), list(frames[cut:])


def _may_be_routing_id(frame: Frame) -> bool:
    """Whether a frame has the length of a routing id, and is not the header of a message."""
    return 0 < len(frame) <= ROUTING_ID_BYTES and frame[0] not in MAP_BYTES
