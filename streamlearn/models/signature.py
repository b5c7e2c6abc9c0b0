"""The signature and the docstring of a model's class, generated from its spec.

A spec's fields hold every parameter once: type, default, range and description. ``document`` makes a
keyword-only ``__signature__`` and the sections Parameters, Attributes and Raises of ``__doc__`` from them;
``tools/stubs.py`` writes the same into ``streamlearn/__init__.pyi`` for editors and mypy.
"""

from __future__ import annotations

import inspect
import re
import textwrap
import types
import typing
from collections.abc import Sequence
from dataclasses import dataclass
from inspect import Parameter
from typing import Annotated, Any, ClassVar, Literal, Protocol

from annotated_types import Ge, Gt, Le, Lt
from pydantic import AfterValidator
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from .accepts import Accepts
from .spec import Spec
from .stream.alarm_spec import Alarm
from .stream.schedules import Decay, Within

WIDTH = 96  # columns of a generated docstring
_UNLIMITED = 1e9  # a bound beyond this protects the arithmetic and is no advice to a user


class HasSpec(Protocol):
    """An object of a model's class, as far as this module uses it."""

    Spec: ClassVar[type[Spec]]


@dataclass(frozen=True)
class Argument:
    """One parameter of a model's class, as text."""

    name: str
    type: str
    shown: str
    default: str | None  # None: required
    description: str

    @property
    def heading(self) -> str:
        """First line of its entry in a docstring."""
        return f"{self.name} : {self.shown}" + ("" if self.default is None else f", default {self.default}")


def arguments(model: type[HasSpec]) -> list[Argument]:
    """Return the parameters of a model's class: required ones first, then its own, then inherited ones."""
    fields = model.Spec.model_fields
    declared = [name for base in model.Spec.__mro__ for name in vars(base).get("__annotations__", {})]
    own = [name for name in declared if name in fields and fields[name].description is not None]
    names = sorted(dict.fromkeys([*own, *fields]), key=lambda name: not fields[name].is_required())
    names.sort(key=lambda name: name != "dim")
    return [_argument(name, fields[name]) for name in names]


def _argument(name: str, field: FieldInfo) -> Argument:
    default = None if field.is_required() else default_text(field.default)
    limits = _range(_form(field))
    description = field.description or ""
    text = type_text(_form(field))
    given = [each.shown for each in field.metadata if isinstance(each, Accepts) and each.shown]
    shown = given[0] if given else re.sub(r"Literal\[([^]]*)\]", r"{\1}", text).replace(" | ", " or ")
    return Argument(name, text, shown, default, f"{description} {limits}".strip())


def _form(field: FieldInfo) -> Any:
    """Return the type of a field with its constraints, as ``Annotated`` has them."""
    return Annotated[field.annotation, *field.metadata] if field.metadata else field.annotation


def default_text(value: object) -> str:
    """Return a default as source text."""
    if isinstance(value, Decay):
        return f"Decay({value.start:g}, {value.end:g}, tau={value.tau:g})"
    if isinstance(value, Alarm):
        return "Alarm()"
    return _quoted(value)


def type_text(form: Any) -> str:
    """Return the type of an argument as source text.

    Tuples of a fixed length stay tuples; those of any length become sequences, which lists are too.
    """
    origin, parts = typing.get_origin(form), typing.get_args(form)
    if origin is Annotated:
        given = [each.text for each in parts[1:] if isinstance(each, Accepts)]
        return str(given[0]) if given else type_text(parts[0])
    if origin in (typing.Union, types.UnionType):
        texts = [type_text(part) for part in parts]
        return " | ".join(sorted(dict.fromkeys(texts), key=lambda text: (text == "None", text == "Decay")))
    if origin is Literal:
        return f"Literal[{', '.join(_quoted(part) for part in parts)}]"
    if origin is tuple:
        if parts[-1] is Ellipsis:
            return f"Sequence[{type_text(parts[0])}]"
        return f"tuple[{', '.join(map(type_text, parts))}]"
    return "None" if form is type(None) else str(form.__name__)


def _quoted(value: object) -> str:
    return f'"{value}"' if isinstance(value, str) else repr(value)


def _range(form: Any) -> str:
    """Return the sentence that states the range of a number, or of each number of a tuple."""
    texts = list(dict.fromkeys(_limits(form)))
    return f"Range: {'; '.join(texts)}." if texts else ""


def _limits(form: Any, inherited: Sequence[Any] = ()) -> list[str]:
    origin, parts = typing.get_origin(form), typing.get_args(form)
    if origin is Annotated:
        return _limits(parts[0], [*inherited, *_constraints(parts[1:])])
    if origin in (typing.Union, types.UnionType):
        return [text for part in parts for text in _limits(part, inherited)]
    if origin is tuple:
        within = [text for part in parts if part is not Ellipsis for text in _limits(part)]
        return [text if text.startswith("each") else f"each {text}" for text in within]
    return _interval(inherited) if form in (int, float, Decay) else []


def _constraints(metadata: Sequence[Any]) -> list[Any]:
    found: list[Any] = []
    for each in metadata:
        if isinstance(each, FieldInfo):
            found += _constraints(each.metadata)
        elif isinstance(each, AfterValidator) and isinstance(each.func, Within):
            found += [Ge(each.func.low), Le(each.func.high)]
        else:
            found.append(each)
    return found


def _interval(constraints: Sequence[Any]) -> list[str]:
    low = high = ""
    for each in constraints:
        match each:
            case Ge(ge=value):
                low = f"at least {_number(value)}" if not high else low
            case Gt(gt=value):
                low = f"above {_number(value)}"
            case Le(le=value) if float(typing.cast("Any", value)) < _UNLIMITED:
                high = f"up to {_number(value)}"
            case Lt(lt=value) if float(typing.cast("Any", value)) < _UNLIMITED:
                high = f"below {_number(value)}"
    if low.startswith("at least ") and high:
        low = low.removeprefix("at least ")
        return [
            f"{low} to {high.removeprefix('up to ')}" if high.startswith("up to ") else f"{low} to {high}"
        ]
    return [", ".join(filter(None, (low, high)))] if low or high else []


def _number(value: Any) -> str:
    value = int(value) if value == int(value) else value
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


# -- the class --------------------------------------------------------------------------------------------


def signature(model: type[HasSpec]) -> inspect.Signature:
    """Return the keyword-only signature of a model's class. Annotations are source text."""
    spec = model.Spec
    return inspect.Signature(
        [
            Parameter(
                each.name,
                Parameter.KEYWORD_ONLY,
                default=_empty(spec.model_fields[each.name].default),
                annotation=each.type,
            )
            for each in arguments(model)
        ]
    )


def _empty(default: Any) -> Any:
    return Parameter.empty if default is PydanticUndefined else default


def document(model: type[HasSpec]) -> None:
    """Set ``__signature__`` and ``__doc__`` of a model's class."""
    model.__signature__ = signature(model)  # type: ignore[attr-defined]
    model.__doc__ = docstring(model)


RAISES = """BadSpec
    If a parameter is unknown, missing or out of its range, or if parameters do not fit together. The
    message names every fault at once."""


def docstring(model: type[HasSpec]) -> str:
    """Return the docstring of a model's class: the written text with the generated sections inserted."""
    return inserted(
        vars(model).get("__doc__") or f"{model.__name__}.",
        section("Parameters", [(each.heading, each.description) for each in arguments(model)]),
        section("Attributes", attributes(model)),
        f"Raises\n------\n{RAISES}",
    )


def inserted(written: str, *sections: str) -> str:
    """Return a written docstring with generated ``sections`` after its summary.

    They come before the first written section (Notes, References or Examples).
    """
    written = inspect.cleandoc(written)
    starts = [written.find(f"\n{title}\n---") for title in ("Notes", "References", "Examples")]
    start = min((place for place in starts if place >= 0), default=len(written))
    parts = [written[:start].rstrip(), *filter(None, sections), written[start:].strip()]
    return "\n\n".join(filter(None, parts)) + "\n"


def attributes(model: type[HasSpec]) -> list[tuple[str, str]]:
    """Return heading and text of the public properties of a class; of those of every model, two."""
    found: dict[str, tuple[str, str]] = {}
    root = next(base for base in model.__mro__ if "outputs_class" in vars(base).get("__annotations__", {}))
    for base in reversed(model.__mro__):
        of_every_model = base in root.__mro__
        for name, each in vars(base).items():
            if not isinstance(each, property) or name.startswith("_"):
                continue
            if of_every_model and name not in ("samples", "schedules"):
                found[name] = ("", "")  # a flag, also if a kind of model overrides it
            elif found.get(name) != ("", "") and each.fget and each.__doc__:
                heading = f"{name} : {_shown(str(each.fget.__annotations__.get('return', '')))}"
                found[name] = (heading, re.split(r"\n\n\w+\n---", inspect.cleandoc(each.__doc__))[0])
    return [entry for entry in reversed(found.values()) if entry[0]]


def _shown(kind: str) -> str:
    """Return a type as numpydoc writes it."""
    kind = kind.replace("Float32", "NDArray[np.float32]")
    return re.sub(r"NDArray\[np\.(\w+?)_?\]", r"ndarray of \1", kind)


def section(title: str, entries: Sequence[tuple[str, str]]) -> str:
    """Return a numpydoc section: a heading for each entry, and its text indented below."""
    lines = [title, "-" * len(title)]
    for heading, text in entries:
        paragraph = textwrap.wrap(" ".join(text.split()), WIDTH - 4, break_on_hyphens=False)
        lines += [heading, *(f"    {line}" for line in paragraph)]
    return "\n".join(lines) if entries else ""
