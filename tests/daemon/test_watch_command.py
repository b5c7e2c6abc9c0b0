"""``streamlearn watch`` of a daemon: which models it shows."""

from __future__ import annotations

from threading import Thread

import pytest

from streamlearn import cli
from streamlearn_client import Client
from tests.daemon.harness import SECONDS, Running, X


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        ([], {"m", "pump-1", "pump-2"}),
        (["m", "pump-2"], {"m", "pump-2"}),
        (["pump-*"], {"pump-1", "pump-2"}),
        (["m", "pump-[2-9]"], {"m", "pump-2"}),
    ],
)
def test_the_models_shown(
    running: Running, capsys: pytest.CaptureFixture[str], given: list[str], shown: set[str]
) -> None:
    for name in ("pump-1", "pump-2"):
        running.wire.create(name)
    arguments = ["-e", running.endpoints["requests"], "watch", *given, "--kind", "output", "--count", "12"]
    codes: list[int] = []
    watching = Thread(target=lambda: codes.append(cli.main(arguments)))
    watching.start()
    with Client(running.endpoints["requests"], timeout=SECONDS) as client:
        while watching.is_alive():  # until the subscription is there, nothing is shown
            for name in ("m", "pump-1", "pump-2"):
                client.learn(name, X[:1])
    assert codes == [0]
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 12
    assert {line.split()[1].rstrip(":") for line in lines} == shown
