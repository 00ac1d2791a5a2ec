"""Bit rot: this broker looks at what its disks hold, and gets what is damaged from other replicas.

Whatever an earlier process has written is verified after the start, and everything once in a while. A damaged
batch is never served (see `logstore.integrity`); its segment is written anew with what another replica has
of it, while everything else goes on.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from typing import Any

import msgspec

from kafkawire.errors import KafkaError
from kraft.broker.configuration import BrokerConfiguration
from kraft.broker.metadata_cache import MetadataCache
from kraft.broker.replica_copies import COPY, CopyReply, CopyRequest
from kraft.broker.spread_steps import spread
from kraft.clock import Clock
from kraft.events import Events
from kraft.transport.client import Peer
from kraft.transport.errors import PeerError
from logstore.repair import Repair, RepairAborted
from logstore.steps import Step
from logstore.storage import StorageError, StorageFullError
from replication.fetch_messages import Key
from replication.partition import Partition
from replication.replicas import Replicas

LOOK_EVERY = 1.0
"""Seconds between looks for work."""
RETRY_AFTER = 5.0
"""Seconds before a log is tried again that nobody could help."""
MOST_RETRY_AFTER = 60.0
"""The same after some tries: each may copy a whole segment before it is refused."""
_CHUNK = 512 * 1024
_COPY_TIMEOUT = 10.0


class ScrubberSettings(msgspec.Struct, frozen=True):
    """`log.scrub.*`: seconds between looks at everything, bytes looked at per second."""

    interval: float
    bytes_per_second: float

    @classmethod
    def of(cls, configuration: BrokerConfiguration) -> ScrubberSettings:
        """What the node's file says."""
        return cls(
            interval=configuration.seconds("log.scrub.interval.ms"),
            bytes_per_second=configuration.number("log.scrub.io.max.bytes.per.second"),
        )


class LogScrubber:
    """Does one thing at a time: mending goes before looking. `on_repaired` hears of logs that are right
    again."""

    def __init__(
        self,
        replicas: Replicas,
        metadata: MetadataCache,
        peer_of: Callable[[int], Peer | None],
        clock: Clock,
        settings: ScrubberSettings,
        on_repaired: Callable[[Partition], None],
        on_failure: Callable[[BaseException], None],
    ) -> None:
        self._replicas = replicas
        self._metadata = metadata
        self._peer_of = peer_of
        self._clock = clock
        self._settings = settings
        self._on_repaired = on_repaired
        self._on_failure = on_failure
        self._retry_at: dict[Key, float] = {}
        self._waits: dict[Key, float] = {}
        self._told: set[tuple[Key, int]] = set()
        self._look_at_all = clock.monotonic() + settings.interval
        self._events = Events("log")

    async def run(self) -> None:
        """Until cancelled, or until the disk has failed."""
        try:
            while True:
                worked = await self._work()
                # What nobody can help with is work as well, and waits for nothing.
                await asyncio.sleep(0 if worked else LOOK_EVERY)
        except StorageError as failure:
            self._on_failure(failure)

    async def _work(self) -> bool:
        """Mend a log, or look at a segment; False if there is nothing to do."""
        now = self._clock.monotonic()
        for partition in self._replicas:
            log = partition.log
            if log.integrity.damaged and log.failed is None and self._retry_at.get(partition.key, now) <= now:
                await self._mend(partition)
                return True
        for partition in self._replicas:
            if partition.log.integrity.is_doubted and partition.log.failed is None:
                await self._spread(partition, partition.log.integrity.look(_CHUNK))
                return True
        if now >= self._look_at_all:
            self._look_at_all = now + self._settings.interval
            for partition in self._replicas:
                partition.log.integrity.doubt_all()
        return False

    async def _spread(self, partition: Partition, steps: Iterable[Step]) -> None:
        with contextlib.suppress(RepairAborted, FileNotFoundError):
            check = partial(self._check_here, partition)
            await spread(steps, self._clock, self._settings.bytes_per_second, check)

    def _check_here(self, partition: Partition) -> None:
        if self._replicas.by_key(partition.key) is not partition:
            raise RepairAborted("the replica has left")

    # Mending.

    async def _mend(self, partition: Partition) -> None:
        """Try every other replica. Raises StorageError."""
        self._tell(partition)
        self._retry_at[partition.key] = self._clock.monotonic() + RETRY_AFTER
        self._retry_at = {key: at for key, at in self._retry_at.items() if self._replicas.by_key(key)}
        self._waits = {key: wait for key, wait in self._waits.items() if self._replicas.by_key(key)}
        refused = False
        for source, peer in self._sources(partition):
            try:
                await self._mend_from(partition, peer)
            except (KafkaError, PeerError) as reason:
                self._events.info("log.copy_refused", **_name(partition), source=source, reason=str(reason))
                refused = True
                continue
            except (RepairAborted, FileNotFoundError):
                return
            except StorageFullError:
                if partition.log.failed is not None:
                    raise
                return
            self._retry_at.pop(partition.key, None)
            self._waits.pop(partition.key, None)
            self._events.warning("log.repaired", **_name(partition), source=source)
            self._on_repaired(partition)
            return
        if refused:
            self._wait_longer(partition)

    def _wait_longer(self, partition: Partition) -> None:
        wait = self._waits.get(partition.key, RETRY_AFTER)
        self._waits[partition.key] = min(2 * wait, MOST_RETRY_AFTER)
        self._retry_at[partition.key] = self._clock.monotonic() + wait

    def _tell(self, partition: Partition) -> None:
        """Say it once of each segment."""
        self._told = {told for told in self._told if self._replicas.by_key(told[0])}
        for base_offset, offset in partition.log.integrity.damaged.items():
            if (partition.key, base_offset) not in self._told:
                self._told.add((partition.key, base_offset))
                self._events.error("log.damaged", **_name(partition), segment=base_offset, offset=offset)

    def _sources(self, partition: Partition) -> Iterator[tuple[int, Peer]]:
        """The other replicas that can be reached, the leader first and those in sync before the rest."""
        topic = self._metadata.image.topics.find(partition.topic)
        if topic is None or partition.index >= len(topic.partitions):
            return
        image = topic.partitions[partition.index]
        order = sorted(image.replicas, key=lambda each: (each != image.leader, each not in image.isr))
        for broker_id in order:
            peer = self._peer_of(broker_id)
            if peer is not None and peer.connected:
                yield broker_id, peer

    async def _mend_from(self, partition: Partition, peer: Peer) -> None:
        """Raises KafkaError, PeerError (this source does not help), RepairAborted, StorageError."""
        log = partition.log
        with log.integrity.repairing(partition.high_watermark, _CHUNK) as work:
            await self._do(partition, work, work.copy())
            while work.next_offset < work.up_to:
                asked = CopyRequest(*partition.key, work.next_offset, work.up_to)
                got = await peer.call(COPY, list(asked), timeout=_COPY_TIMEOUT)
                told = CopyReply.from_wire(got.value)
                await self._do(partition, work, work.add(got.payload, *told))
            await self._do(partition, work, work.finish())

    async def _do(self, partition: Partition, work: Repair, steps: Iterable[Step]) -> None:
        def check() -> None:
            work.check()
            self._check_here(partition)

        check()
        # As fast as the loop has time for it: somebody may be waiting.
        await spread(steps, self._clock, math.inf, check)


def _name(partition: Partition) -> dict[str, Any]:
    return {"topic": partition.topic, "partition": partition.index}
