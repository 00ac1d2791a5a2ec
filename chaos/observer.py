"""A client that looks at a cluster and waits until it is as one wants it."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Awaitable, Callable
from typing import TypeVar

from kafkawire.errors import KafkaError
from kraft.client.admin import Admin
from kraft.client.cluster import Backoff, Cluster, Topic
from kraft.client.connections import CONNECTION_FAILURES

T = TypeVar("T")


class Observer:
    """Asks through `client`; whatever takes longer than `timeout` seconds raises TimeoutError."""

    def __init__(self, client: Cluster, timeout: float) -> None:
        self.client = client
        self.timeout = timeout
        self.admin = Admin(client, timeout=timeout)

    async def until(self, condition: Callable[[], Awaitable[T | None]]) -> T:
        """Ask again and again until the answer is true; what fails to answer is asked again."""
        backoff = Backoff()
        async with asyncio.timeout(self.timeout):
            while True:
                with contextlib.suppress(KafkaError, *CONNECTION_FAILURES):
                    answer = await condition()
                    if answer:
                        return answer
                await backoff.pause()

    async def until_in_sync(self, *names: str) -> None:
        """Wait until every replica of these topics (or of all) is in sync."""

        async def in_sync() -> bool:
            topics = await self.admin.topics()
            wanted = [topic for topic in topics if topic.name in names or not names]
            return len(wanted) >= len(names) and all(
                len(each.isr) == len(each.replicas) and each.leader >= 0
                for topic in wanted
                for each in topic.partitions
            )

        await self.until(in_sync)

    async def topic(self, name: str) -> Topic:
        """A topic as the metadata describes it now."""

        async def known() -> Topic:
            return await self.admin.topic(name)

        return await self.until(known)

    async def leader(self, name: str, partition: int = 0) -> int:
        """Who leads a partition; waits while nobody does."""

        async def led() -> int | None:
            leader = (await self.admin.topic(name)).partitions[partition].leader
            return leader if leader >= 0 else None

        return await self.until(led)

    async def until_led_by_another(self, name: str, node_id: int, partition: int = 0) -> int:
        """Wait until somebody else than `node_id` leads."""

        async def moved() -> int | None:
            leader = (await self.admin.topic(name)).partitions[partition].leader
            return leader if leader not in (-1, node_id) else None

        return await self.until(moved)

    async def active_controller(self) -> int:
        """Who leads the quorum; waits while nobody does."""

        async def active() -> int | None:
            leader = (await self.admin.quorum()).leader_id
            return leader if leader >= 0 else None

        return await self.until(active)
