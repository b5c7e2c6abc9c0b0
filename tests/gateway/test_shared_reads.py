"""Requests that accept an older answer share it; all others ask the daemon."""

from __future__ import annotations

import asyncio
from typing import Any

import httpx
import pytest
from starlette.requests import Request

from streamlearn.errors import Busy
from streamlearn.gateway.shared_reads import KEPT_SECONDS, MOST, SharedReads


def request(control: str | None) -> Request:
    headers = [] if control is None else [(b"cache-control", control.encode())]
    return Request({"type": "http", "headers": headers})


class Asked:
    """A daemon that counts the questions, and a clock."""

    def __init__(self) -> None:
        self.count, self.now = 0, 100.0
        self.reads = SharedReads(lambda: self.now)
        self.gate = asyncio.Event()
        self.gate.set()

    async def ask(self) -> int:
        self.count += 1
        found = self.count
        await self.gate.wait()
        if found == 7:
            raise Busy("later")
        return found

    async def get(self, control: str | None, key: Any = "key") -> int:
        return await self.reads.get(request(control), key, self.ask)


def test_an_answer_is_shared_as_long_as_it_is_young_enough() -> None:
    async def run() -> None:
        asked = Asked()
        assert [await asked.get(each) for each in (None, "no-cache", "max-age=0", "max-age=x")] == [
            1,
            2,
            3,
            4,
        ]
        assert await asked.get("max-age=2") == 5
        asked.now += 2
        assert await asked.get("no-transform, max-age=2") == 5
        assert await asked.get("max-age=1") == 6
        asked.now += 1.5
        with pytest.raises(Busy):
            await asked.get("max-age=1")
        assert await asked.get("max-age=9") == 8, "an error is not kept"
        asked.now += KEPT_SECONDS + 1
        assert await asked.get("max-age=999") == 9
        assert await asked.get("max-age=9", "other") == 10
        asked.gate.clear()
        asked.now += 9
        waiting = [asyncio.create_task(asked.get("max-age=1")) for _ in range(5)]
        await asyncio.sleep(0)
        asked.now += 5
        waiting.append(asyncio.create_task(asked.get("max-age=1")))
        await asyncio.sleep(0)
        waiting[0].cancel()
        asked.gate.set()
        assert await asyncio.gather(*waiting[1:]) == [11] * 5
        for number in range(3 * MOST):
            await asked.get("max-age=1", number)
        assert len(asked.reads._kept) == MOST

    asyncio.run(run())


def test_pages_share_the_answers_of_the_daemon(http: httpx.Client) -> None:
    spec = {"dim": 2, "grid": [3, 3], "seed": 1}
    http.post("/v1/models", json={"name": "pump", "kind": "som", "spec": spec})

    def queries() -> int:
        return int(http.get("/v1/stats").json()["models"]["pump"]["queries"])

    before = queries()
    path, shared = "/v1/models/pump/read?what=hits&what=u_matrix", {"Cache-Control": "max-age=9"}
    first = http.get(path, headers=shared).json()
    assert [http.get(path, headers=shared).json() for _ in range(5)] == [first] * 5
    assert queries() == before + 1
    http.post("/v1/models/pump/learn", json={"x": [[1, 2]] * 10})
    assert http.get(path, headers=shared).json()["samples"] == 0
    assert http.get(path).json()["samples"] == 10
    assert queries() == before + 2
    assert http.get("/v1/models", headers=shared).json()[0]["name"] == "pump"


def test_a_new_model_has_no_answers_of_a_deleted_one_of_its_name(http: httpx.Client) -> None:
    for units in (3, 5):
        new = {"name": "same", "kind": "competitive", "spec": {"dim": 2, "units": units}}
        assert http.post("/v1/models", json=new).status_code == 201
        shared = {"Cache-Control": "max-age=9"}
        found = http.get("/v1/models/same/read", params={"what": "hits"}, headers=shared).json()
        assert len(found["parts"]["hits"]) == units
        assert http.delete("/v1/models/same").status_code == 204
