"""Events."""

from __future__ import annotations

from clients.suite.registry import behaviour
from clients.suite.trial import Trial, rows, until


@behaviour("Events: of some kinds and models only, with their outputs, in order")
def events(t: Trial) -> None:
    driver = t.driver()
    model, other = t.model(driver), t.model(driver)
    longer = f"{model}-longer"  # its topic begins with that of the model
    driver.do("create", model=longer, kind="som", spec={"dim": 3, "grid": [2, 2]})
    driver.do("subscribe", kinds=["output", "paused", "deleted"], models=[model])
    for each in (longer, other, model, model):
        driver.do("learn", model=each, x=rows(4))
    driver.do("checkpoint", model=model)
    driver.do("pause", model=model)
    driver.do("delete", model=model)
    found: list[dict[str, object]] = []
    while not found or found[-1]["kind"] != "deleted":
        found.append(driver.do("next_event", timeout=60)["event"])
    assert {each["model"] for each in found} == {model}
    assert [each["kind"] for each in found if each["kind"] != "output"] == ["paused", "deleted"]
    outputs = [each for each in found if each["kind"] == "output"]
    assert [each["first"] for each in outputs] == [0, 4]
    assert [each["rows"] for each in outputs] == [4, 4]
    assert driver.do("next_event", timeout=0.1)["event"] is None
    driver.do("unsubscribe")


@behaviour("Events: after a lost connection they continue, and `first` shows the samples that were missed")
def missed_events(t: Trial) -> None:
    proxy = t.proxy(t.shared.events)
    driver = t.driver(events=proxy.endpoint)
    model = t.model(driver)
    driver.do("subscribe", kinds=["output"], models=[model])
    driver.do("learn", model=model, x=rows(4))
    assert driver.do("next_event", timeout=60)["event"]["first"] == 0
    with proxy.away():
        driver.do("learn", model=model, x=rows(7))
    received = []

    def received_one() -> bool:
        driver.do("learn", model=model, x=rows(1))
        received.append(driver.do("next_event", timeout=0.2)["event"])
        return received[-1] is not None

    until(received_one)
    first = received[-1]["first"]
    assert first >= 4 + 7
    following = driver.do("next_event", timeout=0.2)["event"]
    assert following is None or following["first"] == first + 1


@behaviour("Events: the daemon is killed; the subscription continues with the next one")
def events_after_kill(t: Trial) -> None:
    daemon = t.daemon()
    driver = t.driver(daemon.requests)
    model = t.model(driver)
    driver.do("subscribe", kinds=["output"])
    driver.do("learn", model=model, x=rows(3))
    assert driver.do("next_event", timeout=60)["event"]["rows"] == 3
    daemon.restart()

    def received() -> bool:
        driver.do("learn", model=model, x=rows(1))
        return driver.do("next_event", timeout=0.2)["event"] is not None

    until(received)
