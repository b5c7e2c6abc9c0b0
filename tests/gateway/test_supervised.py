"""`serve --http`: the daemon starts a gateway, starts it again when it ends, and ends it with itself."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
from collections.abc import Callable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

import httpx
import pytest

from streamlearn.gateway.token_file import add_token
from streamlearn_client.keys import write_key_pair
from tests.daemon.keyrings import KeyRing
from tests.e2e.daemon_process import SECONDS, DaemonProcess, endpoints
from tools.waiting import wait_for

pytestmark = pytest.mark.e2e

FREE = "127.0.0.1:0"
SERVES = re.compile(r"streamlearn gateway ready \S+ pid=(\d+)")


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., DaemonProcess]]:
    started: list[DaemonProcess] = []

    def begin(http: str = FREE, **settings: object) -> DaemonProcess:
        daemon = DaemonProcess(tmp_path / "daemon", "--http", http, settings=settings)
        started.append(daemon)
        return daemon

    yield begin
    for each in started:
        each.__exit__()


def ready(daemon: DaemonProcess) -> str:
    """Return the address of the gateway, from the daemon's ready line."""
    return endpoints(daemon.ready())["http"]


def children(daemon: DaemonProcess, count: int = 1) -> list[int]:
    """Return the process of each gateway that served so far, at least so many."""

    def found() -> list[int] | None:
        served = [int(each) for each in SERVES.findall(daemon.stderr)]
        return served if len(served) >= count else None

    result: list[int] = wait_for(found, f"{count} gateways")
    return result


def runs(process: int) -> bool:
    """Whether a process runs. One that ended and whose parent has not noticed yet does not."""
    try:
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def get(url: str, path: str, **settings: Any) -> httpx.Response:
    return httpx.get(f"{url}{path}", timeout=SECONDS, **settings)


def daemon_answers(url: str) -> bool:
    return get(url, "/readyz").status_code == 200


def test_the_gateway_lives_as_long_as_the_daemon(serve: Callable[..., DaemonProcess]) -> None:
    """It is started again at the same address, and a request that comes meanwhile is answered."""
    daemon = serve()
    url = ready(daemon)
    assert get(url, "/healthz").json() == {"status": "ok"}  # no request is refused after the ready line
    (first,) = children(daemon)
    os.kill(first, signal.SIGKILL)
    assert get(url, "/healthz").status_code == 200
    second = children(daemon, 2)[-1]
    assert second != first
    assert not runs(first)
    assert "the gateway ended; the daemon goes on exit_code=-9 next_start_seconds=0.5" in daemon.stderr
    os.kill(second, signal.SIGKILL)
    third = children(daemon, 3)[-1]
    assert "next_start_seconds=1.0" in daemon.stderr
    wait_for(lambda: daemon_answers(url), "the gateway reaches the daemon")
    assert daemon.terminate() == 0
    assert not runs(third)
    assert "next_start_seconds=2.0" not in daemon.stderr  # the stop is no failure


def test_the_gateway_ends_with_a_daemon_that_is_killed(serve: Callable[..., DaemonProcess]) -> None:
    """The next daemon gets the same address at once."""
    daemon = serve()
    url = ready(daemon)
    (child,) = children(daemon)
    os.kill(child, signal.SIGSTOP)  # holds the address for as long as a start waits for it
    daemon.kill()
    os.kill(child, signal.SIGCONT)
    again = serve(url.removeprefix("http://"))
    assert ready(again) == url
    wait_for(lambda: not runs(child), "the end of the first gateway")
    wait_for(lambda: daemon_answers(url), "the new gateway")


def test_with_keys_and_tokens(serve: Callable[..., DaemonProcess], tmp_path: Path) -> None:
    """The gateway uses its own key, not one of the environment, and its clients need tokens."""
    ring = KeyRing(tmp_path / "keys")
    keys = {f"security__{name}": value for name, value in asdict(ring.security).items()}
    token = add_token(tmp_path / "tokens.toml", "metrics", ["query=*"])
    key_file, _ = write_key_pair(ring.pairs["operator"], ring.directory)
    daemon = serve(http__tokens=tmp_path / "tokens.toml", http__key_file=key_file, key="not a key", **keys)
    url = ready(daemon)
    wait_for(lambda: daemon_answers(url), "the gateway reaches the daemon")
    assert get(url, "/metrics").status_code == 401
    answer = get(url, "/metrics", headers={"Authorization": f"Bearer {token}"})
    assert "streamlearn_up 1.0" in answer.text


def test_a_wrong_file_of_tokens_does_not_stop_the_daemon(
    serve: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    """The log has the reason. The gateway serves once the file is right."""
    tokens = tmp_path / "tokens.toml"
    daemon = serve(http__tokens=tokens)
    url = ready(daemon)
    wait_for(lambda: "the gateway ended" in daemon.stderr, "the end of the gateway")
    assert re.search(r"the gateway can't serve reason=.wrong tokens: .*tokens\.toml", daemon.stderr)
    assert "exit_code=2" in daemon.stderr
    add_token(tokens, "metrics", ["query=*"])
    children(daemon)
    assert get(url, "/healthz").status_code == 200


def test_the_gateway_logs_in_the_form_of_the_daemon(
    serve: Callable[..., DaemonProcess], tmp_path: Path
) -> None:
    daemon = serve(http__tokens=tmp_path / "tokens.toml", log__format="json")
    ready(daemon)
    wait_for(lambda: "the gateway ended" in daemon.stderr, "the end of the gateway")
    events = [json.loads(line) for line in daemon.stderr.splitlines()]
    (reason,) = {each["reason"] for each in events if each["event"] == "the gateway can't serve"}
    assert "wrong tokens" in reason


def test_a_port_that_is_taken(serve: Callable[..., DaemonProcess]) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        daemon = serve(address)
        assert daemon.ended() == 3
    assert f"another process listens at {address}" in daemon.stderr
