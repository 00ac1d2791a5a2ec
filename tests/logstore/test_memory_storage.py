"""What `MemoryStorage` does that a disk does only on bad days."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from logstore.memory import SECTOR, MemoryStorage
from logstore.storage import StorageError, StorageFullError


def test_synced_bytes_survive_every_crash() -> None:
    for seed in range(50):
        storage = MemoryStorage(random.Random(seed))
        file = storage.open("f", create=True)
        file.write_at(0, b"synced")
        file.sync()
        file.write_at(6, b" and not")
        storage.crash()
        content = storage.read_text("f")
        assert content is not None
        assert content.startswith("synced")
        assert "synced and not".startswith(content) or "\0" in content


def test_a_crash_keeps_drops_and_tears() -> None:
    outcomes = set()
    for seed in range(200):
        storage = MemoryStorage(random.Random(seed))
        file = storage.open("f", create=True)
        for number in range(4):
            file.write_at(number * SECTOR, bytes([65 + number]) * SECTOR)
        storage.crash()
        outcomes.add(storage.read_text("f"))
    whole = "".join(chr(65 + number) * SECTOR for number in range(4))
    assert "" in outcomes
    assert whole in outcomes
    assert any(text and whole.startswith(text) and len(text) % SECTOR for text in outcomes)
    assert any(text and "\0" in text and "D" in text for text in outcomes), "a later write without an earlier"


def test_a_truncation_may_be_forgotten() -> None:
    outcomes = set()
    for seed in range(50):
        storage = MemoryStorage(random.Random(seed))
        file = storage.open("f", create=True)
        file.write_at(0, b"0123456789")
        file.sync()
        file.truncate(3)
        storage.crash()
        outcomes.add(storage.read_text("f"))
    assert outcomes == {"0123456789", "012"}


def test_a_killed_process_loses_nothing() -> None:
    storage = MemoryStorage(random.Random(0))
    file = storage.open("f", create=True)
    file.write_at(0, b"unsynced")
    storage.kill()
    assert storage.read_text("f") == "unsynced"
    with pytest.raises(StorageError):
        file.write_at(0, b"by a dead process")
    with pytest.raises(StorageError):
        file.sync()


def test_what_a_failed_sync_should_have_covered_is_never_durable() -> None:
    lost = 0
    for seed in range(50):
        storage = MemoryStorage(random.Random(seed))
        file = storage.open("f", create=True)
        file.write_at(0, b"a" * 10)
        storage.fail_syncs()
        with pytest.raises(StorageError):
            file.sync()
        file.write_at(10, b"b" * 10)
        file.sync()
        storage.crash()
        content = storage.read_text("f")
        assert content is not None
        assert content[10:] == "b" * 10
        lost += content[:10] != "a" * 10
    assert lost


def test_a_full_storage_takes_what_fits_and_no_more() -> None:
    storage = MemoryStorage(random.Random(0), capacity=10)
    file = storage.open("f", create=True)
    file.write_at(0, b"12345678")
    with pytest.raises(StorageFullError):
        file.write_at(8, b"9abc")
    assert file.read_at(0, 20) == b"123456789a"
    file.write_at(0, b"x" * 10)
    file.truncate(5)
    file.write_at(5, b"12345")
    assert storage.used == 10
    storage.remove("f")
    assert storage.used == 0


@pytest.mark.parametrize("act", ["write", "truncate"])
def test_injected_write_failures_come_as_often_as_asked_for(act: str) -> None:
    storage = MemoryStorage(random.Random(0))
    file = storage.open("d.log", create=True)
    other = storage.open("d.index", create=True)
    storage.fail_writes(2, path=".log")
    other.write_at(0, b"fine")
    for _ in range(2):
        with pytest.raises(StorageError):
            file.write_at(0, b"x" * 100) if act == "write" else file.truncate(0)
    file.write_at(0, b"fine")
    assert file.read_at(0, 4) == b"fine"


def test_injected_read_failure() -> None:
    storage = MemoryStorage(random.Random(0))
    file = storage.open("f", create=True)
    storage.fail_reads()
    with pytest.raises(StorageError):
        file.read_at(0, 1)
    assert file.read_at(0, 1) == b""


def test_a_bit_flips() -> None:
    storage = MemoryStorage(random.Random(0))
    file = storage.open("f", create=True)
    file.write_at(0, b"\x00\x00")
    storage.flip_bit("f", 9)
    assert file.read_at(0, 2) == b"\x00\x40"


changes = st.one_of(
    st.tuples(st.just("write"), st.integers(0, 30), st.binary(min_size=1, max_size=20)),
    st.tuples(st.just("truncate"), st.integers(0, 40), st.just(b"")),
    st.tuples(st.just("sync"), st.just(0), st.just(b"")),
)


@given(st.lists(changes, max_size=12), st.integers(0, 1000))
def test_without_a_crash_it_is_a_file_and_after_one_it_has_what_was_synced(
    history: list[tuple[str, int, bytes]], seed: int
) -> None:
    storage = MemoryStorage(random.Random(seed))
    file = storage.open("f", create=True)
    model = bytearray()
    pending = False
    for kind, position, data in history:
        if kind == "write":
            file.write_at(position, data)
            model.extend(bytes(max(0, position - len(model))))
            model[position : position + len(data)] = data
        elif kind == "truncate":
            file.truncate(position)
            del model[position:]
            model.extend(bytes(max(0, position - len(model))))
        else:
            file.sync()
        pending = kind != "sync"
        assert file.read_at(0, 100) == model
        assert storage.used == len(model)
    if not pending:
        storage.crash()
        assert storage.open("f").read_at(0, 100) == model
    assert storage.used == storage.open("f").size()
