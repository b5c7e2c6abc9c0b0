"""The texts of keys of one model, for its events. They are not in the state: no output depends on them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from streamlearn_client.protocol import identifier
from streamlearn_client.protocol.identifiers import TEXT_BYTES

MOST = 1 << 14  # texts that are remembered: those that came last
MOST_OF_EVENT = 1000  # texts in one event
_NO_TEXTS: dict[int, str] = {}  # of a model that never had any; never changed


class KeyTexts:
    """Texts by the number of their key."""

    __slots__ = ("_texts",)

    def __init__(self) -> None:
        self._texts = _NO_TEXTS

    def add(self, texts: Sequence[str]) -> None:
        """Remember the texts of a batch's keys."""
        if self._texts is _NO_TEXTS:
            self._texts = {}
        for text in texts:
            if len(text) <= TEXT_BYTES:
                number = identifier(text)
                self._texts.pop(number, None)
                self._texts[number] = text
        while len(self._texts) > MOST:
            del self._texts[next(iter(self._texts))]

    def of(self, keys: Any) -> dict[str, int]:
        """Return the texts of keys that are known, with their numbers, for an event. `keys` may be `None`."""
        if not self._texts or keys is None:
            return {}
        known = [number for number in np.unique(keys).tolist() if number in self._texts]
        return {self._texts[number]: number for number in known[:MOST_OF_EVENT]}
