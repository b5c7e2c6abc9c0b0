"""The page in a real Chromium, with real data: every view, every action, and daemons that are killed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

from streamlearn_client import Client
from tests.e2e.daemon_process import DaemonProcess
from tests.gateway.gateway_process import SECONDS, GatewayProcess
from tools import kinds
from tools.browser import Browser
from tools.waiting import wait_for

CHANNELS = ["flow", "pressure", "temperature"]


class Feed:
    """Sends samples to models until the block ends. ``fault`` shifts the pressure."""

    def __init__(self, endpoint: str, *models: str) -> None:
        self.fault, self._ended = False, threading.Event()
        self._client, self._models = Client(endpoint, timeout=SECONDS), models
        self._thread = threading.Thread(target=self._run, daemon=True)
        self.samples = 0

    def _batch(self, n: int) -> Any:
        t, rng = np.arange(self.samples, self.samples + n), np.random.default_rng(self.samples)
        x = np.stack([np.sin(t / 15), np.cos(t / 40), np.sin(t / 100)], 1) + rng.normal(0, 0.1, (n, 3))
        if self.fault:
            x[:, 1] += 4
        self.samples += n
        return x.astype(np.float32)

    def send(self, n: int) -> None:
        x = self._batch(n)
        for model in self._models:
            self._client.learn(model, x, ack="received")

    def _run(self) -> None:
        while not self._ended.wait(0.05):
            self.send(10)

    def __enter__(self) -> Feed:
        self.send(3000)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join(SECONDS)
        self._client.close()


def create(http: httpx.Client, name: str, kind: str, **spec: Any) -> None:
    spec = {"dim": 3, "channels": CHANNELS} | spec
    answer = http.post("/v1/models", json={"name": name, "kind": kind, "spec": spec})
    assert answer.status_code == 201, answer.text


def pixels(browser: Browser, selector: str) -> int:
    """The number of different colours on a canvas."""
    return int(
        browser.run(
            f"(() => {{ const c = document.querySelector({selector!r}); if (!c || !c.width) return 0;"
            " const d = c.getContext('2d').getImageData(0, 0, c.width, c.height).data; const s = new Set();"
            " for (let i = 0; i < d.length; i += 4) s.add((d[i] << 16) + (d[i+1] << 8) + d[i+2]);"
            " return s.size; })()"
        )
    )


def press(browser: Browser, key: str) -> None:
    for kind in ("keyDown", "keyUp"):
        browser.call("Input.dispatchKeyEvent", type=kind, key=key, code=key)


def rows_of(browser: Browser, title: str) -> list[list[str]]:
    """Open the table with this title, and return its cells."""
    script = f"[...document.querySelectorAll('details')].find((each) => each.innerText.startsWith({title!r}))"
    browser.run(f"{script}.open = true")
    browser.wait(f"{script}.querySelectorAll('tbody tr').length > 1")
    return list(
        browser.run(
            f"[...{script}.querySelectorAll('tbody tr')].map((row) => [...row.children]"
            ".map((cell) => cell.innerText))"
        )
    )


def test_now_shows_the_odd_models_first(
    http: httpx.Client, gateway: GatewayProcess, daemon: DaemonProcess, browser: Browser
) -> None:
    for name in ("a", "b", "z"):
        create(http, name, "som", grid=[4, 4], alarm={})
    browser.open(gateway.url)
    browser.wait("document.querySelectorAll('tr[data-model]').length === 3")
    with Feed(daemon.requests, "a", "b"), Feed(daemon.requests, "z") as odd:
        browser.wait("document.querySelector('tr[data-model=z] .badge').textContent === 'ok'")
        odd.fault = True
        browser.wait("document.querySelector('tr[data-model]').dataset.model === 'z'")
        browser.wait("/alarm/.test(document.querySelector('tr[data-model=z]').innerText)")
        browser.wait("/pressure/.test(document.querySelector('tr[data-model=z]').innerText)")
        browser.wait("/pressure/.test(document.getElementById('announce').textContent)")
        wait_for(lambda: pixels(browser, "tr[data-model=a] canvas") > 1, "a sparkline")
    browser.fill("input[type=search]", "b")
    browser.wait("document.querySelectorAll('tr[data-model]').length === 1")
    browser.click("b", "tbody")
    browser.wait("location.hash === '#/model/b'")
    browser.wait("document.querySelector('h1')?.textContent === 'b'")


def test_an_alarm_that_began_without_a_connection_is_shown(
    http: httpx.Client, gateway: GatewayProcess, daemon: DaemonProcess, browser: Browser
) -> None:
    for name in ("a", "z"):
        create(http, name, "som", grid=[4, 4], alarm={})
    browser.open(gateway.url)
    browser.wait("document.querySelectorAll('tr[data-model]').length === 2")
    browser.run("window.real = window.fetch; window.fetch = () => Promise.reject(new Error('no network'));")
    browser.run("window.location.hash = '#/create'")  # the events of another page: a new connection
    browser.run("window.location.hash = '#/model/z'")
    browser.wait("document.getElementById('daemon').textContent === 'the gateway does not answer'")
    browser.run("window.location.hash = '#/'")
    with Feed(daemon.requests, "z") as odd:
        odd.fault = True
        wait_for(lambda: http.get("/v1/alarms").json()["alarms"], "an alarm")
    browser.run("window.fetch = window.real;")
    browser.wait("/pressure/.test(document.querySelector('tr[data-model=z]').innerText)")


@pytest.mark.parametrize(
    ("kind", "spec", "words"),
    [
        ("som", {"grid": [5, 6]}, "U-matrix"),
        ("som", {"grid": [5, 6], "topology": "hexagonal"}, "U-matrix"),
        ("competitive", {"units": 5}, "unit 4"),
        ("gng", {"max_units": 8}, "hits"),
        ("rnn", {}, "Forecast of the next samples"),
        ("rnn", {"readout": "adam", "hidden": 4, "record_lags": True}, "Gradient by lag"),
    ],
)
def test_the_view_of_each_kind(
    http: httpx.Client, gateway: GatewayProcess, daemon: DaemonProcess, browser: Browser,
    kind: str, spec: dict[str, Any], words: str,
) -> None:  # fmt: skip
    create(http, "m", kind, **spec)
    with Feed(daemon.requests, "m"):
        browser.open(f"{gateway.url}/#/model/m")
        browser.wait(f"document.body.innerText.includes({words!r})")
        wait_for(lambda: pixels(browser, "canvas.chart") > 5, "a chart")
        wait_for(lambda: pixels(browser, "canvas.score") > 2, "a chart of the score")
        if kind == "som":
            wait_for(lambda: pixels(browser, ".grids canvas") > 8, "a U-matrix")
            x, y = browser.place(".grids canvas")
            browser.call("Input.dispatchMouseEvent", type="mouseMoved", x=x + 20, y=y + 20)
            captions = "[...document.querySelectorAll('figcaption')]"
            browser.wait(f"{captions}.every((each) => / at 0, 0/.test(each.textContent))")
            browser.run("document.querySelector('.grids canvas').focus()")
            press(browser, "ArrowRight")
            browser.wait(f"{captions}.every((each) => / at 0, 1/.test(each.textContent))")
            browser.wait("/unit 0, 1, hits /.test(document.querySelector('p.unseen[aria-live]').textContent)")
            assert len(rows_of(browser, "The units as a table")) == 30
        elif kind == "competitive":
            browser.wait("document.querySelectorAll('.grids figure').length === 5")
            assert len(rows_of(browser, "The prototypes as a table")) == 5
        elif kind == "rnn":
            assert len(rows_of(browser, "The forecast as a table")) == 24
            if "readout" not in spec:  # by default it has bands
                wait_for(lambda: " to " in rows_of(browser, "The forecast as a table")[0][2], "a band")
        wait_for(lambda: len(rows_of(browser, "The last samples as a table")) == 20, "20 samples")
        samples = rows_of(browser, "The last samples as a table")
        assert int(samples[0][0]) > int(samples[-1][0])


@pytest.mark.parametrize(
    ("kind", "spec", "units"),
    [
        ("hamming", {"patterns": [[-1, 1, 1], [1, -1, -1]]}, 2),
        ("grossberg", {"layers": [[4, 2], [3]]}, 9),
        ("malsburg", {"sheet": [4, 6]}, 24),
        ("cognitron", {"dim": 20, "shape": [4, 5], "layers": 2}, 42),
    ],
)
def test_the_weights_of_the_classic_networks(
    http: httpx.Client, gateway: GatewayProcess, browser: Browser, kind: str, spec: dict[str, Any], units: int
) -> None:
    create(http, "m", kind, **spec, channels=None)
    dim = http.get("/v1/models/m").json()["dim"]
    x = [[-1, 1, 1]] if kind == "hamming" else [[float(i % 3 == 0) for i in range(dim)]]
    assert http.post("/v1/models/m/learn", json={"x": x * 50}).status_code == 200
    browser.open(f"{gateway.url}/#/model/m")
    browser.wait(f"document.querySelectorAll('.grids figure').length === {units}")
    wait_for(lambda: pixels(browser, ".grids canvas") >= 2, "a profile")
    assert len(rows_of(browser, "The weights as a table")) >= units


def test_a_window_ranks_the_channels(
    http: httpx.Client, gateway: GatewayProcess, daemon: DaemonProcess, browser: Browser
) -> None:
    create(http, "pump", "som", grid=[4, 4], alarm={})
    with Feed(daemon.requests, "pump") as feed:
        browser.open(f"{gateway.url}/#/model/pump")
        browser.wait("document.querySelector('h1')?.textContent === 'pump'")
        wait_for(lambda: pixels(browser, "canvas.chart") > 5, "a chart")
        begin = feed.samples
        wait_for(lambda: feed.samples > begin + 600, "healthy samples")
        feed.fault = True
        begin = feed.samples
        wait_for(lambda: feed.samples > begin + 100, "the fault")
    last = feed.samples - 30  # the last events may be thinned out
    wait_for(lambda: int(rows_of(browser, "The last samples as a table")[0][0]) >= last, "the last samples")
    browser.drag("canvas.chart", 0.85, 0.99)  # all of the fault: the map learns it
    browser.wait("document.querySelector('table.ranking tbody th')?.textContent === 'pressure'")
    browser.fill("input[aria-label='first sample']", str(begin + 20))
    browser.fill("input[aria-label='last sample']", str(begin + 60))
    browser.click("Rank")
    words = f"Contribution in samples {begin + 20} to {begin + 60}"
    browser.wait(f"document.querySelector('table.ranking caption').textContent === {words!r}")
    assert browser.text("table.ranking tbody th") == "pressure"


def test_actions(
    http: httpx.Client, gateway: GatewayProcess, daemon: DaemonProcess, browser: Browser
) -> None:
    create(http, "pump", "som", grid=[4, 4], alarm={})
    with Feed(daemon.requests, "pump") as feed:
        browser.open(f"{gateway.url}/#/model/pump")
        browser.fill("input[aria-label=unit]", "2")
        browser.fill("input[aria-label=label]", "idle")
        browser.click("Label")
        browser.wait("document.getElementById('message').textContent === 'unit 2 is labelled idle'")
        browser.click("Pause")
        wait_for(lambda: http.get("/v1/models/pump").json()["paused"], "paused")
        browser.click("Resume")
        wait_for(lambda: not http.get("/v1/models/pump").json()["paused"], "resumed")
        browser.click("Checkpoint")
        browser.wait("document.getElementById('message').textContent.startsWith('wrote a checkpoint at lsn')")
        lsn = http.get("/v1/models/pump/checkpoints").json()[0]["lsn"]
        feed.fault = True
        browser.wait("document.querySelectorAll('tr.alarm').length >= 1")
        facts = "document.querySelector('ul.facts').innerText"
        error = browser.run(f"{facts}.match(/quantization error \\S+/)[0]")
        browser.wait(f"!{facts}.includes({error!r})")  # the quality is live
        browser.fill("input[placeholder='name of the fault']", "valve stuck")
        browser.click("Fault", "tbody")
        browser.wait("/is called valve stuck/.test(document.getElementById('message').textContent)")
    before = http.get("/v1/models/pump").json()
    assert [each["name"] for each in before["quality"]["patterns"]] == ["valve stuck"]
    browser.open("about:blank")
    browser.open(f"{gateway.url}/#/model/pump")
    listed = f"[...document.querySelectorAll('#checkpoints option')].some((each) => each.value === '{lsn}')"
    browser.wait(listed)
    browser.fill("input[placeholder='lsn or checkpoint']", str(lsn))
    browser.click("Restore")
    browser.wait(f"document.getElementById('message').textContent === 'restored the state at lsn {lsn}'")
    assert http.get("/v1/models/pump").json()["samples"] < before["samples"]
    browser.click("Undo the restore")
    browser.wait("document.getElementById('message').textContent === 'the restore is undone'")
    assert http.get("/v1/models/pump").json()["state_hash"] == before["state_hash"]
    browser.fill("input[placeholder='lsn or checkpoint']", "999999")
    browser.click("Restore")
    browser.wait("/999999/.test(document.getElementById('message').textContent)")


def test_alarms_from_before_the_page_was_opened(
    http: httpx.Client, gateway: GatewayProcess, daemon: DaemonProcess, browser: Browser
) -> None:
    """They are shown with their channels, and the model can be restored to before one."""
    create(http, "pump", "som", grid=[4, 4], alarm={})
    with Feed(daemon.requests, "pump") as feed:
        wait_for(lambda: feed.samples > 3200, "healthy samples")
        feed.fault = True
        alarms = wait_for(lambda: http.get("/v1/alarms?model=pump").json()["alarms"], "an alarm")
    browser.open(gateway.url)
    browser.wait("/pressure/.test(document.querySelector('tr[data-model=pump]').innerText)")
    browser.open(f"{gateway.url}/#/model/pump")
    browser.wait(
        "/pressure/.test(document.querySelector('main tr.alarm, main td')?.closest('table').innerText)"
    )
    browser.click("Restore to before")
    browser.wait("/restored the state before the alarm/.test(document.getElementById('message').textContent)")
    samples = http.get("/v1/models/pump").json()["samples"]
    assert 3000 <= samples <= min(each["first"] for each in alarms)


def test_create_from_the_form(http: httpx.Client, gateway: GatewayProcess, browser: Browser) -> None:
    browser.open(f"{gateway.url}/#/create")
    browser.fill("#name", "made")
    browser.fill("#kind", "competitive")
    browser.fill("#p-dim", "2")
    browser.fill("#p-units", "3")
    browser.fill("#p-channels", "flow, pressure")
    browser.fill("#p-scale", "standard")
    browser.fill("#p-alarm", "with these values")
    browser.fill("#p-alarm-quiet", "50")
    browser.fill("#p-alarm-stuck", "false")
    browser.fill("#p-alarm-for", "[2, 4]")
    browser.fill("#p-distance", "manhattan")
    browser.fill("#p-learning_rate", '{"start": 0.5, "end": 0.1}')
    browser.click("Create")
    browser.wait("location.hash === '#/model/made'")
    spec = http.get("/v1/models/made").json()["spec"]
    assert (spec["units"], spec["channels"], spec["scale"]) == (3, ["flow", "pressure"], "standard")
    assert (spec["distance"], spec["learning_rate"]["end"]) == ("manhattan", 0.1)
    assert (spec["alarm"]["quiet"], spec["alarm"]["stuck"], spec["alarm"]["for"]) == (50, False, [2, 4])
    browser.open(f"{gateway.url}/#/create")
    browser.fill("#name", "wrong")
    browser.fill("#p-dim", "2")
    browser.fill("#p-grid", "0, 3")
    browser.click("Create")
    browser.wait("/grid/.test(document.getElementById('message').textContent)")
    assert browser.run("document.getElementById('p-grid').getAttribute('aria-invalid')") == "true"
    assert "1" in browser.text("#p-grid-fault")
    browser.fill("#p-grid", "2, x")
    browser.click("Create")
    browser.wait("/integer/.test(document.getElementById('p-grid-fault').textContent)")


def test_the_form_has_the_parameters_of_every_kind() -> None:
    assert kinds.FILE.read_text() == kinds.text(), "run: python -m tools.kinds"


def test_the_page_survives_a_killed_daemon_and_a_killed_gateway(
    serve: Callable[..., DaemonProcess], start: Callable[..., GatewayProcess], browser: Browser
) -> None:
    daemon = serve()
    daemon.ready()
    gateway = start(daemon.requests).ready()
    port = gateway.port
    with gateway.client() as http:
        create(http, "pump", "som", grid=[4, 4])
    browser.open(f"{gateway.url}/#/model/pump")
    browser.wait("document.getElementById('daemon').textContent === 'connected'")
    daemon.kill()
    browser.wait("document.getElementById('daemon').textContent === 'the daemon does not answer'")
    daemon = serve()
    daemon.ready()
    browser.wait("document.getElementById('daemon').textContent === 'connected'")
    gateway.process.kill()
    gateway.process.wait()
    browser.wait("document.getElementById('daemon').textContent === 'the gateway does not answer'")
    start(daemon.requests, http=f"127.0.0.1:{port}").ready()
    browser.wait("document.getElementById('daemon').textContent === 'connected'")
    with Feed(daemon.requests, "pump"):
        wait_for(lambda: pixels(browser, "canvas.chart") > 5, "the chart goes on")


def test_the_page_asks_for_a_token(
    daemon: DaemonProcess, start: Callable[..., GatewayProcess], tmp_path: Path, browser: Browser
) -> None:
    from streamlearn.gateway.token_file import add_token

    file = tmp_path / "tokens.toml"
    secret = add_token(file, "operator", ["query=*", "subscribe=*"])
    gateway = start(daemon.requests, "--tokens", str(file)).ready()
    browser.call("Page.addScriptToEvaluateOnNewDocument", source=f"window.prompt = () => {secret!r}")
    browser.open(gateway.url)
    browser.wait("document.getElementById('daemon').textContent === 'connected'")


@pytest.mark.parametrize(("width", "dark"), [(360, False), (1280, True), (2560, False)])
def test_every_width_and_scheme(
    http: httpx.Client, gateway: GatewayProcess, tmp_path: Path, width: int, dark: bool
) -> None:
    """Nothing is wider than the window; text and background differ enough (WCAG 2.1, contrast 4.5)."""
    create(http, "pump", "som", grid=[4, 4], dim=8, channels=list("abcdefgh"))
    browser = Browser(tmp_path / "chromium", width=width, dark=dark)
    try:
        for view in ("", "#/model/pump", "#/create"):
            browser.open(f"{gateway.url}/{view}")
            browser.wait("document.querySelector('h1') !== null")
            if "model" in view:
                browser.wait("document.querySelectorAll('main label').length >= 8")
            assert browser.run("document.documentElement.scrollWidth <= window.innerWidth"), view
            assert browser.run(OUTSIDE) == [], view
            assert browser.run(CONTRAST) >= 4.5, view
        assert browser.run(
            "performance.getEntriesByType('resource').every((e) => e.name.startsWith(location.origin))"
        )
        assert browser.errors == []
    finally:
        browser.close()


OUTSIDE = """[...document.querySelectorAll('input, button')].filter((each) => !each.closest('.wide')
  && each.getBoundingClientRect().right > document.documentElement.clientWidth)
  .map((each) => each.outerHTML)"""

CONTRAST = """(() => {
  const light = (text) => text.match(/[0-9.]+/g).slice(0, 3).map((v) => v / 255)
    .map((v) => (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4))
    .reduce((sum, v, i) => sum + v * [0.2126, 0.7152, 0.0722][i], 0);
  const paper = light(getComputedStyle(document.body).backgroundColor);
  const texts = document.querySelectorAll('h1, a, th, td, p, small, li, label, .state');
  return Math.min(...[...texts].map((each) => {
    const ink = light(getComputedStyle(each).color);
    return (Math.max(ink, paper) + 0.05) / (Math.min(ink, paper) + 0.05);
  }));
})()"""


def test_the_keyboard_reaches_everything(
    http: httpx.Client, gateway: GatewayProcess, browser: Browser
) -> None:
    """Tab visits every control in the order of the page, and each has a name for screen readers."""
    create(http, "pump", "som", grid=[4, 4])
    browser.open(f"{gateway.url}/#/model/pump")
    browser.wait("document.querySelectorAll('.actions button').length > 2")
    visited = []
    for _ in range(14):
        for kind in ("keyDown", "keyUp"):
            browser.call("Input.dispatchKeyEvent", type=kind, key="Tab", code="Tab", windowsVirtualKeyCode=9)
        visited.append(
            browser.run("document.activeElement.textContent.trim() || document.activeElement.ariaLabel")
        )
    assert visited[0] == "Skip to the content"
    assert {"Now", "New model", "Pause", "Checkpoint", "lsn or name of a checkpoint", "Restore"} <= set(
        visited
    )
    unnamed = """[...document.querySelectorAll('button, a, input, canvas')].filter((each) => !(
      each.textContent.trim() || each.getAttribute('aria-label') || each.closest('label')
      || document.querySelector(`label[for='${each.id}']`))).length"""
    assert browser.run(unnamed) == 0
