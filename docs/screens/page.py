"""Pictures of the page: all models with one alarm, a map, and a forecast. Needs Chromium."""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT))

from streamlearn_client import Client  # noqa: E402
from tools.browser import Browser  # noqa: E402
from tools.waiting import wait_for  # noqa: E402

CHANNELS = ["flow", "pressure", "temperature"]


def batch(first: int, rows: int, fault: bool) -> np.ndarray:
    t, rng = np.arange(first, first + rows), np.random.default_rng(first)
    x = np.stack([np.sin(t / 15), np.cos(t / 40), np.sin(t / 100)], 1) + rng.normal(0, 0.1, (rows, 3))
    if fault:
        x[:, 1] += 3
    return x.astype(np.float32)


def main() -> None:
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as name:
        folder = Path(name)
        endpoint = f"ipc://{folder}/requests"
        options = ("--requests", endpoint, "--firehose", f"ipc://{folder}/f", "--events", f"ipc://{folder}/e")
        options += ("--http", "127.0.0.1:0")
        command = [sys.executable, "-m", "streamlearn", "serve", "--data-dir", str(folder / "data"), *options]
        daemon = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert daemon.stdout is not None
        url = re.search(r"http=(\S+)", daemon.stdout.readline())
        assert url is not None, "the daemon did not start"
        browser = Browser(folder / "chromium", 1200, 860)
        try:
            with Client(endpoint, timeout=60) as client:
                show(client, browser, url[1])
        finally:
            browser.close()
            daemon.terminate()
            daemon.wait()


def show(client: Client, browser: Browser, url: str) -> None:
    client.create("pump-1", "som", dim=3, grid=[10, 14], topology="hexagonal", channels=CHANNELS, alarm={})
    for name in ("pump-2", "pump-3", "pump-4"):
        client.create(name, "som", dim=3, grid=[8, 8], channels=CHANNELS, alarm={})
    client.create("line-1", "rnn", dim=3, channels=CHANNELS, alarm={})
    models = [each["name"] for each in client.models()]
    for model in models:
        client.learn(model, batch(0, 6000, False))
    browser.open(url)
    browser.wait("document.querySelectorAll('tr[data-model]').length === 5")
    first = 6000

    def send(steps: int, fault: bool = False) -> None:
        nonlocal first
        for _ in range(steps):
            for model in models:
                client.learn(model, batch(first, 5, fault and model == "pump-1"), ack="received")
            first += 5
            time.sleep(0.1)

    send(30)
    send(5, fault=True)
    browser.wait("/alarm/.test(document.querySelector('tr[data-model=pump-1]').innerText)")
    picture(browser, "page-now", 420)
    for model, height in (("pump-1", 1060), ("line-1", 980)):
        browser.open(f"{url}/#/model/{model}")
        browser.wait(f"document.querySelector('h1')?.textContent === {model!r}")
        send(80)
        send(8, fault=True)
        send(6)
        wait_for(lambda: browser.run("document.querySelector('canvas.chart').width > 0"), "a chart")
        picture(browser, "page-map" if model == "pump-1" else "page-forecast", height)


def picture(browser: Browser, name: str, height: int) -> None:
    size = {"width": 1200, "height": height, "deviceScaleFactor": 1, "mobile": False}
    browser.call("Emulation.setDeviceMetricsOverride", **size)
    browser.run("window.scrollTo(0, 0)")
    time.sleep(1)
    browser.picture(Path(__file__).with_name(f"{name}.png"))


main()
