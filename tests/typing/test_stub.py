"""The checked-in stub is current, and the generated signatures and docstrings are complete."""

from __future__ import annotations

import doctest
import inspect
import re
from itertools import pairwise

import pytest

import streamlearn as sl
from streamlearn.models import kinds
from streamlearn.models.signature import arguments
from tools import stubs

MODELS = sorted(kinds().values(), key=lambda model: model.__name__)


def test_the_stub_is_current():
    assert stubs.STUB.read_text() == stubs.stub(), "the specs have changed: update the stub by `make stubs`"


@pytest.mark.parametrize("model", MODELS)
def test_the_signature_has_every_parameter_of_the_spec(model):
    parameters = inspect.signature(model).parameters
    fields = model.Spec.model_fields
    assert parameters.keys() == fields.keys()
    for name, parameter in parameters.items():
        assert parameter.kind is inspect.Parameter.KEYWORD_ONLY
        required = parameter.default is inspect.Parameter.empty
        assert required == fields[name].is_required()
        if not required:
            assert parameter.default == fields[name].default


@pytest.mark.parametrize("model", MODELS)
def test_every_parameter_is_described_by_sentences(model):
    texts = {each.name: each.description for each in arguments(model)}
    assert not [name for name, text in texts.items() if not re.match(r"(?![a-z]{2}).*\.$", text)]


@pytest.mark.parametrize("model", MODELS)
def test_the_docstring_has_every_section(model):
    lines = inspect.getdoc(model).splitlines()
    titles = [line for line, under in pairwise(lines) if under and set(under) == {"-"}]
    assert titles == ["Parameters", "Attributes", "Raises", "Notes", "References", "Examples"]
    assert max(map(len, lines)) <= 110


@pytest.mark.parametrize("target", [*MODELS, sl.Decay, sl.load])
def test_the_examples_run(target, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (examples,) = doctest.DocTestFinder(recurse=False).find(target, target.__name__, globs={})
    assert examples.examples
    assert doctest.DocTestRunner().run(examples).failed == 0
