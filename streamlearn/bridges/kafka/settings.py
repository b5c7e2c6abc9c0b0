"""The settings of the Kafka bridge: brokers, topics and templates."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path
from typing import Any, Final

from pydantic import ConfigDict, Field, ValidationError, field_validator, model_validator

from streamlearn.bridges import paths
from streamlearn.bridges.inputs import Input, Section, Template
from streamlearn.bridges.topics import check_parts
from streamlearn.errors import BadConfig
from streamlearn_client.errors import StreamlearnError
from streamlearn_client.protocol.names import check_model

PARTS: Final = ("topic", "partition", "key")
"""Parts that every message has; ``key`` only if its producer set one."""
FIXED: Final = {"enable.auto.commit": False, "enable.auto.offset.store": False}
DEFAULTS: Final = {"group.id": "streamlearn", "auto.offset.reset": "earliest"}


class Topic(Input):
    """Messages of a topic, or of all topics that match, and the model that learns them."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    parts: dict[str, str] = Field({})  # more parts, by their path in JSON

    @field_validator("topic")
    @classmethod
    def _topic(cls, topic: str) -> str:
        """A name, or with ``^`` at the beginning a regular expression, whose named groups are parts."""
        if topic.startswith("^"):
            try:
                re.compile(topic)
            except re.error as problem:
                raise ValueError(f"{topic!r} is not a regular expression: {problem}") from None
        elif not re.fullmatch(r"[A-Za-z0-9._-]{1,249}", topic):
            raise ValueError(
                f"{topic!r} is not the name of a topic; a pattern begins with ^, for example '^pump-.*'"
            )
        return topic

    @model_validator(mode="after")
    def _consistent(self) -> Topic:
        for name in ("join", "number", "run", "source"):
            if getattr(self, name) is not None:
                raise ValueError(f"{name} is not for Kafka: the offset is the number of a message")
        if self.retained:
            raise ValueError("retained is not for Kafka")
        groups = re.compile(self.topic).groupindex if self.topic.startswith("^") else {}
        for text in (self.model, self.key, *self.paths):
            if text is not None:
                check_parts(text, [*PARTS, *groups, *self.parts])
        if "{" not in self.model:
            try:
                check_model(self.model)
            except StreamlearnError as error:
                raise ValueError(error.message) from None
        if self.parts and self.payload != "json":
            raise ValueError('parts are paths in JSON, for payload = "json"')
        for path in self.parts.values():
            paths.Path(path)
        {"json": self._check_json, "number": self._check_number, "csv": self._check_csv}[self.payload]()
        return self

    @property
    def subscription(self) -> str:
        """The topic as librdkafka has it: its regular expressions have no named groups."""
        return re.sub(r"\(\?(?:P<\w+>|:)", "(", self.topic) if self.topic.startswith("^") else self.topic

    def match(self, topic: str) -> dict[str, str] | None:
        """Return the named groups of a topic; ``None`` if it does not match."""
        if not self.topic.startswith("^"):
            return {} if topic == self.topic else None
        found = re.match(self.topic, topic)
        return None if found is None else {name: text or "" for name, text in found.groupdict().items()}


class Settings(Section):
    """The configuration."""

    kafka: dict[str, str | int | float | bool]  # options of librdkafka
    topic: tuple[Topic, ...]
    template: dict[str, Template] = Field({})

    @model_validator(mode="after")
    def _complete(self) -> Settings:
        if not self.kafka.get("bootstrap.servers"):
            raise ValueError('kafka."bootstrap.servers" is missing, for example "localhost:9092"')
        for name, value in FIXED.items():
            if self.kafka.get(name, value) != value:
                raise ValueError(
                    f'kafka."{name}" must be {str(value).lower()}: the bridge commits offsets itself'
                )
        if not self.topic:
            raise ValueError("there is no [[topic]]")
        for number, each in enumerate(self.topic):
            if each.template is not None and each.template not in self.template:
                known = ", ".join(self.template) or "none"
                raise ValueError(f"topic.{number}.template is {each.template!r}; the templates are: {known}")
        return self

    @property
    def options(self) -> dict[str, Any]:
        """The options of the consumer."""
        return DEFAULTS | self.kafka | FIXED

    @property
    def group(self) -> str:
        """The name of the consumer group."""
        return str(self.options["group.id"])


def load(path: Path) -> Settings:
    """Return the settings of a file. Raises `BadConfig` with all mistakes."""
    try:
        with path.open("rb") as file:
            return Settings(**tomllib.load(file))
    except OSError as error:
        raise BadConfig(f"can't read {path}: {error.strerror}", path=str(path)) from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadConfig(f"{path} is not TOML: {error}", path=str(path)) from None
    except ValidationError as error:
        errors = []
        for each in error.errors():
            place = ".".join(str(part) for part in each["loc"])
            message = each["msg"].removeprefix("Value error, ")
            if each["type"] == "extra_forbidden":
                message = "there is no such setting"
            errors.append(f"{place}: {message}" if place else message)
        raise BadConfig(f"wrong configuration {path}: {'; '.join(errors)}", errors=errors) from None
