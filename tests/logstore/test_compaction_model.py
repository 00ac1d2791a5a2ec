"""A compacted log against everything that was ever written to it: what a reader learns does not change."""

from __future__ import annotations

import contextlib
import random
from collections.abc import Iterator
from dataclasses import dataclass

from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from chaos.disk import CuttableStorage, PowerCutError
from kafkawire.compression import Compression
from kafkawire.records import (
    BatchHeader,
    ControlType,
    Record,
    build_batch,
    build_control_batch,
    headers,
    parse_control_record,
    records,
)
from logstore.compaction import CleaningAborted
from logstore.config import LogConfig
from logstore.key_offsets import ENTRY_BYTES
from logstore.log import Log, Origin
from logstore.steps import Steps

DIRECTORY = "/data/topic-0"
START_MS = 1_700_000_000_000
RETENTION_MS = 100
CONFIG = LogConfig(
    cleanup_policy="compact",
    segment_bytes=700,
    index_interval_bytes=150,
    delete_retention_ms=RETENTION_MS,
    min_cleanable_dirty_ratio=0.0,
    file_delete_delay_ms=10,
    retention_ms=-1,
)
KEYS = st.sampled_from([b"a", b"b", b"c", b"a long key that is no number", b"", b"e"])
VALUES = st.one_of(st.none(), st.binary(max_size=120))
WRITES = st.lists(st.tuples(KEYS, VALUES), min_size=1, max_size=5)
MANY_KEYS = 100 * ENTRY_BYTES


@dataclass(frozen=True)
class Written:
    """One batch as it was appended. `ends` says how a transaction ended; then there are no records."""

    base: int
    records: tuple[Record, ...]
    producer: tuple[int, int] = (-1, -1)  # id, last sequence
    transactional: bool = False
    ends: ControlType | None = None

    @property
    def next(self) -> int:
        return self.base + max(1, len(self.records))


def read_committed(log: Log, offset: int, up_to: int) -> Iterator[tuple[BatchHeader, Record]]:
    """What a consumer with `isolation.level=read_committed` makes of the log."""
    while offset < up_to:
        found = log.read(offset, 500, up_to=up_to)
        if not found.size:
            return
        aborted = sorted(log.aborted_transactions(offset, found.next_offset), key=lambda each: each[1])
        skipped = set()
        data = found.bytes()
        for position, header in headers(data):
            while aborted and aborted[0][1] <= header.last_offset:
                skipped.add(aborted.pop(0)[0])
            if header.is_control:
                (record,) = records(data, position)
                if parse_control_record(record).kind is ControlType.ABORT:
                    skipped.discard(header.producer_id)
            elif not (header.is_transactional and header.producer_id in skipped):
                for record in records(data, position):
                    if record.offset >= offset:
                        yield header, record
        offset = found.next_offset


class Reader:
    """Keeps a table of the newest values, and goes on from where it was."""

    def __init__(self) -> None:
        self.position = 0
        self.table: dict[bytes, bytes] = {}

    def poll(self, log: Log, up_to: int, batches: int = 10**9) -> None:
        """Read so many batches, or to the end."""
        for header, record in read_committed(log, self.position, up_to):
            if self.position <= header.base_offset:
                batches -= 1
                if batches < 0:
                    return
                self.position = header.next_offset
            assert record.key is not None
            if record.value is None:
                self.table.pop(record.key, None)
            else:
                self.table[record.key] = record.value
        self.position = max(self.position, up_to)


class CompactionModel(RuleBasedStateMachine):
    @initialize(seed=st.integers(0, 2**32))
    def begin(self, seed: int) -> None:
        self.storage = CuttableStorage(random.Random(seed))
        self.log = Log.open(self.storage, DIRECTORY, CONFIG, now_ms=START_MS)
        self.written: list[Written] = []
        self.now = START_MS
        self.durable = 0
        self.touched = 0  # no cleaning has ever looked past it
        self.reader = Reader()

    @property
    def end(self) -> int:
        return self.written[-1].next if self.written else 0

    @property
    def stable(self) -> int:
        """Only what is synced counts as committed, so that a power cut never takes committed records."""
        return self.log.last_stable_offset(self.durable)

    def last_sequence(self, producer_id: int) -> int:
        return max((each.producer[1] for each in self.written if each.producer[0] == producer_id), default=-1)

    def open_transaction(self, producer_id: int) -> bool:
        for each in reversed(self.written):
            if each.producer[0] == producer_id:
                return each.ends is None
        return False

    # Writing.

    def append(
        self,
        writes: list[tuple[bytes, bytes | None]],
        kind: Compression,
        producer_id: int,
        transactional: bool,
    ) -> None:
        sequence = self.last_sequence(producer_id) + 1 if producer_id >= 0 else -1
        data = build_batch(
            [(self.now + number, key, value) for number, (key, value) in enumerate(writes)],
            compression=kind,
            producer_id=producer_id,
            producer_epoch=0 if producer_id >= 0 else -1,
            base_sequence=sequence,
            transactional=transactional,
        )
        origin = Origin.COORDINATOR if transactional else Origin.CLIENT
        base = self.log.append_as_leader(data, 1, self.now, origin=origin).first_offset
        assert base == self.end
        kept = tuple(
            Record(base + number, self.now + number, key, value, [])
            for number, (key, value) in enumerate(writes)
        )
        last = sequence + len(writes) - 1 if producer_id >= 0 else -1
        self.written.append(Written(base, kept, (producer_id, last), transactional))

    @rule(writes=WRITES, kind=st.sampled_from(Compression), producer=st.sampled_from([-1, -1, 1, 2]))
    def write(self, writes: list[tuple[bytes, bytes | None]], kind: Compression, producer: int) -> None:
        self.append(writes, kind, producer, transactional=False)

    @rule(writes=WRITES, producer=st.sampled_from([11, 12]))
    def write_in_transaction(self, writes: list[tuple[bytes, bytes | None]], producer: int) -> None:
        self.append(writes, Compression.NONE, producer, transactional=True)

    @rule(producer=st.sampled_from([11, 12]), kind=st.sampled_from(ControlType))
    def end_transaction(self, producer: int, kind: ControlType) -> None:
        if not self.open_transaction(producer):
            return
        marker = build_control_batch(
            kind, timestamp=self.now, producer_id=producer, producer_epoch=0, coordinator_epoch=3
        )
        base = self.log.append_as_leader(marker, 1, self.now, origin=Origin.COORDINATOR).first_offset
        self.written.append(Written(base, (), (producer, -1), True, kind))

    @rule()
    def sync(self) -> None:
        end = self.log.end_offset
        for file in self.log.files_to_sync():
            file.sync()
        self.log.synced_to(end)
        self.durable = end

    # Reading and time.

    @rule(batches=st.integers(0, 5))
    def poll(self, batches: int) -> None:
        self.reader.poll(self.log, self.stable, batches)

    @rule(step=st.sampled_from([1, RETENTION_MS // 2, RETENTION_MS, 1000]))
    def wait(self, step: int) -> None:
        # Within delete.retention.ms a reader has to come by, or it may not hear of a tombstone.
        self.reader.poll(self.log, self.stable)
        self.now += step
        self.log.delete_expired_files(self.now)

    # Cleaning.

    @rule(
        memory=st.sampled_from([1, 2 * ENTRY_BYTES, MANY_KEYS, MANY_KEYS]),
        chunk=st.sampled_from([1, 200, 10_000]),
    )
    def clean(self, memory: int, chunk: int) -> None:
        before, size = self.log.compaction.cleaned_to, self.log.size
        dirt = self.log.compaction.dirt(min(self.stable, self.durable), self.now)
        for step in self.begin_cleaning(memory=memory, chunk=chunk):
            if step is not None:
                step()
        if dirt.dirty:
            assert self.log.compaction.cleaned_to > before or not dirt.is_due(CONFIG)
            if memory == MANY_KEYS:
                assert self.log.compaction.cleaned_to == dirt.end
                assert self.replaced_before(dirt.end) == []
        else:
            assert (self.log.compaction.cleaned_to, self.log.size) == (before, size)
        self.no_leftovers()

    def begin_cleaning(self, *, memory: int = MANY_KEYS, chunk: int = 300) -> Steps[None]:
        end = self.log.compaction.dirt(min(self.stable, self.durable), self.now).end
        self.touched = max(self.touched, end)
        return self.log.compaction.clean(self.stable, self.now, memory=memory, chunk=chunk)

    def replaced_before(self, end: int) -> list[Record]:
        """Records before `end` that a later committed one before `end` has replaced."""
        newest = {record.key: record.offset for record in self.committed() if record.offset < end}
        found = read_committed(self.log, 0, end)
        return [record for _, record in found if record.offset < newest[record.key]]

    def no_leftovers(self) -> None:
        names = self.storage.list(DIRECTORY)
        assert not [name for name in names if name.endswith((".cleaned", ".swap"))]

    @rule(steps=st.integers(1, 60))
    def give_up_cleaning(self, steps: int) -> None:
        work = self.begin_cleaning()
        for _, step in zip(range(steps), work, strict=False):
            if step is not None:
                step()
        work.close()
        self.no_leftovers()

    @rule(steps=st.integers(1, 60), back=st.integers(1, 30))
    def truncate_while_cleaning(self, steps: int, back: int) -> None:
        work = self.begin_cleaning()
        for _, step in zip(range(steps), work, strict=False):
            if step is not None:
                step()
        self.cut(max(self.end - back, self.durable))
        try:
            for step in work:
                if step is not None:
                    step()
        except CleaningAborted:
            pass
        self.no_leftovers()

    def cut(self, offset: int) -> None:
        self.log.truncate_to(offset)
        self.forget_after(self.log.end_offset)

    def forget_after(self, end: int) -> None:
        while self.written and self.written[-1].next > end:
            self.written.pop()
        self.durable = min(self.durable, end)
        self.touched = min(self.touched, end)

    # Restarts.

    @rule(operations=st.integers(0, 80), power=st.booleans())
    def stop_while_cleaning(self, operations: int, power: bool) -> None:
        work = self.begin_cleaning()
        self.storage.cut_power_after(operations)
        with contextlib.suppress(PowerCutError):
            for step in work:
                if step is not None:
                    step()
        with contextlib.suppress(PowerCutError):
            work.close()  # what it would tidy up is out of its reach
        if power:
            self.storage.crash()
        else:
            self.storage.kill()
        self.reopen(clean=False)
        self.no_leftovers()

    @rule()
    def restart(self) -> None:
        self.sync()
        self.log.close()
        self.reopen(clean=True)

    def reopen(self, *, clean: bool) -> None:
        cleaned = self.log.compaction.cleaned_to
        self.log = Log.open(
            self.storage, DIRECTORY, CONFIG, now_ms=self.now, recovery_point=self.durable, clean=clean
        )
        assert self.log.end_offset >= self.durable
        assert self.log.recovered is None or not self.log.recovered.was_synced
        self.log.compaction.cleaned_to = cleaned
        self.forget_after(self.log.end_offset)
        self.durable = self.log.recovery_point
        self.producers_are_known()

    def producers_are_known(self) -> None:
        for producer_id in (1, 2, 11, 12):
            state = self.log.producers.get(producer_id)
            last = self.last_sequence(producer_id)
            if last >= 0:
                assert state is not None
                assert state.last_sequence == last
                assert (state.transaction_start is not None) == self.transaction_is_open(producer_id)

    def transaction_is_open(self, producer_id: int) -> bool:
        return producer_id > 10 and self.open_transaction(producer_id)

    # What has to hold.

    def committed(self) -> list[Record]:
        """Every committed record in the order of offsets."""
        aborted: set[int] = set()
        ended: dict[int, ControlType] = {}
        for each in reversed(self.written):
            if each.ends is not None:
                ended[each.producer[0]] = each.ends
            elif each.transactional and ended.get(each.producer[0]) is not ControlType.COMMIT:
                aborted.add(each.base)
        return [record for each in self.written if each.base not in aborted for record in each.records]

    @invariant()
    def a_reader_from_the_start_sees_the_final_state(self) -> None:
        reader = Reader()
        reader.poll(self.log, self.stable)
        expected: dict[bytes, bytes] = {}
        for record in self.committed():
            if record.offset < self.stable:
                assert record.key is not None
                if record.value is None:
                    expected.pop(record.key, None)
                else:
                    expected[record.key] = record.value
        assert reader.table == expected
        if self.reader.position == self.stable:
            assert self.reader.table == expected

    @invariant()
    def every_record_is_where_it_was_written(self) -> None:
        written = {record.offset: record for each in self.written for record in each.records}
        found: set[int] = set()
        offset = before = 0
        while offset < self.log.end_offset:
            part = self.log.read(offset, 400, up_to=self.log.end_offset)
            assert part.size, f"nothing from {offset} on, the end is {self.log.end_offset}"
            data = part.bytes()
            for position, header in headers(data):
                assert before <= header.base_offset <= header.last_offset < self.log.end_offset
                before = offset = header.next_offset
                if not header.is_control:
                    for record in records(data, position):
                        assert record == written[record.offset]
                        found.add(record.offset)
        assert all(number in found for number in written if number >= self.touched)

    @precondition(lambda self: self.written)
    @rule(share=st.floats(0, 1))
    def find_by_time(self, share: float) -> None:
        wanted = START_MS + int((self.now - START_MS) * share)
        found = self.log.offset_for_time(wanted, up_to=self.end)
        if found is not None:
            assert found.timestamp >= wanted


TestCompactionModel = CompactionModel.TestCase
TestCompactionModel.settings = settings(
    max_examples=60,
    stateful_step_count=40,
    deadline=None,
    suppress_health_check=list(HealthCheck),
    phases=(Phase.explicit, Phase.reuse, Phase.generate, Phase.shrink),
)
