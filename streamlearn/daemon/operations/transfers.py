"""Content that travels in parts: exports, which clients fetch, and uploads, which clients send.

A part is one request and its answer, so every request stays within the limits, and may be sent again. The
content is in memory until its last part, and is forgotten after `IDLE_SECONDS` without a request.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from streamlearn.daemon.context import Context
from streamlearn.daemon.network.replies import ReplyAddress
from streamlearn.errors import BadMessage, BadValue, Busy, TooLarge, UnknownTransfer
from streamlearn_client.protocol import Request
from streamlearn_client.protocol.wire import short_repr

PART_BYTES = 4 << 20
IDLE_SECONDS = 60.0
LAST_SECONDS = 5.0  # after the last part of an export, which may be requested once more
MOST = 64  # exports and uploads at a time
LONGEST_ID = 64  # characters
ADVICE = "repeat it later, or raise limits.memory_bytes"


@dataclass(slots=True, eq=False)
class Export:
    """The content of a model's file. `fields` describe it, in the answer of every part."""

    model: str
    content: bytes
    fields: Mapping[str, Any]
    until: float  # seconds of a steady clock

    @property
    def bytes(self) -> int:
        """The memory that it takes."""
        return len(self.content)


@dataclass(slots=True, eq=False)
class Upload:
    """A file that a client sends for a model to be created."""

    model: str
    content: bytearray
    received: int
    until: float

    @property
    def bytes(self) -> int:
        """The memory that it takes."""
        return len(self.content)


class Transfers:
    """All exports and uploads. Used on the loop's thread."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._account = context.budget.queries
        self._transfers: dict[tuple[str, str], Export | Upload] = {}  # by model and id
        self._part_bytes = min(
            PART_BYTES, context.limits.frame_bytes, context.settings.limits.unread_bytes // 4
        )

    def expire(self) -> None:
        """Forget what had no request for too long."""
        if self._transfers:
            now = self._context.runtime.steady()
            for key, transfer in list(self._transfers.items()):
                if now > transfer.until:
                    self._forget(key)

    def clear(self) -> None:
        """Forget all."""
        for key in list(self._transfers):
            self._forget(key)

    # ---------------------------------------------------------------------------------------------- exports

    def add_export(self, model: str, content: bytes, fields: Mapping[str, Any]) -> str:
        """Keep the content of an export, whose memory is reserved. Return its id."""
        name = secrets.token_hex(8)
        self._transfers[model, name] = Export(model, content, {**fields, "export": name}, self._until())
        return name

    def send_part(self, reply_to: ReplyAddress, model: str, name: str, offset: int) -> None:
        """Answer with the part of an export that begins at `offset`."""
        export = self._transfers.get((model, name))
        if not isinstance(export, Export):
            raise _unknown("export", model, name)
        if offset >= export.bytes:
            raise BadValue(
                f"offset is {offset}, and the export has {export.bytes} bytes; offsets begin at 0",
                field="offset",
                most=export.bytes - 1,
            )
        part = memoryview(export.content)[offset : offset + self._part_bytes]
        last = offset + len(part) == export.bytes
        export.until = self._until(LAST_SECONDS if last else IDLE_SECONDS)
        array = np.frombuffer(part, np.uint8)
        self._context.replies.ok(reply_to, {**export.fields, "offset": offset}, {"content": array})

    # ---------------------------------------------------------------------------------------------- uploads

    def receive_part(self, reply_to: ReplyAddress, request: Request) -> None:
        """Store a part of an upload. A part that is here already changes nothing."""
        fields, part = request.fields, request.content
        assert part is not None  # the codec guarantees it
        key = request.model, _checked_id(fields["upload"])
        upload, offset, total = self._transfers.get(key), fields.get("offset", 0), fields["bytes"]
        if upload is None and offset == 0:
            upload = self._begin_upload(key, total)
        if not isinstance(upload, Upload):
            raise _unknown("upload", *key)
        end = offset + len(part)
        if total != upload.bytes or end > total:
            raise BadValue(
                f"the upload has {upload.bytes} bytes, and this part is from {offset} to {end} of {total}",
                field="bytes",
            )
        if offset > upload.received:
            raise BadValue(
                f"offset is {offset}, and the bytes from {upload.received} on are missing; send them first",
                field="offset",
                received=upload.received,
            )
        if end > upload.received:
            upload.content[offset:end] = part.data
            upload.received = end
        upload.until = self._until()
        self._context.replies.ok(
            reply_to, {"upload": key[1], "received": upload.received, "bytes": upload.bytes}
        )

    def _begin_upload(self, key: tuple[str, str], size: int) -> Upload:
        self.check_room()
        largest = self._context.model_memory.largest_file
        if size > largest:
            raise TooLarge(
                f"the file has {size} bytes, and limits.memory_bytes allows {largest} bytes for one model; "
                "raise limits.memory_bytes, or take a smaller model",
                limit="limits.memory_bytes",
                bytes=size,
                most=largest,
            )
        self._account.reserve(size, "this upload", ADVICE)
        upload = self._transfers[key] = Upload(key[0], bytearray(size), 0, self._until())
        return upload

    def take_upload(self, model: str, name: str) -> bytearray:
        """Return the content of a complete upload and forget it. The caller releases its memory."""
        key = model, _checked_id(name)
        upload = self._transfers.get(key)
        if not isinstance(upload, Upload):
            raise _unknown("upload", *key)
        if upload.received < upload.bytes:
            raise BadValue(
                f"{upload.received} of {upload.bytes} bytes of the upload are here; send the rest first",
                field="upload",
                received=upload.received,
            )
        del self._transfers[key]
        return upload.content

    def check_room(self) -> None:
        """Raise `Busy` if there are too many transfers."""
        self.expire()
        if len(self._transfers) >= MOST:
            raise Busy(
                f"{MOST} exports and uploads are not complete; repeat this one later",
                limit="exports and uploads",
                most=MOST,
            )

    def _until(self, seconds: float = IDLE_SECONDS) -> float:
        return self._context.runtime.steady() + seconds

    def _forget(self, key: tuple[str, str]) -> None:
        self._account.release(self._transfers.pop(key).bytes)


def check_digest(content: bytes | bytearray, sha256: str | None) -> None:
    """Raise `BadValue` if the content does not have this digest."""
    found = hashlib.sha256(content).hexdigest()
    if sha256 is not None and sha256 != found:
        raise BadValue(
            f"the {len(content)} bytes of the upload have the SHA-256 {found}, not {short_repr(sha256)}: the "
            "file changed on its way; upload it again",
            field="sha256",
        )


def _checked_id(name: str) -> str:
    if not 1 <= len(name) <= LONGEST_ID:
        raise BadMessage(
            f"the id of an upload is a text of 1 to {LONGEST_ID} characters, not {short_repr(name)}",
            field="upload",
        )
    return name


def _unknown(what: str, model: str, name: str) -> UnknownTransfer:
    return UnknownTransfer(
        f"the daemon has no {what} {short_repr(name)} of {model!r}: it restarted, or nothing came for "
        f"{IDLE_SECONDS:.0f} s; begin a new {what} at offset 0",
        model=model,
    )
