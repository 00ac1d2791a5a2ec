"""The coordinator runtime: state machines that live on the partitions of an internal topic.

A coordinator core is a pure class, a *shard*: one instance for each partition of the topic that this broker
leads (`kraft.coordinator.decision` has its protocol and the values it exchanges). This module is its shell:

- When the broker becomes a partition's leader a shard is made and everything in the log is replayed into
  it; meanwhile its clients hear COORDINATOR_LOAD_IN_PROGRESS. `loaded` is called, then commands are taken.
- `submit(index, decide)` runs `decide(shard, now, now_ms)` at once, replays the records that it decided on
  into the shard at once, and appends them, with those of all other decisions of this turn of the event
  loop, as one batch. The reply leaves when the high watermark passes it. A reply that changes nothing waits
  for what is in flight before it, so that nobody is told what may yet be lost.
- A reply may come later: see `Ticket`.
- When the broker stops leading, or leads under another epoch, the shard is dropped and whoever waits hears
  NOT_COORDINATOR. If an append fails the shard is ahead of its log: it is dropped as well, and loaded again.
- `tick` of a shard is called when its `next_deadline` has come.

Whoever owns the runtime calls `reconcile` after each metadata change and keeps `run` running. Kafka's
counterpart is `CoordinatorRuntime` in `coordinator-common`.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Generic, Protocol, TypeVar

import msgspec

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.records import headers, parse_control_record, records
from kraft.clock import Clock
from kraft.coordinator.decision import (
    FOREVER,
    NO_PRODUCER_ID,
    Answer,
    Decision,
    LogRecord,
    Producer,
    Shard,
    Ticket,
    TransactionMarker,
)
from kraft.coordinator.host import Host, as_coordinator, resolve, room_in
from kraft.events import Events
from logstore.storage import StorageError
from replication.leader import Leader
from replication.partition import Partition

__all__ = [
    "FOREVER",
    "Answer",
    "CoordinatorRuntime",
    "Decision",
    "Following",
    "LogRecord",
    "Nobody",
    "Producer",
    "RuntimeWorld",
    "Shard",
    "Ticket",
    "TransactionMarker",
    "as_coordinator",
]

S = TypeVar("S", bound=Shard)
S_contra = TypeVar("S_contra", bound=Shard, contravariant=True)
C = TypeVar("C")
R = TypeVar("R")

LOAD_CHUNK: Final = 65_536
"""Bytes of the log that are replayed before others get their turn: a few milliseconds."""

SHORTEST_WAIT: Final = 0.005
"""Seconds between two ticks at least, whatever a shard says."""

REST: Final = 0.5
"""Seconds that a shard's timers rest while its partition takes no records."""


class RuntimeWorld(msgspec.Struct, frozen=True):
    """What the runtime needs of the world.

    `led` returns the topic's partitions that this broker leads now. `on_failure` is told of failures that
    are the node's: of its disk, or mistakes of ours.
    """

    clock: Clock
    led: Callable[[], Iterable[Partition]]
    on_failure: Callable[[BaseException], None]
    commit_timeout: float = 5.0
    """Seconds that a reply waits for its records to be committed (`offsets.commit.timeout.ms`); after that it
    is COORDINATOR_NOT_AVAILABLE, and the records may still be committed."""


class Following(Protocol[S_contra]):
    """What goes on beside the shards, in the broker: sending transaction markers, for one."""

    def loaded(self, index: int, shard: S_contra) -> None:
        """This broker coordinates partition `index` from now on; `shard.loaded` was called before."""

    def unloaded(self, index: int) -> None:
        """It does not any more."""

    def committed(self, index: int, reply: Any) -> None:
        """Something that a shard decided on its own, in `tick`, is committed; `reply` is not None."""


class Nobody:
    """Follows nothing; see `Following`."""

    def loaded(self, index: int, shard: Shard) -> None:
        """Nothing to do."""

    def unloaded(self, index: int) -> None:
        """Nothing to do."""

    def committed(self, index: int, reply: Any) -> None:
        """Nothing to do."""


class _Loading(msgspec.Struct, frozen=True):
    """The log is being replayed; `failed` if that came to nothing."""

    partition: Partition
    epoch: int
    failed: bool = False


class CoordinatorRuntime(Generic[S]):
    """The shards of one internal topic. `make_shard(index, leader epoch)` makes an empty one."""

    def __init__(
        self,
        topic: str,
        make_shard: Callable[[int, int], S],
        world: RuntimeWorld,
        following: Following[S] | None = None,
    ) -> None:
        self.topic = topic
        self._make_shard = make_shard
        self._world = world
        self._following: Following[S] = following or Nobody()
        self._places: dict[int, _Loading | Host[S]] = {}
        self._to_load: list[_Loading] = []
        self._wake = asyncio.Event()
        self._wakes_at = FOREVER
        self._events = Events("coordinator", topic=topic)

    # -- for handlers -----------------------------------------------------------------------------

    def submit(self, index: int, decide: Callable[[S, float, int], Decision[R]]) -> asyncio.Future[R]:
        """Run `decide(shard, now, now_ms)` at once; its reply comes when its records are committed.

        The future raises KafkaError: what `decide` raised; NOT_COORDINATOR, COORDINATOR_LOAD_IN_PROGRESS, or
        COORDINATOR_NOT_AVAILABLE while the partition has too few in-sync replicas (then nothing is decided)
        or when they did not get the records in time; UNKNOWN_SERVER_ERROR for records that do not fit into a
        batch (then nothing is replayed, so cores see to it that decisions that change soft state are small).
        """
        host = self._host(index)
        if isinstance(host, KafkaError):
            return _refused(host)
        future = host.submit(decide)
        self._look_at(host)
        return future

    def observe(self, index: int, read: Callable[[S, float, int], R]) -> asyncio.Future[R]:
        """Run `read(shard, now, now_ms)`, which may change soft state and writes nothing, at once; its result
        comes when everything before it is committed. Works without enough in-sync replicas too.

        Raises as `submit`.
        """
        host = self._host(index)
        if isinstance(host, KafkaError):
            return _refused(host)
        future = host.observe(read)
        self._look_at(host)
        return future

    def glance(self, index: int, read: Callable[[S, C, float], R], command: C) -> R | asyncio.Future[R]:
        """`observe` for what is asked all the time: `read(shard, command, now)`. Where nothing is in flight
        its result is there at once, without a future. Raises KafkaError as `read` does and as `submit`."""
        host = self._host(index)
        if isinstance(host, KafkaError):
            raise host
        if not host.is_settled():
            return self.observe(index, lambda shard, now, _now_ms: read(shard, command, now))
        result = read(host.shard, command, self._world.clock.monotonic())
        if host.shard.next_deadline() < self._wakes_at:
            self._look_at(host)
        return result

    def complete(self, index: int, marker: TransactionMarker) -> asyncio.Future[None]:
        """Write the marker that ends a transaction in this partition. Raises as `submit`, and
        TRANSACTION_COORDINATOR_FENCED, INVALID_PRODUCER_EPOCH."""
        host = self._host(index)
        if isinstance(host, KafkaError):
            return _refused(host)
        future = host.complete(marker)
        self._look_at(host)
        return future

    def indices(self) -> list[int]:
        """The partitions that this broker coordinates or is about to."""
        return sorted(self._places)

    def room(self, index: int) -> int:
        """Bytes of records that one decision of a shard may have; see `size_of`."""
        return room_in(self._places[index].partition)

    def _host(self, index: int) -> Host[S] | KafkaError:
        place = self._places.get(index)
        if isinstance(place, Host):
            role = place.partition.role
            if isinstance(role, Leader) and role.epoch == place.epoch:
                return place
            return KafkaError(ErrorCode.NOT_COORDINATOR)
        if place is None or place.failed:
            return KafkaError(ErrorCode.NOT_COORDINATOR)
        return KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)

    # -- roles ------------------------------------------------------------------------------------

    def reconcile(self) -> None:
        """Load what this broker leads since lately, unload what it leads no more. Call it when roles have
        changed, before clients are told."""
        led = {partition.index: partition for partition in self._world.led()}
        for index, place in tuple(self._places.items()):
            partition = led.get(index)
            if partition is not place.partition or partition.leader_epoch != place.epoch:
                self._unload(index, place)
        for index, partition in led.items():
            if index not in self._places:
                self._begin(index, partition)

    def _begin(self, index: int, partition: Partition) -> None:
        loading = _Loading(partition, partition.leader_epoch)
        self._places[index] = loading
        if partition.log.start_offset == partition.log.end_offset:
            self._activate(loading, self._make_shard(index, loading.epoch))
        else:
            self._to_load.append(loading)
            self._wake.set()

    def _unload(self, index: int, place: _Loading | Host[S]) -> None:
        del self._places[index]
        if isinstance(place, Host):
            place.leave()
            self._following.unloaded(index)

    def _activate(self, loading: _Loading, shard: S) -> None:
        index = loading.partition.index
        host = Host(shard, loading.partition, self._world.clock, self._world.commit_timeout, self._failed)
        self._places[index] = host
        shard.loaded(self._world.clock.monotonic(), self._world.clock.wall_ms())
        self._following.loaded(index, shard)
        self._look_at(host)

    def _failed(self, host: Host[S], failure: KafkaError | StorageError) -> None:
        index = host.partition.index
        self._events.warning("append.failed", partition=index, reason=str(failure))
        if self._places.get(index) is host:
            self._unload(index, host)
            if _leads(host.partition, host.epoch):
                self._begin(index, host.partition)
        if isinstance(failure, StorageError):
            self._world.on_failure(failure)

    # -- the tasks --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Load and tick, until cancelled. A mistake in a shard ends it with that exception."""
        async with asyncio.TaskGroup() as group:
            while True:
                self._wake.clear()
                waiting, self._to_load = self._to_load, []
                for loading in waiting:
                    group.create_task(self._load(loading))
                self._wakes_at = self._tick()
                await self._pause()

    async def _pause(self) -> None:
        delay = max(self._wakes_at - self._world.clock.monotonic(), SHORTEST_WAIT)
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(None if delay == FOREVER else delay):
                await self._wake.wait()

    def _look_at(self, host: Host[S]) -> None:
        if host.shard.next_deadline() < self._wakes_at:
            self._wakes_at = -FOREVER  # once is enough until `run` has looked
            self._wake.set()

    def _tick(self) -> float:
        """Let every shard act whose time has come; returns when to look again."""
        earliest = FOREVER
        for index, host in tuple(self._places.items()):
            if not isinstance(host, Host):
                continue
            now = self._world.clock.monotonic()
            deadline = max(host.shard.next_deadline(), host.rests_until)
            if deadline <= now:
                try:
                    host.tick(lambda reply, index=index: self._following.committed(index, reply))  # type: ignore[misc]
                except KafkaError:
                    # Nothing can be written, so nothing may time out: it would be lost with the broker.
                    host.rests_until = now + REST
                deadline = max(host.shard.next_deadline(), host.rests_until)
            earliest = min(earliest, deadline)
        return earliest

    async def _load(self, loading: _Loading) -> None:
        rest = REST
        while await self._load_once(loading):
            await asyncio.sleep(rest)  # what is damaged is about to be repaired
            rest = min(2 * rest, 60 * REST)

    async def _load_once(self, loading: _Loading) -> bool:
        """Replay the log and begin; True if that is to be tried again."""
        partition, index = loading.partition, loading.partition.index
        started = self._world.clock.monotonic()
        try:
            shard = self._make_shard(index, loading.epoch)
            for _ in _replay(partition, shard):
                await asyncio.sleep(0)
                if self._places.get(index) is not loading or not _leads(partition, loading.epoch):
                    return False
        except (KafkaError, StorageError) as failure:
            self._events.error("load.failed", partition=index, failure=failure)
            if isinstance(failure, StorageError):
                self._world.on_failure(failure)
            wanted = self._places.get(index) is loading
            again = wanted and bool(partition.log.integrity.damaged)
            if wanted and not again:
                self._places[index] = _Loading(partition, loading.epoch, failed=True)
            return again
        seconds = round(self._world.clock.monotonic() - started, 3)
        self._events.info("loaded", partition=index, epoch=loading.epoch, seconds=seconds)
        self._activate(loading, shard)
        return False

    def close(self) -> None:
        """Give up every shard: the broker stops."""
        for index, place in tuple(self._places.items()):
            self._unload(index, place)


def _refused(error: KafkaError) -> asyncio.Future[Any]:
    future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
    resolve(future, error)
    return future


def _leads(partition: Partition, epoch: int) -> bool:
    return isinstance(partition.role, Leader) and partition.role.epoch == epoch


def _replay(partition: Partition, shard: Shard) -> Iterator[None]:
    """Replay a log from its start to its end; yields between chunks. What a deposed leader wrote was
    truncated before this replica was elected, and what is above the high watermark will be committed or
    the shard is dropped, so that all of it counts. Raises KafkaError, StorageError."""
    log = partition.log
    offset = log.start_offset
    while offset < log.end_offset:
        part = log.read(offset, LOAD_CHUNK, up_to=log.end_offset)
        if part.size == 0:
            return
        _replay_batches(part.bytes(), offset, shard)
        offset = part.next_offset
        yield


def _replay_batches(data: bytes, start: int, shard: Shard) -> None:
    for position, header in headers(data):
        if header.is_control:
            if not header.record_count:
                continue
            control = parse_control_record(next(records(data, position)))
            shard.replay_marker(
                TransactionMarker(
                    control.kind, header.producer_id, header.producer_epoch, control.coordinator_epoch
                )
            )
            continue
        transactional = header.is_transactional
        producer_id = header.producer_id if transactional else NO_PRODUCER_ID
        producer_epoch = header.producer_epoch if transactional else -1
        for record in records(data, position):
            if record.offset < start or record.key is None:
                continue
            shard.replay(
                LogRecord(
                    record.key,
                    record.value,
                    record.timestamp,
                    record.offset,
                    producer_id,
                    producer_epoch,
                    transactional,
                )
            )
