"""What a simulated broker does beside serving: ISR changes to the controller, syncs of logs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from kafkawire.errors import ErrorCode, KafkaError
from kraft.broker.isr_updates import alter_partition_item
from logstore.storage import Syncable
from metadata.controller.commands import (
    AlterPartition,
    AlterPartitionReply,
    Reply,
)
from replication.isr import IsrChange
from replication.partition import Partition

if TYPE_CHECKING:
    from chaos.replication.broker import BrokerProcess

ISR_TIMEOUT = 0.6
ISR_RETRY = 0.05
SYNC_TAKES = 0.3

Changes = list[tuple[Partition, IsrChange]]


class IsrUpdates:
    """What `kraft.broker.isr_updates` does, without asyncio. One request is in flight at a time."""

    def __init__(self, process: BrokerProcess) -> None:
        self._process = process
        self._token = 0
        self._in_flight: Changes = []
        self._resting = False

    def pump(self) -> None:
        """Send what has gathered, if nothing is on its way."""
        outbox = self._process.outbox
        if not outbox.isr_changes or self._in_flight or self._resting:
            return
        changes: Changes = []
        for partition in list(outbox.isr_changes):
            del outbox.isr_changes[partition]
            change = partition.isr_change(self._process.broker_epoch)
            if change is not None:
                changes.append((partition, change))
        if changes:
            self._send(changes)

    def _send(self, changes: Changes) -> None:
        process = self._process
        self._in_flight = changes
        self._token += 1
        token = self._token
        command = AlterPartition(
            process.broker_id,
            process.broker_epoch,
            tuple(alter_partition_item(change) for _, change in changes),
        )
        process.cluster.controller.ask(
            process.broker_id, command, lambda outcome: process.enter(self._answered, token, outcome)
        )
        process.later(ISR_TIMEOUT, self._unanswered, token)

    def _unanswered(self, token: int) -> None:
        if token == self._token and self._in_flight:
            for partition, _ in self._in_flight:
                self._process.outbox.want_isr_change(partition)
            self._in_flight = []
            self._resting = True
            self._process.later(ISR_RETRY, self._rested)

    def _rested(self) -> None:
        self._resting = False

    def _answered(self, token: int, outcome: Reply | KafkaError) -> None:
        if token != self._token or not self._in_flight:
            return
        if not isinstance(outcome, AlterPartitionReply):
            self._unanswered(token)
            return
        changes, self._in_flight = self._in_flight, []
        now = self._process.now
        for (partition, change), result in zip(changes, outcome.partitions, strict=True):
            if result.error_code is ErrorCode.NONE:
                partition.isr_changed(change, frozenset(result.isr), result.partition_epoch, now)
            elif result.error_code is not ErrorCode.NEW_LEADER_ELECTED:
                partition.isr_change_refused(change, result.error_code, now)


class Syncs:
    """What `kraft.broker.durability` does on demand. One sync is under way at a time."""

    def __init__(self, process: BrokerProcess) -> None:
        self._process = process
        self._busy = False

    def pump(self) -> None:
        """Begin a sync of what has gathered, if none is under way."""
        outbox = self._process.outbox
        if not outbox.unsynced or self._busy:
            return
        partitions = list(outbox.unsynced)
        outbox.unsynced.clear()
        self._busy = True
        ends = {partition: partition.log.end_offset for partition in partitions}
        files = self._process.directories.new_names()
        files += [file for partition in partitions for file in partition.log.files_to_sync()]
        longest = SYNC_TAKES if self._process.cluster.links.rough else SYNC_TAKES / 30
        takes = longest * self._process.cluster.rng.random() ** 2
        self._process.later(takes, self._synced, ends, files)

    def _synced(self, ends: dict[Partition, int], files: list[Syncable]) -> None:
        for file in files:
            file.sync()
        self._busy = False
        self._process.fetchers_synced(self._process.replicas.synced(ends, self._process.now))
