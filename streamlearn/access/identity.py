"""The sender of a request, and what it may do."""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Mapping, Sequence
from typing import Final

from streamlearn.errors import Forbidden, StreamlearnError, UnknownModel

RIGHTS: Final = ("push", "query", "subscribe", "change", "admin")

OPERATIONS: Final[Mapping[str, tuple[str, ...]]] = {
    # Each of these rights permits the operation. Every key may say hello and list the models that it sees.
    "hello": (),
    "models": (),
    "learn": ("push",),
    # A stream reads the shape of its model and its own position before it sends. A client that deletes or
    # creates a model identifies it by its description.
    "describe": ("query", "push", "change"),
    "position": ("query", "push"),
    "predict": ("query",),
    "explain": ("query",),
    "forecast": ("query",),
    "sample": ("query",),
    "read": ("query",),
    "export": ("query",),
    "checkpoints": ("query", "change"),
    "stats": ("query",),
    "create": ("change",),
    "upload": ("change",),
    "clone": ("change",),
    "delete": ("change",),
    "checkpoint": ("change",),
    "unpin": ("change",),
    "restore": ("change",),
    "reheat": ("change",),
    "pause": ("change",),
    "resume": ("change",),
    "feedback": ("change",),
    "label": ("change",),
    "backup": ("admin",),
}
UNLISTED: Final = ("admin",)  # the rights that permit every other operation


class Identity:
    """A named key and the models on which it has each right.

    Rights depend on the names of models only. So a refusal does not reveal whether a model exists.
    """

    __slots__ = ("_patterns", "globs", "name", "public")

    def __init__(self, name: str, public: str = "", globs: Mapping[str, Sequence[str]] | None = None) -> None:
        self.name = name
        self.public = public  # the public key in Z85
        self.globs = {right: tuple(names) for right, names in (globs or {}).items() if names}
        self._patterns = {
            right: re.compile("|".join(map(fnmatch.translate, names))) for right, names in self.globs.items()
        }

    def to_log(self) -> dict[str, str]:
        """The name of the key as a fact of a log event; nothing without keys."""
        return {} if self is LOCAL else {"key": self.name}

    def allows(self, right: str, model: str) -> bool:
        """Whether the key has the right on a model of this name."""
        pattern = self._patterns.get(right)
        return pattern is not None and pattern.match(model) is not None

    def has(self, right: str) -> bool:
        """Whether the key has the right on any model."""
        return right in self.globs

    def sees(self, model: str) -> bool:
        """Whether the key has any right on a model of this name."""
        return any(pattern.match(model) for pattern in self._patterns.values())

    def require(self, op: str, model: str) -> None:
        """Raise `Forbidden` unless the key may do the operation on the model; on no model for an empty name.

        An operation that names no model needs the right on some model, or `admin` on all.
        """
        if not self.globs:
            raise self._forbidden((OPERATIONS.get(op) or ("query",))[0], op, model)
        rights = OPERATIONS.get(op, UNLISTED)
        for right in rights:
            if self.allows(right, model) or (not model and right != "admin" and self.has(right)):
                return
        if rights:
            raise self._forbidden(rights[0], op, model)

    def visible(self, error: StreamlearnError) -> StreamlearnError:
        """Return the error without the names of models, unless the key may see all."""
        sees_all = any("*" in globs for globs in self.globs.values())
        if isinstance(error, UnknownModel) and not sees_all:
            model = error.detail.get("model", "")
            return UnknownModel(f"there is no model {model!r}", model=model)
        return error

    def _forbidden(self, right: str, op: str, model: str) -> Forbidden:
        where = f" on {model!r}" if model else ""
        return Forbidden(
            f"the key {self.name!r} does not have the right {right!r}{where}, which {op} needs; grant it in "
            "the daemon's file of rights, or use another key",
            key=self.name,
            right=right,
        )


class _Local(Identity):
    """May do everything."""

    __slots__ = ()

    def allows(self, right: str, model: str) -> bool:
        return True

    def has(self, right: str) -> bool:
        return True

    def sees(self, model: str) -> bool:
        return True

    def require(self, op: str, model: str) -> None:
        pass

    def visible(self, error: StreamlearnError) -> StreamlearnError:
        return error


LOCAL: Final = _Local("local")
"""Every client of a daemon without keys."""

NOBODY: Final = Identity("unknown")
"""A key that is revoked, or that cannot be determined."""
