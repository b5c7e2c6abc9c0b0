"""A gateway that can't start says why in one line, and ends with the exit code of the error."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from tests.gateway.gateway_process import SECONDS


def refused(*arguments: str) -> tuple[int, str]:
    command = [sys.executable, "-m", "streamlearn", "gateway", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS)
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1, done.stderr
    return done.returncode, done.stderr


def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        address = f"127.0.0.1:{other.getsockname()[1]}"
        code, line = refused("--http", address)
    assert (code, line.startswith(f"streamlearn: another process listens at {address}")) == (3, True), line


@pytest.mark.parametrize(
    ("arguments", "words", "expected"),
    [
        (["--certificate", "text", "--private-key", "text"], "can't use the certificate text with", 2),
        (["--certificate", "none", "--private-key", "text"], "No such file", 2),
        (["--certificate", "text"], "TLS needs both", 2),
        (["--key-file", "text"], "public key", 1),
        (["--tokens", "none"], "can't read none", 2),
        (["--http", "127.0.0.1:80000"], "is not HOST:PORT", 2),
        (["--http", "0.0.0.0:0"], "clients need tokens", 2),
    ],
)
def test_wrong_options(
    arguments: list[str], words: str, expected: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("text").write_text("no PEM\n")
    code, line = refused("--http", "127.0.0.1:0", *arguments)
    assert words in line
    assert code == expected, line


def test_an_address_of_another_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tokens = tmp_path / "tokens.toml"
    tokens.touch(mode=0o600)
    code, line = refused("--http", "203.0.113.7:7780", "--tokens", str(tokens))
    assert "can't listen at 203.0.113.7:7780: Cannot assign requested address" in line
    assert code == 1
