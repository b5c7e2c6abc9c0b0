"""Tokens: nobody without one, rights as the daemon's keys have, and TLS."""

from __future__ import annotations

import re
import ssl
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from streamlearn import cli
from streamlearn.access.identity import OPERATIONS
from streamlearn.errors import BadConfig
from streamlearn.gateway.settings import Settings, listen_address
from streamlearn.gateway.tokens import Tokens, Unauthorized
from tests.e2e.daemon_process import DaemonProcess
from tests.gateway.gateway_process import SECONDS, GatewayProcess
from tools.waiting import wait_for

SPEC = {"dim": 2, "grid": [4, 4]}


def token(capsys: pytest.CaptureFixture[str], file: Path, name: str, *rights: str) -> str:
    arguments = [each for right in rights for each in ("--right", right)]
    assert cli.main(["token", name, "--file", str(file), *arguments]) == 0
    return capsys.readouterr().out.splitlines()[0]


REQUESTS: list[tuple[str, str, Any]] = [
    ("GET", "/v1/models/pump", None),
    ("POST", "/v1/models/pump/learn", {"x": [[1, 2]]}),
    ("POST", "/v1/models/pump/predict", {"x": [[1, 2]]}),
    ("POST", "/v1/models/pump/explain", {"x": [[1, 2]]}),
    ("GET", "/v1/models/pump/forecast", None),
    ("GET", "/v1/models/pump/read?what=hits", None),
    ("GET", "/v1/models/pump/checkpoints", None),
    ("POST", "/v1/models/pump/checkpoints", {}),
    ("DELETE", "/v1/models/pump/checkpoints/none", None),
    ("POST", "/v1/models/pump/restore", {"lsn": 1}),
    ("POST", "/v1/models/pump/pause", None),
    ("POST", "/v1/models/pump/resume", None),
    ("POST", "/v1/models/pump/reheat", {}),
    ("POST", "/v1/models/pump/feedback", {"sample": [1, 2], "verdict": "normal"}),
    ("POST", "/v1/models", {"name": "pump", "kind": "som", "spec": SPEC}),
    ("POST", "/v1/models/pump/label", {"unit": 0, "label": "x"}),
    ("POST", "/v1/models/pump/clone", {"new": "pump"}),
    ("GET", "/v1/models/pump/export", None),
    ("PUT", "/v1/models/pump", None),
    ("DELETE", "/v1/models/pump", None),
]
NEEDED = {  # by method and the last part of the path
    "push": {"GET pump", "POST learn"},
    "query": {"GET pump", "POST predict", "POST explain", "GET forecast", "GET read", "GET checkpoints",
              "GET export"},
    "change": {
        "GET pump", "GET checkpoints", "POST checkpoints", "DELETE none", "POST restore", "POST pause",
        "POST resume", "POST reheat", "POST feedback", "POST models", "POST label", "POST clone",
        "PUT pump", "DELETE pump",
    },
    "subscribe": set(),
}  # fmt: skip


@pytest.mark.parametrize("right", NEEDED)
def test_each_right_permits_its_requests_and_no_other(
    daemon: DaemonProcess,
    start: Callable[..., GatewayProcess],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    right: str,
) -> None:
    file = tmp_path / "tokens.toml"
    admin = token(capsys, file, "boss", "query=*", "change=*", "push=*", "subscribe=*")
    secret = token(capsys, file, "one", f"{right}=pump")
    gateway = start(daemon.requests, "--tokens", str(file)).ready()
    with gateway.client(admin) as boss, gateway.client(secret) as client:
        boss.post("/v1/models", json={"name": "fan", "kind": "som", "spec": SPEC})
        boss.post("/v1/models", json={"name": "pump", "kind": "som", "spec": SPEC})
        seen = [each["name"] for each in client.get("/v1/models").json()]
        assert seen == ["pump"]
        for method, path, body in REQUESTS:
            answer = client.request(method, path, json=body)
            name = f"{method} {path.rpartition('/')[2].partition('?')[0]}"
            assert (answer.status_code != 403) == (name in NEEDED[right]), (name, answer.text)
            other = client.request(method, path.replace("pump", "fan"), json=_of_fan(body))
            assert other.status_code == 403, (name, other.text)
            assert other.json()["facts"]["key"] == "one"
        boss.delete("/v1/models/fan")
        boss.delete("/v1/models/pump")


def _of_fan(body: Any) -> Any:
    return body | {"name": "fan"} if body and "name" in body else body


def test_every_operation_with_a_path_is_tested() -> None:
    paths = " ".join(path for _, path, _ in REQUESTS)
    no_path = {
        "hello", "models", "position", "stats", "sample", "backup", "create", "delete", "describe",
        "checkpoint", "unpin", "upload",
    }  # fmt: skip
    assert {each for each in OPERATIONS if each not in paths} <= no_path


def test_nothing_without_a_token(
    daemon: DaemonProcess,
    start: Callable[..., GatewayProcess],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "tokens.toml"
    secret = token(capsys, file, "one")
    assert secret not in file.read_text()
    assert file.stat().st_mode & 0o077 == 0
    gateway = start(daemon.requests, "--tokens", str(file)).ready()
    paths = ["/v1/models", "/v1/events", "/metrics", "/v1/stats", "/v1/models/pump"]
    for wrong in (None, "no", secret[:-1], secret + "x"):
        with gateway.client(wrong) as client:
            for path in paths:
                answer = client.get(path)
                assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHORIZED")
                assert answer.headers["www-authenticate"].startswith("Bearer")
            assert client.get("/healthz").status_code == 200
    with gateway.client(secret) as client:
        assert client.get("/v1/models").status_code == 200
    url = gateway.url.replace("http", "ws", 1) + "/v1/events/ws"
    with pytest.raises((ConnectionClosed, InvalidStatus)), connect(url) as events:
        events.recv(SECONDS)
    with connect(url, subprotocols=["streamlearn", f"bearer.{secret}"]) as events:  # type: ignore[list-item]
        assert events.subprotocol == "streamlearn"
        events.recv(SECONDS)


def test_a_changed_file_takes_effect(
    daemon: DaemonProcess,
    start: Callable[..., GatewayProcess],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file = tmp_path / "tokens.toml"
    first = token(capsys, file, "first")
    gateway = start(daemon.requests, "--tokens", str(file)).ready()
    second = token(capsys, file, "second")
    with gateway.client(second) as client:
        assert client.get("/v1/models").status_code == 200
    text = file.read_text()
    file.write_text(text[text.index("[second]") :])
    with gateway.client(first) as client:
        assert client.get("/v1/models").status_code == 401


def test_an_address_on_a_network_needs_tokens() -> None:
    for host in ("0.0.0.0", "192.168.1.5", "::", "plant.example"):
        with pytest.raises(BadConfig, match="clients need tokens"):
            Settings(host=host)
    for host in ("127.0.0.1", "localhost", "::1", "127.8.0.1"):
        assert Settings(host=host).is_local
    with pytest.raises(BadConfig, match="both --certificate and --private-key"):
        Settings(certificate=Path("c"))


@pytest.mark.parametrize("text", ["7780", "host", "host:", ":80", "host:99999", "host:x"])
def test_a_bad_address_is_refused(text: str) -> None:
    with pytest.raises(BadConfig, match="HOST:PORT"):
        listen_address(text)


def test_an_address_of_ipv6() -> None:
    assert listen_address("[::1]:80") == ("::1", 80)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("[a]\nquery = ['*']", "sha256 must be the digest"),
        ("[a]\nsha256 = 'x'", "sha256 must be the digest"),
        ("[a]\nsha256 = '" + "0" * 64 + "'\nqery = ['*']", "did you mean query"),
        ("a = 1", "expected a table"),
        ("[", "is not TOML"),
    ],
)
def test_a_bad_file_is_refused(tmp_path: Path, text: str, words: str) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text(text)
    with pytest.raises(BadConfig, match=re.escape(words)):
        Tokens(file)


def test_a_file_that_everybody_can_write_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "tokens.toml"
    file.write_text("")
    file.chmod(0o666)
    with pytest.raises(BadConfig, match="chmod o-w"):
        Tokens(file)
    file.chmod(0o600)
    with pytest.raises(Unauthorized):
        Tokens(file).identify("x")


@pytest.mark.parametrize("right", ["read=*", "query", "query="])
def test_a_bad_right_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str], right: str) -> None:
    assert cli.main(["token", "x", "--file", str(tmp_path / "t"), "--right", right]) == 1
    assert "expected RIGHT=GLOB" in capsys.readouterr().err


def test_a_name_is_used_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "tokens.toml"
    token(capsys, file, "one")
    assert cli.main(["token", "one", "--file", str(file)]) != 0
    assert "has a token 'one'" in capsys.readouterr().err


def test_tls(daemon: DaemonProcess, start: Callable[..., GatewayProcess], tmp_path: Path) -> None:
    certificate, key = tmp_path / "c.pem", tmp_path / "k.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", str(key), "-out",
         str(certificate)],
        check=True, capture_output=True,
    )  # fmt: skip
    gateway = start(daemon.requests, "--certificate", str(certificate), "--private-key", str(key)).ready()
    assert gateway.url.startswith("https://")
    trusted = ssl.create_default_context(cafile=str(certificate))
    with gateway.client(verify=trusted) as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, "ready")
    with pytest.raises(httpx.ConnectError), gateway.client() as client:
        client.get("/readyz")
