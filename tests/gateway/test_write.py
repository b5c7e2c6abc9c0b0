"""Line protocol over HTTP, as Telegraf's outputs influxdb and influxdb_v2 send it."""

from __future__ import annotations

import base64
import gzip
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from streamlearn.gateway.token_file import add_token
from streamlearn_client import Client
from tests.e2e.daemon_process import DaemonProcess
from tests.gateway.gateway_process import GatewayProcess
from tools.waiting import wait_for

SPEC = {"dim": 2, "grid": [4, 4], "channels": ["flow", "pressure"], "seed": 1}
BASE = 1_772_622_720  # seconds
RULES = """
[[rule]]
measurement = "spindle"
model = "spindle-{host}"
create = { kind = "som", limit = 2, spec = { channels = ["load", "speed"], grid = [4, 4] } }

[[rule]]
measurement = "motor"
model = "motor"
key = "{host}"
channels = ["amps", "volts"]

[[rule]]
measurement = "labelled"
model = "labelled"
label = "{state}"
"""


def create(http: httpx.Client, name: str, **changes: Any) -> None:
    answer = http.post("/v1/models", json={"name": name, "kind": "som", "spec": SPEC | changes})
    assert answer.status_code == 201, answer.text


def fleet(http: httpx.Client, name: str) -> None:
    """A model with keys."""
    spec = {"dim": 2, "readout": "adam", "hidden": 4, "keys": 8, "channels": ["flow", "pressure"], "seed": 1}
    answer = http.post("/v1/models", json={"name": name, "kind": "rnn", "spec": spec})
    assert answer.status_code == 201, answer.text


def samples(http: httpx.Client, name: str) -> int:
    found: int = http.get(f"/v1/models/{name}").json()["samples"]
    return found


def write(http: httpx.Client, text: str | bytes, **options: Any) -> httpx.Response:
    return http.post("/api/v2/write?org=o&bucket=b&precision=s", content=text, **options)


def collected(http: httpx.Client, outcome: str) -> float:
    name = f'streamlearn_collected_total{{outcome="{outcome}",source="line"}}'
    lines = [line for line in http.get("/metrics").text.splitlines() if line.startswith(name)]
    return float(lines[0].split()[-1]) if lines else 0.0


@pytest.mark.parametrize("path", ["/write?db=telegraf&rp=autogen", "/api/v2/write?org=o&bucket=b"])
def test_samples_are_learned_once_and_durable(http: httpx.Client, daemon: DaemonProcess, path: str) -> None:
    create(http, "pump")
    create(http, "twin")
    x = np.random.default_rng(3).normal(size=(40, 2)).astype(np.float32)
    times = (BASE + np.arange(40)) * 10**9
    lines = [f"pump,host=a flow={flow!r} {t}" for t, flow in zip(times, x[:, 0].tolist(), strict=True)]
    lines += [f"pump,host=a pressure={each!r} {t}" for t, each in zip(times, x[:, 1].tolist(), strict=True)]
    for _ in range(2):  # the second time, nothing is new
        answer = http.post(path, content="\n".join(lines))
        assert (answer.status_code, answer.content) == (204, b"")
        assert samples(http, "pump") == 40
    http.post("/v1/models/twin/learn", json={"x": x.tolist(), "times": times.tolist()})
    with Client(daemon.requests) as client:
        pump, twin = client.describe("pump"), client.describe("twin")
    assert pump["state_hash"] == twin["state_hash"]
    assert pump["durable_lsn"] >= pump["applied_lsn"]


def test_a_partial_write_names_the_lines_and_learns_the_others(http: httpx.Client) -> None:
    create(http, "pump")
    text = f"pump flow=1 {BASE}\npump flow=x\nother a=1\npump flow=2 {BASE + 1}\nother a=2\npump oil=1 9\n"
    answer = write(http, text)
    assert answer.status_code == 400
    document = answer.json()
    assert document["code"] == "invalid"
    assert document["message"] == document["error"]
    assert document["message"].startswith(
        "partial write: line 2: the field 'flow' has 'x', which is no number"
    )
    assert "line 3, 5: there is no model 'other'; create it" in document["message"]
    assert samples(http, "pump") == 2
    only = write(http, f"pump oil=1 {BASE + 9}\n")
    assert "no field is a channel of 'pump': the fields are oil" in only.json()["message"]
    far = write(http, f"pump flow=1 {int(time.time()) + 10**6}\npump flow=3 {BASE + 2}")
    assert "line 1: the time is more than a day ahead of the clock" in far.json()["message"]
    assert samples(http, "pump") == 3


def test_samples_that_are_not_newer_are_not_learned(http: httpx.Client, gateway: GatewayProcess) -> None:
    """A sample that is older than the newest one of its stream, or the rest of a sample that was divided."""
    create(http, "pump")
    before = {outcome: collected(http, outcome) for outcome in ("repeated", "divided")}
    assert write(http, f"pump flow=1 {BASE}\npump flow=3 {BASE + 2}").status_code == 204
    assert write(http, f"pump flow=2 {BASE + 1}\npump pressure=3 {BASE + 2}").status_code == 204
    assert write(http, f"pump flow=2 {BASE + 1}\npump flow=4 {BASE + 3}").status_code == 204
    assert samples(http, "pump") == 3
    found = {outcome: collected(http, outcome) - count for outcome, count in before.items()}
    assert found == {"repeated": 2, "divided": 1}
    assert "values of one time came in two requests" in gateway.log.read_text()


def test_a_keyed_model_has_one_order_of_time_per_key(http: httpx.Client) -> None:
    fleet(http, "pump")
    text = f"pump,host=a flow=1,pressure=1 {BASE + 5}\npump,host=b flow=1,pressure=1 {BASE}\n"
    for _ in range(2):
        assert write(http, text).status_code == 204
    assert write(http, f"pump,host=b flow=1,pressure=1 {BASE + 1}").status_code == 204
    assert samples(http, "pump") == 3
    long = "h" * 200
    for _ in range(2):
        assert write(http, f"pump,host={long} flow=1,pressure=1 {BASE}").status_code == 204
    assert samples(http, "pump") == 4


def test_lines_without_a_time_have_that_of_the_request(http: httpx.Client) -> None:
    create(http, "pump")
    assert write(http, "pump flow=1\npump pressure=2\n").status_code == 204
    assert samples(http, "pump") == 1
    assert write(http, "").status_code == 204


def test_compression_and_limits(
    http: httpx.Client, daemon: DaemonProcess, start: Callable[..., GatewayProcess]
) -> None:
    create(http, "pump")
    text = f"pump flow=1 {BASE}\n".encode()
    packed = {"Content-Encoding": "gzip"}
    assert write(http, gzip.compress(text), headers=packed).status_code == 204
    assert samples(http, "pump") == 1
    for body, status, message in (
        (text, 400, "the body is not gzip"),
        (gzip.compress(text)[:-9], 400, "gzip without its end"),
    ):
        answer = write(http, body, headers=packed)
        assert (answer.status_code, answer.json()["code"]) == (status, "invalid")
        assert message in answer.json()["message"]
    assert write(http, text, headers={"Content-Encoding": "zstd"}).status_code == 415
    assert write(http, b"\xff\xfe").status_code == 400
    assert http.post("/write?precision=days", content=text).json()["error"].startswith("precision must be")
    small = start(daemon.requests, "--body-bytes", "1000").ready()
    with small.client() as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, "ready")
        for body, headers in ((text * 100, {}), (gzip.compress(text * 1000), packed)):
            answer = write(client, body, headers=headers)
            assert (answer.status_code, answer.json()["code"]) == (413, "request too large")


@pytest.fixture
def guarded(
    daemon: DaemonProcess, start: Callable[..., GatewayProcess], tmp_path: Path
) -> Iterator[tuple[httpx.Client, dict[str, str]]]:
    """A gateway with rules, and its tokens."""
    tokens, rules = tmp_path / "tokens.toml", tmp_path / "rules.toml"
    rules.write_text(RULES)
    secrets = {
        "sender": add_token(tokens, "sender", ["push=spindle-*", "push=motor", "push=labelled", "change=*"]),
        "reader": add_token(tokens, "reader", ["query=*"]),
    }
    gateway = start(daemon.requests, "--tokens", str(tokens), "--rules", str(rules)).ready()
    with httpx.Client(base_url=gateway.url, timeout=60) as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, "ready")
        yield client, secrets


def test_tokens_in_the_forms_that_telegraf_sends(
    http: httpx.Client, guarded: tuple[httpx.Client, dict[str, str]]
) -> None:
    client, secrets = guarded
    create(http, "motor", channels=None)  # its streams are told apart by the rule
    sender, text = secrets["sender"], "motor,host={} amps=1,volts=2 1"
    basic = base64.b64encode(f"telegraf:{sender}".encode()).decode()
    forms: list[dict[str, Any]] = [
        {"headers": {"Authorization": f"Token {sender}"}},
        {"headers": {"Authorization": f"Bearer {sender}"}},
        {"headers": {"Authorization": f"Basic {basic}"}},
        {"params": {"u": "telegraf", "p": sender}},
    ]
    for number, form in enumerate(forms):
        assert client.post("/write", content=text.format(number), **form).status_code == 204
    assert samples(http, "motor") == len(forms)
    database = {"data": {"q": 'CREATE DATABASE "telegraf"'}}
    for form in forms[:3]:
        assert client.post("/query", **database, **form).json() == {"results": [{"statement_id": 0}]}
    for headers in (
        {},
        {"Authorization": "Token"},
        {"Authorization": "Token no"},
        {"Authorization": "Basic !"},
    ):
        answer = client.post("/api/v2/write", content=text.format(9), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (401, "unauthorized")
    reader = {"Authorization": f"Token {secrets['reader']}"}
    answer = client.post("/api/v2/write", content=text.format(9), headers=reader)
    assert (answer.status_code, answer.json()["code"]) == (403, "forbidden")
    assert client.post("/query", **database, headers=reader).status_code == 403


def test_rules_create_models_up_to_a_limit(
    http: httpx.Client, guarded: tuple[httpx.Client, dict[str, str]]
) -> None:
    client, secrets = guarded
    headers = {"Authorization": f"Token {secrets['sender']}"}
    text = "spindle,host=m{} load=1,speed=2 {}"
    body = "\n".join(text.format(host, when) for host in (1, 2, 3) for when in (1, 2))
    answer = client.post("/write", content=body, headers=headers)
    assert answer.status_code == 400
    assert "line 5, 6: there is no model 'spindle-m3', and its rule creates no more than 2" in answer.text
    assert [samples(http, f"spindle-m{host}") for host in (1, 2)] == [2, 2]
    assert http.get("/v1/models/spindle-m1").json()["spec"]["channels"] == ["load", "speed"]
    bad = client.post("/write", content="spindle,host=a/b load=1", headers=headers)
    assert bad.status_code == 400
    assert client.post("/write", content="unknown x=1", headers=headers).status_code == 204  # no rule
    create(http, "labelled", labels=2)
    labelled = 'labelled flow=1,pressure=2,state="worn" 1\nlabelled flow=1,pressure=2 2\n'
    assert "has no label 'worn'" in client.post("/write", content=labelled, headers=headers).text
    http.post("/v1/models/labelled/label", json={"x": [1.0, 2.0], "label": "worn"})
    again = client.post("/write", content=labelled.replace(" 1\n", " 3\n"), headers=headers)
    assert again.status_code == 204
    assert http.get("/v1/models/labelled").json()["samples"] >= 2


def test_two_gateways_at_the_same_time(
    http: httpx.Client, gateway: GatewayProcess, daemon: DaemonProcess, start: Callable[..., GatewayProcess]
) -> None:
    """A sender that does not wait for the answer of the first gateway, and turns to the second one."""
    create(http, "pump")
    second = start(daemon.requests).ready()
    body = "".join(f"pump flow={n % 7},pressure=1 {10**9 * n}\n" for n in range(1, 201))
    with second.client() as client:
        wait_for(lambda: client.get("/readyz").status_code == 200, "ready")
    with ThreadPoolExecutor() as pool:
        urls = [gateway.url, second.url] * 2
        answers = list(pool.map(lambda url: httpx.post(f"{url}/write", content=body, timeout=60), urls))
    assert [each.status_code for each in answers] == [204] * 4
    assert samples(http, "pump") == 200


def test_a_daemon_that_does_not_answer(
    serve: Callable[[], DaemonProcess], start: Callable[..., GatewayProcess]
) -> None:
    daemon = serve()
    daemon.ready()
    gateway = start(daemon.requests).ready()
    with gateway.client() as client:
        wait_for(lambda: client.get("/health").json()["status"] == "pass", "ready")
        create(client, "pump")
        daemon.kill()
        late = client.post(
            "/write", content="pump flow=1 1"
        )  # before the gateway knows that the daemon is down
        wait_for(lambda: client.get("/health").status_code == 503, "down")
        for answer in (late, client.post("/api/v2/write", content="pump flow=1 1")):
            assert answer.status_code == 503
            assert int(answer.headers["retry-after"]) >= 1
            assert "daemon" in answer.json()["error"]
        serve().ready()
        wait_for(lambda: client.post("/write", content="pump flow=1 1").status_code == 204, "up again")
        assert samples(client, "pump") == 1


def test_other_requests_of_influxdb(http: httpx.Client) -> None:
    for method in ("GET", "HEAD"):
        answer = http.request(method, "/ping")
        assert answer.status_code == 204
        assert answer.headers["x-influxdb-version"].startswith("streamlearn")
    query = http.get("/query", params={"q": "create database telegraf"})
    assert query.json() == {"results": [{"statement_id": 0}]}
    assert http.get("/query", params={"q": "SHOW DATABASES"}).status_code == 400
    strange = http.post("/write", content="x a=1", headers={"Origin": "http://elsewhere"})
    assert strange.status_code == 403
