"""``streamlearn keygen``."""

from __future__ import annotations

import json
import stat
from pathlib import Path

import pytest

from streamlearn import cli
from streamlearn_client.keys import read_key_pair, read_public_key


def test_keygen_writes_a_pair_and_shows_the_public_key_only(tmp_path: Path, capsys) -> None:
    assert cli.main(["keygen", "pump", "--dir", str(tmp_path)]) == 0
    pair = read_key_pair(tmp_path / "pump.key")
    assert read_public_key(tmp_path / "pump.pub").public == pair.public
    printed = capsys.readouterr().out
    assert pair.public in printed
    assert pair.secret not in printed
    assert {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()} == {0o600}
    assert cli.main(["keygen", "pump", "--dir", str(tmp_path)]) == 1
    assert "pump.pub exists" in capsys.readouterr().err
    assert read_key_pair(tmp_path / "pump.key") == pair


def test_keygen_in_the_current_directory_as_json(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys
) -> None:
    monkeypatch.chdir(tmp_path)
    assert cli.main(["keygen", "a", "--json"]) == 0
    facts = json.loads(capsys.readouterr().out)
    assert facts == {
        "name": "a",
        "public": read_public_key("a.pub").public,
        "secret_file": "a.key",
        "public_file": "a.pub",
    }
