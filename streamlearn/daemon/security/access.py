"""Who may do what: the keys of clients, their rights, and the check of every request.

Every request has an `Identity`. Without keys it is `LOCAL`. With keys it is looked up per message by the
public key that ZeroMQ has authenticated. So a reload takes effect at once, on existing connections too. A key
that is unknown, and a check that fails, are denied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

import zmq

from streamlearn import logs
from streamlearn.access.identity import LOCAL, NOBODY, Identity
from streamlearn.daemon.config import Security
from streamlearn.daemon.security.refusals import Kind, Refusals
from streamlearn.daemon.security.rights import load_identities
from streamlearn.errors import BadConfig, Forbidden, StreamlearnError
from streamlearn_client.keys import KeyPair, read_key_pair
from streamlearn_client.protocol import Learn, Request

log = logs.get_logger(__name__)

NEEDED: Final = {"requests": None, "firehose": "push", "events": "subscribe"}
"""The right, on any model, without which a key may not connect to a socket. `None`: any right."""


class Access:
    """The rules in force. `admit` runs on the thread of ZAP, everything else on the loop's thread."""

    def __init__(self, security: Security | None = None) -> None:
        """Read keys and rights. Raises `BadConfig`."""
        self._security = security or Security()
        self.refusals = Refusals()
        self.server_key: KeyPair | None = None  # `None`: no client needs a key
        self.generation = 0  # changes with the rules
        self.reload_requested = False
        self._identities: dict[str, Identity] = {LOCAL.public: LOCAL}
        self.identify: Callable[[zmq.Frame], Identity] = _local
        if self._security.server_key:
            self.server_key = _read_server_key(self._security.server_key)
            self._identities = load_identities(self._security, self.server_key.public)
            self.identify = self._identify
            names = ", ".join(sorted(each.name for each in self._identities.values()))
            log.info("clients need a key; keys with access: %s", names or "none")

    def identity(self, public: str) -> Identity:
        """Return the identity of a public key; `NOBODY` for an unknown one."""
        return self._identities.get(public, NOBODY)

    def _identify(self, frame: zmq.Frame) -> Identity:
        """Return the identity of the connection that a frame came from."""
        try:
            return self._identities.get(str(frame.get("User-Id")), NOBODY)
        except zmq.ZMQError:  # the connection has no User-Id
            return NOBODY

    def check(self, identity: Identity, request: Request | Learn, kind: Kind) -> None:
        """Raise `Forbidden` unless the identity may do what it requests. A check that fails denies."""
        if identity is LOCAL:
            return
        try:
            if isinstance(request, Learn):
                identity.require("learn", request.model)
                return
            identity.require(request.op, request.model)
            into = request.fields.get("into")
            if into:
                identity.require(request.op, into)
        except Forbidden as error:
            where = f" on {request.model}" if request.model else ""
            self.refusals.count(kind, f"key {identity.name}: no right {error.detail['right']}{where}")
            raise
        except Exception:
            log.exception("the check of a request failed, so the request is denied")
            self.refusals.count(kind, f"key {identity.name}: the check failed")
            raise Forbidden(
                "the daemon could not check the rights of this key; its log has the details",
                key=identity.name,
                right="unknown",
            ) from None

    def admit(self, socket: str, public: str) -> str:
        """Return why a peer may not connect to a socket; an empty text if it may."""
        identity = self._identities.get(public)
        if identity is None:
            return f"unknown key {public[:8]}…"
        right = NEEDED[socket]
        if not identity.globs or (right is not None and not identity.has(right)):
            return f"key {identity.name}: no right{f' {right}' if right else 's'}"
        return ""

    # ----------------------------------------------------------------------------------------------- reload

    def reload(self) -> None:
        """Read the client keys and rights again. Wrong files change nothing; the log has the reason."""
        self.reload_requested = False
        if self.server_key is None:
            log.info("SIGHUP: no keys are configured, so there is nothing to reload")
            return
        try:
            identities = load_identities(self._security, self.server_key.public)
        except StreamlearnError as error:
            log.error("SIGHUP: keys and rights stay as they were: %s", error.message)
            return
        except Exception:
            log.exception("SIGHUP: keys and rights stay as they were")
            return
        changes = "; ".join(_changes(self._identities, identities))
        self._identities = identities
        self.generation += 1
        log.info("SIGHUP: reloaded keys and rights: %s", changes or "no change")


def _local(frame: zmq.Frame) -> Identity:
    return LOCAL


def _read_server_key(path: str) -> KeyPair:
    try:
        return read_key_pair(path)
    except StreamlearnError as error:
        raise BadConfig(f"security.server_key: {error.message}", path=path) from None


def _changes(old: dict[str, Identity], new: dict[str, Identity]) -> Iterator[str]:
    """Describe the differences, by the names of keys."""
    for verb, these, those in ("added", new, old), ("removed", old, new):
        names = sorted(these[public].name for public in these.keys() - those.keys())
        if names:
            yield f"{verb} {', '.join(names)}"
    common = old.keys() & new.keys()
    renamed = sorted(
        f"{old[key].name} to {new[key].name}" for key in common if old[key].name != new[key].name
    )
    if renamed:
        yield f"renamed {', '.join(renamed)}"
    changed = sorted(new[public].name for public in common if old[public].globs != new[public].globs)
    if changed:
        yield f"changed the rights of {', '.join(changed)}"
