"""The settings of an MQTT bridge: broker, daemon, inputs, templates and outputs."""

from __future__ import annotations

import fnmatch
import os
from pathlib import Path
from typing import Literal

from pydantic import Field, field_validator, model_validator

from streamlearn.bridges.inputs import Input, Positive, Quality, Section, Template
from streamlearn.bridges.topics import check_parts

PASSWORD = "STREAMLEARN_MQTT_PASSWORD"
"""The variable with the password, instead of a file."""

SPARKPLUG_UNACKNOWLEDGED = 200
"""Most unacknowledged messages with Sparkplug: fewer than its sequence numbers, so that these are unique."""


class Tls(Section):
    """TLS to the broker. Without ``ca``, the system's certificates are trusted."""

    ca: Path | None = None  # certificates that are trusted, in PEM
    certificate: Path | None = None  # of this client
    private_key: Path | None = None
    check_hostname: bool = True

    @model_validator(mode="after")
    def _both(self) -> Tls:
        if (self.certificate is None) != (self.private_key is None):
            raise ValueError("certificate and private_key are needed both")
        return self


class Broker(Section):
    """The broker, and the session that it keeps for this bridge."""

    host: str = "127.0.0.1"
    port: int = Field(1883, ge=1, le=65535)
    client_id: str = Field("streamlearn", max_length=256, pattern=r"^[^+#/]+$")  # names the session
    username: str | None = None
    password_file: Path | None = None
    protocol: Literal["5", "3.1.1"] = "5"
    session_seconds: int = Field(7 * 86_400, ge=1, le=2**32 - 2)  # the broker keeps messages so long (5)
    keepalive_seconds: int = Field(30, ge=5, le=65_535)
    unacknowledged: int = Field(1000, ge=1, le=65_535)  # messages that the broker sends before an ack (5)
    message_bytes: int = Field(1024**2, ge=128)  # of the largest message
    tls: Tls | None = None

    @model_validator(mode="after")
    def _username(self) -> Broker:
        if self.password_file is not None and self.username is None:
            raise ValueError("password_file needs a username")
        return self

    @property
    def address(self) -> str:
        """The broker's address as a URL."""
        return f"{'mqtt' if self.tls is None else 'mqtts'}://{self.host}:{self.port}"

    def password(self) -> str | None:
        """Return the password of the user."""
        if self.password_file is None:
            return os.environ.get(PASSWORD)
        return self.password_file.read_text().rstrip("\r\n")


class Daemon(Section):
    """The daemon. Without these settings, the options of the command hold."""

    endpoint: str | None = None
    server_key: str | None = None
    key_file: Path | None = None
    timeout: Positive = 10.0


class Output(Section):
    """What the bridge publishes of the models whose names match."""

    what: Literal["alarm", "score", "winner", "silence"]
    topic: str | None = None
    models: list[str] = Field(["*"])
    retain: bool = False
    qos: Quality = 1
    every: float = Field(0.0, ge=0)  # seconds between messages of a model and key; 0: all

    @field_validator("topic")
    @classmethod
    def _topic(cls, topic: str | None) -> str | None:
        if topic is not None:
            check_parts(topic, ("model", "key"))
            if "+" in topic or "#" in topic:
                raise ValueError(f"{topic!r} is no topic to publish to: + and # are for subscriptions")
        return topic

    @model_validator(mode="after")
    def _thinned(self) -> Output:
        if self.every and self.what in ("alarm", "silence"):
            raise ValueError(f"every is for score and winner; every {self.what} is published")
        return self

    def has(self, model: str) -> bool:
        """Whether the output has a model."""
        return any(fnmatch.fnmatchcase(model, each) for each in self.models)


class Discovery(Section):
    """Messages by which Home Assistant finds the models."""

    prefix: str = "homeassistant"
    models: list[str] = Field(["*"])


class Settings(Section):
    """The configuration of a bridge."""

    prefix: str = Field("streamlearn", pattern=r"^[^+#]+$")  # of the bridge's own topics
    broker: Broker = Broker()
    daemon: Daemon = Daemon()
    input: tuple[Input, ...] = ()
    template: dict[str, Template] = Field({})
    output: tuple[Output, ...] = (Output(what="alarm"),)
    homeassistant: Discovery | None = None

    @model_validator(mode="after")
    def _templates(self) -> Settings:
        for position, each in enumerate(self.input):
            if each.template is not None and each.template not in self.template:
                known = ", ".join(self.template) or "none"
                raise ValueError(
                    f"input.{position}.template is {each.template!r}; the templates are: {known}"
                )
        return self

    @property
    def unacknowledged(self) -> int:
        """Messages that the broker may send before an acknowledgement."""
        sparkplug = any(each.payload == "sparkplug" for each in self.input)
        return min(self.broker.unacknowledged, SPARKPLUG_UNACKNOWLEDGED if sparkplug else 65_535)

    @property
    def status_topic(self) -> str:
        """Where the bridge publishes ``online``, and the broker ``offline`` when it is gone."""
        return f"{self.own_topic}/status"

    @property
    def own_topic(self) -> str:
        """Begin of the topics of the bridge itself."""
        return f"{self.prefix}/bridge/{self.broker.client_id}"

    def refusal(self, reason: str) -> str:
        """Return the message of a refusal by the broker."""
        return (
            f"the broker {self.broker.address} refuses: {reason}; check username, password and the rights of"
            " the user in [broker]"
        )

    def topic_of(self, output: Output) -> str:
        """Return the topic of an output, with parts."""
        return output.topic or f"{self.prefix}/{{model}}/{output.what}"
