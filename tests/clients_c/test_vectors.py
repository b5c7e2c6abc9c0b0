"""The golden vectors: the C client encodes and decodes them, also damaged ones, under the sanitizers."""

from __future__ import annotations

import json
import secrets
from pathlib import Path
from typing import Any

import pytest

from tests.clients_c.programs import output_of

VECTORS = Path(__file__).parents[2] / "clients" / "vectors"
CHANGES = 200
"""Random changes of each vector."""


def entries(file: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((VECTORS / f"{file}.json").read_text(encoding="utf-8"))
    return found


def answers(build: Path, file: str, *arguments: str) -> list[dict[str, Any]]:
    """Return what the program says of each vector of a file."""
    lines = "".join(json.dumps({"file": file, "entry": entry}) + "\n" for entry in entries(file))
    return [json.loads(line) for line in output_of(build / "vectors", *arguments, input=lines).splitlines()]


def plain(value: Any) -> Any:
    """Return a value of a vector with all integers as integers, and without fields that are absent."""
    if isinstance(value, dict):
        return {
            name: plain(each) for name, each in value.items() if name in ("detail", "id") or each is not None
        }
    if isinstance(value, list):
        return [plain(each) for each in value]
    if isinstance(value, str) and value.removeprefix("-").isdigit():
        return int(value)
    return value


def flat(values: Any) -> list[Any]:
    return [each for row in values for each in (flat(row) if isinstance(row, list) else [row])]


def arrays(found: dict[str, Any]) -> dict[str, Any]:
    return {name: {**each, "values": flat(each["values"])} for name, each in found.items()}


def test_requests_are_encoded_byte_by_byte(sanitized):
    for entry, answer in zip(entries("requests"), answers(sanitized, "requests"), strict=True):
        assert answer["frames"] == entry["frames"], entry["name"]


def test_replies_are_decoded(sanitized):
    for entry, answer in zip(entries("replies"), answers(sanitized, "replies"), strict=True):
        message = entry["message"]
        assert answer["id"] == message["id"], entry["name"]
        if "error" in message:
            assert answer["error"] == message["error"], entry["name"]
        else:
            assert answer["ok"] == message["ok"], entry["name"]
            assert answer["arrays"] == arrays(message["arrays"]), entry["name"]


def test_events_are_decoded(sanitized):
    for entry, answer in zip(entries("events"), answers(sanitized, "events"), strict=True):
        message = dict(entry["message"])
        expected = arrays(plain(message.pop("arrays")))
        kind = message.pop("kind")
        assert answer.pop("topic") == f"{kind}/{message['model']}"
        assert plain(arrays(answer.pop("arrays"))) == expected, entry["name"]
        assert plain(answer) == plain(message), entry["name"]


@pytest.mark.parametrize("file", ["requests", "requests_read"])
def test_the_reader_of_requests_accepts_every_valid_one(sanitized, file):
    found = answers(sanitized, "requests_read" if file == "requests" else file)
    if file == "requests":
        lines = [json.dumps({"file": "requests_read", "entry": entry}) + "\n" for entry in entries(file)]
        found = [
            json.loads(line) for line in output_of(sanitized / "vectors", input="".join(lines)).splitlines()
        ]
    for entry, answer in zip(entries(file), found, strict=True):
        assert plain(answer.get("message", answer)) == plain(entry["message"]), entry["name"]


def test_requests_are_refused_with_their_code_and_id(sanitized):
    for entry, answer in zip(entries("refused"), answers(sanitized, "refused"), strict=True):
        assert answer == {"code": entry["code"], "id": entry["id"]}, entry["name"]


@pytest.mark.parametrize("file", ["requests", "requests_read", "replies", "events", "refused"])
def test_damaged_messages_are_decoded_without_an_error_of_memory(sanitized, file):
    seed = secrets.randbelow(1 << 32)
    print(f"seed {seed}")
    found = answers(sanitized, file, str(seed), str(CHANGES))
    for entry, answer in zip(entries(file), found, strict=True):
        prefixes = sum(len(frame) // 2 for frame in entry["frames"])
        assert answer["decoded"] == prefixes + CHANGES
