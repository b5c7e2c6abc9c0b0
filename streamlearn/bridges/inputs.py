"""What the bridges' settings say of incoming messages: topics, payloads, models, and templates of models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from streamlearn.bridges import paths
from streamlearn.bridges.topics import Pattern, check_parts
from streamlearn.registry import KINDS
from streamlearn.tabular.errors import BadUsage
from streamlearn.tabular.times import TimeColumn
from streamlearn_client.errors import StreamlearnError
from streamlearn_client.protocol.names import check_model

Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
Quality = Literal[0, 1]


class Section(BaseModel):
    """A table of the configuration. Unknown names are errors."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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


def _checked_model(name: str) -> None:
    try:
        check_model(name)
    except StreamlearnError as error:
        raise ValueError(error.message) from None


def channels_of(spec: Mapping[str, Any]) -> list[str] | None:
    """Return the names of a model's channels."""
    names = spec.get("channels")
    return [str(name) for name in names] if names else None
