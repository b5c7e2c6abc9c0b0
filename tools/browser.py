"""A real Chromium, driven over its DevTools protocol, for the tests of the page and its pictures."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import shutil
import subprocess
import urllib.request
from pathlib import Path
from typing import Any

from websockets.sync.client import connect

from tools.waiting import wait_for

SECONDS = 60.0
CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


class Browser:
    """One page. ``errors`` has what the page wrote to the console as errors, and its uncaught exceptions."""

    def __init__(self, directory: Path, width: int = 1280, height: int = 900, dark: bool = False) -> None:
        assert CHROMIUM is not None, "Chromium is absent: `make system-packages` installs it"
        self._process = subprocess.Popen(
            [
                CHROMIUM,
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--remote-debugging-port=0",
                f"--user-data-dir={directory}",
                f"--window-size={width},{height}",
                "about:blank",
            ],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        port_file = directory / "DevToolsActivePort"
        wait_for(lambda: port_file.exists() and port_file.read_text().count("\n"), "Chromium")
        port = port_file.read_text().split("\n")[0]
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/json/list", timeout=SECONDS) as answer:
            pages = json.load(answer)
        page = next(each for each in pages if each["type"] == "page")
        self._open = contextlib.ExitStack()
        self._socket = self._open.enter_context(connect(page["webSocketDebuggerUrl"], max_size=None))
        self._numbers = itertools.count(1)
        self.errors: list[str] = []
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        self.call("Emulation.setDeviceMetricsOverride", **metrics)
        if dark:
            features = [{"name": "prefers-color-scheme", "value": "dark"}]
            self.call("Emulation.setEmulatedMedia", features=features)

    @property
    def pid(self) -> int:
        """The browser's first process."""
        return self._process.pid

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        while True:
            message = json.loads(self._socket.recv(SECONDS))
            if message.get("id") == number:
                assert "error" not in message, (method, message["error"])
                return dict(message["result"])
            self._note(message)

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        if message.get("method") == "Runtime.exceptionThrown":
            details = parameters["exceptionDetails"]
            self.errors.append(details.get("exception", {}).get("description", details["text"]))
        if message.get("method") == "Runtime.consoleAPICalled" and parameters["type"] == "error":
            self.errors.append(str(parameters["args"]))
        entry = parameters.get("entry", {})
        if message.get("method") == "Log.entryAdded" and entry["level"] == "error":
            self.errors += [entry["text"]] if entry["source"] != "network" else []

    def open(self, url: str) -> None:
        self.call("Page.navigate", url=url)

    def run(self, script: str) -> Any:
        """Return the value of a JavaScript expression; a promise is awaited."""
        result = self.call("Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True)
        assert "exceptionDetails" not in result, (script, result["exceptionDetails"])
        return result["result"].get("value")

    def wait(self, script: str, seconds: float = SECONDS) -> Any:
        """Wait until an expression is true, and return its value."""
        tried = f"(() => {{ try {{ return {script}; }} catch {{ return false; }} }})()"
        try:
            return wait_for(lambda: self.run(tried), script, seconds)
        except AssertionError:
            text = self.run("document.body?.innerText")
            raise AssertionError(f"{script}: not true; errors: {self.errors}; the page:\n{text}") from None

    def text(self, selector: str = "body") -> str:
        return str(self.run(f"document.querySelector({json.dumps(selector)})?.innerText ?? ''"))

    def click(self, words: str, within: str = "body") -> None:
        """Click the first button or link with this text."""
        script = (
            f"[...document.querySelector({json.dumps(within)}).querySelectorAll('button, a')]"
            f".find((each) => each.textContent.trim() === {json.dumps(words)})"
        )
        self.wait(f"Boolean({script})")
        self.run(f"{script}.click()")

    def fill(self, selector: str, value: str) -> None:
        name = json.dumps(selector)
        self.wait(f"Boolean(document.querySelector({name}))")
        self.run(
            f"(() => {{ const each = document.querySelector({name}); each.value = {json.dumps(value)};"
            " each.dispatchEvent(new Event('input', {bubbles: true}));"
            " each.dispatchEvent(new Event('change', {bubbles: true})); })()"
        )

    def place(self, selector: str) -> tuple[float, float]:
        """Scroll to an element, and return the place of its upper left corner."""
        name = json.dumps(selector)
        x, y = self.run(
            f"(() => {{ const each = document.querySelector({name}); each.scrollIntoView();"
            " const box = each.getBoundingClientRect(); return [box.x, box.y]; })()"
        )
        return float(x), float(y)

    def drag(self, selector: str, begin: float, end: float) -> None:
        """Drag over an element, from one share of its width to another."""
        x, y = self.place(selector)
        name = json.dumps(selector)
        width, height = self.run(
            f"(() => {{ const e = document.querySelector({name});"
            " return [e.clientWidth, e.clientHeight]; })()"
        )
        points = [(x + begin * width, "mousePressed"), (x + end * width, "mouseMoved")]
        points.append((x + end * width, "mouseReleased"))
        for place, kind in points:
            button = {"type": kind, "x": place, "y": y + height / 2, "button": "left", "clickCount": 1}
            self.call("Input.dispatchMouseEvent", **button)

    def picture(self, path: Path) -> None:
        """Write a screenshot."""
        path.write_bytes(base64.b64decode(self.call("Page.captureScreenshot", format="png")["data"]))

    def close(self) -> None:
        self._open.close()
        self._process.terminate()
        self._process.wait(SECONDS)
