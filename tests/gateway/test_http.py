"""Every path of the gateway against a real daemon; the answers equal those of the Python client."""

from __future__ import annotations

import gzip
import io
import json
from typing import Any

import httpx
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from streamlearn_client import Client
from tests.e2e.daemon_process import DaemonProcess

X = np.random.default_rng(7).normal(size=(300, 2)).astype(np.float32)
CSV = "time,flow,pressure\n" + "".join(
    f"2026-01-01T{i // 60:02d}:{i % 60:02d}:00Z,{flow!s},{pressure!s}\n"
    for i, (flow, pressure) in enumerate(X)
)
JSON = {"Content-Type": "application/json"}
SPEC = {"dim": 2, "grid": [4, 4], "channels": ["flow", "pressure"], "seed": 3}


def create(http: httpx.Client, name: str = "pump", kind: str = "som", **spec: Any) -> dict[str, Any]:
    answer = http.post("/v1/models", json={"name": name, "kind": kind, "spec": SPEC | spec})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


def describe(http: httpx.Client, name: str = "pump") -> dict[str, Any]:
    return dict(http.get(f"/v1/models/{name}").json())


def arrow(columns: dict[str, Any]) -> bytes:
    table = pa.table(columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as writer:
        writer.write_table(table)
    return bytes(sink.getvalue().to_pybytes())


BODIES = {
    "json": ("application/json", json.dumps({"x": X.tolist()})),
    "json by channel": (
        "application/json; charset=utf-8",
        json.dumps({"x": {"flow": X[:, 0].tolist(), "pressure": X[:, 1].tolist()}}),
    ),
    "ndjson": (
        "application/x-ndjson",
        "".join(json.dumps({"flow": float(f), "pressure": float(p)}) + "\n" for f, p in X),
    ),
    "json by sample, in another order": (
        "application/json",
        json.dumps({"x": [{"pressure": float(p), "flow": float(f)} for f, p in X]}),
    ),
    "json by channel, in another order": (
        "application/json",
        json.dumps({"x": {"pressure": X[:, 1].tolist(), "flow": X[:, 0].tolist()}}),
    ),
    "ndjson in another order": (
        "application/x-ndjson",
        "".join(json.dumps({"pressure": float(p), "flow": float(f)}) + "\n" for f, p in X),
    ),
    "ndjson lists": ("application/x-ndjson", "\n\n".join(json.dumps(row.tolist()) for row in X)),
    "csv": ("text/csv", "\n".join(line.partition(",")[2] for line in CSV.splitlines())),
    "csv without header": ("text/csv", "\n".join(f"{f!s},{p!s}" for f, p in X)),
    "arrow": (
        "application/vnd.apache.arrow.stream",
        arrow({"flow": X[:, 0].astype(float), "pressure": X[:, 1]}),
    ),
}


@pytest.mark.parametrize("form", BODIES)
def test_every_form_of_a_body_is_the_same_batch(http: httpx.Client, daemon: DaemonProcess, form: str) -> None:
    create(http)
    media_type, body = BODIES[form]
    answer = http.post("/v1/models/pump/learn", content=body, headers={"Content-Type": media_type})
    assert answer.status_code == 200, answer.text
    ack = answer.json()
    assert ack["rows"] == 300
    assert ack["lsn"] == ack["durable_lsn"]
    with Client(daemon.requests, timeout=60) as client:
        client.create("twin", "som", **SPEC)
        client.learn("twin", X)
        assert client.describe("twin")["state_hash"] == describe(http)["state_hash"]


def test_times_of_a_table_reach_the_model(http: httpx.Client, daemon: DaemonProcess) -> None:
    spec: dict[str, Any] = {"features": {"calendar": ["hour"]}}
    create(http, **spec)
    headers = {"Content-Type": "text/csv"}
    answer = http.post("/v1/models/pump/learn?time=time", content=CSV, headers=headers)
    assert answer.status_code == 200, answer.text
    moments = [f"2026-01-01T{i // 60:02d}:{i % 60:02d}:00Z" for i in range(300)]
    create(http, "by_json", **spec)
    answer = http.post("/v1/models/by_json/learn", json={"x": X.tolist(), "times": moments})
    assert answer.status_code == 200, answer.text
    with Client(daemon.requests, timeout=60) as client:
        client.create("twin", "som", **SPEC, **spec)
        client.learn("twin", X, times=np.array([each[:-1] for each in moments], "datetime64[ns]"))
        expected = client.describe("twin")["state_hash"]
    assert expected == describe(http)["state_hash"] == describe(http, "by_json")["state_hash"]


def test_missing_values(http: httpx.Client) -> None:
    create(http)
    for media_type, body in (
        ("application/json", '{"x": [[1.5, null]]}'),
        ("application/x-ndjson", '{"flow": 1.5, "pressure": null}'),
        ("text/csv", "flow,pressure\n1.5,\n"),
        ("application/vnd.apache.arrow.stream", arrow({"flow": [1.5], "pressure": [None]})),
    ):
        answer = http.post("/v1/models/pump/predict", content=body, headers={"Content-Type": media_type})
        assert answer.json()["outputs"]["present"] == [1], (media_type, answer.text)


def test_a_compressed_csv_with_the_options_of_push(http: httpx.Client, daemon: DaemonProcess) -> None:
    """What a German Excel writes, with what a logger puts around it; missing values have a word."""
    x = X.copy()
    x[::7, 1] = np.nan
    rows = [
        ";".join("-999" if value != value else repr(value).replace(".", ",") for value in row)
        for row in x.tolist()
    ]
    body = ("Logger 7\n# flüssig\nflow;pressure;\n" + "".join(f"{row};\n" for row in rows)).encode("cp1252")
    path = "?delimiter=;&decimal=,&skip_lines=1&comment=%23&missing=-999&encoding=cp1252"
    create(http)
    headers = {"Content-Type": "text/csv", "Content-Encoding": "gzip"}
    answer = http.post(f"/v1/models/pump/learn{path}", content=gzip.compress(body), headers=headers)
    assert answer.json()["rows"] == len(X), answer.text
    with Client(daemon.requests) as client:
        client.create("twin", "som", **SPEC)
        client.learn("twin", x)
        assert client.describe("twin")["state_hash"] == describe(http)["state_hash"]
    packed = http.post(f"/v1/models/pump/predict{path}", content=gzip.compress(body), headers=headers)
    plain = http.post(f"/v1/models/pump/predict{path}", content=body, headers={"Content-Type": "text/csv"})
    assert packed.json() == plain.json()
    damaged = http.post(f"/v1/models/pump/predict{path}", content=body, headers=headers)
    assert damaged.status_code == 400
    assert "the body is not gzip" in damaged.text


def test_keys_ids_and_targets(http: httpx.Client) -> None:
    answer = http.post(
        "/v1/models",
        json={
            "name": "fleet",
            "kind": "rnn",
            "spec": {"dim": 1, "hidden": 4, "readout": "adam", "keys": 4, "target": "later", "outputs": 1},
        },
    )
    assert answer.status_code == 201, answer.text
    table = "press,batch,load\n" + "".join(f"p{i % 2},b{i},{i}\n" for i in range(20))
    answer = http.post(
        "/v1/models/fleet/learn?key=press&id=batch", content=table, headers={"Content-Type": "text/csv"}
    )
    assert answer.status_code == 200, answer.text
    lines = "".join(json.dumps({"x": [i], "key": f"p{i % 2}", "id": f"c{i}"}) + "\n" for i in range(20))
    answer = http.post(
        "/v1/models/fleet/learn", content=lines, headers={"Content-Type": "application/x-ndjson"}
    )
    assert answer.status_code == 200, answer.text
    assert describe(http, "fleet")["samples"] == 40


def test_queries_equal_the_client(http: httpx.Client, daemon: DaemonProcess) -> None:
    create(http)
    http.post("/v1/models/pump/learn", json={"x": X.tolist()})
    predicted = http.post("/v1/models/pump/predict", json={"x": X[:5].tolist()}).json()
    explained = http.post("/v1/models/pump/explain", json={"x": X[:5].tolist()}).json()
    parts = http.get("/v1/models/pump/read", params={"what": ["u_matrix", "hits"]}).json()
    with Client(daemon.requests, timeout=60) as client:
        for got, outputs in (
            (predicted, client.predict("pump", X[:5])),
            (explained, client.explain("pump", X[:5])),
        ):
            assert got["applied_lsn"] == outputs.applied_lsn
            assert got["outputs"].keys() == outputs.arrays.keys()
            for name, values in outputs.arrays.items():
                assert np.array_equal(np.array(got["outputs"][name], values.dtype), values), name
        reading = client.read("pump", ["u_matrix", "hits"])
        assert parts["samples"] == reading.samples == 300
        assert np.array_equal(np.float32(parts["parts"]["u_matrix"]), reading["u_matrix"])


def test_answers_as_tables(http: httpx.Client, daemon: DaemonProcess) -> None:
    create(http)
    http.post("/v1/models/pump/learn", json={"x": X.tolist()})
    body = {"x": [*X[:4].tolist(), [None, 1.0]]}
    with Client(daemon.requests, timeout=60) as client:
        outputs = client.explain("pump", np.float32([*X[:4], [np.nan, 1]]))
        prototypes = client.read("pump", ["prototypes"])["prototypes"]
    csv = http.post("/v1/models/pump/explain", json=body, headers={"Accept": "text/csv"})
    assert csv.headers["content-type"].startswith("text/csv")
    assert int(csv.headers["streamlearn-applied-lsn"]) == outputs.applied_lsn
    table = pd.read_csv(io.StringIO(csv.text))
    for n, channel in enumerate(SPEC["channels"]):
        assert np.array_equal(
            np.float32(table[f"expected_{channel}"]), outputs.expected[:, n], equal_nan=True
        )
    assert np.array_equal(np.float32(table["score"]), outputs.score)
    accepts = {"Accept": "application/vnd.apache.arrow.stream, application/json;q=0.5"}
    arrow = http.post("/v1/models/pump/explain", json=body, headers=accepts)
    read = pa.ipc.open_stream(arrow.content).read_all()
    assert read.schema.metadata[b"applied_lsn"] == str(outputs.applied_lsn).encode()
    for name, values in outputs.arrays.items():
        found = np.array(read[name].to_pylist(), values.dtype)
        assert np.array_equal(found, values, equal_nan=values.dtype.kind == "f"), name
    units = http.get("/v1/models/pump/read?what=prototypes", headers={"Accept": "text/csv"})
    table = pd.read_csv(io.StringIO(units.text))
    assert list(table) == ["row", "column", "flow", "pressure"]
    assert np.array_equal(np.float32(table[["flow", "pressure"]]).reshape(prototypes.shape), prototypes)
    planes = http.get("/v1/models/pump/read?what=planes", headers={"Accept": "text/csv"})
    assert planes.text == units.text  # a row per unit, a column per channel
    read = pa.ipc.open_stream(
        http.get("/v1/models/pump/read?what=u_matrix", headers=accepts).content
    ).read_all()
    assert read.num_columns == 4
    for what in (["hits", "u_matrix"], ["quality"]):
        answer = http.get("/v1/models/pump/read", params={"what": what}, headers=accepts)
        assert (answer.status_code, answer.json()["code"]) == (400, "BAD_VALUE")


def test_only_channels_have_their_names(http: httpx.Client) -> None:
    create(http, grid=[4, 2])  # as many columns as channels
    for what in ("hits", "u_matrix", "labels"):
        answer = http.get(f"/v1/models/pump/read?what={what}", headers={"Accept": "text/csv"})
        assert answer.text.splitlines()[0] == "0,1", what


def test_a_forecast(http: httpx.Client) -> None:
    http.post("/v1/models", json={"name": "line", "kind": "rnn", "spec": {"dim": 1, "hidden": 0}})
    http.post("/v1/models/line/learn", json={"x": [[float(i % 7)] for i in range(300)]})
    answer = http.get("/v1/models/line/forecast", params={"steps": 14})
    assert answer.status_code == 200, answer.text
    forecast = np.array(answer.json()["forecast"])
    assert forecast.shape == (14, 1)
    assert answer.json()["samples"] == 300
    assert np.abs(forecast[:, 0] - (np.arange(300, 314) % 7)).max() < 0.5
    found = answer.json()
    assert found["mix_of"] == ["last value", "last value with drift", "read-out"]
    assert sum(found["mix"][0][0]) == pytest.approx(1)  # one step, one channel; then none
    assert found["lower"][0][0] < forecast[0, 0] < found["upper"][0][0]
    assert found["lower"][1] == [None]
    times = {"steps": 2, "time": ["2024-05-01T00:00:00Z", "2024-05-01 01:00:00Z"]}
    answer = http.get("/v1/models/line/forecast", params=times)
    assert answer.json()["time"] == [1714521600000000000, 1714525200000000000], answer.text
    table = http.get("/v1/models/line/forecast?steps=14", headers={"Accept": "text/csv"})
    assert np.allclose(pd.read_csv(io.StringIO(table.text))["forecast_0"], forecast[:, 0])
    assert http.get("/v1/models/line/forecast?time=soon").json()["code"] == "BAD_VALUE"


def test_checkpoints_and_restore(http: httpx.Client) -> None:
    create(http)
    http.post("/v1/models/pump/learn", json={"x": X[:100].tolist()})
    before = describe(http)["state_hash"]
    pinned = http.post("/v1/models/pump/checkpoints", json={"name": "good"})
    assert (pinned.status_code, pinned.json()["name"]) == (201, "good")
    http.post("/v1/models/pump/learn", json={"x": X[100:].tolist()})
    after = describe(http)["state_hash"]
    restored = http.post("/v1/models/pump/restore", json={"name": "good"}).json()
    assert describe(http)["state_hash"] == before != after
    http.post("/v1/models/pump/restore", json={"name": restored["undo_name"]})
    assert describe(http)["state_hash"] == after
    assert "good" in [each["name"] for each in http.get("/v1/models/pump/checkpoints").json()]
    assert http.delete("/v1/models/pump/checkpoints/good").json()["pinned"] is False


def test_pause_resume_reheat_and_feedback(http: httpx.Client) -> None:
    create(http, alarm={})
    http.post("/v1/models/pump/learn", json={"x": X.tolist()})
    before = describe(http)["state_hash"]
    assert http.post("/v1/models/pump/pause").json()["paused"] is True
    http.post("/v1/models/pump/learn", json={"x": X.tolist()})
    assert describe(http)["quality"]["watched_samples"] == 300
    assert http.post("/v1/models/pump/resume").json()["paused"] is False
    assert http.post("/v1/models/pump/reheat", json={"heat": 0.5}).status_code == 200
    assert http.post("/v1/models/pump/reheat").status_code == 200
    for sample in ([1.0, 2.0], {"pressure": None, "flow": 1.0}):
        answer = http.post(
            "/v1/models/pump/feedback", json={"sample": sample, "verdict": "fault", "name": "worn"}
        )
        assert answer.status_code == 200, answer.text
        answer = http.post("/v1/models/pump/label", json={"x": sample, "label": "worn"})
        assert answer.status_code == 200, answer.text
    assert describe(http)["state_hash"] != before


def test_list_and_delete(http: httpx.Client) -> None:
    create(http, "one")
    create(http, "two")
    assert [each["name"] for each in http.get("/v1/models").json()] == ["one", "two"]
    assert http.delete("/v1/models/one").status_code == 204
    assert [each["name"] for each in http.get("/v1/models").json()] == ["two"]


def test_openapi_describes_every_path(http: httpx.Client) -> None:
    document = http.get("/openapi.json").json()
    learn = document["paths"]["/v1/models/{model}/learn"]["post"]
    assert set(learn["requestBody"]["content"]) == {
        "application/json",
        "application/x-ndjson",
        "text/csv",
        "application/vnd.apache.arrow.stream",
    }
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            assert operation.get("description"), (path, method)


def test_the_page_of_another_site_may_not_use_the_gateway(http: httpx.Client) -> None:
    for headers in ({"Origin": "http://evil.example"}, {"Host": "evil.example"}):
        for path in ("/v1/models", "/metrics", "/healthz", "/v1/events"):
            assert http.get(path, headers=headers).status_code == 403, (path, headers)
    own = str(http.base_url).rstrip("/")
    assert http.get("/v1/models", headers={"Origin": own}).status_code == 200


def test_a_model_goes_out_and_in(http: httpx.Client) -> None:
    create(http, labels=4)
    http.post("/v1/models/pump/learn", json={"x": X.tolist(), "y": [[0]] * len(X)})
    state = describe(http)["state_hash"]
    file = http.get("/v1/models/pump/export")
    assert (file.status_code, file.headers["content-type"]) == (200, "application/octet-stream")
    made = http.put("/v1/models/copy", content=file.content)
    assert made.status_code == 201, made.text
    assert http.post("/v1/models/pump/clone", json={"new": "clone"}).status_code == 201
    assert describe(http, "copy")["state_hash"] == describe(http, "clone")["state_hash"] == state
    damaged = bytearray(file.content)
    damaged[len(damaged) // 2] ^= 1
    answer = http.put("/v1/models/damaged", content=bytes(damaged))
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_CHECKPOINT"), answer.text
    assert "damaged" not in [each["name"] for each in http.get("/v1/models").json()]


def test_names_of_labels_in_every_form(http: httpx.Client) -> None:
    names = ["ok" if flow > 0 else "worn" for flow, _ in X]
    bodies = {
        "": (JSON["Content-Type"], json.dumps({"x": X.tolist(), "y": names})),
        "?target=condition": (
            "text/csv",
            "flow,pressure,condition\n"
            + "".join(f"{f!s},{p!s},{name}\n" for (f, p), name in zip(X, names, strict=True)),
        ),
        "?ack=written": (
            "application/x-ndjson",
            "".join(
                json.dumps({"x": row.tolist(), "y": name}) + "\n" for row, name in zip(X, names, strict=True)
            ),
        ),
        "?ack=received&target=condition": (
            "application/vnd.apache.arrow.stream",
            arrow({"flow": X[:, 0], "pressure": X[:, 1], "condition": names}),
        ),
    }
    states = []
    for query, (media_type, body) in bodies.items():
        create(http, labels=4, label_names=["ok", "worn"])
        path = f"/v1/models/pump/learn{query}"
        answer = http.post(path, content=body, headers={"Content-Type": media_type})
        assert answer.status_code == 200, answer.text
        states.append(describe(http)["state_hash"])
        http.delete("/v1/models/pump")
    assert states == states[:1] * 4


def test_labels_by_hand(http: httpx.Client) -> None:
    create(http, labels=4)
    http.post("/v1/models/pump/learn", json={"x": X.tolist(), "y": [[0]] * len(X)})
    answer = http.post("/v1/models/pump/label", json={"unit": 3, "label": "bearing worn"})
    assert answer.status_code == 200, answer.text
    answer = http.get("/v1/models/pump/read", params={"what": "labels"}).json()
    label = np.array(answer["parts"]["labels"]).ravel()[3]
    assert answer["label_names"][label] == "bearing worn"


@pytest.mark.parametrize("name", ["from_file", "parameters", "name", "kind"])
def test_a_spec_cannot_read_files_of_the_gateway(http: httpx.Client, name: str) -> None:
    spec = SPEC | {name: "/etc/hostname"}
    answer = http.post("/v1/models", json={"name": "pump", "kind": "som", "spec": spec})
    assert (answer.status_code, answer.json()["code"]) == (400, "BAD_SPEC")
