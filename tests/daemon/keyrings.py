"""A directory of keys and rights, as an operator makes them."""

from __future__ import annotations

from pathlib import Path

from streamlearn.daemon.config import Security
from streamlearn_client.keys import ClientKeys, KeyPair, generate, write_key_pair

RIGHTS = """
[operator]
push = ["*"]
query = ["*"]
subscribe = ["*"]
change = ["*"]
admin = ["*"]

[sensor]
push = ["pump-*"]

[dashboard]
query = ["pump-*"]
subscribe = ["pump-*"]
"""


class KeyRing:
    """The daemon's key, the clients' keys and the rights, in files."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.clients = directory / "clients"
        self.rights = directory / "rights.toml"
        self.clients.mkdir(parents=True)
        self.pairs = {"server": generate("server")}
        write_key_pair(self.pairs["server"], directory)
        self.rights.write_text(RIGHTS)
        for name in ("operator", "sensor", "dashboard"):
            self.add(name)

    @property
    def security(self) -> Security:
        return Security(
            server_key=str(self.directory / "server.key"),
            client_keys=str(self.clients),
            rights=str(self.rights),
        )

    def add(self, name: str) -> KeyPair:
        """Admit a new key. Takes effect at the next reload."""
        pair = self.pairs[name] = generate(name)
        (self.clients / f"{name}.pub").write_text(f'name = "{name}"\npublic = "{pair.public}"\n')
        return pair

    def revoke(self, name: str) -> None:
        (self.clients / f"{name}.pub").unlink()

    def keys(self, name: str) -> ClientKeys:
        """The keys of a client; of a stranger for an unknown name."""
        pair = self.pairs.get(name) or generate(name)
        return ClientKeys(self.pairs["server"].public, pair.public, pair.secret)
