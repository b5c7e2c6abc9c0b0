"""A run: consecutive batches of one producer for one model, which become one record."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamlearn.access.identity import Identity
from streamlearn.daemon.intake.template import Template
from streamlearn_client.protocol import Id, Learn

ARENA_BYTES = 1 << 20


class Arena:
    """Memory that batches are received into. It is given back when the runs in it are closed."""

    __slots__ = ("memory", "used", "view")

    def __init__(self, size: int = ARENA_BYTES) -> None:
        self.memory = np.zeros(size, np.uint8)
        self.view = self.memory.data
        self.used = 0

    @property
    def room(self) -> int:
        """How many more bytes fit."""
        return len(self.memory) - self.used

    def has_room(self, size: int) -> bool:
        """Whether `size` more bytes fit."""
        return self.used + size <= len(self.memory)

    def give_back(self) -> None:
        """Use the memory again from the start."""
        self.used = 0


class Run:
    """Batches for one model with headers of one template, from one connection, with consecutive numbers.

    They have equally many rows. Their bytes lie in one arena, each batch as its frames one after another.

    Parameters
    ----------
    template
        What their headers say.
    model
        The name of the model.
    sender
        The routing id of the connection; empty for the firehose.
    arena
        Where their bytes are.
    next_seq
        The number of the first batch; 0 without a producer.
    most
        How many batches it may have.
    """

    __slots__ = (
        "_parts",
        "arena",
        "batches",
        "first_seq",
        "ids",
        "model",
        "most",
        "next_seq",
        "sender",
        "template",
    )

    def __init__(
        self, template: Template, model: str, sender: bytes, arena: Arena, next_seq: int, most: int
    ) -> None:
        self.template = template
        self.model = model
        self.sender = sender
        self.arena = arena
        self.first_seq = self.next_seq = next_seq
        self.most = most
        self.batches = 0
        self.ids: list[Id] = []  # of the requests; empty for the firehose
        self._parts: list[list[int]] = []  # begin and end of contiguous bytes in the arena

    @property
    def identity(self) -> Identity:
        """Who sends the batches."""
        return self.template.identity

    def extend(self, begin: int, batches: int = 1) -> None:
        """Add the next batches, which lie in the arena from `begin` on without gaps.

        Parameters
        ----------
        begin
            Where the first one begins.
        batches
            How many there are. Their numbers follow each other, from `next_seq` on.
        """
        end = begin + batches * self.template.batch_bytes
        if self._parts and self._parts[-1][1] == begin:
            self._parts[-1][1] = end
        else:
            self._parts.append([begin, end])
        self.batches += batches
        if self.template.numbered:
            self.next_seq += batches

    def samples(self) -> NDArray[np.float32] | None:
        """Return a copy of the samples ``(rows, dim)``; `None` unless they lie together, and nothing else."""
        template = self.template
        if not template.has_only_x or len(self._parts) > 1:
            return None
        ((_, dtype, row_shape),) = template.columns
        shape = (self.batches * template.rows, *row_shape)
        return np.ndarray(shape, dtype, self.arena.memory, self._parts[0][0]).copy()

    def learn(self) -> Learn:
        """Return all batches as one, with the number of the first. Its arrays are copies."""
        template = self.template
        memory = self.arena.memory
        last_id = self.ids[-1] if self.ids else None
        columns: dict[str, Any] = {}
        rows, at = self.batches * template.rows, 0
        joined = np.concatenate([memory[begin:end] for begin, end in self._parts])
        batches = joined.reshape(self.batches, template.batch_bytes)
        for (name, dtype, row_shape), size in zip(template.columns, template.frame_bytes, strict=True):
            column = np.ascontiguousarray(batches[:, at : at + size]).reshape(-1)
            columns[name] = column.view(dtype).reshape(rows, *row_shape)
            at += size
        return template.learn(self.model, self.first_seq, last_id, columns)
