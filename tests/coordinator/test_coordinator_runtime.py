"""The runtime with a shard that could not be simpler: counters by name."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import ControlType, build_batch, headers
from kraft.coordinator.runtime import (
    FOREVER,
    Answer,
    CoordinatorRuntime,
    Decision,
    LogRecord,
    Producer,
    RuntimeWorld,
    Ticket,
    TransactionMarker,
)
from logstore.config import LogConfig
from logstore.log import Origin
from tests.background import running


class Counters:
    """Counts up by name. Records are (name, value)."""

    def __init__(self, index: int, epoch: int) -> None:
        self.index = index
        self.epoch = epoch
        self.values: dict[bytes, int] = {}
        self.open: dict[int, list[LogRecord]] = {}
        self.markers: list[TransactionMarker] = []
        self.deadline = FOREVER
        self.parked: list[Ticket] = []
        self.seen: list[LogRecord] = []
        self.was_loaded = False

    def replay(self, record: LogRecord) -> None:
        self.seen.append(record)
        if record.transactional:
            self.open.setdefault(record.producer_id, []).append(record)
        elif record.value is None:
            self.values.pop(record.key, None)
        else:
            self.values[record.key] = int(record.value)

    def replay_marker(self, marker: TransactionMarker) -> None:
        self.markers.append(marker)
        for record in self.open.pop(marker.producer_id, ()):
            if marker.kind is ControlType.COMMIT and record.value is not None:
                self.values[record.key] = int(record.value)

    def loaded(self, now: float, now_ms: int) -> None:
        self.was_loaded = True

    def tick(self, now: float, now_ms: int) -> Iterable[Decision[Any]]:
        if now >= self.deadline:
            self.deadline = FOREVER
            yield self.count(b"ticks")
            yield self.count(b"ticks")

    def next_deadline(self) -> float:
        return self.deadline

    def count(self, name: bytes) -> Decision[int]:
        value = self.values.get(name, 0) + 1
        return Decision((LogRecord(name, b"%d" % value),), value)

    def park(self) -> Decision[str]:
        ticket = Ticket()
        self.parked.append(ticket)
        return Decision((), ticket)

    def call(self, name: bytes) -> Decision[int]:
        """Count, and answer everybody who is parked."""
        decision = self.count(name)
        answers = tuple(Answer(ticket, f"called by {name.decode()}") for ticket in self.parked)
        self.parked = []
        return Decision(decision.records, decision.reply, answers)


def count(name: bytes) -> Callable[[Counters, float, int], Decision[int]]:
    return lambda shard, now, now_ms: shard.count(name)


def value(name: bytes) -> Callable[[Counters, float, int], int]:
    return lambda shard, now, now_ms: shard.values.get(name, 0)


class Followed:
    """Notes what the runtime tells."""

    def __init__(self) -> None:
        self.events: list[tuple[str, Any]] = []
        self.told = asyncio.Event()

    def loaded(self, index: int, shard: Counters) -> None:
        self.events.append(("loaded", shard.epoch))
        self.told.set()

    def unloaded(self, index: int) -> None:
        self.events.append(("unloaded", index))

    def committed(self, index: int, reply: Any) -> None:
        self.events.append(("committed", reply))
        self.told.set()

    async def wait_for(self, event: tuple[str, Any]) -> None:
        async with asyncio.timeout(5):
            while event not in self.events:
                self.told.clear()
                await self.told.wait()


class Scene:
    """A runtime on one partition."""

    def __init__(self, replica: Any, clock: Any) -> None:
        self.replica = replica
        self.followed = Followed()
        self.failures: list[BaseException] = []
        self.leads = True
        self.world = RuntimeWorld(clock, self._led, self.failures.append, commit_timeout=5.0)
        self.runtime: CoordinatorRuntime[Counters] = CoordinatorRuntime(
            "counters", Counters, self.world, self.followed
        )

    def _led(self) -> list[Any]:
        return [self.replica.partition] if self.leads else []

    def lead(self, *isr: int) -> None:
        self.leads = True
        self.replica.lead(isr or None)
        self.runtime.reconcile()

    def lose(self) -> None:
        self.leads = False
        self.replica.lose()
        self.runtime.reconcile()

    def batches(self) -> list[Any]:
        log = self.replica.partition.log
        if log.end_offset == 0:
            return []
        return [header for _, header in headers(log.read(0, 1 << 20, up_to=log.end_offset).bytes())]


@pytest.fixture
async def scene(make_replica: Any, clock: Any) -> Scene:
    """One replica alone: what is appended is committed."""
    return Scene(make_replica("counters"), clock)


@pytest.fixture
async def pair(make_replica: Any, clock: Any) -> Scene:
    """Two replicas: what is appended is committed when the follower has it."""
    return Scene(make_replica("counters", replicas=2), clock)


async def error_of(future: asyncio.Future[Any]) -> ErrorCode:
    with pytest.raises(KafkaError) as caught:
        async with asyncio.timeout(5):
            await future
    return caught.value.code


async def turn() -> None:
    """Let everything that is due happen."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_who_does_not_lead_does_not_coordinate(scene: Scene) -> None:
    assert await error_of(scene.runtime.submit(0, count(b"a"))) is ErrorCode.NOT_COORDINATOR
    assert await error_of(scene.runtime.observe(0, value(b"a"))) is ErrorCode.NOT_COORDINATOR


async def test_a_reply_comes_when_its_records_are_committed(pair: Scene) -> None:
    pair.lead()
    pair.replica.follow()
    future = pair.runtime.submit(0, count(b"a"))
    read = pair.runtime.observe(0, value(b"a"))
    await turn()
    assert not future.done()
    assert not read.done(), "it would tell what may yet be lost"
    pair.replica.follow()
    assert await future == 1
    assert await read == 1


async def test_decisions_of_one_turn_share_a_batch_and_see_each_other(scene: Scene) -> None:
    scene.lead()
    futures = [scene.runtime.submit(0, count(b"a")) for _ in range(10)]
    assert await asyncio.gather(*futures) == list(range(1, 11))
    assert [batch.record_count for batch in scene.batches()] == [10]


async def test_a_full_batch_makes_room_for_the_next(make_replica: Any, clock: Any) -> None:
    scene = Scene(make_replica("counters", config=LogConfig(max_message_bytes=200)), clock)
    scene.lead()
    futures = [scene.runtime.submit(0, count(b"a")) for _ in range(10)]
    assert await asyncio.gather(*futures) == list(range(1, 11))
    assert len(scene.batches()) > 2
    assert sum(batch.record_count for batch in scene.batches()) == 10


async def test_a_decision_that_fits_into_no_batch_changes_nothing(make_replica: Any, clock: Any) -> None:
    scene = Scene(make_replica("counters", config=LogConfig(max_message_bytes=200)), clock)
    scene.lead()
    future = scene.runtime.submit(0, count(b"a" * 200))
    assert await error_of(future) is ErrorCode.UNKNOWN_SERVER_ERROR
    assert await scene.runtime.observe(0, value(b"a" * 200)) == 0
    assert scene.batches() == []


async def test_a_decision_that_fits_into_no_batch_leaves_nobody_waiting(
    make_replica: Any, clock: Any
) -> None:
    scene = Scene(make_replica("counters", config=LogConfig(max_message_bytes=200)), clock)
    scene.lead()
    parked = scene.runtime.submit(0, lambda shard, now, now_ms: shard.park())
    calling = scene.runtime.submit(0, lambda shard, now, now_ms: shard.call(b"a" * 200))
    assert await error_of(calling) is ErrorCode.UNKNOWN_SERVER_ERROR
    assert await error_of(parked) is ErrorCode.UNKNOWN_SERVER_ERROR


async def test_an_error_of_the_core_reaches_who_asked(scene: Scene) -> None:
    def refuse(shard: Counters, now: float, now_ms: int) -> Decision[int]:
        raise KafkaError(ErrorCode.ILLEGAL_GENERATION)

    scene.lead()
    assert await error_of(scene.runtime.submit(0, refuse)) is ErrorCode.ILLEGAL_GENERATION


async def test_a_ticket_is_answered_by_a_later_decision_once_that_is_committed(pair: Scene) -> None:
    pair.lead()
    pair.replica.follow()
    parked = pair.runtime.submit(0, lambda shard, now, now_ms: shard.park())
    await turn()
    assert not parked.done()
    calling = pair.runtime.submit(0, lambda shard, now, now_ms: shard.call(b"b"))
    await turn()
    assert not parked.done()
    pair.replica.follow()
    assert await parked == "called by b"
    assert await calling == 1


async def test_losing_the_leadership_answers_everybody(pair: Scene) -> None:
    pair.lead()
    pair.replica.follow()
    writing = pair.runtime.submit(0, count(b"a"))
    parked = pair.runtime.submit(0, lambda shard, now, now_ms: shard.park())
    await turn()
    pair.lose()
    assert await error_of(writing) is ErrorCode.NOT_COORDINATOR
    assert await error_of(parked) is ErrorCode.NOT_COORDINATOR
    assert ("unloaded", 0) in pair.followed.events
    assert pair.runtime.indices() == []


async def test_between_the_role_and_the_runtime_nothing_is_decided(pair: Scene) -> None:
    pair.lead()
    pair.replica.follow()
    pair.replica.lose()
    assert await error_of(pair.runtime.submit(0, count(b"a"))) is ErrorCode.NOT_COORDINATOR


async def test_a_new_leader_loads_what_the_log_holds(scene: Scene) -> None:
    scene.lead()
    await asyncio.gather(*(scene.runtime.submit(0, count(b"n%d" % (n % 7))) for n in range(50)))
    scene.lead()
    assert await error_of(scene.runtime.submit(0, count(b"n0"))) is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert await error_of(scene.runtime.observe(0, value(b"n0"))) is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    async with running(scene.runtime.run()):
        await scene.followed.wait_for(("loaded", 2))
        assert await scene.runtime.observe(0, value(b"n0")) == 8
        assert await scene.runtime.observe(0, lambda shard, now, now_ms: shard.was_loaded)
        seen = await scene.runtime.observe(0, lambda shard, now, now_ms: shard.seen)
    assert [record.offset for record in seen] == list(range(50))


async def test_a_load_is_given_up_when_the_leadership_goes(scene: Scene) -> None:
    scene.lead()
    await scene.runtime.submit(0, count(b"a"))
    scene.lead()
    scene.lose()
    async with running(scene.runtime.run()):
        await turn()
        assert scene.runtime.indices() == []
        assert scene.followed.events == [("loaded", 1), ("unloaded", 0)]


async def test_a_load_waits_until_what_is_damaged_is_mended(scene: Scene) -> None:
    scene.lead()
    for _ in range(3):
        await scene.runtime.submit(0, count(b"a"))
    log = scene.replica.partition.log
    (name,) = [name for name in scene.replica.storage.list(log.directory) if name.endswith(".log")]
    path = f"{log.directory}/{name}"
    scene.replica.storage.flip_bit(path, 8 * 70)
    log.integrity.doubt_all()
    scene.lead()
    async with running(scene.runtime.run()):
        while not log.integrity.damaged:
            await turn()
        await turn()
        loading = await error_of(scene.runtime.observe(0, value(b"a")))
        assert loading is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
        scene.replica.storage.flip_bit(path, 8 * 70)
        log.integrity.damaged.clear()
        await scene.followed.wait_for(("loaded", 2))
        assert await scene.runtime.observe(0, value(b"a")) == 3


async def test_what_was_loaded_counts_only_when_it_is_committed(pair: Scene) -> None:
    pair.lead()
    pair.replica.follow()
    pair.runtime.submit(0, count(b"a"))
    await turn()
    pair.lead()
    async with running(pair.runtime.run()):
        await pair.followed.wait_for(("loaded", 2))
        read = pair.runtime.observe(0, value(b"a"))
        await turn()
        assert not read.done()
        pair.replica.follow()
        assert await read == 1


async def test_without_enough_replicas_nothing_is_decided_and_reads_still_work(
    make_replica: Any, clock: Any
) -> None:
    scene = Scene(make_replica("counters", replicas=2, min_isr=2), clock)
    scene.lead()
    scene.replica.follow()
    writing = scene.runtime.submit(0, count(b"a"))
    await turn()
    scene.replica.follow()
    assert await writing == 1
    scene.replica.shrink(0)
    assert await error_of(scene.runtime.submit(0, count(b"a"))) is ErrorCode.COORDINATOR_NOT_AVAILABLE
    assert await scene.runtime.observe(0, value(b"a")) == 1


async def test_time_runs_out_while_followers_are_silent(pair: Scene, clock: Any) -> None:
    pair.lead()
    pair.replica.follow()
    writing = pair.runtime.submit(0, count(b"a"))
    await turn()
    clock.advance(5.1)
    pair.replica.expire()
    assert await error_of(writing) is ErrorCode.COORDINATOR_NOT_AVAILABLE
    read = pair.runtime.observe(0, value(b"a"))
    pair.replica.follow()
    assert await read == 1, "the records stayed and were committed after all"


async def test_a_failing_disk_is_the_nodes_failure(scene: Scene) -> None:
    scene.lead()
    await scene.runtime.submit(0, count(b"a"))
    scene.replica.storage.fail_writes()
    assert await error_of(scene.runtime.submit(0, count(b"a"))) is ErrorCode.NOT_COORDINATOR
    assert len(scene.failures) == 1


async def test_after_a_failed_append_the_shard_is_loaded_again(scene: Scene) -> None:
    scene.lead()
    await scene.runtime.submit(0, count(b"a"))
    scene.replica.storage.fail_writes()
    await error_of(scene.runtime.submit(0, count(b"a")))
    async with running(scene.runtime.run()):
        await scene.followed.wait_for(("unloaded", 0))
        await turn()
        assert await scene.runtime.observe(0, value(b"a")) == 1, "and not the 2 that was never written"


async def test_after_somebody_elses_batch_the_shard_is_loaded_again(scene: Scene, clock: Any) -> None:
    scene.lead()
    await scene.runtime.submit(0, count(b"a"))
    foreign = build_batch([(clock.wall_ms(), b"a", b"7")])
    scene.replica.partition.append(foreign, -1, clock.monotonic(), clock.wall_ms(), Origin.COORDINATOR)
    assert await error_of(scene.runtime.submit(0, count(b"b"))) is ErrorCode.NOT_COORDINATOR
    async with running(scene.runtime.run()):
        await scene.followed.wait_for(("unloaded", 0))
        await turn()
        assert await scene.runtime.observe(0, value(b"a")) == 7


async def test_a_shard_acts_on_time(scene: Scene, clock: Any) -> None:
    def plan(shard: Counters, now: float, now_ms: int) -> None:
        shard.deadline = now + 0.02

    scene.lead()
    async with running(scene.runtime.run()):
        await scene.runtime.observe(0, plan)
        await turn()
        assert await scene.runtime.observe(0, value(b"ticks")) == 0
        clock.advance(0.02)
        await scene.followed.wait_for(("committed", 2))
    assert scene.followed.events[-2:] == [("committed", 1), ("committed", 2)]


async def test_records_of_a_transaction_wait_for_its_marker(scene: Scene) -> None:
    def in_transaction(shard: Counters, now: float, now_ms: int) -> Decision[int]:
        return Decision((LogRecord(b"a", b"5"),), 5, producer=Producer(77, 3))

    scene.lead()
    outside = scene.runtime.submit(0, count(b"b"))
    inside = scene.runtime.submit(0, in_transaction)
    assert await asyncio.gather(outside, inside) == [1, 5]
    assert await scene.runtime.observe(0, value(b"a")) == 0
    marker = TransactionMarker(ControlType.COMMIT, 77, 3, coordinator_epoch=1)
    await scene.runtime.complete(0, marker)
    assert await scene.runtime.observe(0, value(b"a")) == 5
    transactional = [(batch.is_transactional, batch.producer_id) for batch in scene.batches()]
    assert transactional == [(False, -1), (True, 77), (True, 77)]
    scene.lead()
    async with running(scene.runtime.run()):
        await scene.followed.wait_for(("loaded", 2))
        assert await scene.runtime.observe(0, value(b"a")) == 5


async def test_a_marker_behind_a_batch_under_way_is_committed_by_itself(pair: Scene) -> None:
    def in_transaction(shard: Counters, now: float, now_ms: int) -> Decision[int]:
        return Decision((LogRecord(b"a", b"5"),), 5, producer=Producer(77, 3))

    pair.lead()
    pair.replica.follow()
    inside = pair.runtime.submit(0, in_transaction)
    marker = pair.runtime.complete(0, TransactionMarker(ControlType.COMMIT, 77, 3, coordinator_epoch=1))
    read = pair.runtime.observe(0, value(b"a"))
    pair.replica.follow(1)
    assert await inside == 5
    await turn()
    assert not marker.done(), "a failover may take it back, and nobody would write it again"
    assert not read.done(), "it would tell what may yet be lost"
    pair.replica.follow()
    await marker
    assert await read == 5


async def test_a_marker_of_an_old_coordinator_is_refused(scene: Scene) -> None:
    scene.lead()
    await scene.runtime.complete(0, TransactionMarker(ControlType.COMMIT, 77, 3, coordinator_epoch=5))
    old = scene.runtime.complete(0, TransactionMarker(ControlType.ABORT, 77, 3, coordinator_epoch=4))
    assert await error_of(old) is ErrorCode.TRANSACTION_COORDINATOR_FENCED
    markers = await scene.runtime.observe(0, lambda shard, now, now_ms: list(shard.markers))
    assert [marker.coordinator_epoch for marker in markers] == [5]
    assert await scene.runtime.submit(0, count(b"a")) == 1


async def test_closing_answers_everybody(scene: Scene) -> None:
    scene.lead()
    parked = scene.runtime.submit(0, lambda shard, now, now_ms: shard.park())
    scene.runtime.close()
    assert await error_of(parked) is ErrorCode.NOT_COORDINATOR
