"""TLS, users and client certificates, against a real mosquitto."""

from __future__ import annotations

import subprocess
from dataclasses import asdict
from pathlib import Path

import pytest

from streamlearn_client import Client
from streamlearn_client.keys import write_key_pair
from tests.bridges.mqtt.processes import Bridge, Broker
from tests.daemon.keyrings import KeyRing
from tests.e2e.daemon_process import ForkedDaemon
from tools.waiting import wait_for

pytestmark = pytest.mark.e2e


def openssl(directory: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], cwd=directory, check=True, capture_output=True)


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, and certificates of a broker and a client that it signed; another authority."""
    place = tmp_path_factory.mktemp("certificates")
    new = ("-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes")
    for name in "ca", "other":
        openssl(
            place,
            "req",
            "-x509",
            *new,
            "-days",
            "2",
            "-subj",
            f"/CN={name}",
            "-keyout",
            f"{name}.key",
            "-out",
            f"{name}.pem",
        )
    (place / "names").write_text("subjectAltName=DNS:localhost")
    for name in "broker", "bridge":
        openssl(place, "req", *new, "-subj", f"/CN={name}", "-keyout", f"{name}.key", "-out", f"{name}.csr")
        signed = ("-CA", "ca.pem", "-CAkey", "ca.key", "-extfile", "names")
        openssl(place, "x509", "-req", "-in", f"{name}.csr", *signed, "-days", "2", "-out", f"{name}.pem")
    return place


@pytest.fixture(scope="module")
def guarded(certificates: Path, tmp_path_factory: pytest.TempPathFactory):
    """A broker with TLS, a client certificate and a user."""
    place = tmp_path_factory.mktemp("guarded")
    users = place / "users"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(users), "bridge", "s3cret"], check=True)
    lines = [
        f"cafile {certificates}/ca.pem",
        f"certfile {certificates}/broker.pem",
        f"keyfile {certificates}/broker.key",
        "require_certificate true",
        f"password_file {users}",
    ]
    broker = Broker(place, *lines, anonymous=False)
    yield broker
    broker.kill()


@pytest.fixture
def connect(guarded: Broker, certificates: Path, daemon, tmp_path: Path):
    """Start bridges with the right settings, or some other ones."""
    started = []

    def begin(**changed: str) -> Bridge:
        settings = {
            "host": "localhost",
            "username": "bridge",
            "password": "s3cret",
            "protocol": "5",
            "ca": "ca.pem",
            "certificate": "bridge.pem",
            "private_key": "bridge.key",
        } | changed
        tls = [
            f'{name} = "{certificates}/{settings[name]}"'
            for name in ("ca", "certificate", "private_key")
            if settings[name]
        ]
        (tmp_path / "password").write_text(settings["password"] + "\n")
        broker = [f'{name} = "{settings[name]}"' for name in ("host", "username", "protocol")]
        text = "\n".join(
            [
                "[broker]",
                f"port = {guarded.port}",
                f'client_id = "{tmp_path.name}"',
                *broker,
                f'password_file = "{tmp_path}/password"',
                "[broker.tls]",
                *tls,
            ]
        )
        started.append(Bridge(tmp_path / f"{len(started)}", daemon.requests, text))
        return started[-1]

    yield begin
    for each in started:
        each.kill()


@pytest.mark.parametrize("protocol", ["5", "3.1.1"])
def test_a_bridge_with_its_certificate_and_password_connects(connect, protocol):
    assert connect(protocol=protocol).ready().line.startswith("streamlearn mqtt ready mqtts://localhost:")


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"password": "guess"}, "refuses: Not authorized; check username, password"),
        ({"ca": "other.pem"}, "TLS with the broker mqtts://localhost:"),
        ({"host": "127.0.0.1"}, "certificate is not valid for '127.0.0.1'"),
        ({"private_key": "other.key"}, "the certificate and the private key belong together"),
        ({"ca": "ca.key"}, "must be certificates and a private key in PEM form"),
    ],
)
def test_a_bridge_without_them_ends_with_one_line_that_says_why(connect, changed, message):
    code, line = connect(**changed).ended()
    assert code == 1
    assert line.startswith("streamlearn: ")
    assert message in line
    assert "s3cret" not in line


def test_a_daemon_with_keys_knows_the_bridge_by_its_own(broker, peer, tmp_path: Path):
    ring = KeyRing(tmp_path / "keys")
    ring.rights.write_text(
        '[operator]\nchange = ["*"]\nquery = ["*"]\n[sensor]\npush = ["*"]\nsubscribe = ["*"]\n'
    )
    for name in "sensor", "dashboard":
        write_key_pair(ring.pairs[name], tmp_path)
    settings = {f"security__{name}": value for name, value in asdict(ring.security).items()}
    operator = ring.keys("operator")
    text = (
        f'[broker]\nport = {broker.port}\nclient_id = "{tmp_path.name}"\n'
        f'[daemon]\nserver_key = "{operator.server}"\nkey_file = "{tmp_path}/NAME.key"\n'
        '[[input]]\ntopic = "keys/x"\nmodel = "m"\nchannels = ["a"]\n'
    )
    with ForkedDaemon(tmp_path / "daemon", settings=settings) as daemon:
        daemon.ready()
        with Client(daemon.requests, timeout=60, server_key=operator.server, key=operator.secret) as client:
            client.create("m", "som", dim=1, grid=[2, 2])
            refused = Bridge(tmp_path / "refused", daemon.requests, text.replace("NAME", "dashboard"))
            code, line = refused.ended()
            assert code == 1
            assert "key" in line
            bridge = Bridge(tmp_path / "bridge", daemon.requests, text.replace("NAME", "sensor")).ready()
            peer().publish("keys/x", '{"a": 1}').wait_for_publish(60)
            wait_for(lambda: client.describe("m")["samples"] == 1, "a sample")
            assert bridge.figures()["learned"] == 1
