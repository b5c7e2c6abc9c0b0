"""The sketch for an ESP32: compiled with stand-ins for its libraries, its messages are learned once each."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

from streamlearn.bridges.inputs import Input
from streamlearn.bridges.payloads import reader_of

ROOT = Path(__file__).parents[3]
SKETCH = ROOT / "clients/examples/esp32_sensor/esp32_sensor.ino"
HEADERS = Path(__file__).parent / "arduino"
TURNS = 2000


@pytest.fixture(scope="module")
def device(tmp_path_factory):
    """Run the sketch for some turns of its loop, after each start of the device."""
    place = tmp_path_factory.mktemp("device")
    main = f'#include "{SKETCH}"\nint main() {{ setup(); for (int i = 0; i < {TURNS}; i++) loop(); }}\n'
    (place / "main.cpp").write_text(main)
    command = ["g++", "-std=c++17", "-Wall", "-Wextra", "-Werror", f"-I{HEADERS}", "main.cpp", "-o", "device"]
    subprocess.run(command, cwd=place, check=True)
    return lambda: subprocess.run(["./device"], cwd=place, check=True, capture_output=True, text=True).stdout


def test_its_messages_are_numbered_confirmed_and_read_by_the_input_of_its_comment(device):
    lines = [
        line.removeprefix("//").strip() for line in SKETCH.read_text().splitlines() if line.startswith("//")
    ]
    text = "\n".join(lines[lines.index("[[input]]") : lines.index('run = "boot"') + 1])
    (given,) = tomllib.loads(text)["input"]
    settings = Input(**given)
    reader = reader_of(settings)
    runs = []
    for _ in range(2):
        messages = [re.fullmatch(r"(\S+) (\d) (\d) (.*)", line) for line in device().splitlines()]
        assert {found[1] for found in messages} == {"plant/north/pump/7"}
        assert settings.pattern.match("plant/north/pump/7") == {"line": "north", "pump": "7"}
        assert {(found[2], found[3]) for found in messages} == {("0", "1")}  # not retained, QoS 1
        readings = [reader.read(found[4].encode(), {"line": "north", "pump": "7"}) for found in messages]
        numbers = [each.number for each in readings]
        assert numbers == sorted(numbers)
        assert set(numbers) == set(range(numbers[-1] + 1))
        assert len(numbers) > numbers[-1] + 1 > 10  # some were sent again
        content = {each.number: each.rows for each in readings}
        assert all(content[each.number] == each.rows for each in readings)  # with the same values
        runs += [{each.run for each in readings}]
    assert runs == [{"1"}, {"2"}]
