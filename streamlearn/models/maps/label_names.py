"""Names of the classes of labels: given with the spec, or by the first label that uses them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from ...errors import BadValue
from ..state_checks import Range, State

NAME_BYTES: Final = 32


class LabelNames:
    """The names of one model's classes. Its array is part of the model's ``state``."""

    def __init__(self, classes: int, names: Sequence[str]) -> None:
        self._rows = np.zeros((classes, NAME_BYTES), np.uint8)
        self.state: dict[str, NDArray[Any]] = {"labels.names": self._rows}
        self.ranges = {"labels.names": Range(0, 255)}
        for k, name in enumerate(names):
            self.assign(k, name)

    @property
    def names(self) -> list[str]:
        """The name of each class; its number as text if it has none."""
        return [_text(row) or str(k) for k, row in enumerate(self._rows)]

    @property
    def count(self) -> int:
        """Number of classes."""
        return len(self._rows)

    @property
    def is_named(self) -> NDArray[np.bool_]:
        """Whether each class has a name, (classes,)."""
        return np.asarray(self._rows[:, 0] != 0)

    def find(self, name: str) -> int | None:
        """Return the class of a name or of a number as text; None if there is none."""
        names = self.names
        return names.index(name) if name in names else None

    def free(self, used: NDArray[np.bool_]) -> int | None:
        """Return the first class without a name that is not used; None if there is none."""
        found = np.flatnonzero(~used & ~self.is_named)
        return int(found[0]) if found.size else None

    def assign(self, k: int, name: str) -> None:
        """Give class ``k`` a name that ``check_name`` accepts."""
        encoded = name.encode()
        self._rows[k] = 0
        self._rows[k, : len(encoded)] = np.frombuffer(encoded, np.uint8)


def wrong_names(state: State) -> Iterator[str]:
    """Describe names of classes in a state that are not text."""
    for row in state.get("labels.names", ()):
        try:
            bytes(row).rstrip(b"\0").decode()
        except UnicodeDecodeError:
            yield "'labels.names' has a name that is not UTF-8"
            return


def check_name(name: object) -> str:
    """Return a valid name of a class. Raises BadValue."""
    if (
        isinstance(name, str)
        and name.isprintable()
        and name == name.strip()
        and 0 < len(name.encode(errors="replace")) <= NAME_BYTES
    ):
        return name
    raise BadValue(
        f"{name!r:.80} is no name of a label: a printable text of 1 to {NAME_BYTES} bytes was expected",
        field="label",
    )


def _text(row: NDArray[np.uint8]) -> str:
    return bytes(row).rstrip(b"\0").decode(errors="replace")
