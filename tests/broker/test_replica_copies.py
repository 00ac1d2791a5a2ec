"""Batches for a replica whose disk has damaged its own: what is given, and what is refused."""

from __future__ import annotations

import random
from typing import Any

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import build_batch, headers
from kraft.broker.replica_copies import CopyReply, CopyServer
from logstore.config import LogConfig
from logstore.log import Log
from logstore.memory import MemoryStorage
from logstore.storage import StorageError
from replication.outbox import Outbox
from replication.partition import Partition
from replication.settings import ReplicationSettings

NOW_MS = 1_700_000_000_000
KEY = (bytes(15) + b"\x01", 0)
COMMITTED = 8


class Fixture:
    """A replica of ten batches, eight of them committed, and what serves it."""

    def __init__(self) -> None:
        self.storage = MemoryStorage(random.Random(1))
        self.log = Log.open(self.storage, "data/t-0", LogConfig(segment_bytes=300), now_ms=NOW_MS)
        for _ in range(10):
            self.log.append_as_leader(build_batch([(NOW_MS, None, b"x" * 40)]), 0, NOW_MS)
        partition = Partition(
            "t", KEY, self.log, 1, ReplicationSettings(), Outbox(lambda: None), high_watermark=COMMITTED
        )
        self.failures: list[BaseException] = []
        replicas: Any = self
        self._partitions = {KEY: partition}
        self.server = CopyServer(replicas, self.failures.append)

    def by_key(self, key: tuple[bytes, int]) -> Partition | None:
        return self._partitions.get(key)

    def ask(self, *asked: Any) -> Any:
        link: Any = None
        return self.server.copy(link, list(asked))


@pytest.fixture
def serving() -> Fixture:
    return Fixture()


def test_all_that_is_committed_is_given_piece_by_piece(serving: Fixture) -> None:
    offset, found = 0, []
    while offset < COMMITTED:
        reply = serving.ask(*KEY, offset, COMMITTED)
        (part,) = reply.payload
        found += [header.base_offset for _, header in headers(part.bytes())]
        told = CopyReply.from_wire(reply.value)
        assert told.next_offset > offset
        offset = told.next_offset
    assert found == list(range(COMMITTED))


def test_where_nothing_is_left_the_reply_goes_on_behind_it(serving: Fixture) -> None:
    reply = serving.ask(*KEY, 4, 4)
    assert (reply.value, [part.size for part in reply.payload]) == ([4, []], [0])


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ((*KEY, 0, COMMITTED + 1), ErrorCode.OFFSET_NOT_AVAILABLE),
        ((*KEY, -1, COMMITTED), ErrorCode.OFFSET_OUT_OF_RANGE),
        ((KEY[0], 1, 0, 1), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ((bytes(16), 0, 0, 1), ErrorCode.UNKNOWN_TOPIC_OR_PARTITION),
        ((*KEY, 0), ErrorCode.INVALID_REQUEST),
        (("t", 0, 0, 1), ErrorCode.INVALID_REQUEST),
        ((*KEY, "0", 1), ErrorCode.INVALID_REQUEST),
    ],
)
def test_what_cannot_be_given_is_refused(serving: Fixture, asked: tuple[Any, ...], code: ErrorCode) -> None:
    with pytest.raises(KafkaError) as refused:
        serving.ask(*asked)
    assert refused.value.code == code
    assert not serving.failures


def test_what_is_damaged_here_as_well_is_not_handed_on(serving: Fixture) -> None:
    serving.storage.flip_bit(f"data/t-0/{0:020d}.log", 8 * 80)
    serving.log.integrity.doubt_all()
    with pytest.raises(KafkaError) as refused:
        serving.ask(*KEY, 0, COMMITTED)
    assert refused.value.code == ErrorCode.CORRUPT_MESSAGE


def test_a_batch_that_claims_to_go_on_past_the_end_is_not_passed_over(serving: Fixture) -> None:
    """The asker would take it for compacted away, and drop it for good."""
    serving.storage.flip_bit(f"data/t-0/{0:020d}.log", 8 * 25)  # of its last offset
    serving.log.integrity.doubt_all()
    with pytest.raises(KafkaError) as refused:
        serving.ask(*KEY, 0, 1)
    assert refused.value.code == ErrorCode.CORRUPT_MESSAGE


@pytest.mark.parametrize("value", [4, [4], ["4", []], [4, [[1, 2, 3]]], [4, [1]]])
def test_an_answer_of_another_form_is_refused(value: Any) -> None:
    with pytest.raises(KafkaError) as refused:
        CopyReply.from_wire(value)
    assert refused.value.code == ErrorCode.CORRUPT_MESSAGE


def test_a_disk_that_fails_is_told_of(serving: Fixture) -> None:
    serving.log.integrity.doubt_all()
    serving.storage.fail_reads()
    with pytest.raises(StorageError):
        serving.ask(*KEY, 0, COMMITTED)
    assert len(serving.failures) == 1
