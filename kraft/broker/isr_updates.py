"""Carries ISR changes from the leaders on this broker to the controller, and the answers back (KIP-497)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from uuid import UUID

from kafkawire.errors import ErrorCode, KafkaError
from kraft.broker.controller_channel import ControllerChannel
from kraft.events import Events
from metadata.controller.commands import (
    AlterPartition,
    AlterPartitionItem,
    AlterPartitionReply,
    AlterPartitionResult,
    IsrMember,
)
from replication.isr import IsrChange
from replication.outbox import Outbox
from replication.partition import Partition

TIMEOUT = 30.0
MAX_CHANGES = 1000
"""Changes of one request; the rest follow in the next."""


class IsrUpdates:
    """One request is in flight at a time; what gathers meanwhile goes together."""

    def __init__(
        self, broker_id: int, outbox: Outbox, controller: ControllerChannel, monotonic: Callable[[], float]
    ) -> None:
        self._broker_id = broker_id
        self._outbox = outbox
        self._controller = controller
        self._monotonic = monotonic
        self._wake = asyncio.Event()
        self._events = Events("isr")

    def wake(self) -> None:
        """There may be something in the outbox."""
        self._wake.set()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._outbox.isr_changes:
                await self._send(self._take())

    def _take(self) -> list[tuple[Partition, IsrChange]]:
        taken = []
        for partition in list(self._outbox.isr_changes)[:MAX_CHANGES]:
            del self._outbox.isr_changes[partition]
            change = partition.isr_change(self._controller.broker_epoch)
            if change is not None:
                taken.append((partition, change))
        return taken

    async def _send(self, changes: list[tuple[Partition, IsrChange]]) -> None:
        if not changes:
            return
        command = AlterPartition(
            self._broker_id,
            self._controller.broker_epoch,
            tuple(alter_partition_item(change) for _, change in changes),
        )
        try:
            reply = await self._controller.call(command, TIMEOUT)
            assert isinstance(reply, AlterPartitionReply)
        except KafkaError as error:
            # It may or may not have been done. The pending change stands, and with it the high watermark,
            # until the metadata or the next answer tells.
            self._events.warning("isr.unanswered", partitions=len(changes), reason=error.code.name)
            for partition, _ in changes:
                self._outbox.want_isr_change(partition)
            await asyncio.sleep(0.05)
            return
        for (partition, change), result in zip(changes, reply.partitions, strict=True):
            self._answered(partition, change, result)

    def _answered(self, partition: Partition, change: IsrChange, result: AlterPartitionResult) -> None:
        now = self._monotonic()
        if result.error_code is ErrorCode.NONE:
            self._events.info(
                "isr.changed",
                topic=change.topic,
                partition=change.partition,
                isr=",".join(str(broker) for broker in result.isr),
            )
            partition.isr_changed(change, frozenset(result.isr), result.partition_epoch, now)
        elif result.error_code is not ErrorCode.NEW_LEADER_ELECTED:
            self._events.info(
                "isr.refused",
                topic=change.topic,
                partition=change.partition,
                reason=result.error_code.name,
            )
            partition.isr_change_refused(change, result.error_code, now)


def alter_partition_item(change: IsrChange) -> AlterPartitionItem:
    """The change as the controller is asked for it."""
    return AlterPartitionItem(
        topic_id=UUID(bytes=change.topic_id),
        partition=change.partition,
        leader_epoch=change.leader_epoch,
        partition_epoch=change.partition_epoch,
        new_isr=tuple(IsrMember(*member) for member in change.members),
    )
