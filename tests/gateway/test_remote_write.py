"""Remote write of Prometheus: requests that are encoded by hand, and a real Prometheus."""

from __future__ import annotations

import http.server
import math
import socket
import struct
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cramjam
import httpx
import numpy as np
import pytest
import yaml

from streamlearn.gateway.collecting.joining import assign, join
from streamlearn.gateway.collecting.points import Point
from streamlearn.gateway.collecting.remote_write import parse_request
from streamlearn.gateway.collecting.rules import Rules
from streamlearn_client import Client
from tests.documents import blocks
from tests.e2e.daemon_process import SECONDS, DaemonProcess
from tests.gateway.gateway_process import GatewayProcess
from tools.waiting import wait_for

SPEC = {"dim": 2, "grid": [4, 4], "channels": ["plant_flow", "plant_pressure"], "seed": 1}
HEADERS = {
    "Content-Type": "application/x-protobuf",
    "Content-Encoding": "snappy",
    "X-Prometheus-Remote-Write-Version": "0.1.0",
}
STALE = struct.pack("<Q", 0x7FF0000000000002)  # as the specification has it
A = {"job": "plant", "instance": "a:9100"}
B = {"job": "plant", "instance": "b:9100"}


def varint(number: int) -> bytes:
    out = bytearray()
    number &= 2**64 - 1
    while number > 127:
        out.append(number & 127 | 128)
        number >>= 7
    return bytes([*out, number])


def block(field: int, content: bytes) -> bytes:
    return varint(field << 3 | 2) + varint(len(content)) + content


def series(labels: dict[str, str], *samples: tuple[float | bytes, int]) -> bytes:
    """A `TimeSeries`, and a histogram that no reader of floats needs."""
    content = b"".join(
        block(1, block(1, name.encode()) + block(2, value.encode())) for name, value in sorted(labels.items())
    )
    for value, milliseconds in samples:
        number = value if isinstance(value, bytes) else struct.pack("<d", value)
        content += block(2, b"\x09" + number + b"\x10" + varint(milliseconds))
    return block(1, content + block(4, b"\x08\x01"))


def metric(name: str, labels: dict[str, str], *samples: tuple[float | bytes, int]) -> bytes:
    return series({"__name__": name, **labels}, *samples)


def post(http: httpx.Client, *parts: bytes, **headers: str) -> httpx.Response:
    body = bytes(cramjam.snappy.compress_raw(b"".join(parts)))
    return http.post("/api/v1/write", content=body, headers=HEADERS | headers)


@pytest.fixture
def plant(http: httpx.Client) -> Callable[[], int]:
    """Make the model `plant`; returns what counts its samples."""
    assert http.post("/v1/models", json={"name": "plant", "kind": "som", "spec": SPEC}).status_code == 201
    return lambda: int(http.get("/v1/models/plant").json()["samples"])


def test_series_of_one_time_are_one_sample(
    http: httpx.Client, plant: Callable[[], int], daemon: DaemonProcess
) -> None:
    parts = [
        metric("plant_flow", A, (1.5, 1000), (2.5, 2000), (STALE, 3000)),
        metric("plant_pressure", A, (7.0, 2000), (8.0, 1000), (math.nan, 3000), (9.0, 4000)),
        metric("go_goroutines", A, (3.0, 1000)),
        metric("plant_flow", B, (4.5, 2000)),
        metric("job:flow:sum", {}, (1.0, 1000)),  # of a recording rule
    ]
    for _ in range(2):
        answer = post(http, *parts)
        assert (answer.status_code, answer.content) == (204, b"")
        assert plant() == 4
    # Out of order, and a duplicate time with another value: as documented, neither is learned.
    assert post(http, metric("plant_flow", A, (5.0, 500), (6.0, 4000))).status_code == 204
    assert plant() == 4
    x = np.array([[1.5, 8.0], [2.5, 7.0], [4.5, np.nan], [np.nan, 9.0]], np.float32)
    with Client(daemon.requests) as client:
        client.create("twin", "som", **SPEC)
        client.learn("twin", x, times=np.array([1, 2, 2, 4]) * 10**9)
        assert client.describe("plant")["state_hash"] == client.describe("twin")["state_hash"]


def test_what_is_refused(http: httpx.Client, plant: Callable[[], int]) -> None:
    flow = metric("plant_flow", A, (1.0, 1000))
    answer = post(
        http, flow, series(A, (1.0, 1)), metric("up", {"job": "other"}, (1.0, 1)), metric("x", A, (1, -5))
    )
    assert answer.status_code == 400
    assert "series 2: the series has no label __name__" in answer.json()["message"]
    assert "series 4: the time of x is not between 1970" in answer.json()["message"]
    assert plant() == 1
    unknown = post(http, metric("up", B | {"job": "other"}, (1.0, 1)))
    assert "series 1: there is no model 'other'" in unknown.json()["message"]
    assert http.post("/api/v1/write", content=b"\x05abc", headers=HEADERS).status_code == 400
    assert post(http, b"\x0a\xff").status_code == 400
    second = "application/x-protobuf;proto=io.prometheus.write.v2.Request"
    assert post(http, flow, **{"Content-Type": second}).status_code == 415
    assert post(http, flow, **{"Content-Type": "text/plain"}).status_code == 415
    assert post(http, flow, **{"Content-Encoding": "zstd"}).status_code == 415
    bomb = bytes(cramjam.snappy.compress_raw(bytes(10**8)))
    assert len(bomb) < 10**7
    assert http.post("/api/v1/write", content=bomb, headers=HEADERS).status_code == 413
    assert plant() == 1


def test_the_rules_of_the_guide(tmp_path: Path) -> None:
    (source,) = [each.source for each in blocks("docs/guides/prometheus.md") if "[[rule]]" in each.source]
    (tmp_path / "rules.toml").write_text(source)
    rules = Rules(tmp_path / "rules.toml")
    rate, entries, passed = "instance_cpu:node_cpu_seconds:rate1m", [], 0
    message = [
        metric("node_load1", A, (0.5, 1000)),
        *(
            metric(rate, A | {"cpu": cpu, "mode": mode}, (value, 1000))
            for cpu, mode, value in (("0", "user", 1.0), ("1", "system", 4.0), ("0", "idle", 9.0))
        ),
        metric("go_goroutines", A, (3.0, 1000)),
    ]
    for point in parse_request(b"".join(message)):
        assert isinstance(point, Point)
        rule = rules.find(point, "prometheus")
        if rule is None:
            passed += 1
        else:
            entries.append(assign(point, rule, "prometheus"))
    assert passed == 1
    assert [model for model, _ in entries] == ["machines", "cores", "cores", "cores"]
    cores = [entry for model, entry in entries if model == "cores"]
    found = join(cores, {"dim": 4, "needs_keys": False, "spec": {}})
    (sample,) = found.samples
    assert sample.key == "a:9100"
    assert np.array_equal(sample.x, [1.0, np.nan, np.nan, 4.0], equal_nan=True)
    assert found.unused == 1


class Target(http.server.ThreadingHTTPServer):
    """What Prometheus scrapes: two metrics of the model and thirty others."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.scrapes = 0
        threading.Thread(target=self.serve_forever, daemon=True).start()

    def exposition(self) -> bytes:
        self.scrapes += 1
        n = self.scrapes
        lines = [f"plant_flow {math.sin(n)}", f"plant_pressure {n % 5}"]
        lines += [f'other{{part="{part}"}} {n}' for part in range(30)]
        return ("\n".join(lines) + "\n").encode()


class Handler(http.server.BaseHTTPRequestHandler):
    server: Target

    def do_GET(self) -> None:
        body = self.server.exposition()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def prometheus(tmp_path: Path) -> Iterator[Callable[[dict[str, Any]], str]]:
    """Start Prometheus with a configuration. Returns its address."""
    started: list[subprocess.Popen[bytes]] = []

    def begin(config: dict[str, Any]) -> str:
        (tmp_path / "prometheus.yml").write_text(yaml.safe_dump(config))
        with socket.create_server(("127.0.0.1", 0)) as free:
            address = f"127.0.0.1:{free.getsockname()[1]}"
        options = {
            "config.file": tmp_path / "prometheus.yml",
            "storage.tsdb.path": tmp_path / "data",
            "web.listen-address": address,
        }
        with (tmp_path / "prometheus.log").open("wb") as log:
            command = ["prometheus", *(f"--{name}={value}" for name, value in options.items())]
            started.append(subprocess.Popen(command, stderr=log))
        return f"http://{address}"

    yield begin
    for each in started:
        each.terminate()
        each.wait(SECONDS)


def guide() -> dict[str, Any]:
    (source,) = [
        each.source for each in blocks("docs/guides/prometheus.md") if "remote_write:" in each.source
    ]
    found: dict[str, Any] = yaml.safe_load(source)
    return found


@pytest.mark.e2e
def test_a_real_prometheus_with_the_configuration_of_the_guide(
    http: httpx.Client,
    plant: Callable[[], int],
    daemon: DaemonProcess,
    start: Callable[..., GatewayProcess],
    prometheus: Callable[[dict[str, Any]], str],
) -> None:
    """A gateway is killed on the way. What was learned is what Prometheus has stored."""
    target = Target()
    gateway = start(daemon.requests).ready()
    config = guide()
    config["global"]["scrape_interval"] = config["global"]["scrape_timeout"] = "200ms"
    config["scrape_configs"][0]["static_configs"][0]["targets"] = [f"127.0.0.1:{target.server_port}"]
    write = config["remote_write"][0]
    write["url"] = write["url"].replace("127.0.0.1:7780", f"127.0.0.1:{gateway.port}")
    write["queue_config"]["batch_send_deadline"] = "500ms"
    address = prometheus(config)
    wait_for(lambda: plant() >= 10, "samples")
    gateway.process.kill()
    gateway.process.wait()
    seen = target.scrapes
    wait_for(lambda: target.scrapes >= seen + 10, "scrapes without a gateway")
    start(daemon.requests, http=f"127.0.0.1:{gateway.port}").ready()
    wait_for(lambda: plant() >= seen + 15, "samples after the pause")
    target.shutdown()  # markers of stale series follow
    target.server_close()

    def stored(name: str) -> dict[float, float]:
        query = {"query": f'{name}{{job="plant"}}[10m]'}
        (found,) = httpx.get(f"{address}/api/v1/query", params=query, timeout=SECONDS).json()["data"][
            "result"
        ]
        return {time: float(value) for time, value in found["values"]}

    wait_for(lambda: len(stored("up")) > len(stored("plant_flow")), "a scrape that fails")
    flow, pressure = stored("plant_flow"), stored("plant_pressure")
    assert flow.keys() == pressure.keys()
    wait_for(lambda: plant() >= len(flow), "all samples")
    assert plant() == len(flow)
    x = np.array([[flow[time], pressure[time]] for time in sorted(flow)], np.float32)
    times = np.array([round(time * 1000) for time in sorted(flow)]) * 10**6
    with Client(daemon.requests) as client:
        client.create("twin", "som", **SPEC)
        client.learn("twin", x, times=times)
        assert client.describe("plant")["state_hash"] == client.describe("twin")["state_hash"]
