"""Connections: their monitors, and no message is sent between a connection loss and the next handshake."""

from __future__ import annotations

import struct
import time

import pytest
import zmq

from streamlearn_client import Client
from streamlearn_client.errors import NoAnswer
from streamlearn_client.protocol import Request, as_batch, decode_reply, encode_request
from streamlearn_client.sockets import Connection, blocking_context, receive_all, try_send

DISCONNECTED = [struct.pack("=hi", zmq.EVENT_DISCONNECTED, 0), b"tcp://127.0.0.1:1"]
"""The monitor's message for a lost connection."""


@pytest.fixture
def connection(daemon):
    connection = Connection(blocking_context(), zmq.DEALER, daemon.endpoint)
    yield connection
    connection.close()


def wait_until(connection, connected):
    """Wait until ``connected`` has this value. Return whether a connection was lost meanwhile."""
    deadline, lost = time.monotonic() + 60, False
    while connection.connected is not connected:
        assert time.monotonic() < deadline
        connection.monitor.poll(100)
        lost |= connection.process_events()
    return lost


def test_a_connection_is_connected_from_the_handshake_until_the_loss(daemon, connection):
    assert not connection.connected
    assert not wait_until(connection, True)
    daemon.kill()
    assert wait_until(connection, False)
    daemon.start()
    wait_until(connection, True)
    connection.socket.send_multipart(encode_request(Request("hello", 7)))
    assert connection.socket.poll(20_000)
    assert [decode_reply(frames).id for frames in receive_all(connection.socket)] == [7]


def test_a_connection_lost_in_the_middle_of_a_message_loses_that_message_only(daemon, connection):
    wait_until(connection, True)
    message = encode_request(as_batch("pump", [[1.0]], [[2.0]], 3, 4))
    assert len(message) > 3

    class Interrupted:
        """The connection is lost after the first frame. ZeroMQ then refuses the second frame or drops all."""

        def send(self, frame, flags):
            if frame is message[1]:
                daemon.kill()
                wait_until(connection, False)
                for _ in range(1000):
                    connection.socket.send(frame, flags)
            connection.socket.send(frame, flags)

    try_send(Interrupted(), message)
    daemon.start()
    wait_until(connection, True)
    assert try_send(connection.socket, encode_request(Request("hello", 7)))
    assert connection.socket.poll(20_000)
    assert [decode_reply(frames).id for frames in receive_all(connection.socket)] == [7]


def test_no_message_is_sent_between_a_loss_and_the_next_handshake(daemon):
    """ZeroMQ reports a loss before it drops the connection: the socket still accepts messages then."""
    with Client(daemon.endpoint, timeout=60) as client:
        client.hello()
        client.timeout = 0.2
        daemon.requests.clear()
        client._transport.connection.process_event(DISCONNECTED)
        with pytest.raises(NoAnswer) as caught:
            client.delete("pump")
        assert caught.value.detail["sent"] is False
    assert not daemon.requests
