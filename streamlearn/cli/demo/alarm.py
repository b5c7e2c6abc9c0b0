"""An alarm that explains itself: the channel, the expected value and the time of a fault."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from streamlearn_client import Client

if TYPE_CHECKING:
    from rich.console import Console

MODEL = "machine"
CHANNELS = ("pressure", "flow", "temperature", "vibration")
FAULT = CHANNELS.index("temperature")
HEALTHY, FAULTY = 4000, 100  # samples
START = np.datetime64("2026-03-02T00:00", "ns")
WAIT_SECONDS = 10.0


class Alarm(NamedTuple):
    """The first alarm after the fault began."""

    channel: str
    delay: int  # samples since the fault began
    share: float  # of the channel in the deviation
    value: float
    expected: float
    healthy: float  # value that the channel would have had

    @property
    def is_right(self) -> bool:
        """Whether it names the channel, soon, and expects a value near the healthy one."""
        near = abs(self.expected - self.healthy) < abs(self.value - self.healthy) / 2
        return self.channel == CHANNELS[FAULT] and 0 <= self.delay < FAULTY and near


def demonstrate(client: Client, console: Console) -> Alarm | None:
    """Let a map learn an invented machine, break one of its channels, and show the alarm."""
    random = np.random.default_rng(1)
    cycle = np.sin(2 * np.pi * np.arange(HEALTHY + FAULTY) / 200)[:, None]
    healthy = (
        [4, 12, 57, 1.4]
        + cycle * [0.5, 3, -4, 0.2]
        + random.normal(size=(len(cycle), 4)) * [0.05, 0.2, 0.3, 0.03]
    )
    x = healthy.copy()
    x[HEALTHY:, FAULT] += 8
    times = START + np.arange(len(x)) * np.timedelta64(60, "s")
    client.create(
        MODEL, "som", dim=4, grid=[8, 8], scale="standard", alarm=True, channels=list(CHANNELS), seed=1
    )
    with client.subscribe(MODEL, "alarm", timeout=WAIT_SECONDS) as events:
        client.learn(MODEL, x[:HEALTHY], times=times[:HEALTHY])
        expected = client.explain(MODEL, x[HEALTHY:]).expected
        client.learn(MODEL, x[HEALTHY:], times=times[HEALTHY:])
        for event in events:
            for alarm in event.alarms:
                if alarm.state == "begin" and alarm.sample >= HEALTHY:
                    row, c = alarm.sample - HEALTHY, alarm.channel
                    found = Alarm(
                        CHANNELS[c], row, float(alarm.contribution[c]), float(x[HEALTHY + row, c]),
                        float(expected[row, c]), float(healthy[HEALTHY + row, c]),
                    )  # fmt: skip
                    at = times[alarm.sample].astype("datetime64[m]")
                    console.print(
                        f"alarm of {MODEL} at {at}: {found.channel} is {found.value:.1f},"
                        f" expected {found.expected:.1f} ({found.share:.0%} of the deviation)"
                    )
                    return found
    return None
