"""The settings of an MQTT bridge: broker, daemon, inputs, templates and outputs."""

from __future__ import annotations

import fnmatch
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from streamlearn.bridges.mqtt import paths
from streamlearn.bridges.mqtt.topics import Pattern, check_parts
from streamlearn.registry import KINDS
from streamlearn.tabular.errors import BadUsage
from streamlearn.tabular.times import TimeColumn
from streamlearn_client.errors import StreamlearnError
from streamlearn_client.protocol.names import check_model

PASSWORD = "STREAMLEARN_MQTT_PASSWORD"
"""The variable with the password, instead of a file."""

SPARKPLUG_UNACKNOWLEDGED = 200
"""Most unacknowledged messages with Sparkplug: fewer than its sequence numbers, so that these are unique."""

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Quality = Literal[0, 1]


class Section(BaseModel):
    """A table of the configuration. Unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


class Join(Section):
    """Joins messages with different channels to one sample."""

    window: Positive  # seconds: times that are closer belong to one sample
    wait: Positive | None = None  # seconds to wait for the other channels; by default the window
    open: int = Field(4, ge=1, le=1000)  # samples of one stream that wait for channels


class Input(Section):
    """Messages of matching topics, and the model that learns them."""

    topic: str
    model: str
    payload: Literal["json", "number", "csv", "sparkplug", "homie", "homeassistant"] = "json"
    channels: dict[str, str] | list[str] | str = Field(min_length=1)
    key: str | None = None
    template: str | None = None  # creates the model
    rows: str | None = None  # path of a list of samples in one message
    time: str | None = None
    time_format: str | None = None
    utc_offset: float = 0.0
    number: str | None = None
    run: str | None = None  # a new run counts from the beginning
    source: str | None = None  # what counts; by default the topic
    columns: list[str] = []  # of CSV
    delimiter: str = Field(",", min_length=1, max_length=1)
    join: Join | None = None
    retained: bool = False  # whether retained messages are samples
    hold: bool = True  # Sparkplug: a metric that is not reported keeps its value
    rebirth: bool = True  # Sparkplug: ask a node for its birth if that is missing

    @field_validator("topic")
    @classmethod
    def _topic(cls, topic: str) -> str:
        Pattern(topic)
        return topic

    @property
    def pattern(self) -> Pattern:
        """The pattern of the topics."""
        return Pattern(self.topic)

    @property
    def paths(self) -> dict[str, str]:
        """The channels, each with its path or column."""
        if isinstance(self.channels, str):
            return {self.channels: "."}
        return self.channels if isinstance(self.channels, dict) else {name: name for name in self.channels}

    @model_validator(mode="after")
    def _consistent(self) -> Input:
        names = self.pattern.names
        if self.payload == "homeassistant":
            names |= {"device"}
        for text in (self.model, self.key, self.source, *self.paths):
            if text is not None:
                check_parts(text, names)
        if "{" not in self.model:
            _checked_model(self.model)
        try:
            TimeColumn(self.time_format, self.utc_offset)
        except BadUsage as error:
            raise ValueError(error.message.replace("--time-format", "time_format")) from None
        checks = {
            "json": self._check_json,
            "number": self._check_number,
            "csv": self._check_csv,
            "sparkplug": self._check_sparkplug,
            "homie": self._check_convention,
            "homeassistant": self._check_convention,
        }
        checks[self.payload]()
        if self.number is None and (self.run or self.source):
            raise ValueError("run and source need number, the path of the number of a message")
        if self.join is not None and (self.number or self.rows):
            raise ValueError(
                "join can't be used with number or rows: joined samples are numbered by their times"
            )
        return self

    def _check_json(self) -> None:
        for text in (*self.paths.values(), self.time, self.number, self.run, self.rows):
            if text is not None:
                paths.Path(text)
        if self.columns:
            raise ValueError('columns are for payload = "csv"')

    def _check_number(self) -> None:
        if len(self.paths) != 1:
            raise ValueError('payload = "number" has one channel: channels = "vibration"')
        if self.time or self.number or self.rows or self.columns:
            raise ValueError('payload = "number" has no time, number, rows and columns')

    def _check_csv(self) -> None:
        if not self.columns:
            raise ValueError('payload = "csv" needs columns, the names of the fields of a line in order')
        for text in (*self.paths.values(), self.time, self.number, self.run):
            if text is not None and text not in self.columns:
                raise ValueError(f"{text!r} is not one of the columns {', '.join(self.columns)}")
        if self.rows:
            raise ValueError('rows is for payload = "json"; each line of CSV is a sample')

    def _check_convention(self) -> None:
        if self.time or self.number or self.rows or self.columns:
            raise ValueError(f'payload = "{self.payload}" has no time, number, rows and columns')
        if self.payload == "homie" and (not self.pattern.names or "#" in self.pattern.filter):
            raise ValueError(
                f"the topic {self.topic!r} is not that of a Homie device: use homie/{{device}} or"
                " homie/5/{device}"
            )

    def _check_sparkplug(self) -> None:
        levels = self.topic.split("/")
        if (
            len(levels) not in (4, 5)
            or levels[0] != "spBv1.0"
            or levels[2] != "+"
            or "#" in self.pattern.filter
        ):
            raise ValueError(
                f"the topic {self.topic!r} is not one of Sparkplug: use"
                " spBv1.0/{group}/+/{node}/{device}, or spBv1.0/{group}/+/{node} for the metrics of nodes"
            )
        if self.time or self.number or self.rows or self.columns or self.join:
            raise ValueError(
                'payload = "sparkplug" has times and numbers: leave out time, number, rows, columns and join'
            )


class Template(Section):
    """A spec that creates a model for each new matching name."""

    kind: str
    spec: dict[str, Any] = {}
    most: int = Field(1000, ge=1)  # models of one input

    @field_validator("kind")
    @classmethod
    def _known(cls, kind: str) -> str:
        if kind not in KINDS:
            raise ValueError(f"there is no kind {kind!r}; the kinds are {', '.join(sorted(KINDS))}")
        return kind


class Output(Section):
    """What the bridge publishes of the models whose names match."""

    what: Literal["alarm", "score", "winner", "silence"]
    topic: str | None = None
    models: list[str] = ["*"]
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
    models: list[str] = ["*"]


class Settings(Section):
    """The configuration of a bridge."""

    prefix: str = Field("streamlearn", pattern=r"^[^+#]+$")  # of the bridge's own topics
    broker: Broker = Broker()
    daemon: Daemon = Daemon()
    input: tuple[Input, ...] = ()
    template: dict[str, Template] = {}
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


def _checked_model(name: str) -> None:
    try:
        check_model(name)
    except StreamlearnError as error:
        raise ValueError(error.message) from None


def channels_of(spec: Mapping[str, Any]) -> list[str] | None:
    """Return the names of a model's channels."""
    names = spec.get("channels")
    return [str(name) for name in names] if names else None
