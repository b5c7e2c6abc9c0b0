"""The docstrings of the client: complete, and equal for the blocking and the asyncio classes."""

from __future__ import annotations

import doctest
import importlib
import inspect
import re

import pytest

import streamlearn_client
from streamlearn_client import AsyncClient, Client, Firehose, Stream, Subscription, errors, protocol
from streamlearn_client.aio_channels import AsyncFirehose, AsyncSubscription
from streamlearn_client.aio_stream import AsyncStream
from tools.copy_docstrings import updated_modules

PAIRS = [
    (Client, AsyncClient),
    (Stream, AsyncStream),
    (Firehose, AsyncFirehose),
    (Subscription, AsyncSubscription),
]
CLASSES = [each for pair in PAIRS for each in pair]


def public_methods(cls):
    return {name: member for name, member in inspect.getmembers(cls, inspect.isfunction) if name[:1] != "_"}


FUNCTIONS = [
    *(method for cls in CLASSES for method in public_methods(cls).values()),
    *(each for name in protocol.__all__ if inspect.isfunction(each := getattr(protocol, name))),
    errors.from_wire,
    errors.StreamlearnError.to_wire,
]


def section(docstring: str, name: str) -> str:
    """Return the text of a numpydoc section; empty if the docstring has no such section."""
    found = re.search(rf"^{name}\n-+\n(.*?)(?=^\w[^\n]*\n-+$|\Z)", docstring, re.DOTALL | re.MULTILINE)
    return found[1] if found else ""


@pytest.mark.parametrize("function", FUNCTIONS, ids=lambda function: function.__qualname__)
def test_a_docstring_describes_parameters_and_result(function):
    docstring = inspect.getdoc(function)
    signature = inspect.signature(function)
    described = [
        name.strip().lstrip("*")
        for line in re.findall(r"^\S[^:\n]*", section(docstring, "Parameters"), re.MULTILINE)
        for name in line.split(",")
    ]
    assert described == [name for name in signature.parameters if name not in ("self", "cls")]
    returns = signature.return_annotation
    assert returns is not inspect.Signature.empty
    assert bool(section(docstring, "Returns")) == (returns != "None")
    assert re.match(r"[A-Z][^\n]*\.$", docstring.splitlines()[0])


@pytest.mark.parametrize(("blocking", "asyncio"), PAIRS)
def test_both_clients_have_equal_docstrings_and_signatures(blocking, asyncio):
    originals, copies = public_methods(blocking), public_methods(asyncio)
    assert originals.keys() == copies.keys()
    for name, original in originals.items():
        assert inspect.getdoc(original) == inspect.getdoc(copies[name])
        parameters = inspect.signature(original).parameters
        assert parameters == inspect.signature(copies[name]).parameters
        assert all(each.annotation is not each.empty for key, each in parameters.items() if key != "self")
    for name, member in inspect.getmembers(blocking, lambda member: isinstance(member, property)):
        assert inspect.getdoc(member) == inspect.getdoc(getattr(asyncio, name))


def test_the_copies_in_the_source_are_current():
    for path, text in updated_modules().items():
        assert path.read_text() == text, "docstrings have changed: update the copies by `make stubs`"


@pytest.mark.parametrize("name", streamlearn_client.__all__)
def test_every_public_name_has_a_docstring(name):
    member = getattr(streamlearn_client, name)
    if not isinstance(member, str):
        assert inspect.getdoc(member)


@pytest.mark.parametrize("module", ["errors", "outputs", "protocol.identifiers"])
def test_the_examples_in_docstrings_run(module):
    result = doctest.testmod(importlib.import_module(f"streamlearn_client.{module}"))
    assert result.attempted
    assert not result.failed
