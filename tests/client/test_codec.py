"""The codec with truncated, damaged and arbitrary frames: a message or a typed error, no other exception."""

from __future__ import annotations

import json
from pathlib import Path

import msgpack
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamlearn_client import replies
from streamlearn_client.errors import BadMessage, BadName, StreamlearnError, TooLarge, by_code, from_wire
from streamlearn_client.protocol import (
    OPS,
    EventMessage,
    Learn,
    Limits,
    Reply,
    Request,
    check_model,
    check_producer,
    decode_event,
    decode_reply,
    decode_request,
    encode_error,
    encode_event,
    encode_reply,
    encode_request,
    generated_producer,
    identifier,
    peek_id,
    producer_name,
    split_envelope,
)
from streamlearn_client.protocol.batches import as_batch
from streamlearn_client.protocol.identifiers import texts_of
from streamlearn_client.protocol.learn_header import LearnHeader
from streamlearn_client.results import read_event

VECTORS = Path(__file__).parents[2] / "clients" / "vectors"
DECODERS = {
    "requests": (decode_request, (Learn, Request)),
    "requests_read": (decode_request, (Learn, Request)),
    "replies": (decode_reply, Reply),
    "events": (decode_event, EventMessage),
}
GOLDEN = [
    pytest.param(decode, [bytes.fromhex(frame) for frame in entry["frames"]], id=entry["name"])
    for name, (decode, _) in DECODERS.items()
    for entry in json.loads((VECTORS / f"{name}.json").read_text(encoding="utf-8"))
]


def refuses(decode, frames) -> StreamlearnError:
    with pytest.raises(StreamlearnError) as caught:
        decode(frames)
    return caught.value


def outcome(decode, frames):
    """Return the message or the typed error. Any other exception fails the test."""
    try:
        return decode(frames)
    except StreamlearnError as error:
        return error


# truncated and damaged frames


@pytest.mark.parametrize(("decode", "frames"), GOLDEN)
def test_every_prefix_is_refused(decode, frames):
    """Prefixes of the concatenated frames: some complete frames, one truncated, the others missing."""
    for whole, frame in enumerate(frames):
        for size in range(len(frame)):
            refuses(decode, [*frames[:whole], frame[:size]])
        if whole:
            refuses(decode, frames[:whole])


@pytest.mark.parametrize(("decode", "frames"), GOLDEN)
def test_any_one_byte_changed_in_the_header_gives_a_message_or_a_typed_error(decode, frames):
    header = 1 if decode is decode_event else 0
    for at in range(len(frames[header])):
        for flip in (0x01, 0x10, 0x80, 0xFF):
            mangled = bytearray(frames[header])
            mangled[at] ^= flip
            outcome(decode, [*frames[:header], bytes(mangled), *frames[header + 1 :]])


ANY_DECODER = st.sampled_from(list(DECODERS.values()))


@given(ANY_DECODER, st.lists(st.binary(max_size=200), max_size=5))
def test_arbitrary_frames(decoder, frames):
    decode, kinds = decoder
    result = outcome(decode, frames)
    assert isinstance(result, kinds) or result.code in by_code
    peek_id(frames)


values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.text(max_size=70)
    | st.binary(max_size=70)
    | st.just(msgpack.Timestamp(1)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=5), inner, max_size=4),
    max_leaves=8,
)
described = st.fixed_dictionaries(
    {
        "dtype": st.sampled_from(["<f4", "<i8"]) | values,
        "shape": st.lists(st.integers(0, 3) | values, max_size=3),
    }
)
names_or_numbers = st.lists(st.integers(-(2**63), 2**64 - 1) | st.text(max_size=3), max_size=3)
fields = st.fixed_dictionaries(
    {},
    optional={
        "v": st.just(1) | values,
        "id": values,
        "op": st.sampled_from(
            [
                "learn",
                "predict",
                "explain",
                "create",
                "restore",
                "position",
                "stats",
                "forecast",
                "sample",
                "reheat",
            ]
        )
        | values,
        "model": st.just("pump") | values,
        "x": described | values,
        "y": described | values,
        "keys": described | names_or_numbers | values,
        "ids": described | names_or_numbers | values,
        "times": described | st.integers(-9, 9) | st.lists(st.integers(-9, 9), max_size=2) | values,
        "channels": st.lists(st.text(max_size=3), max_size=2) | values,
        "key": st.text(max_size=3) | values,
        "heat": st.floats() | values,
        "steps": st.integers(0, 9) | values,
        "n": st.integers(0, 9) | values,
        "temperature": st.floats() | values,
        "producer": st.text(max_size=3) | values,
        "epoch": st.integers(0, 9) | values,
        "seq": st.integers(0, 9) | values,
        "ack": st.just("durable") | values,
        "kind": st.text(max_size=3) | values,
        "spec": values,
        "lsn": values,
        "ok": values,
        "error": st.dictionaries(st.sampled_from(["code", "message", "detail"]), values) | values,
        "arrays": st.lists(
            st.fixed_dictionaries(
                {
                    "name": st.text(max_size=2),
                    "dtype": st.sampled_from(["<f4", "<i4", "|b1"]),
                    "shape": values,
                }
            ),
            max_size=2,
        )
        | values,
        "first": values,
        "rows": values,
        "time": values,
    },
)


@given(ANY_DECODER, fields, st.lists(st.binary(max_size=24), max_size=3))
def test_arbitrary_headers(decoder, header, buffers):
    decode, kinds = decoder
    packed = msgpack.packb(header)
    frames = [b"output/pump", packed, *buffers] if decode is decode_event else [packed, *buffers]
    result = outcome(decode, frames)
    if isinstance(result, StreamlearnError):
        assert result.code in by_code
        assert len(result.message) < 1000
        encode_error(result.request_id, result)
    else:
        assert isinstance(result, kinds)
    if isinstance(result, Learn):
        assert result.x is not None or (result.y is not None and result.ids is not None)
        arrays = result.arrays
    if isinstance(result, Request):
        arrays = {
            name: array for name in ("x", "keys", "times") if (array := getattr(result, name)) is not None
        }
    if isinstance(result, (Learn, Request)):
        for name, array in arrays.items():
            of = (np.dtype("<i8"), 1) if name in ("keys", "ids", "times") else (np.dtype("<f4"), 2)
            assert (array.dtype, array.ndim) == of
            assert array.flags.c_contiguous
            assert array.flags.aligned
        assert len({len(array) for array in arrays.values()}) <= 1


def test_a_deeply_nested_header():
    assert refuses(decode_request, [b"\x91" * 100_000]).code == "BAD_MESSAGE"


# round trips

samples = st.tuples(st.integers(1, 5), st.integers(1, 5), st.randoms(use_true_random=False)).map(
    lambda of: np.array([[of[2].uniform(-9, 9) for _ in range(of[1])] for _ in range(of[0])], "<f4")
)
names = st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", fullmatch=True)
ids = st.none() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=16) | st.binary(max_size=64)
uint63 = st.integers(0, 2**63 - 1)


@given(names, samples, st.booleans(), st.text("ab ü", min_size=1, max_size=32), uint63, uint63, ids)
def test_learn_round_trip(model, x, has_y, producer, epoch, seq, id):
    sent = Learn(model, x, x[:, :1].copy() if has_y else None, producer, epoch, seq, "written", id)
    decoded = decode_request([bytes(frame) for frame in encode_request(sent)])
    assert decoded._replace(x=None, y=None) == sent._replace(x=None, y=None)
    assert decoded.x.tobytes() == x.tobytes()
    assert (decoded.y is None) == (not has_y)
    assert decoded.y is None or np.array_equal(decoded.y, x[:, :1])


@given(names, samples, st.booleans(), st.text("ab", max_size=32), uint63, st.lists(st.tuples(uint63, ids)))
def test_a_header_with_other_numbers_equals_a_header_packed_at_once(
    model, x, has_y, producer, epoch, numbers
):
    y = x[:, :1].copy() if has_y else None
    header = LearnHeader(Learn(model, x, y, producer, epoch, 77, "written", "first"))
    for seq, id in numbers:
        fields = {"v": 1, "id": id, "op": "learn", "model": model}
        if producer:
            fields |= {"producer": producer, "epoch": epoch, "seq": seq}
        fields |= {"ack": "written", "x": {"dtype": "<f4", "shape": list(x.shape)}}
        if has_y:
            fields["y"] = {"dtype": "<f4", "shape": [len(x), 1]}
        assert header.encode(id, seq) == msgpack.packb(fields)


INT64 = st.integers(-(2**63), 2**63 - 1)


@given(samples, st.booleans(), st.booleans(), st.data())
def test_keys_ids_times_and_late_targets_round_trip(y, has_x, has_keys, data):
    keys, ids = (np.array([data.draw(INT64) for _ in y], np.int64) for _ in range(2))
    sent = Learn("pump", y[:, :1].copy() if has_x else None, y, keys=keys if has_keys else None, ids=ids)
    if has_x:
        times = np.array([data.draw(st.integers(-(2**63) + 1, 2**63 - 1)) for _ in y], np.int64)
        channels = data.draw(st.none() | st.lists(st.text(max_size=9), min_size=1, max_size=3).map(tuple))
        sent = sent._replace(times=times, channels=channels)
    decoded = decode_request([bytes(frame) for frame in encode_request(sent)])
    assert decoded.arrays.keys() == sent.arrays.keys()
    assert all(np.array_equal(decoded.arrays[name], array) for name, array in sent.arrays.items())
    assert (decoded.rows, decoded.channels) == (len(y), sent.channels)
    start, stop = sorted((data.draw(st.integers(0, len(y))), data.draw(st.integers(0, len(y)))))
    part = decoded.part(start, stop)
    assert part.arrays.keys() == sent.arrays.keys()
    assert all(np.array_equal(part.arrays[name], array[start:stop]) for name, array in sent.arrays.items())


@given(
    ids,
    st.sampled_from("f4 f8 i4 i8 u4 u8 i1 u1 b1".split()),
    st.lists(st.integers(0, 4), min_size=1, max_size=3),
)
def test_arrays_of_replies_round_trip(id, dtype, shape):
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(dtype)
    reply = decode_reply([bytes(frame) for frame in encode_reply(id, {"a": [1]}, {"out": array})])
    assert (reply.id, reply.ok) == (id, {"a": [1]})
    assert (reply.arrays["out"].dtype, reply.arrays["out"].shape) == (array.dtype, array.shape)
    assert np.array_equal(reply.arrays["out"], array)


@pytest.mark.parametrize("cls", by_code.values(), ids=by_code)
def test_errors_round_trip(cls):
    sent = cls("what, and what to do", at=[1, 2], field="x")
    decoded = decode_reply(encode_error(7, sent)).error
    assert type(decoded) is cls
    assert (decoded.message, decoded.detail, decoded.retryable) == (sent.message, sent.detail, cls.retryable)


def test_an_unknown_error_code_is_preserved():
    error = from_wire({"code": "TOO_TIRED", "message": "later", "detail": {"hours": 8}})
    assert error.message == "later"
    assert error.detail == {"hours": 8, "code": "TOO_TIRED"}


def test_details_that_messagepack_can_not_hold_are_sent_as_text():
    decoded = decode_reply(encode_error(1, BadMessage("bad", value=np.float32(1)))).error
    assert isinstance(decoded.detail["value"], str)


# buffers


def test_arrays_view_their_frames():
    data = np.arange(6, dtype="<f4").tobytes()
    header = encode_request(Learn("pump", np.zeros((2, 3), "<f4")))[0]
    learn = decode_request([header, data])
    assert np.shares_memory(learn.x, np.frombuffer(data, np.uint8))


def test_an_unaligned_frame_is_copied_to_be_aligned():
    raw = bytearray(33)
    for offset in range(1, 9):
        header = encode_request(Learn("pump", np.zeros((2, 3), "<f4")))[0]
        learn = decode_request([header, memoryview(raw)[offset : offset + 24]])
        assert learn.x.flags.aligned
        assert learn.x.flags.c_contiguous


def test_encoding_does_not_copy():
    x = np.zeros((2, 3), "<f4")
    frames = encode_request(Learn("pump", x))
    x[:] = 1
    assert bytes(frames[1]) == x.tobytes()


# limits


def test_limits():
    small = Limits(header_bytes=200, control_header_bytes=300, frame_bytes=64, rows=4, frames=2)

    def limit_of_refusal(x, **fields):
        with pytest.raises(TooLarge) as caught:
            decode_request(encode_request(Learn("pump", np.array(x, "<f4"), id=3, **fields)), small)
        assert caught.value.request_id == 3
        return caught.value.detail["limit"], caught.value.detail["most"]

    assert limit_of_refusal(np.zeros((5, 1))) == ("limits.rows", 4)
    assert limit_of_refusal(np.zeros((1, 17))) == ("limits.frame_bytes", 64)
    header = {"v": 1, "id": 3, "op": "learn", "model": "pump", "x": [[0.5] * 24]}
    with pytest.raises(TooLarge, match="float32 frame"):
        decode_request([msgpack.packb(header)], small)
    with pytest.raises(TooLarge) as caught:
        decode_request([msgpack.packb({**header, "x": [0.5] * 99})], small)
    assert caught.value.request_id == 3
    assert caught.value.detail["limit"] == "limits.control_header_bytes"
    decode_request([msgpack.packb({**header, "op": "predict"})], small)
    keys = {"v": 1, "op": "predict", "model": "pump", "x": [[0]] * 4, "keys": {"dtype": "<i8", "shape": [9]}}
    with pytest.raises(TooLarge, match="keys has 72 bytes"):
        decode_request([msgpack.packb(keys), bytes(72)], small)
    assert Limits.from_map({**small.to_map(), "of_a_newer_daemon": 1}) == small


# names and envelopes


@pytest.mark.parametrize("name", ["", ".x", "-x", "a/b", "a b", "ü", "x" * 65, "a\n", None, 3, b"x"])
def test_bad_model_names(name):
    with pytest.raises(BadName):
        check_model(name)


@pytest.mark.parametrize("name", ["", "x" * 65, "ü" * 33, "a\n", "\ud800", None, 3])
def test_bad_producer_names(name):
    with pytest.raises(BadName):
        check_producer(name)


def test_generated_producer_names():
    generated = generated_producer()
    assert check_producer(generated) == generated
    assert generated[0] == "~"
    assert generated_producer() != generated
    assert producer_name("press-7") == "press-7"
    assert producer_name(None)[0] == "~"
    for name in ["", "~", "~x", generated, 3]:
        with pytest.raises(BadName):
            producer_name(name)


def test_envelopes_with_and_without_a_delimiter():
    assert split_envelope([b"me", b"header", b"x"]) == ([b"me"], [b"header", b"x"])
    assert split_envelope([b"me", b"", b"header"]) == ([b"me", b""], [b"header"])
    assert split_envelope([b"me"]) == ([b"me"], [])
    first, second = b"\0abcd", b"\0\x81\x82\x83\x84"  # as ZeroMQ generates them
    header = msgpack.packb({"v": 1})
    for routing in ([first], [first, second], [b"me", second, first]):
        assert split_envelope([*routing, header, b"x"]) == (routing, [header, b"x"])
        assert split_envelope([*routing, b"", header, b""]) == ([*routing, b""], [header, b""])
    assert split_envelope([first, b"own id", b"", header]) == ([first, b"own id", b""], [header])
    assert split_envelope([b"me", header, b"x", b""]) == ([b"me"], [header, b"x", b""])
    assert split_envelope([b"me", header]) == ([b"me"], [header])
    assert split_envelope([first, second]) == ([first, second], [])


def test_the_client_checks_the_answer_of_every_operation() -> None:
    assert set(replies._REPLIES) == set(OPS)


def test_texts_of_keys_have_a_bound():
    assert texts_of("pump") == ("pump",)
    assert texts_of(["b", 3, "a", "b", "", "x" * 257]) == ("b", "a")
    assert texts_of(np.arange(3)) == texts_of(7) == texts_of(["", 1]) == ()
    assert texts_of(np.array(["a", "b", "a"])) == ("a", "b")
    many = texts_of([f"machine number {i}" for i in range(1000)])
    assert 1900 < sum(map(len, many)) <= 2048
    batch = as_batch("m", np.ones((1000, 1)), keys=[f"machine number {i}" for i in range(1000)])
    assert len(encode_request(batch)[0]) < Limits().header_bytes
    assert decode_request(encode_request(batch)).key_names == many
    in_header = {"v": 1, "op": "learn", "model": "m", "x": [[1.0], [2.0]], "keys": ["a", 4]}
    assert decode_request([msgpack.packb(in_header)]).key_names == ("a",)
    for wrong in "a", [1], []:
        with pytest.raises(BadMessage, match="key_names must be a list of texts"):
            decode_request([msgpack.packb(in_header | {"key_names": wrong})])
    del in_header["keys"]
    with pytest.raises(BadMessage, match="key_names belong to keys"):
        decode_request([msgpack.packb(in_header | {"key_names": ["a"]})])


def test_events_have_the_texts_of_keys():
    arrays = {"key": np.array([identifier("a"), 4])}
    event = EventMessage("output", "m", 1, 0, 2, 0, arrays, {"a": identifier("a")})
    frames = [bytes(frame) for frame in encode_event(event)]
    assert decode_event(frames).key_names == event.key_names
    found = read_event(frames, "memory")
    assert found.keys == ["a", 4]
    assert found.outputs.key.tolist() == [identifier("a"), 4]
    for wrong in ["a"], {"a": "b"}, {"a": 1.5}:
        header = msgpack.unpackb(frames[1]) | {"key_names": wrong}
        with pytest.raises(BadMessage, match="key_names"):
            decode_event([frames[0], msgpack.packb(header), *frames[2:]])
    assert read_event(list(encode_event(event._replace(key_names={}))), "memory").keys == [identifier("a"), 4]
