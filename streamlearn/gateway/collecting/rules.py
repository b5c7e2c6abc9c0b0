"""Rules: which model, key and channels the values of a collector belong to.

The first rule that matches a point decides. The file is TOML::

    [[rule]]
    measurement = "pump"           # * ? [] as in file names; also a list
    tags = { site = "north-*" }    # tags that must match
    model = "pump-{host}"          # {measurement} or the name of a tag
    field = "{field}"              # the name of a value, as the model's channels have it
    channels = ["flow", "pressure"]  # these names in the order of the model's channels
    key = "{host}"                 # the stream, if several use one model; of models with keys, the key
    label = "{state}"              # of models with labels; a tag or a text field
"""

from __future__ import annotations

import fnmatch
import re
from collections.abc import Callable, Iterator
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

from streamlearn.access.rights import read_toml
from streamlearn.errors import BadConfig
from streamlearn.gateway.collecting.points import Point

Source = Literal["line", "prometheus"]

MEASUREMENT: Final = "measurement"
FIELD: Final = "field"
TAGS: Final = "tags"
"""Name in a template that stands for all tags: ``cpu=0,host=web-1``."""
_NOT_IN_NAMES: Final = re.compile(r"[^A-Za-z0-9_.-]")
_PART: Final = re.compile(r"\{([^{}]*)\}")


class MissingTag(ValueError):
    """A point does not have a tag that a template names."""


class Template:
    """A text with parts in braces."""

    def __init__(self, text: str) -> None:
        """Raises `ValueError` if the braces do not match."""
        if re.search(r"[{}]", _PART.sub("", text)):
            raise ValueError(f"{text!r} has a brace without its partner; write parts as {{host}}")
        self.text = text
        self.names = frozenset(_PART.findall(text))
        if "" in self.names:
            raise ValueError(f"{text!r} has empty braces; write the name of a tag between them")

    @cached_property
    def glob(self) -> str:
        """A pattern of all texts that it makes."""
        return _PART.sub("*", self.text)

    def fill(self, find: Callable[[str], str]) -> str:
        """Return the text with each part replaced."""
        return _PART.sub(lambda part: find(part[1]), self.text) if self.names else self.text


class Create(BaseModel):
    """How a model that does not exist is created."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    kind: str
    spec: dict[str, Any]
    limit: int = Field(100, ge=1)  # models of this rule that exist at the same time

    @property
    def full_spec(self) -> dict[str, Any]:
        """The spec, with ``dim`` by the number of channels."""
        channels = self.spec.get("channels")
        return ({"dim": len(channels)} if isinstance(channels, list) else {}) | self.spec


class Rule(BaseModel):
    """One rule."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    measurement: list[str] = ["*"]
    tags: dict[str, list[str]] = {}
    drop: bool = False
    model: Template | None = None
    key: Template | None = None
    field: Template = Template("{field}")
    channels: list[str] | None = None
    label: Template | None = None
    create: Create | None = None

    @field_validator("measurement", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return [value] if isinstance(value, str) else value

    @field_validator("tags", mode="before")
    @classmethod
    def _each_one_or_more(cls, value: Any) -> Any:
        if not isinstance(value, dict):
            return value
        return {name: [each] if isinstance(each, str) else each for name, each in value.items()}

    @field_validator("model", "key", "field", "label", mode="before")
    @classmethod
    def _template(cls, value: Any) -> Any:
        if not isinstance(value, str) or not value:
            raise ValueError("must be text, such as 'pump-{host}'")
        return Template(value)

    @model_validator(mode="after")
    def _complete(self) -> Self:
        if self.drop and self.model is not None:
            raise ValueError("give either drop or model")
        if not self.drop and self.model is None:
            raise ValueError("model is missing: the name of the model, such as 'pump-{host}', or drop = true")
        for name in ("model", "key", "label"):
            template: Template | None = getattr(self, name)
            if template is not None and FIELD in template.names:
                raise ValueError(f"{name} has {{field}}, which only `field` may have")
        return self

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], dict[str, re.Pattern[str]]]:
        return _pattern(self.measurement), {name: _pattern(globs) for name, globs in self.tags.items()}

    def matches(self, point: Point) -> bool:
        """Whether a point belongs to this rule. A tag that the point does not have matches nothing."""
        measurement, tags = self._patterns
        return bool(measurement.match(point.measurement)) and all(
            name in point.tags and pattern.match(point.tags[name]) for name, pattern in tags.items()
        )

    def model_of(self, point: Point) -> str:
        """Return the name of the point's model. Raises `MissingTag`.

        In parts of the name, other characters than letters, digits and ``_ . -`` become ``_``.
        """
        assert self.model is not None
        find = _finder(point, "model")
        return self.model.fill(lambda name: _NOT_IN_NAMES.sub("_", find(name)))

    def key_of(self, point: Point) -> str | None:
        """Return the key of the point. Raises `MissingTag`."""
        return None if self.key is None else self.key.fill(_finder(point, "key"))

    def label_of(self, point: Point) -> str | None:
        """Return the label of the point; ``None`` if it does not have the tag or the field."""
        if self.label is None or not self.label.names <= {MEASUREMENT, TAGS, *point.tags, *point.texts}:
            return None
        return self.label.fill(_finder(point, "label", point.texts))

    def named_values(self, point: Point) -> Iterator[tuple[str, float]]:
        """Return the values with their names. Raises `MissingTag`."""
        for name, value in point.values.items():
            yield self.field.fill(_finder(point, "field", {FIELD: name})), value


DEFAULTS: Final[dict[Source, Rule]] = {
    "line": Rule.model_validate({"model": "{measurement}"}),
    "prometheus": Rule.model_validate({"model": "{job}", "key": "{instance}"}),
}
"""The rule of each source without a file of rules."""


class Rules:
    """The rules of a gateway, in order."""

    def __init__(self, path: Path | None = None) -> None:
        """Read a file; without one, the default of the source is the only rule. Raises `BadConfig`."""
        self._rules = None if path is None else _load(path)

    def find(self, point: Point, source: Source) -> Rule | None:
        """Return the rule of a point; ``None`` if the point is passed by."""
        if self._rules is None:
            return DEFAULTS[source]
        found = next((rule for rule in self._rules if rule.matches(point)), None)
        return None if found is None or found.drop else found


def default_key(point: Point, source: Source) -> str:
    """Return the key of a point if the model needs keys and the rule names none."""
    return point.tags.get("instance", "") if source == "prometheus" else point.series


def _load(path: Path) -> list[Rule]:
    errors: list[str] = []
    found = read_toml(path, errors)
    if not errors and (not isinstance(found.get("rule"), list) or found.keys() != {"rule"}):
        errors.append(f"{path}: expected [[rule]] tables and nothing else")
    rules = []
    for number, table in enumerate([] if errors else found["rule"], 1):
        try:
            rules.append(Rule.model_validate(table))
        except ValidationError as problem:
            errors += [f"{path}, rule {number}{_place(each)}" for each in problem.errors()]
    if errors:
        raise BadConfig(f"wrong rules: {'; '.join(errors)}")
    return rules


def _place(error: Any) -> str:
    keys = ".".join(str(part) for part in error["loc"])
    message = error["msg"].removeprefix("Value error, ")
    if error["type"] == "extra_forbidden":
        message = f"there is no such key; the keys are {', '.join(Rule.model_fields)}"
        if keys.startswith("create."):
            message = f"there is no such key; the keys are {', '.join(Create.model_fields)}"
    return f", {keys}: {message}" if keys else f": {message}"


def _pattern(globs: list[str]) -> re.Pattern[str]:
    return re.compile("|".join(map(fnmatch.translate, globs)))


def _finder(point: Point, what: str, others: dict[str, str] | None = None) -> Callable[[str], str]:
    def find(name: str) -> str:
        if name == MEASUREMENT:
            return point.measurement
        if name == TAGS:
            return point.series
        found = (others or {}).get(name, point.tags.get(name))
        if found is None:
            raise MissingTag(f"there is no tag {name!r}, which the rule's {what} needs")
        return found

    return find
