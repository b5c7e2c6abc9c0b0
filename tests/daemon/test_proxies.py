"""Clients behind a stock proxy of ZeroMQ: ROUTER for the clients, DEALER to the daemon."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import numpy as np
import pytest
import zmq

from streamlearn_client import Client
from streamlearn_client.errors import UnknownModel
from streamlearn_client.protocol import Request, decode_reply, encode_request
from tests.daemon.harness import SECONDS, Running, X, reference


@pytest.fixture
def proxy(running: Running) -> Iterator[str]:
    """Endpoint of two proxies in a row."""
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    behind, endpoint = running.endpoints["requests"], ""
    threads = []
    for _ in range(2):
        front, back = context.socket(zmq.ROUTER), context.socket(zmq.DEALER)
        front.bind("tcp://127.0.0.1:*")
        back.connect(behind)
        behind = endpoint = front.last_endpoint.decode()
        threads.append(threading.Thread(target=_run, args=(front, back), daemon=True))
        threads[-1].start()
    yield endpoint
    context.term()  # ends the proxies, which close their sockets
    for thread in threads:
        thread.join(SECONDS)
        assert not thread.is_alive()


def _run(front: zmq.Socket[bytes], back: zmq.Socket[bytes]) -> None:
    try:
        zmq.proxy(front, back)
    except zmq.ContextTerminated:
        pass
    finally:
        front.close(0)
        back.close(0)


def test_clients_behind_a_proxy(running: Running, proxy: str) -> None:
    with Client(proxy, timeout=SECONDS) as one, Client(proxy, timeout=SECONDS) as two:
        with pytest.raises(UnknownModel):
            two.describe("other")
        one.learn("m", X[:100])
        with one.stream("m", batch=7) as stream, two.stream("m", batch=7) as other:
            stream.push_many(X[100:600])
            stream.flush()
            for row in X[600:900]:
                other.push(row)
            other.flush()
            stream.push_many(X[900:1000])
        assert two.describe("m")["state_hash"] == reference(X[:1000])
        assert np.array_equal(one.predict("m", X[:9]).distance, two.predict("m", X[:9]).distance)


def test_sockets_with_a_delimiter_or_a_routing_id_of_their_own_behind_a_proxy(
    running: Running, proxy: str
) -> None:
    with (
        zmq.Context() as context,
        context.socket(zmq.REQ) as request,
        context.socket(zmq.DEALER) as dealer,
    ):
        dealer.routing_id = b"my own id"
        for socket in (request, dealer):
            socket.linger = 0
            socket.connect(proxy)
        request.send_multipart(encode_request(Request("describe", 5, "m")))
        assert request.poll(int(SECONDS * 1000))
        assert decode_reply(request.recv_multipart()).ok["name"] == "m"
        dealer.send_multipart([b"", *encode_request(Request("describe", 6, "m"))])
        assert dealer.poll(int(SECONDS * 1000))
        empty, *frames = dealer.recv_multipart()
        assert (empty, decode_reply(frames).id) == (b"", 6)
