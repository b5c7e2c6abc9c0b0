"""Requests that the gateway refuses, and what the problem documents say; probes of load balancers."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.gateway.test_http import JSON, SPEC, create, describe


@pytest.mark.parametrize(
    ("method", "path", "arguments", "status", "code", "words"),
    [
        ("GET", "/v1/models/none", {}, 404, "UNKNOWN_MODEL", "no model 'none'"),
        (
            "POST",
            "/v1/models",
            {"json": {"name": "pump", "kind": "som", "spec": SPEC}},
            409,
            "MODEL_EXISTS",
            "pump",
        ),
        ("POST", "/v1/models", {"json": {"name": "new", "kind": "sum"}}, 400, "BAD_SPEC", "som"),
        ("POST", "/v1/models", {"json": {"kind": "som"}}, 400, "BAD_VALUE", "name: is missing"),
        (
            "POST",
            "/v1/models",
            {"content": b"{", "headers": JSON},
            400,
            "BAD_MESSAGE",
            "JSON: Expecting prop",
        ),
        ("POST", "/v1/models", {"content": b"\xff", "headers": JSON}, 400, "BAD_MESSAGE", "not JSON"),
        ("POST", "/v1/models", {"content": b"[" * 10**5, "headers": JSON}, 400, "BAD_MESSAGE", "not JSON"),
        ("POST", "/v1/models", {"content": b"", "headers": JSON}, 400, "BAD_VALUE", "the body: is missing"),
        ("POST", "/v1/models", {"json": []}, 400, "BAD_VALUE", "a JSON object was expected"),
        (
            "POST",
            "/v1/models",
            {"json": {"name": "new", "kind": "som", "dim": 2}},
            400,
            "BAD_VALUE",
            "dim: is unknown here; a parameter of a model is a member of spec",
        ),
        (  # what `curl -d` sends without -H
            "POST",
            "/v1/models",
            {"content": b"{}", "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "read as application/json",
        ),
        ("PUT", "/v1/models/new", {"content": b"text"}, 400, "BAD_CHECKPOINT", "the body is not a file"),
        (
            "GET",
            "/v1/models/pump/forecast?step=3",
            {},
            400,
            "BAD_VALUE",
            "no parameter 'step'; it has steps,",
        ),
        ("POST", "/v1/models/pump/pause?now=1", {}, 400, "BAD_VALUE", "no parameter 'now'; it has none"),
        ("GET", "/v1/events?kind=alarms", {}, 400, "BAD_VALUE", "no 'alarms' events exist; use one of"),
        ("GET", "/v1/alarms?since=monday", {}, 400, "BAD_VALUE", "since is 'monday'; a time was expected"),
        ("GET", "/v1/models/pump/forecast?time=now", {}, 400, "BAD_VALUE", "time is 'now'; a time was exp"),
        ("POST", "/v1/models/pump/learn", {"json": {"x": [[1, 2, 3]]}}, 400, "BAD_SHAPE", "(n, 2)"),
        ("POST", "/v1/models/pump/learn", {"json": {"x": [["a", 2]]}}, 400, "BAD_DTYPE", ""),
        ("POST", "/v1/models/pump/learn", {"json": [[1, 2]]}, 400, "BAD_MESSAGE", "object with x"),
        (
            "POST",
            "/v1/models/pump/learn",
            {"json": {"x": [[1, 2]], "z": 1}},
            400,
            "BAD_MESSAGE",
            "object with x",
        ),
        ("POST", "/v1/models/pump/learn?ack=soon", {"json": {"x": [[1, 2]]}}, 400, "BAD_VALUE", "ack"),
        (
            "POST",
            "/v1/models/pump/learn",
            {"content": b"\xff\xfe"},
            415,
            "UNSUPPORTED_MEDIA_TYPE",
            "text/csv",
        ),
        ("POST", "/v1/models/pump/restore", {"json": {"lsn": 10**9}}, 404, "NO_CHECKPOINT", ""),
        ("GET", "/v1/models/pump/read?what=lags", {}, 400, "BAD_VALUE", "u_matrix"),
        ("GET", "/v1/models/pump/forecast", {}, 400, "BAD_VALUE", ""),
    ],
)
def test_errors_are_problem_documents(
    http: httpx.Client, method: str, path: str, arguments: Any, status: int, code: str, words: str
) -> None:
    create(http)
    answer = http.request(method, path, **arguments)
    problem = answer.json()
    assert (answer.status_code, problem["status"], problem["code"]) == (status, status, code), answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert words in problem["detail"]
    assert describe(http)["samples"] == 0


@pytest.mark.parametrize(
    ("media_type", "body", "words"),
    [
        ("text/csv", "flow,pressure\n1,2\n1,x\n", "line 3"),
        ("text/csv", "pressure,flow\n1,2\n", "order"),
        ("text/csv", "", "no samples"),
        ("application/x-ndjson", "[1, 2]\n{", "line 2"),
        ("application/x-ndjson", "[1, 2]\n3", "line 2"),
        ("application/x-ndjson", '{"flow": 1, "pressure": 2}\n{"flow": 1}', "line 2"),
        ("application/x-ndjson", "\n", "no samples"),
        ("application/vnd.apache.arrow.stream", "text", "not an Arrow IPC stream"),
        ("application/json", '{"x": [[1, 2]], "times": ["yesterday"]}', "time 1"),
    ],
)
def test_a_bad_body_is_refused_whole(http: httpx.Client, media_type: str, body: str, words: str) -> None:
    create(http)
    answer = http.post("/v1/models/pump/learn", content=body, headers={"Content-Type": media_type})
    assert answer.status_code == 400, answer.text
    assert words in answer.json()["detail"]
    assert describe(http)["samples"] == 0


def test_probes_of_load_balancers(http: httpx.Client) -> None:
    for path in ("/healthz", "/readyz", "/"):
        answer = http.head(path)
        assert (answer.status_code, answer.content) == (200, b""), path


def test_an_unknown_path_and_method(http: httpx.Client) -> None:
    for answer, status in ((http.get("/v2"), 404), (http.patch("/v1/models"), 405)):
        assert (answer.status_code, answer.json()["status"]) == (status, status)
        assert answer.headers["content-type"] == "application/problem+json"
