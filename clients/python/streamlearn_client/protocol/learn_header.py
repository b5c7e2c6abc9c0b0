"""The header of `learn`, and a template of it for many batches with the same arrays."""

from __future__ import annotations

from typing import Any

import msgpack

from streamlearn_client.protocol.messages import ARRAYS, CONTENT, VERSION, Frame, Id, Learn, Request
from streamlearn_client.protocol.wire import frames_of

__all__ = ["LearnHeader", "array_frames", "described"]


class LearnHeader:
    """The bytes of the header around the id and the sequence number, the only fields that may change.

    One thread at a time may use it.

    Parameters
    ----------
    batch : Learn
        A batch. The header also fits each other batch with this model, producer, epoch, window and ack
        level, and with arrays of the same shapes.
    """

    __slots__ = ("_before_id", "_before_seq", "_end", "_pack", "_without_id")

    def __init__(self, batch: Learn) -> None:
        self._pack = msgpack.Packer().pack
        addressed: dict[str, Any] = {"op": "learn", "model": batch.model}
        rest: dict[str, Any] = {"ack": batch.ack, **described(batch)}
        if batch.channels is not None:
            addressed["channels"] = batch.channels
        if batch.key_names:
            addressed["key_names"] = batch.key_names
        if batch.producer:
            addressed |= {"producer": batch.producer, "epoch": batch.epoch}
            if batch.window:
                addressed["window"] = batch.window
            self._before_seq = self._items(addressed) + self._pack("seq")
            self._end = self._items(rest)
            count = len(addressed) + len(rest) + 3  # v, id and seq
        else:
            self._before_seq = self._items(addressed | rest)
            self._end = b""
            count = len(addressed) + len(rest) + 2
        begin: bytes = msgpack.Packer().pack_map_header(count)
        self._before_id = begin + self._items({"v": VERSION}) + self._pack("id")
        self._without_id = self._before_id + self._pack(None) + self._before_seq

    def encode(self, id: Id, seq: int) -> bytes:
        """Return the header of a batch."""
        pack = self._pack
        start = self._without_id if id is None else b"".join((self._before_id, pack(id), self._before_seq))
        return start + pack(seq) + self._end if self._end else start

    def _items(self, fields: dict[str, Any]) -> bytes:
        """Return the keys and values of a small map in MessagePack, without its header of one byte."""
        packed: bytes = self._pack(fields)
        return packed[1:]


def described(request: Learn | Request) -> dict[str, dict[str, Any]]:
    """Return the dtype and the shape of each array of a request, by name."""
    arrays = {name: getattr(request, name, None) for name in (*ARRAYS, CONTENT)}
    return {
        name: {"dtype": array.dtype.str, "shape": array.shape}
        for name, array in arrays.items()
        if array is not None
    }


def array_frames(request: Learn | Request) -> list[Frame]:
    """Return the memory of each array of a request, in the order of the frames, without a copy."""
    return frames_of(getattr(request, name, None) for name in (*ARRAYS, CONTENT))
