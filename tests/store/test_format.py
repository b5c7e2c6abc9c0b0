"""The bytes, held against a reader and a writer made from docs/journal.md alone."""

from __future__ import annotations

import json
import re
import struct
from pathlib import Path

import numpy as np
import pytest
import xxhash
from hypothesis import given
from hypothesis import strategies as st

from streamlearn.errors import BadCheckpoint, TooLarge
from streamlearn.store import FS, CheckpointStore, Journal, Record, RecordKind, record, tensors
from streamlearn.store.record import IDS, KEYS

NOT_STORED = {"digests", "dropped", "first_lsn", "decoded"}


def read_journal(directory: Path) -> list[dict]:
    """The records of a whole journal, as docs/journal.md says to read it."""
    found, chain, lsn = [], None, None
    for path in sorted(directory.glob("*.log")):
        data = path.read_bytes()
        magic, digest, version, zero, journal, first, prev, _durable, stale = struct.unpack_from(
            "<8sQIIQQQQQ", data
        )
        assert (magic, version, zero) == (b"SLJOURNL", 2, 0)
        assert 0 <= stale <= len(data)
        assert digest == xxhash.xxh3_64_intdigest(data[16:64])
        assert path.name == f"{first:020d}.log"
        assert chain in (None, prev)
        assert lsn is None or first >= lsn
        chain, lsn, at = digest, first, 64
        while data[at : at + 4] == b"SLRC":
            length, digest = struct.unpack_from("<IQ", data, at + 4)
            assert length % 8 == 0
            assert digest == xxhash.xxh3_64_intdigest(data[at + 16 : at + length], seed=journal)
            fields = struct.unpack_from("<QQQqQQIIIIBBBBI", data, at + 16)
            (
                prev,
                number,
                durable,
                time,
                epoch,
                seq,
                rows,
                x_cols,
                y_cols,
                size,
                kind,
                model,
                producer,
                optional_columns,
                batches,
            ) = fields
            assert (prev, number) == (chain, lsn)
            assert durable < number
            names = data[at + 88 : at + 88 + model + producer].decode()
            begin = at + 88 + (model + producer + 7) // 8 * 8
            if kind:
                lsn += 1
                found.append(
                    {
                        "kind": kind,
                        "lsn": number,
                        "time": time,
                        "epoch": epoch,
                        "seq": seq,
                        "rows": rows,
                        "x_cols": x_cols,
                        "y_cols": y_cols,
                        "model": names[:model],
                        "producer": names[model:],
                        "payload": data[begin : begin + size],
                        "optional_columns": optional_columns & 127,
                        "wide": optional_columns >= 128,
                        "batches": batches,
                    }
                )
            chain, at = digest, at + length
        assert not data[at:].strip(b"\0")
    return found


def as_dict(made: Record) -> dict:
    stored = [name for name in made.__slots__ if name not in NOT_STORED]
    return {name: getattr(made, name) for name in stored} | {"payload": bytes(made.payload)}


def test_a_reader_made_from_the_document_finds_what_was_written(tmp_path: Path) -> None:
    samples = np.arange(24, dtype="<f4").reshape(3, 8)
    records = [
        Record(RecordKind.CREATE, 0, 1, "pump", payload=json.dumps({"dim": 8}).encode()),
        Record(RecordKind.LEARN, 0, 2, "pump", "plant", 7, 0, 3, 6, 2, memoryview(samples.tobytes())),
        Record(RecordKind.LEARN, 0, 2, "pump", "plant", 7, 1, 3, 6, 2, samples.tobytes(), batches=3),
        Record(RecordKind.LEARN, 0, 2, "pump", "plant", 7, 4, 3, 6, 2, samples.tobytes(), wide=True),
        Record(RecordKind.TARGETS, 0, 2, "pump", "plant", 7, 4, 2, 0, 1, bytes(range(40)), KEYS | IDS),
        Record(RecordKind.RESTORE, 0, -3, "pump", payload=b"12345"),
        Record(RecordKind.REHEAT, 0, 4, "pump", payload=b"0.5"),
        Record(RecordKind.FEEDBACK, 0, 4, "pump", payload=b'[[1.5, null], "fault", "bearing"]'),
        Record(RecordKind.PAUSE, 0, 5, "pump"),
        Record(RecordKind.RESUME, 0, 6, "pump"),
        Record(RecordKind.DELETE, 0, 2**62, "pump"),
    ]
    journal = Journal.open(FS(), tmp_path, segment_bytes=300)
    for made in records:
        journal.append([made])
        journal.sync()
    journal.close()
    journal = Journal.open(FS(), tmp_path, segment_bytes=300)
    journal.append([Record(RecordKind.DELETE, 0, 5, "gone")])
    journal.close()
    found = read_journal(tmp_path)
    assert found[:-1] == [as_dict(made) for made in records]
    assert found[-1]["model"] == "gone"
    assert len(list(tmp_path.glob("*.log"))) > 2


def test_a_record_has_the_bytes_of_the_document() -> None:
    made = Record(
        RecordKind.LEARN,
        0,
        1_700_000_000_000_000_000,
        "pump",
        "plant/1",
        2,
        3,
        1,
        2,
        1,
        b"0123456789ab",
        batches=5,
    )
    prefix, body, digest = record.encode(made, lsn=5, durable=4, prev=0x1122334455667788, seed=99)
    wanted = (
        bytes.fromhex(
            "8877665544332211 0500000000000000 0400000000000000 00002a36fbe59717 0200000000000000 "
            "030000000000000001000000 02000000 01000000 0c000000 01 04 07 00 05000000"
        ).ljust(72, b"\0")
        + b"pumpplant/1\0\0\0\0\0"
        + b"0123456789ab\0\0\0\0"
    )
    time = struct.pack("<q", 1_700_000_000_000_000_000)
    wanted = wanted[:24] + time + wanted[32:]
    assert body == wanted
    assert digest == xxhash.xxh3_64_intdigest(wanted, seed=99)
    assert prefix == b"SLRC" + struct.pack("<IQ", 16 + len(wanted), digest)
    framed = record.decode(memoryview(b"........" + prefix + body), 8, 99)
    assert framed is not None
    assert as_dict(framed.record) == as_dict(made) | {"lsn": 5}
    assert (framed.length, framed.digest, framed.prev, framed.durable) == (
        len(prefix + body),
        digest,
        0x1122334455667788,
        4,
    )


@given(
    st.builds(
        Record,
        kind=st.sampled_from([RecordKind.LEARN, RecordKind.CREATE, RecordKind.DELETE, RecordKind.RESTORE]),
        lsn=st.integers(1, record.LAST_LSN),
        time=st.integers(-(2**63), 2**63 - 1),
        model=st.text(max_size=20),
        producer=st.text(max_size=20),
        epoch=st.integers(0, 2**63),
        seq=st.integers(0, 2**63),
        rows=st.integers(0, 2**32 - 1),
        x_cols=st.integers(0, 2**32 - 1),
        y_cols=st.integers(0, 2**32 - 1),
        payload=st.binary(max_size=100),
        batches=st.integers(0, 2**32 - 1),
    ),
    st.integers(0, 4),
)
def test_any_record_comes_back_and_none_of_its_prefixes_does(made: Record, place: int) -> None:
    prefix, body, _ = record.encode(made, made.lsn, 0, 0, 7)
    data = bytes(place * 8) + prefix + body
    framed = record.decode(memoryview(data), place * 8, 7)
    assert framed is not None
    assert as_dict(framed.record) == as_dict(made)
    assert framed.length == len(prefix + body)
    for end in range(place * 8, len(data)):
        assert record.decode(memoryview(data[:end]), place * 8, 7) is None
    assert record.decode(memoryview(data), place * 8, 8) is None


def test_a_payload_beyond_the_format_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(record, "MAX_RECORD_BYTES", 2**20 + 10)
    with pytest.raises(TooLarge, match="payload has 11 bytes"):
        record.encode(Record(RecordKind.RESTORE, 0, 0, "m", payload=bytes(11)), 1, 0, 0, 0)


ARRAYS = {
    "weights": np.linspace(-1, 1, 12, dtype=np.float32).reshape(3, 4),
    "samples": np.array(5, dtype=np.int64),
    "none": np.zeros((0, 4), dtype=np.uint8),
    "rng": np.array([1, 2**63], dtype=np.uint64),
    "seen": np.array([[True], [False]]),
}


def test_arrays_come_back_and_the_library_reads_them_too(tmp_path: Path) -> None:
    from safetensors import safe_open

    data = tensors.encode(ARRAYS, {"kind": "som", "spec": '{"σ": 2}'})
    found, metadata = tensors.decode(data)
    (tmp_path / "file").write_bytes(data)
    with safe_open(tmp_path / "file", framework="numpy") as file:
        library = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - not a mapping
        own = {"kind": "som", "spec": '{"σ": 2}'}
        assert file.metadata().keys() == {*own, "digest"}
        assert metadata == own
    for arrays in (found, library):
        assert arrays.keys() == ARRAYS.keys()
        for name, array in arrays.items():
            np.testing.assert_array_equal(array, ARRAYS[name], strict=True)
            assert array.flags.c_contiguous
    assert all(array.flags.writeable and array.flags.aligned for array in found.values())


def test_the_same_arrays_give_the_same_bytes_in_any_order() -> None:
    metadata = {str(n): "x" for n in range(20)}
    turned = dict(reversed(ARRAYS.items())), dict(reversed(metadata.items()))
    assert tensors.encode(ARRAYS, metadata) == tensors.encode(*turned)


@pytest.mark.parametrize(
    ("array", "complaint"),
    [
        (np.zeros((3, 4), np.float32).T, "'a' is not C-contiguous"),
        (np.zeros(8, np.float32)[::2], "'a' is not C-contiguous"),
        (np.zeros(3, ">f4"), "dtype >f4"),
        (np.array(["x"]), "dtype <U1"),
        (np.zeros(2, complex), "dtype <c16"),
    ],
)
def test_arrays_that_would_not_come_back_are_refused(array: np.ndarray, complaint: str) -> None:
    with pytest.raises(ValueError, match=complaint):
        tensors.encode({"a": array}, {})


def test_cut_checkpoints_are_refused_at_every_byte() -> None:
    data = tensors.encode(ARRAYS, {"kind": "som"})
    for end in range(len(data)):
        with pytest.raises(BadCheckpoint, match="not a file in safetensors format"):
            tensors.decode(data[:end])


def test_a_change_of_any_bit_is_noticed() -> None:
    data = tensors.encode(ARRAYS, {"kind": "som"})
    for position in range(len(data)):
        for bit in range(8):
            changed = bytearray(data)
            changed[position] ^= 1 << bit
            with pytest.raises(BadCheckpoint):
                tensors.decode(bytes(changed))


def test_the_digest_is_that_of_the_document() -> None:
    data = tensors.encode(ARRAYS, {"kind": "som"})
    written = re.search(rb'"digest":"([0-9a-f]{32})"', data)
    assert written is not None
    blank = data[: written.start(1)] + b"0" * 32 + data[written.end(1) :]
    assert xxhash.xxh3_128_hexdigest(blank).encode() == written[1]


def test_a_file_of_another_program_needs_no_digest_if_it_may_be_foreign() -> None:
    from safetensors.numpy import save

    data = save({"weight": np.ones(3, np.float32)}, {"format": "pt"})
    arrays, metadata = tensors.decode(data, foreign=True)
    assert arrays["weight"].tolist() == [1, 1, 1]
    assert metadata == {"format": "pt"}
    with pytest.raises(BadCheckpoint, match="has no digest"):
        tensors.decode(data)
    damaged = bytearray(tensors.encode(ARRAYS, {}))
    damaged[-1] ^= 1
    with pytest.raises(BadCheckpoint, match="does not have the digest"):
        tensors.decode(bytes(damaged), foreign=True)


@given(st.binary(max_size=200))
def test_any_bytes_are_refused_as_a_checkpoint(data: bytes) -> None:
    if data[:8] != b"\x02\0\0\0\0\0\0\0":
        with pytest.raises(BadCheckpoint):
            tensors.decode(data)


def test_a_checkpoint_is_named_as_the_document_says(tmp_path: Path) -> None:
    info = CheckpointStore(FS(), tmp_path).write("pump", 3, 17, ARRAYS, {"kind": "som"})
    data = tensors.encode(ARRAYS, {"kind": "som"})
    name = f"pump@3/{17:020d}-0-{xxhash.xxh3_64_hexdigest(data)}.safetensors"
    assert (tmp_path / name).read_bytes() == data
    assert info.path == tmp_path / name
