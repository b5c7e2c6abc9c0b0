"""Conversion of samples, identifiers and parameters, and the Outputs class."""

from __future__ import annotations

import copy
import hashlib
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn_client import Outputs
from streamlearn_client.endpoints import resolve_endpoint
from streamlearn_client.errors import BadDtype, BadShape, BadSpec, BadValue, Gap
from streamlearn_client.json_conversion import spec_contains, to_json
from streamlearn_client.protocol import (
    as_float32,
    as_identifier,
    as_identifiers,
    as_samples,
    as_targets,
    identifier,
)


@pytest.mark.parametrize(
    "given",
    [
        [[1, 2], [3, 4]],
        ((1.0, 2.0), (3.0, 4.0)),
        np.array([[1, 2], [3, 4]], np.int64),
        np.array([[1, 2], [3, 4]], np.uint8),
        np.array([[1, 2], [3, 4]], np.float16),
        np.array([[1, 2], [3, 4]], ">f4"),
        np.array([[1, 3], [2, 4]], np.float64).T,
        np.array([[1, 0, 2], [3, 0, 4]], np.float32)[:, ::2],
        np.array([[1, 2], [3, 4]], np.float32)[::-1][::-1],
    ],
    ids=str,
)
def test_samples_become_contiguous_float32(given):
    samples = as_samples(given)
    assert samples.dtype == np.dtype("<f4")
    assert samples.flags.c_contiguous
    assert samples.flags.aligned
    assert samples.tolist() == [[1, 2], [3, 4]]


def test_float32_is_not_copied():
    x = np.zeros((3, 2), np.float32)
    assert np.shares_memory(as_samples(x), x)


def test_one_sample_is_one_row():
    assert as_samples([1, 2, 3]).shape == (1, 3)


def test_none_is_missing():
    assert np.array_equal(as_samples([[1, None], [None, 2]]), [[1, np.nan], [np.nan, 2]], equal_nan=True)


@pytest.mark.parametrize(
    "given",
    [
        ["1", "2"],
        [["a"]],
        "12",
        [[1, "2"]],
        [1j],
        [b"x"],
        [object()],
        [Fraction(1, 2)],
        [np.datetime64(0, "D")],
    ],
)
def test_other_types_are_refused(given):
    with pytest.raises(BadDtype):
        as_samples(given)


@pytest.mark.parametrize("given", [[], [[]], [[[1]]], 3.0, np.zeros((0, 3)), [[1, 2], [3]], [[1, 2], None]])
def test_other_shapes_are_refused(given):
    with pytest.raises(BadShape):
        as_samples(given)


@pytest.mark.parametrize(
    "given", [[[0, 1e39]], [[0, -1e300]], [[0, 10**40]], [[None, 10**400]], [[0, 2**1000]]]
)
def test_numbers_beyond_float32_are_refused(given):
    with pytest.raises(BadValue, match="beyond float32"):
        as_samples(given)


@given(st.floats(width=64))
def test_conversion_rounds_or_refuses(value):
    with np.errstate(over="ignore"):
        expected = np.float32(value)
    if np.isinf(expected) and np.isfinite(value):
        with pytest.raises(BadValue):
            as_float32(value, "x")
    else:
        assert as_float32(value, "x").tobytes() == expected.tobytes() or np.isnan(value)


def test_targets():
    assert as_targets([1, 2, 3], 3).shape == (3, 1)
    assert as_targets([1, 2, 3], 1).shape == (1, 3)
    assert as_targets(5, 1).shape == (1, 1)
    assert as_targets([[1, 2], [3, 4]], 2).shape == (2, 2)
    with pytest.raises(BadShape, match="3 rows and x has 2"):
        as_targets([1, 2, 3], 2)
    with pytest.raises(BadShape, match="3 rows and ids has 2"):
        as_targets([1, 2, 3], 2, of="ids")


# keys and ids


def test_a_name_stands_for_the_first_bytes_of_its_digest():
    digest = hashlib.blake2b("pump 7 ü".encode(), digest_size=8).digest()
    assert identifier("pump 7 ü") == int(np.frombuffer(digest, "<i8")[0])
    assert as_identifiers(["a", "b"], 2, "keys").tolist() == [identifier("a"), identifier("b")]


@pytest.mark.parametrize(
    "given",
    [
        [3, 4, -5],
        (3, 4, -5),
        np.array([3, 4, -5], np.int8),
        np.array([3, 4, -5], ">i8"),
        np.array([[3, 0], [4, 0], [-5, 0]])[:, 0],
        np.array([3, 4, -5], object),
    ],
)
def test_identifiers_become_contiguous_int64(given):
    numbers = as_identifiers(given, 3, "ids")
    assert (numbers.dtype, numbers.tolist()) == (np.dtype("<i8"), [3, 4, -5])
    assert numbers.flags.c_contiguous


def test_one_identifier_stands_for_all_rows():
    assert as_identifiers(7, 3, "keys").tolist() == [7, 7, 7]
    assert as_identifiers("a", 2, "keys").tolist() == [identifier("a")] * 2
    assert as_identifier(np.uint8(7), "key") == 7


def test_integers_in_a_list_with_names_stay_integers():
    assert as_identifiers([1, "1"], 2, "keys").tolist() == [1, identifier("1")]
    assert as_identifiers(np.array(["1", "a"]), 2, "keys").tolist() == [identifier("1"), identifier("a")]
    assert as_identifiers(np.array([2**63 - 1], np.uint64), 1, "keys").tolist() == [2**63 - 1]


@pytest.mark.parametrize(
    "given",
    [
        1.0,
        None,
        b"a",
        True,
        [1.5, 2],
        [None, 1],
        [b"a"],
        [[], {}],
        np.array([1, 2], "M8[s]"),
        np.ones(2, bool),
    ],
)
def test_values_that_are_not_identifiers_are_refused(given):
    with pytest.raises((BadDtype, BadShape)):
        as_identifiers(given, 2, "ids")
    with pytest.raises(BadDtype):
        as_identifier(given, "key")


@pytest.mark.parametrize(
    "given", [2**63, -(2**63) - 1, [1, 2**63], np.array([2**64 - 1, 0], np.uint64), "\ud800"]
)
def test_integers_beyond_64_bits_are_refused(given):
    with pytest.raises(BadValue):
        as_identifiers(given, 2, "ids")


@pytest.mark.parametrize("given", [[], [1], [1, 2, 3], [[1, 2]], [[1], [2, 3]]])
def test_a_wrong_number_of_identifiers_is_refused(given):
    with pytest.raises(BadShape):
        as_identifiers(given, 2, "ids")


# parameters


@dataclass
class Decay:
    start: float
    end: float
    tau: int | None = None
    half_life: float | None = None
    unit: str | None = None


def test_parameters_become_json_values():
    spec = {
        "grid": (3, np.int64(4)),
        "learning_rate": Decay(0.5, 0.1, 100),
        "means": np.array([1.5, 2.5]),
        "nested": [(1, {"a": Decay(1, 0, 2)})],
        "sigma": Decay(2, 1, half_life=60.0, unit="seconds"),
        "scale": None,
        "on": True,
    }
    assert to_json(spec) == {
        "grid": [3, 4],
        "learning_rate": {"start": 0.5, "end": 0.1, "tau": 100},
        "means": [1.5, 2.5],
        "nested": [[1, {"a": {"start": 1, "end": 0, "tau": 2}}]],
        "sigma": {"start": 2, "end": 1, "half_life": 60.0, "unit": "seconds"},
        "scale": None,
        "on": True,
    }
    assert type(to_json(np.float32(0.5))) is float


def test_a_parameter_that_does_not_convert_is_named():
    with pytest.raises(BadSpec) as caught:
        to_json({"grid": [1, object()]}, "spec")
    assert caught.value.detail["errors"][0]["field"] == "spec.grid[1]"


def test_a_full_spec_contains_the_given_spec():
    full = {"kind": "som", "spec": {"dim": 8, "grid": [3, 3], "rate": {"start": 1.0, "end": 0}, "seed": 0}}
    assert spec_contains(full, {"kind": "som", "spec": {"dim": 8, "rate": {"start": 1}}})
    assert not spec_contains(full, {"kind": "som", "spec": {"dim": 9}})
    assert not spec_contains(full, {"kind": "som", "spec": {"other": None}})
    assert spec_contains({"grid": [7]}, {"grid": 7})
    assert not spec_contains({"grid": [7, 7]}, {"grid": 7})


# outputs


def test_outputs():
    out = Outputs(winner=np.array([3, 4, 5]), coords=np.zeros((3, 2)))
    assert out.winner.tolist() == [3, 4, 5]
    assert len(out) == 3
    assert out[1:].winner.tolist() == [4, 5]
    assert out.applied_lsn is None
    assert "winner int64[3]" in repr(out)
    assert "winner" in dir(out)
    with pytest.raises(AttributeError, match="winner, coords"):
        _ = out.prediction
    with pytest.raises(TypeError, match=r"out\.winner\[i\]"):
        out[0]
    with pytest.raises(ValueError, match="first axis"):
        Outputs(a=[1], b=[1, 2])
    with pytest.raises(ValueError, match="first axis"):
        Outputs(a=1)
    assert len(Outputs()) == 0


def test_outputs_and_errors_can_be_copied():
    out = copy.deepcopy(Outputs(7, a=[1, 2]))
    assert (out.a.tolist(), out.applied_lsn, len(out)) == ([1, 2], 7, 2)
    error = copy.deepcopy(Gap("a hole", expected_seq=4))
    assert (error.message, error.detail) == ("a hole", {"expected_seq": 4})


@pytest.mark.parametrize(
    ("announced", "requests", "reached"),
    [
        ("tcp://127.0.0.1:7702", "tcp://127.0.0.1:7700", "tcp://127.0.0.1:7702"),
        ("tcp://0.0.0.0:7702", "tcp://box.example:7700", "tcp://box.example:7702"),
        ("tcp://0.0.0.0:7702", "tcp://[::1]:7700", "tcp://[::1]:7702"),
        ("tcp://[::]:7702", "tcp://10.0.0.5:7700", "tcp://10.0.0.5:7702"),
        ("ipc:///run/events", "tcp://10.0.0.5:7700", "ipc:///run/events"),
    ],
)
def test_wildcard_hosts_of_announced_endpoints_are_replaced(announced, requests, reached):
    assert resolve_endpoint(announced, requests) == reached
