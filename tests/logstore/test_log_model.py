"""A log against a list of batches: the same history, step by step, with restarts of every kind in between."""

from __future__ import annotations

import random
from dataclasses import dataclass, replace
from itertools import pairwise

import pytest
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import build_batch, headers, read_header, records, stamp
from logstore.config import LogConfig
from logstore.log import Log
from logstore.memory import MemoryStorage

DIRECTORY = "/data/topic-0"
START_MS = 1_700_000_000_000
CONFIG = LogConfig(
    segment_bytes=1500,
    index_interval_bytes=200,
    retention_ms=-1,
    retention_bytes=4000,
    file_delete_delay_ms=10,
    message_timestamp_after_max_ms=2**62,
)
UNSEEN = 10**9


@dataclass(frozen=True)
class Stored:
    """One batch as it should lie in the log."""

    base: int
    next: int
    epoch: int
    data: bytes
    timestamp: int
    producer: tuple[int, int, int] | None = None  # id, epoch, last sequence


class LogModel(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.storage = MemoryStorage(random.Random(seed))
        self.log = Log.open(self.storage, DIRECTORY, CONFIG, now_ms=START_MS)
        self.batches: list[Stored] = []
        self.gone: list[Stored] = []  # deleted from the start, still remembered of producers
        self.ever: set[bytes] = set()
        self.start = 0
        self.epoch = 0
        self.durable = 0
        self.now = START_MS
        self.sequences: dict[int, tuple[int, int]] = {}

    @property
    def end(self) -> int:
        return self.batches[-1].next if self.batches else self.log_base

    @property
    def log_base(self) -> int:
        return self.gone[-1].next if self.gone else self.reset_at

    reset_at = 0

    def remember(self, batch: Stored) -> None:
        self.batches.append(batch)
        self.ever.add(batch.data)

    # Growing.

    @rule(count=st.integers(1, 4), size=st.integers(0, 300), step=st.integers(-50, 200), copy=st.booleans())
    def append(self, count: int, size: int, step: int, copy: bool) -> None:
        self.now += step
        data = build_batch([(self.now + i, b"k", b"v" * size) for i in range(count)])
        given = data if copy else memoryview(bytearray(data))
        done = self.log.append_as_leader(given, self.epoch, self.now)
        assert (done.first_offset, done.last_offset, done.duplicate) == (
            self.end,
            self.end + count - 1,
            False,
        )
        self.store(data, count, self.now + count - 1)

    def store(
        self, data: bytes, count: int, timestamp: int, producer: tuple[int, int, int] | None = None
    ) -> None:
        stamped = bytearray(data)
        stamp(stamped, 0, self.end, self.epoch)
        self.remember(Stored(self.end, self.end + count, self.epoch, bytes(stamped), timestamp, producer))

    @rule(producer=st.integers(1, 3), count=st.integers(1, 3), bump=st.booleans())
    def append_idempotent(self, producer: int, count: int, bump: bool) -> None:
        state = self.log.producers.get(producer)
        epoch, last = (state.epoch, state.last_sequence) if state else (0, -1)
        if bump:
            epoch, last = epoch + 1, -1
        data = build_batch(
            [(self.now, None, b"p" * 60)] * count,
            producer_id=producer,
            producer_epoch=epoch,
            base_sequence=last + 1,
        )
        first = self.log.append_as_leader(data, self.epoch, self.now)
        assert first.first_offset == self.end
        self.store(data, count, self.now, (producer, epoch, last + count))
        again = self.log.append_as_leader(data, self.epoch, self.now)
        assert again == first._replace(duplicate=True)
        gap = build_batch(
            [(self.now, None, b"p")],
            producer_id=producer,
            producer_epoch=epoch,
            base_sequence=last + count + 2,
        )
        with pytest.raises(KafkaError) as refused:
            self.log.append_as_leader(gap, self.epoch, self.now)
        assert refused.value.code is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER

    def last_of(self, producer: int) -> tuple[int, int]:
        """Epoch and last sequence that the batches tell of."""
        for batch in reversed(self.gone + self.batches):
            if batch.producer is not None and batch.producer[0] == producer:
                return batch.producer[1], batch.producer[2]
        return -1, -1

    @rule(sizes=st.lists(st.integers(0, 500), min_size=1, max_size=6), cut=st.integers(0, 70))
    def append_as_follower(self, sizes: list[int], cut: int) -> None:
        fetched = b""
        end = self.end
        for size in sizes:
            data = build_batch([(self.now, None, b"f" * size)] * 2, base_offset=end, leader_epoch=self.epoch)
            self.remember(Stored(end, end + 2, self.epoch, data, self.now))
            fetched += data
            end += 2
        partial = build_batch([(self.now, None, b"x" * 80)], base_offset=end)[:cut]
        done = self.log.append_as_follower(fetched + partial)
        assert done.last_offset == end - 1

    @rule(step=st.integers(1, 3))
    def new_epoch(self, step: int) -> None:
        self.epoch += step
        self.log.assign_epoch(self.epoch)

    # Shrinking.

    @rule(back=st.integers(0, 40))
    def truncate(self, back: int) -> None:
        offset = max(self.end - back, self.log_base)
        self.log.truncate_to(offset)
        while self.batches and self.batches[-1].next > offset:
            self.batches.pop()
        self.start = min(self.start, self.end)
        self.durable = min(self.durable, self.end)

    @precondition(lambda self: self.end > self.start)
    @rule(share=st.floats(0, 1))
    def advance_start(self, share: float) -> None:
        self.start += int((self.end - self.start) * share)
        self.log.advance_start(self.start)

    @rule(forward=st.integers(-30, 60))
    def reset(self, forward: int) -> None:
        offset = max(0, self.end + forward)
        self.log.reset_to(offset)
        self.batches, self.gone = [], []
        self.reset_at = self.start = self.durable = offset

    @rule(behind=st.integers(0, 20))
    def retain(self, behind: int) -> None:
        segments = self.log.segment_count
        size = self.log.size
        deleted = self.log.apply_retention(self.now, self.end - behind)
        if not deleted:
            assert size < CONFIG.retention_bytes + 2 * CONFIG.segment_bytes or behind or segments == 1
        while self.batches and self.batches[0].base < self.log.start_offset:
            if self.batches[0].next > self.log.start_offset:
                break
            self.gone.append(self.batches.pop(0))
        self.start = max(self.start, self.log.start_offset)
        if deleted:
            first = min(name for name in self.storage.list(DIRECTORY) if name.endswith(".log"))
            assert int(first.removesuffix(".log")) <= self.end - behind
        self.forget_deleted()

    def forget_deleted(self) -> None:
        self.log.delete_expired_files(self.now)
        self.log.delete_expired_files(self.now + 10)
        assert not [name for name in self.storage.list(DIRECTORY) if name.endswith(".deleted")]

    # Syncing and restarting.

    @rule()
    def sync(self) -> None:
        end = self.log.end_offset
        for file in self.log.files_to_sync():
            file.sync()
        self.log.synced_to(end)
        assert self.log.recovery_point == end
        self.durable = end

    @rule()
    def reopen(self) -> None:
        self.sync()
        self.log.close()
        self.open(clean=True)
        assert self.log.recovered is None
        self.check_everything()

    @rule()
    def kill(self) -> None:
        self.storage.kill()
        self.open(clean=False)
        assert self.log.recovered is None
        self.check_everything()

    @rule()
    def crash(self) -> None:
        self.storage.crash()
        self.open(clean=False)
        assert self.log.end_offset >= self.durable
        found = self.read_all()
        for before, after in pairwise(found):
            assert before.next == after.base
            assert before.epoch <= after.epoch
        durable = [batch for batch in self.visible() if batch.next <= self.durable]
        assert found[: len(durable)] == [replace(batch, producer=None) for batch in durable]
        assert all(batch.data in self.ever for batch in found)
        self.batches, self.gone = found, []
        self.reset_at = found[0].base if found else self.log.end_offset
        self.relearn_producers()
        self.epoch = max(self.epoch, self.log.latest_epoch) + 1
        self.start = self.log.start_offset
        self.check_everything()

    def relearn_producers(self) -> None:
        # Batches that a truncation had removed may be back: ask the header.
        relearnt = []
        for batch in self.batches:
            header = read_header(batch.data)
            producer = (
                (header.producer_id, header.producer_epoch, header.last_sequence)
                if header.has_producer
                else None
            )
            relearnt.append(replace(batch, producer=producer))
        self.batches = relearnt

    def open(self, *, clean: bool) -> None:
        self.log = Log.open(
            self.storage,
            DIRECTORY,
            CONFIG,
            now_ms=self.now,
            recovery_point=self.durable,
            clean=clean,
            log_start=self.start,
        )

    # Looking.

    def read_all(self) -> list[Stored]:
        found = []
        offset = self.log.start_offset
        while offset < self.log.end_offset:
            data = self.log.read(offset, 700, up_to=self.log.end_offset).bytes()
            for position, header in headers(data):
                whole = data[position : position + header.size]
                found.append(
                    Stored(
                        header.base_offset,
                        header.next_offset,
                        header.partition_leader_epoch,
                        whole,
                        header.max_timestamp,
                    )
                )
                offset = header.next_offset
        return found

    def visible(self) -> list[Stored]:
        return [batch for batch in self.batches if batch.next > self.start]

    def check_everything(self) -> None:
        assert self.read_all() == [replace(batch, producer=None) for batch in self.visible()]
        for producer in (1, 2, 3):
            epoch, last = self.last_of(producer)
            known = any(batch.producer and batch.producer[0] == producer for batch in self.batches)
            state = self.log.producers.get(producer)
            if known:
                assert state is not None
                assert (state.epoch, state.last_sequence) == (epoch, last)
        starts: dict[int, int] = {}
        for batch in self.batches:
            starts.setdefault(batch.epoch, batch.base)
        for batch in self.visible():
            assert self.log.epoch_at(batch.next - 1) == batch.epoch
        for epoch, nothing in list(starts.items())[:-1]:
            later = min(start for other, start in starts.items() if other > epoch)
            if later > self.start and nothing >= self.start:
                assert self.log.end_offset_for_epoch(epoch) == (epoch, later)

    @invariant()
    def ends_agree(self) -> None:
        assert (self.log.start_offset, self.log.end_offset) == (self.start, self.end)

    @rule(
        offset=st.integers(0, 200),
        max_bytes=st.integers(0, 3000),
        limit=st.integers(0, 40),
        one=st.booleans(),
    )
    def read(self, offset: int, max_bytes: int, limit: int, one: bool) -> None:
        offset = self.start + offset % (self.end - self.start + 1)
        ends = [self.start, *(batch.next for batch in self.visible())]
        up_to = ends[limit % len(ends)]
        found = self.log.read(offset, max_bytes, up_to=up_to, at_least_one=one)
        allowed = [batch for batch in self.visible() if batch.next > offset and batch.next <= up_to]
        data = found.bytes()
        assert len(data) == found.size
        if not found.size:
            assert not allowed or offset >= up_to or (not one and len(allowed[0].data) > max_bytes)
            return
        got = [data[at : at + header.size] for at, header in headers(data)]
        assert b"".join(got) == data
        assert got == [batch.data for batch in allowed[: len(got)]]
        assert found.next_offset == allowed[len(got) - 1].next
        assert found.size <= max_bytes or (one and len(got) == 1)
        if len(got) < len(allowed):
            following = allowed[len(got)]
            same_segment = self.storage.exists(f"{DIRECTORY}/{following.base:020d}.log") is False
            assert found.size + len(following.data) > max_bytes or not same_segment

    @rule(step=st.integers(-3000, 500))
    def find_time(self, step: int) -> None:
        wanted = self.now + step
        expected = None
        for batch in self.visible():
            for record in records(batch.data):
                if record.timestamp >= wanted and record.offset >= self.start and expected is None:
                    expected = (record.timestamp, record.offset, batch.epoch)
        assert self.log.offset_for_time(wanted, up_to=self.end) == expected
        assert self.log.offset_for_time(wanted, up_to=self.start) is None

    @rule()
    def find_youngest(self) -> None:
        found = self.log.max_timestamp(self.end)
        stamps = [
            record
            for batch in self.visible()
            for record in records(batch.data)
            if record.offset >= self.start
        ]
        if not stamps:
            assert found is None
        else:
            best = max(record.timestamp for record in stamps)
            first = next(record for record in stamps if record.timestamp == best)
            assert found is not None
            assert (found.timestamp, found.offset) == (first.timestamp, first.offset)

    @rule()
    def refuse_outside(self) -> None:
        for offset in (self.start - 1, self.end + 1, UNSEEN):
            with pytest.raises(KafkaError) as refused:
                self.log.read(offset, 100, up_to=UNSEEN)
            assert refused.value.code is ErrorCode.OFFSET_OUT_OF_RANGE


TestLogModel = LogModel.TestCase
TestLogModel.settings = settings(
    max_examples=150,
    phases=[Phase.generate],
    report_multiple_bugs=False,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)
