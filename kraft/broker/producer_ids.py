"""Producer ids in blocks from the controller (KIP-730)."""

from __future__ import annotations

import asyncio

from kraft.broker.controller_channel import ControllerChannel
from metadata.controller.commands import AllocateProducerIds, AllocateProducerIdsReply

ALLOCATION_TIMEOUT = 10.0


class ProducerIds:
    """Hands out each id once. One block is asked for at a time, whoever waits."""

    def __init__(self, broker_id: int, controller: ControllerChannel) -> None:
        self._broker_id = broker_id
        self._controller = controller
        self._free = iter(range(0))
        self._refilling = asyncio.Lock()

    def take(self) -> int | None:
        """An id, or None if the block is used up."""
        return next(self._free, None)

    async def next(self) -> int:
        """An id, from a new block if need be; raises KafkaError when no controller answers."""
        async with self._refilling:
            producer_id = self.take()
            if producer_id is not None:
                return producer_id
            command = AllocateProducerIds(self._broker_id, self._controller.broker_epoch)
            reply = await self._controller.call(command, ALLOCATION_TIMEOUT)
            assert isinstance(reply, AllocateProducerIdsReply)
            first = reply.first_producer_id
            self._free = iter(range(first + 1, first + reply.length))
            return first
