"""The files of client keys and rights."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from streamlearn.access.identity import LOCAL, NOBODY, Identity
from streamlearn.daemon.security.access import Access
from streamlearn.errors import BadConfig, Forbidden
from streamlearn_client.keys import generate
from tests.daemon.keyrings import KeyRing


@pytest.fixture
def ring(tmp_path: Path) -> KeyRing:
    return KeyRing(tmp_path / "keys")


def problem(ring: KeyRing) -> str:
    with pytest.raises(BadConfig) as error:
        Access(ring.security)
    assert error.value.exit_code == 2
    return error.value.message


def test_one_file_has_the_keys_of_all_clients(ring: KeyRing) -> None:
    names = ("operator", "sensor")
    file = ring.directory / "clients.toml"
    file.write_text("".join(f'{name} = "{ring.pairs[name].public}"\n' for name in names))
    security = replace(ring.security, client_keys=str(file))
    access = Access(security)
    for name in names:
        assert access.identity(ring.pairs[name].public).name == name
    assert access.identity(ring.pairs["dashboard"].public) is NOBODY
    file.write_text(f'sensor = "short"\n"a b" = "{ring.pairs["sensor"].public}"\n')
    with pytest.raises(BadConfig, match=r"sensor in .* is not a key.*'a b' is not a valid name"):
        Access(security)


def test_without_keys_everybody_is_local() -> None:
    access = Access()
    assert access.server_key is None
    assert access.identity("") is LOCAL
    for op in ("learn", "backup", "of a later version"):
        LOCAL.require(op, "any")


def test_the_key_of_the_daemon_is_no_client(ring: KeyRing) -> None:
    public = ring.pairs["server"].public
    (ring.clients / "server.pub").write_text(f'public = "{public}"\n')
    assert Access(ring.security).identity(public) is NOBODY


def test_two_names_for_a_key_and_two_keys_for_a_name(ring: KeyRing) -> None:
    (ring.clients / "again.pub").write_text(f'public = "{ring.pairs["sensor"].public}"\n')
    assert "sensor and again have the same key" in problem(ring)
    (ring.clients / "again.pub").write_text(f'name = "sensor"\npublic = "{generate("x").public}"\n')
    assert "two keys with the name sensor" in problem(ring)


@pytest.mark.parametrize("which", ["clients", "rights.toml", "clients/sensor.pub"])
def test_files_that_everybody_can_change_are_refused(ring: KeyRing, which: str) -> None:
    path = ring.directory / which
    path.chmod(path.stat().st_mode | 0o002)
    assert f"every user of this machine can change {path}" in problem(ring)


def test_missing_files(ring: KeyRing) -> None:
    ring.rights.unlink()
    assert f"can't read {ring.rights}" in problem(ring)
    for each in ring.clients.iterdir():
        each.unlink()
    ring.clients.rmdir()
    assert f"can't read {ring.clients}" in problem(ring)


@pytest.mark.parametrize(
    ("globs", "model", "allowed"),
    [
        (["*"], "pump", True),
        (["pump"], "pump", True),
        (["pump"], "pump-1", False),
        (["pump"], "a-pump", False),
        (["pump-*"], "pump-1", True),
        (["pump-*"], "pump", False),
        (["*-1", "x"], "x", True),
        (["p?mp"], "pump", True),
        (["p?mp"], "pmp", False),
        (["pump-[12]"], "pump-2", True),
        (["pump-[!12]"], "pump-2", False),
        (["PUMP"], "pump", False),
        (["pump."], "pumpx", False),
        ([], "pump", False),
    ],
)
def test_globs(globs: list[str], model: str, allowed: bool) -> None:
    identity = Identity("k", globs={"push": globs})
    assert identity.allows("push", model) is allowed
    assert identity.sees(model) is allowed
    assert not identity.allows("query", model)


def test_admin_needs_all_models() -> None:
    Identity("k", globs={"admin": ["*"]}).require("backup", "")
    for globs in ({"admin": []}, {"query": ["*"], "change": ["*"]}):
        with pytest.raises(Forbidden):
            Identity("k", globs=globs).require("backup", "")
