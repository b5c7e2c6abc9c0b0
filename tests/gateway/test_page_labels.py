"""The page in a real Chromium: from a CSV file to a label and a restore, and names of units."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.daemon_process import DaemonProcess
from tests.gateway.gateway_process import GatewayProcess
from tests.gateway.test_page import Feed, create, pixels, rows_of
from tools.browser import Browser
from tools.waiting import wait_for


def test_from_a_browser_alone(
    http: httpx.Client, gateway: GatewayProcess, browser: Browser, tmp_path: Path
) -> None:
    """Create, stream a CSV, see an alarm with its channels, label it, and restore to before it."""
    browser.open(f"{gateway.url}/#/create")
    browser.wait("document.getElementById('name') !== null")
    browser.fill("#name", "pump")
    browser.run("document.getElementById('kind').value = 'som'")
    browser.run("document.getElementById('kind').dispatchEvent(new Event('change'))")
    files = Path(__file__).parents[2] / "docs/data"
    channels = (files / "pump-history.csv").read_text().split("\n")[0].split(",")[1:]
    for field, value in (("dim", "4"), ("grid", "8, 8"), ("channels", ", ".join(channels))):
        browser.fill(f"#p-{field}", value)
    browser.run("document.getElementById('p-scale').value = 'standard'")
    browser.run("document.getElementById('submit').click()")
    browser.wait("document.querySelector('h1')?.textContent === 'pump'")
    spec = http.get("/v1/models/pump").json()["spec"]
    assert (spec["scale"], spec["labels"], spec["channels"]) == ("standard", None, channels)
    for name, rows in (("pump-history.csv", "2,880"), ("pump-today.csv", "840")):
        choose_file(browser, files / name)
        browser.wait("document.querySelector('select[aria-label=\"column of the time\"]').value === 'time'")
        browser.click("Learn the file")
        words = f"learned {rows} samples of {name}"
        browser.wait(f"document.getElementById('message').textContent === {words!r}")
    browser.wait(
        "[...document.querySelectorAll('td')].some((each) => /vibration \\d+ %/.test(each.textContent))"
    )
    browser.fill("input[placeholder='name of the fault']", "cavitation")
    browser.click("Label", "tbody")
    browser.wait(
        "/of sample \\d+ is labelled cavitation/.test(document.getElementById('message').textContent)"
    )
    found = http.get("/v1/models/pump/read?what=labels").json()
    assert found["label_names"] == ["cavitation"]
    browser.click("Restore to before", "tbody")
    browser.wait("/restored the state before the alarm/.test(document.getElementById('message').textContent)")
    assert http.get("/v1/models/pump").json()["samples"] == 2880


def choose_file(browser: Browser, path: Path) -> None:
    document = browser.call("DOM.getDocument")["root"]["nodeId"]
    node = browser.call("DOM.querySelector", nodeId=document, selector="input[type=file]")["nodeId"]
    browser.call("DOM.setFileInputFiles", nodeId=node, files=[str(path)])


def test_a_file_with_semicolons_and_decimal_commas(
    http: httpx.Client, gateway: GatewayProcess, browser: Browser, tmp_path: Path
) -> None:
    create(http, "m", "competitive", dim=2, units=2, channels=["flow", "pressure"], scale=None)
    path = tmp_path / "german.csv"
    path.write_text("time;flow;pressure\n" + "2026-03-01T10:00:00Z;1,5;-2,25\n" * 40)
    browser.open(f"{gateway.url}/#/model/m")
    browser.wait("document.querySelector('input[type=file]') !== null")
    choose_file(browser, path)
    browser.wait("document.querySelector('select[aria-label=\"column of the time\"]').value === 'time'")
    browser.click("Learn the file")
    browser.wait("document.getElementById('message').textContent === 'learned 40 samples of german.csv'")
    found = http.get("/v1/models/m/read?what=prototypes").json()["parts"]["prototypes"]
    assert min(abs(row[0] - 1.5) + abs(row[1] + 2.25) for row in found) < 0.1


@pytest.mark.parametrize(
    ("kind", "spec"), [("som", {"grid": [4, 4]}), ("competitive", {"units": 4}), ("gng", {"max_units": 6})]
)
def test_a_unit_gets_a_name(
    http: httpx.Client, gateway: GatewayProcess, daemon: DaemonProcess, browser: Browser,
    kind: str, spec: dict[str, Any],
) -> None:  # fmt: skip
    """The model was created without labels. Its samples and its tables have the name from then on."""
    create(http, "pump", kind, **spec)
    title = "The units as a table" if kind == "som" else "The prototypes as a table"
    with Feed(daemon.requests, "pump"):
        browser.open(f"{gateway.url}/#/model/pump")
        browser.wait("document.querySelectorAll('.grids figure').length >= 2")
        for unit in range(4 if kind != "som" else 16):
            if kind == "som" and unit == 0:
                wait_for(lambda: pixels(browser, ".grids canvas") > 8, "a U-matrix")
                x, y = browser.place(".grids canvas")
                for each in ("mousePressed", "mouseReleased"):
                    browser.call(
                        "Input.dispatchMouseEvent", type=each, x=x + 9, y=y + 9, button="left", clickCount=1
                    )
                browser.wait("document.getElementById('unit').value === '0'")
                assert browser.run("document.activeElement.id") == "label"
            elif kind != "som" and unit == 0:
                button = "[...document.querySelectorAll('figcaption button')]"
                browser.wait(f"{button}.some((each) => each.textContent.startsWith('unit 0:'))")
                browser.run(f"{button}.find((each) => each.textContent.startsWith('unit 0:')).click()")
                browser.wait("document.getElementById('unit').value === '0'")
            else:
                browser.fill("input[aria-label=unit]", str(unit))
            browser.fill("input[aria-label=label]", f"state {unit}")
            browser.click("Label")
            browser.wait(
                f"document.getElementById('message').textContent === 'unit {unit} is labelled state {unit}'"
            )
        browser.wait("/label state \\d/.test(document.querySelector('ul.facts').innerText)")
        wait_for(lambda: "state 3" in rows_of(browser, title)[3], "the label in the table")
    browser.fill("input[aria-label=unit]", "3")
    browser.fill("input[aria-label=label]", "")
    browser.click("Label")
    browser.wait("document.getElementById('message').textContent === 'unit 3 is without a label by hand'")
    wait_for(lambda: "–" in rows_of(browser, title)[3], "no label in the table")
