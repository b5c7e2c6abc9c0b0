"""Clients of the broker: protocol, user, TLS, and the first connection."""

from __future__ import annotations

import ssl
import threading
from typing import Final

import paho.mqtt.client as paho
from paho.mqtt.enums import CallbackAPIVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from streamlearn.bridges.mqtt.settings import Broker, Settings, Tls
from streamlearn.errors import StartupError
from streamlearn.logs import get_logger

RECONNECT_SECONDS: Final = (1, 30)

log = get_logger(__name__)


def new_client(broker: Broker, client_id: str, session: bool) -> paho.Client:
    """Return a client that is not connected. With ``session``, the broker keeps its session."""
    old = broker.protocol == "3.1.1"
    client = paho.Client(
        CallbackAPIVersion.VERSION2,
        client_id=client_id,
        clean_session=not session if old else None,
        protocol=paho.MQTTv311 if old else paho.MQTTv5,
        manual_ack=session,
    )
    client.suppress_exceptions = True
    client.reconnect_delay_set(*RECONNECT_SECONDS)
    if broker.username is not None:
        client.username_pw_set(broker.username, broker.password())
    if broker.tls is not None:
        client.tls_set_context(_context(broker.tls))
    return client


def connect(client: paho.Client, settings: Settings, stopping: threading.Event, session: bool = True) -> None:
    """Connect; try again until it works or ``stopping`` is set. Raise `StartupError` if it never can."""
    broker, logged = settings.broker, False
    while not stopping.is_set():
        try:
            if broker.protocol == "3.1.1":
                client.connect(broker.host, broker.port, broker.keepalive_seconds)
            else:
                _connect_5(client, settings, session)
            return
        except ssl.SSLError as error:
            raise StartupError(f"TLS with the broker {broker.address} failed: {_reason(error)}") from None
        except (OSError, ValueError) as error:
            if not logged:
                log.warning("no broker; trying again", broker=broker.address, reason=_reason(error))
            logged = True
            stopping.wait(RECONNECT_SECONDS[0])


def _connect_5(client: paho.Client, settings: Settings, session: bool) -> None:
    broker = settings.broker
    properties = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
    properties.SessionExpiryInterval = broker.session_seconds if session else 0
    properties.ReceiveMaximum = settings.unacknowledged
    properties.MaximumPacketSize = broker.message_bytes + 1024
    client.connect(
        broker.host, broker.port, broker.keepalive_seconds, clean_start=not session, properties=properties
    )


def _context(tls: Tls) -> ssl.SSLContext:
    """Return the context of a connection. Raise `StartupError` for a file that is not what it should be."""
    try:
        context = ssl.create_default_context(cafile=None if tls.ca is None else str(tls.ca))
        if tls.certificate is not None and tls.private_key is not None:
            context.load_cert_chain(tls.certificate, tls.private_key)
    except (OSError, ValueError) as error:
        raise StartupError(
            f"can't use the files of [broker.tls]: {_reason(error)}; they must be certificates and a private"
            " key in PEM form, and the certificate and the private key belong together"
        ) from None
    context.check_hostname = tls.check_hostname
    return context


def _reason(error: Exception) -> str:
    return getattr(error, "strerror", None) or str(error) or type(error).__name__
