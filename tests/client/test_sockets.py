"""Links: what their monitors tell, and that nothing is sent between a break and the next handshake."""

from __future__ import annotations

import struct
import time

import pytest
import zmq

from streamlearn_client import Client
from streamlearn_client.errors import NoAnswer
from streamlearn_client.protocol import Request, as_batch, decode_reply, encode_request
from streamlearn_client.sockets import Link, blocking, drain, send

BROKEN = [struct.pack("=hi", zmq.EVENT_DISCONNECTED, 0), b"tcp://127.0.0.1:1"]
"""what a monitor tells when a connection broke"""


@pytest.fixture
def link(daemon):
    link = Link(blocking(), zmq.DEALER, daemon.endpoint)
    yield link
    link.close()


def hear_until(link, stands):
    """Listen until the link stands or not; whether it broke on the way."""
    deadline, broke = time.monotonic() + 60, False
    while link.stands is not stands:
        assert time.monotonic() < deadline
        link.monitor.poll(100)
        broke |= link.heard_all()
    return broke


def test_a_link_stands_from_handshake_to_break(daemon, link):
    assert not link.stands
    assert not hear_until(link, True)
    daemon.kill()
    assert hear_until(link, False)
    daemon.start()
    hear_until(link, True)
    link.socket.send_multipart(encode_request(Request("hello", 7)))
    assert link.socket.poll(20_000)
    assert [decode_reply(frames).id for frames in drain(link.socket)] == [7]


def test_a_connection_that_goes_amid_a_message_costs_that_message_only(daemon, link):
    hear_until(link, True)
    whole = encode_request(as_batch("pump", [[1.0]], [[2.0]], 3, 4))
    assert len(whole) > 3

    class Interrupted:
        """The connection goes after the first frame. Then ZeroMQ refuses the second, or drops all."""

        def send(self, frame, flags):
            if frame is whole[1]:
                daemon.kill()
                hear_until(link, False)
                for _ in range(1000):
                    link.socket.send(frame, flags)
            link.socket.send(frame, flags)

    send(Interrupted(), whole)
    daemon.start()
    hear_until(link, True)
    assert send(link.socket, encode_request(Request("hello", 7)))
    assert link.socket.poll(20_000)
    assert [decode_reply(frames).id for frames in drain(link.socket)] == [7]


def test_nothing_is_sent_after_a_break_before_the_next_handshake(daemon):
    """ZeroMQ tells of a break before it takes the connection away: here it still takes messages."""
    with Client(daemon.endpoint, timeout=60) as client:
        client.hello()
        client.timeout = 0.2
        daemon.requests.clear()
        client._link.heard(BROKEN)
        with pytest.raises(NoAnswer) as caught:
            client.delete("pump")
        assert caught.value.detail["sent"] is False
    assert not daemon.requests
