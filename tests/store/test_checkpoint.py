"""Checkpoints on real files: writing, finding, setting aside, dropping."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from streamlearn.errors import BadCheckpoint, CheckpointExists, DiskFull, NoCheckpoint
from streamlearn.store import FS, CheckpointInfo, CheckpointStore
from streamlearn.store.retention import HOUR_NS, Retention
from tests.faults.lossyfs import LossyFS


def state(value: int) -> dict[str, np.ndarray]:
    return {"weights": np.full((4, 3), value, np.float32), "samples": np.array(value, np.int64)}


def write(store: CheckpointStore, lsn: int, model: str = "pump", create_lsn: int = 1) -> CheckpointInfo:
    return store.write(model, create_lsn, lsn, state(lsn), {"kind": "som", "lsn": str(lsn)})


def damage(path: Path, place: int = -1) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


def newest(store: CheckpointStore, model: str = "pump", create_lsn: int = 1) -> int | None:
    found = store.examine(model, create_lsn)
    for bad in found.bad:
        store.set_aside(bad)
    if found.newest is None:
        return None
    info, arrays, metadata = found.newest
    np.testing.assert_array_equal(arrays["weights"], state(info.lsn)["weights"], strict=True)
    assert metadata == {"kind": "som", "lsn": str(info.lsn)}
    return info.lsn


def test_a_written_checkpoint_is_found(tmp_path: Path) -> None:
    store = CheckpointStore(FS(), tmp_path / "checkpoints")
    assert store.models() == []
    assert store.list("pump", 1) == []
    assert newest(store) is None
    info = write(store, 5)
    assert (info.model, info.create_lsn, info.lsn, info.copy) == ("pump", 1, 5, 0)
    assert info.bytes == info.path.stat().st_size
    assert info.time == info.path.stat().st_mtime_ns
    assert store.list("pump", 1) == [info]
    assert store.read(info) == info.path.read_bytes()
    arrays, metadata = store.load(info)
    assert arrays.keys() == state(5).keys()
    assert metadata["lsn"] == "5"
    assert newest(store) == 5
    write(store, 9, "pump", 8)
    write(store, 7, "a.b-c_D", 2)
    assert store.models() == [("a.b-c_D", 2), ("pump", 1), ("pump", 8)]
    assert newest(store) == 5
    assert newest(store, "pump", 8) == 9
    assert store.verify() == []


def test_as_many_are_kept_as_asked(tmp_path: Path) -> None:
    for keep in (1, 2, 3):
        store = CheckpointStore(FS(), tmp_path / str(keep), Retention(keep))
        for lsn in range(10, 60, 10):
            write(store, lsn)
        assert [info.lsn for info in store.list("pump", 1)] == [50, 40, 30][:keep]


def test_copies_of_one_lsn_count_as_checkpoints(tmp_path: Path) -> None:
    store = CheckpointStore(FS(), tmp_path)
    write(store, 10)
    write(store, 20)
    write(store, 20)
    assert [(info.lsn, info.copy) for info in store.list("pump", 1)] == [(20, 1), (20, 0)]
    write(store, 20)
    assert [(info.lsn, info.copy) for info in store.list("pump", 1)] == [(20, 2), (20, 1)]
    damage(store.list("pump", 1)[0].path)
    assert newest(store) == 20


@pytest.mark.parametrize("place", [0, 8, 40, -1])
def test_a_bad_one_is_set_aside_and_the_one_before_is_used(tmp_path: Path, place: int) -> None:
    warnings: list[str] = []
    store = CheckpointStore(FS(), tmp_path, warn=warnings.append)
    write(store, 10)
    bad = write(store, 20)
    damage(bad.path, place)
    with pytest.raises(BadCheckpoint, match="do not have the hash in its name"):
        store.load(bad)
    (finding,) = store.verify()
    assert (finding.level, finding.path) == ("damage", bad.path)
    assert newest(store) == 10
    assert bad.path.with_name(bad.path.name + ".bad").exists()
    assert bad.path.name in warnings[0]
    assert "longer replay" in warnings[0]
    assert [info.lsn for info in store.list("pump", 1)] == [10]
    assert "set aside" in store.verify()[0].message


def test_all_bad_is_none_and_the_model_is_still_known(tmp_path: Path) -> None:
    store = CheckpointStore(FS(), tmp_path)
    for lsn in (10, 20):
        damage(write(store, lsn).path)
    assert newest(store) is None
    assert store.models() == [("pump", 1)]


def test_bad_ones_do_not_count_when_older_ones_are_retired(tmp_path: Path) -> None:
    store = CheckpointStore(FS(), tmp_path)
    write(store, 10)
    damage(write(store, 20).path)
    write(store, 30)
    assert [info.lsn for info in store.list("pump", 1)] == [30, 10]


def test_one_that_does_not_read_back_retires_nothing() -> None:
    fs = LossyFS()
    store = CheckpointStore(fs, Path("/c"))
    write(store, 10)
    write(store, 20)
    whole = fs.read

    def misread(path: Path, offset: int = 0, size: int | None = None) -> bytes:
        data = whole(path, offset, size)
        return data[:-1] if f"{30:020d}" in path.name else data

    fs.read = misread  # type: ignore[method-assign]
    with pytest.raises(BadCheckpoint, match=r"does not read back.*The disk or the memory is failing"):
        write(store, 30)
    assert [info.lsn for info in store.list("pump", 1)] == [20, 10]
    assert newest(store) == 20


def test_a_sector_that_cannot_be_read_is_a_bad_checkpoint() -> None:
    fs = LossyFS()
    store = CheckpointStore(fs, Path("/c"))
    write(store, 10)
    bad = write(store, 20)
    whole = fs.read

    def failing(path: Path, offset: int = 0, size: int | None = None) -> bytes:
        if path == bad.path:
            raise OSError(errno.EIO, "Input/output error")
        return whole(path, offset, size)

    fs.read = failing  # type: ignore[method-assign]
    assert "cannot be read: Input/output error" in store.verify()[0].message
    assert newest(store) == 10


def test_dropped_models_are_gone(tmp_path: Path) -> None:
    store = CheckpointStore(FS(), tmp_path)
    write(store, 10)
    damage(write(store, 20).path)
    assert newest(store) == 10
    write(store, 30, "other")
    store.drop("pump", 1)
    store.drop("pump", 1)
    store.drop("never", 5)
    assert store.models() == [("other", 1)]
    assert [path.name for path in tmp_path.iterdir()] == ["other@1"]
    write(store, 40)
    assert newest(store) == 40


def test_foreign_files_are_left_alone(tmp_path: Path) -> None:
    store = CheckpointStore(FS(), tmp_path)
    write(store, 10)
    foreign = [tmp_path / "readme", tmp_path / "pump@1" / "readme", tmp_path / "pump@1" / "1.safetensors"]
    for path in foreign:
        path.write_text("not yours")
    write(store, 20)
    write(store, 30)
    assert store.models() == [("pump", 1)]
    assert newest(store) == 30
    assert all(path.read_text() == "not yours" for path in foreign)
    assert store.verify() == []


def test_a_full_disk_changes_nothing_and_leaves_nothing() -> None:
    fs = LossyFS()
    store = CheckpointStore(fs, Path("/c"))
    size = write(store, 10).bytes
    for room in (0, 1, size - 1):
        fs.capacity = size + room
        with pytest.raises(
            DiskFull, match=r"cannot write a checkpoint of .* bytes to /c/pump@1: No space left"
        ):
            write(store, 20)
        assert len(fs.listdir(Path("/c/pump@1"))) == 1
        assert newest(store) == 10
    fs.capacity = 2 * size
    write(store, 20)
    assert newest(store) == 20


def named(store: CheckpointStore, lsn: int, name: str, model: str = "pump") -> CheckpointInfo:
    return store.write(model, 1, lsn, state(lsn), {"kind": "som", "lsn": str(lsn)}, name)


def test_a_name_pins_a_checkpoint_and_is_unique_in_its_model(tmp_path: Path) -> None:
    store = CheckpointStore(FS(), tmp_path)
    info = named(store, 10, "before-overhaul")
    assert (info.name, info.pinned) == ("before-overhaul", True)
    for lsn in range(20, 60, 10):
        write(store, lsn)
    assert [(each.lsn, each.name) for each in store.list("pump", 1)] == [
        (50, ""),
        (40, ""),
        (10, "before-overhaul"),
    ]
    assert info.path.name.endswith("-before-overhaul.safetensors")
    with pytest.raises(CheckpointExists) as refused:
        named(store, 60, "before-overhaul")
    assert refused.value.detail == {"model": "pump", "name": "before-overhaul", "lsn": 10}
    named(store, 60, "before-overhaul", "other")
    assert store.verify() == []


def test_an_unpinned_checkpoint_is_removed_in_its_turn(tmp_path: Path) -> None:
    store = CheckpointStore(FS(), tmp_path)
    named(store, 10, "old")
    named(store, 20, "new")
    write(store, 30)
    info = store.unpin("pump", 1, "new")
    assert (info.lsn, info.name, info.pinned, info.path.exists()) == (20, "", False, True)
    assert [(each.lsn, each.name) for each in store.list("pump", 1)] == [(30, ""), (20, ""), (10, "old")]
    store.unpin("pump", 1, "old")
    assert [each.lsn for each in store.list("pump", 1)] == [30, 20]
    with pytest.raises(NoCheckpoint) as missing:
        store.unpin("pump", 1, "old")
    assert missing.value.detail == {"names": []}


def test_tiers_keep_an_older_checkpoint_of_an_earlier_hour(tmp_path: Path) -> None:
    store = CheckpointStore(FS(), tmp_path, Retention(2, hourly=3))
    for lsn, hour in ((10, 1), (20, 2), (30, 3), (40, 3), (50, 4)):  # written now, then set to that hour
        path = write(store, lsn).path
        os.utime(path, ns=(hour * HOUR_NS, hour * HOUR_NS))
    assert [each.lsn for each in store.list("pump", 1)] == [50, 40, 20]


def test_bytes_are_limited_over_all_models(tmp_path: Path) -> None:
    warnings: list[str] = []
    size = write(CheckpointStore(FS(), tmp_path / "probe"), 1).bytes
    store = CheckpointStore(
        FS(), tmp_path / "c", Retention(2, hourly=24, max_bytes=7 * size + size // 5), warn=warnings.append
    )
    for hour in range(4):
        for number, model in enumerate(("a", "b")):
            path = write(store, 10 * hour + number + 1, model).path
            os.utime(path, ns=(hour * HOUR_NS, hour * HOUR_NS))
    assert [each.lsn for each in store.list("a", 1)] == [31, 21, 11]
    assert [each.lsn for each in store.list("b", 1)] == [32, 22, 12, 2]
    assert warnings == []
    again = CheckpointStore(
        FS(), tmp_path / "c", Retention(2, hourly=24, max_bytes=size), warn=warnings.append
    )
    write(again, 99, "a")
    assert [each.lsn for each in again.list("a", 1)] == [99, 31]
    assert [each.lsn for each in again.list("b", 1)] == [32, 22]
    assert len(warnings) == 1
    assert "checkpoints.max_bytes" in warnings[0]
    write(again, 100, "a")
    assert len(warnings) == 1


def test_nothing_is_removed_while_a_copy_is_made(tmp_path: Path) -> None:
    store = CheckpointStore(FS(), tmp_path)
    for lsn in (10, 20, 30, 40):
        store.write("pump", 1, lsn, state(lsn), {}, retire=False)
    assert [each.lsn for each in store.list("pump", 1)] == [40, 30, 20, 10]
    store.write("pump", 1, 50, state(50), {})
    assert [each.lsn for each in store.list("pump", 1)] == [50, 40]


def test_a_model_with_a_confusing_name_keeps_its_files(tmp_path: Path) -> None:
    """`x.dropped` and `x.bad` are valid names of models and of checkpoints."""
    store = CheckpointStore(FS(), tmp_path)
    write(store, 5, "x.dropped", 3)
    named(store, 6, "x.bad", "x.bad")
    write(store, 7, "pump", 2)
    store.drop("pump", 2)
    assert store.models() == [("x.bad", 1), ("x.dropped", 3)]
    assert newest(store, "x.dropped", 3) == 5
    assert store.verify() == []
