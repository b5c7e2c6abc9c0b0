"""Key files: private, never overwritten, and no error or repr shows a secret."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest
import zmq

from streamlearn_client import keys
from streamlearn_client.errors import BadName, BadValue
from streamlearn_client.keys import (
    ClientKeys,
    KeyPair,
    client_keys,
    generate,
    read_key_pair,
    read_public_key,
    write_key_pair,
)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in keys.VARIABLES:
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def pair(tmp_path: Path) -> KeyPair:
    pair = generate("pump-station")
    write_key_pair(pair, tmp_path)
    return pair


def message(action: object, *arguments: object, **named: object) -> str:
    assert callable(action)
    with pytest.raises(BadValue) as error:
        action(*arguments, **named)
    return error.value.message


def test_a_pair_is_written_and_read(tmp_path: Path, pair: KeyPair) -> None:
    assert read_key_pair(tmp_path / "pump-station.key") == pair
    assert read_public_key(tmp_path / "pump-station.pub") == KeyPair("pump-station", pair.public)
    assert pair.public == zmq.curve_public(pair.secret.encode()).decode()
    assert pair.secret not in (tmp_path / "pump-station.pub").read_text()
    assert 'name = "pump-station"' in (tmp_path / "pump-station.key").read_text()


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_both_files_are_private_whatever_the_umask(tmp_path: Path, umask: int) -> None:
    before = os.umask(umask)
    try:
        files = write_key_pair(generate("k"), tmp_path)
    finally:
        os.umask(before)
    assert [stat.S_IMODE(file.stat().st_mode) for file in files] == [0o600, 0o600]


@pytest.mark.parametrize("existing", ["k.key", "k.pub"])
def test_a_key_is_never_overwritten(tmp_path: Path, existing: str) -> None:
    (tmp_path / existing).write_text("old")
    assert f"{existing} exists" in message(write_key_pair, generate("k"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == [existing]
    assert (tmp_path / existing).read_text() == "old"


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".a", "-a", "a b", "a" * 65, "a\n", 'a"'])
def test_a_bad_name(name: str) -> None:
    with pytest.raises(BadName):
        generate(name)


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o601, 0o620, 0o644, 0o666])
def test_a_secret_key_that_others_can_read_is_refused(tmp_path: Path, pair: KeyPair, mode: int) -> None:
    path = tmp_path / "pump-station.key"
    path.chmod(mode)
    text = message(read_key_pair, path)
    assert f"mode 0{mode:o}" in text
    assert f"chmod 600 {path}" in text
    path.chmod(0o640)  # a service's own group may read it
    assert read_key_pair(path) == pair


def test_files_that_are_not_keys_are_refused_without_their_content(tmp_path: Path, pair: KeyPair) -> None:
    path = tmp_path / "wrong.key"
    secret = pair.secret
    for text in (f"{secret}\n", f'secret = "{secret[:-1]}"', f'secret = "{secret}', f'secret = ["{secret}"]'):
        path.write_text(text)
        path.chmod(0o600)
        assert secret[:8] not in message(read_key_pair, path)
    assert "pass the NAME.key file" in message(read_key_pair, tmp_path / "pump-station.pub")
    assert "contains a secret key" in message(read_public_key, tmp_path / "pump-station.key")
    assert "No such file" in message(read_key_pair, tmp_path / "absent.key")
    assert "Is a directory" in message(read_key_pair, tmp_path)


def test_no_repr_shows_a_secret(pair: KeyPair) -> None:
    for shown in (pair, ClientKeys(pair.public, pair.public, pair.secret)):
        assert pair.public in repr(shown)
        assert pair.secret not in f"{shown} {shown!r}"


def test_keys_come_from_arguments(tmp_path: Path, pair: KeyPair) -> None:
    server = generate("server")
    write_key_pair(server, tmp_path)
    expected = ClientKeys(server.public, pair.public, pair.secret)
    file, public_file = tmp_path / "pump-station.key", tmp_path / "server.pub"
    assert client_keys(server.public, key_file=file) == expected
    assert client_keys(str(public_file), key_file=str(file)) == expected
    assert client_keys(public_file, key=pair.secret) == expected
    assert client_keys() is None


def test_keys_come_from_the_environment(
    tmp_path: Path, pair: KeyPair, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = generate("server")
    monkeypatch.setenv("STREAMLEARN_SERVER_KEY", server.public)
    monkeypatch.setenv("STREAMLEARN_KEY_FILE", str(tmp_path / "pump-station.key"))
    expected = ClientKeys(server.public, pair.public, pair.secret)
    assert client_keys() == expected
    other = generate("other")
    assert client_keys(key=other.secret) == ClientKeys(server.public, other.public, other.secret)
    assert client_keys(pair.public) == ClientKeys(pair.public, pair.public, pair.secret)
    monkeypatch.delenv("STREAMLEARN_KEY_FILE")
    monkeypatch.setenv("STREAMLEARN_KEY", pair.secret)
    assert client_keys() == expected


def test_incomplete_or_wrong_keys_are_refused_without_showing_them(tmp_path: Path, pair: KeyPair) -> None:
    assert "STREAMLEARN_SERVER_KEY" in message(client_keys, key=pair.secret)
    assert "no key of this client" in message(client_keys, pair.public)
    assert "both" in message(client_keys, pair.public, key=pair.secret, key_file="x")
    for wrong in (pair.secret[:-1], pair.secret + "\n", "é" * 40, "~" * 40):
        assert wrong not in message(client_keys, pair.public, key=wrong)
        assert wrong not in message(client_keys, wrong, key=pair.secret)
