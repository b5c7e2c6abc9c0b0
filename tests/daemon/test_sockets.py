"""Binding the sockets."""

from __future__ import annotations

import os
import stat
import time
from pathlib import Path

import pytest
import zmq

from streamlearn.daemon.config import Endpoints
from streamlearn.daemon.network.sockets import bind, check_exposure
from streamlearn.errors import InsecureBind, PortTaken, StartupError

FREE = "tcp://127.0.0.1:*"
QUEUE = 1 << 20  # bytes that ZeroMQ may queue of a connection


def test_wildcard_ports_are_reported_with_their_real_numbers() -> None:
    sockets = bind(Endpoints(requests=FREE, firehose="tcp://127.0.0.1:0", events=FREE), 1 << 20, QUEUE)
    try:
        ports = {each.rpartition(":")[2] for each in sockets.endpoints().values()}
        assert len(ports) == 3
        assert not ports & {"*", "0"}
    finally:
        sockets.close(0)


def test_no_heartbeats_while_nobody_reads() -> None:
    """A heartbeat on a connection whose peer has left and whose messages nobody reads ends the process.

    libzmq 4.3.5: "Assertion failed: !_io_error". TCP keepalive notices a machine that vanished.
    """
    sockets = bind(Endpoints(requests=FREE, firehose=FREE, events=FREE), 1 << 20, QUEUE)
    try:
        for socket in (sockets.requests, sockets.firehose, sockets.events):
            assert socket.heartbeat_ivl == 0
            assert socket.tcp_keepalive == 1
            assert 0 < socket.tcp_keepalive_idle + socket.tcp_keepalive_intvl * socket.tcp_keepalive_cnt <= 20
    finally:
        sockets.close(0)


@pytest.mark.parametrize(("queue_bytes", "messages"), [(0, 16), (40 << 20, 40), (1 << 30, 64)])
def test_the_requests_of_a_connection_that_zeromq_queues(queue_bytes: int, messages: int) -> None:
    sockets = bind(Endpoints(requests=FREE, firehose=FREE, events=FREE), 1 << 20, queue_bytes)
    try:
        assert sockets.requests.rcvhwm == messages
    finally:
        sockets.close(0)


@pytest.mark.parametrize("transport", ["tcp", "ipc"])
def test_an_endpoint_that_is_taken_is_not_taken_over(tmp_path: Path, transport: str) -> None:
    wanted = FREE if transport == "tcp" else f"ipc://{tmp_path}/socket"
    first = bind(Endpoints(requests=wanted, firehose=FREE, events=FREE), 1 << 20, QUEUE)
    taken = first.endpoints()["requests"]
    try:
        with pytest.raises(PortTaken, match=taken) as error:
            bind(Endpoints(requests=FREE, firehose=taken, events=FREE), 1 << 20, QUEUE)
        assert error.value.exit_code == 3
        assert "firehose" in error.value.message
    finally:
        first.close(0)
    bind(Endpoints(requests=FREE, firehose=taken, events=FREE), 1 << 20, QUEUE).close(0)


def test_a_socket_file_that_a_killed_daemon_left_is_no_obstacle(tmp_path: Path) -> None:
    import socket

    left = socket.socket(socket.AF_UNIX)
    left.bind(str(tmp_path / "socket"))
    left.close()
    bind(Endpoints(requests=f"ipc://{tmp_path}/socket", firehose=FREE, events=FREE), 1 << 20, QUEUE).close(0)


@pytest.mark.parametrize(
    "endpoint", ["ipc:///nowhere/at/all", "tcp://192.0.2.1:7", "tcp://no.such.interface:7"]
)
def test_an_endpoint_that_cannot_be_had(endpoint: str) -> None:
    with pytest.raises(StartupError, match="can't bind"):
        bind(Endpoints(requests=FREE, firehose=FREE, events=endpoint), 1 << 20, QUEUE)


@pytest.mark.parametrize(
    "endpoint", ["tcp://0.0.0.0:7", "tcp://*:7", "tcp://192.168.1.5:7", "tcp://[::]:7", "tcp://eth0:7"]
)
def test_network_endpoints_need_insecure(endpoint: str) -> None:
    with pytest.raises(InsecureBind, match="--insecure") as error:
        check_exposure(Endpoints(events=endpoint))
    assert error.value.exit_code == 7
    check_exposure(Endpoints(events=endpoint, insecure=True))


@pytest.mark.parametrize(
    "endpoint",
    ["tcp://127.0.0.1:7", "tcp://127.9.9.9:7", "tcp://localhost:7", "tcp://[::1]:7", "tcp://lo:7", "ipc://x"],
)
def test_loopback_endpoints_are_always_allowed(endpoint: str) -> None:
    check_exposure(Endpoints(events=endpoint))


def test_frames_a_little_too_large_arrive_and_absurd_ones_do_not() -> None:
    sockets = bind(Endpoints(requests=FREE, firehose=FREE, events=FREE), 1 << 22, QUEUE)
    context = zmq.Context()
    try:
        assert sockets.requests.maxmsgsize == 1 << 23
        assert sockets.firehose.maxmsgsize == 1 << 19
        sender = context.socket(zmq.PUSH)
        sender.linger = 0
        sender.connect(sockets.endpoints()["firehose"])
        sender.send(bytes(1 << 19))
        assert sockets.firehose.poll(60_000)
        assert len(sockets.firehose.recv()) == 1 << 19
        sender.send(bytes((1 << 19) + 1))
        deadline = time.monotonic() + 60
        while not sockets.firehose.poll(100):  # dropped with its connection; what follows at once may be, too
            assert time.monotonic() < deadline
            sender.send(b"next")
        assert sockets.firehose.recv() == b"next"
    finally:
        context.destroy(0)
        sockets.close(0)


@pytest.mark.parametrize(
    ("given", "mode"), [({}, 0o600), ({"ipc_mode": "660"}, 0o660), ({"ipc_mode": "0666"}, 0o666)]
)
@pytest.mark.parametrize("umask", [0o000, 0o077])
def test_the_file_of_an_ipc_endpoint_has_its_mode(
    tmp_path: Path, given: dict[str, str], mode: int, umask: int
) -> None:
    before = os.umask(umask)
    try:
        sockets = bind(
            Endpoints(requests=f"ipc://{tmp_path}/r", firehose=FREE, events=FREE, **given), 1 << 20, QUEUE
        )
        assert os.umask(umask) == umask
        assert stat.S_IMODE((tmp_path / "r").stat().st_mode) == mode
        sockets.close(0)
    finally:
        os.umask(before)
