"""What a client knows of a cluster: its brokers, who leads which partition, and connections to them."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Iterable, Sequence
from types import TracebackType
from typing import Any, NamedTuple, Self

import msgspec

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.metadata_client import MetadataRequest, MetadataResponse, PartitionMetadata, TopicMetadata
from kraft.client.connections import (
    CONNECTION_FAILURES,
    Connection,
    Dial,
    DisconnectedError,
    dial_tcp,
    open_connection,
)

FIRST_BACKOFF = 0.02
LAST_BACKOFF = 0.05


class Broker(NamedTuple):
    """A broker as clients reach it."""

    node_id: int
    host: str
    port: int
    rack: str | None = None


class Leader(NamedTuple):
    """Who leads a partition, since which epoch."""

    node_id: int
    epoch: int


class Partition(msgspec.Struct, frozen=True):
    """One partition as the metadata describes it; `leader` is -1 while it has none."""

    index: int
    leader: int
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline: tuple[int, ...]


class Topic(msgspec.Struct, frozen=True):
    """A topic and its partitions by index. `topic_id` tells it from another one that has its name later."""

    name: str
    internal: bool
    partitions: tuple[Partition, ...]
    topic_id: bytes = bytes(16)


class ClusterOptions(msgspec.Struct, frozen=True):
    """How patient a client is. Times are seconds. `stall_check` is how long a coordinator's reply may be due
    before it is looked whether there is another one."""

    client_id: str = "kraft"
    connect_timeout: float = 3.0
    metadata_timeout: float = 1.0
    request_timeout: float = 30.0
    stall_check: float = 1.0


def parse_bootstrap(text: str) -> tuple[tuple[str, int], ...]:
    """The addresses in `host:port,host:port`; ValueError says which one is none."""
    addresses = []
    for item in text.split(","):
        host, colon, port = item.strip().rpartition(":")
        if not colon or not host or not port.isascii() or not port.isdigit() or not 0 < int(port) < 65536:
            raise ValueError(f"{item.strip() or text!r} is not host:port")
        addresses.append((host.strip("[]"), int(port)))
    return tuple(addresses)


class Backoff:
    """Growing pauses between attempts: short, so that a failover is noticed at once."""

    def __init__(self) -> None:
        self._next = FIRST_BACKOFF

    async def pause(self) -> None:
        """Wait a little, and a little longer the next time."""
        await asyncio.sleep(self._next)
        self._next = min(LAST_BACKOFF, self._next * 1.5)


class Cluster:
    """Metadata and connections, shared by producer, consumer and admin; an async context manager."""

    def __init__(self, bootstrap: str, options: ClusterOptions | None = None, dial: Dial = dial_tcp) -> None:
        self.options = options or ClusterOptions()
        self.brokers: dict[int, Broker] = {}
        self.topics: dict[str, Topic] = {}
        self.controller_id = -1
        self.cluster_id: str | None = None
        self._dial = dial
        self._seeds: Sequence[tuple[str, int]] = parse_bootstrap(bootstrap)
        self._wanted: set[str] = set()
        self._connections: dict[tuple[str, int, str], Connection] = {}
        self._opening: dict[tuple[str, int, str], asyncio.Task[Connection]] = {}
        self._refreshing: asyncio.Task[None] | None = None
        self._unreachable: set[tuple[str, int]] = set()
        self._purposes = 0
        self.refreshed_at = -math.inf
        """The loop's time of the last successful `refresh`."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close all connections and stop what is under way."""
        tasks = [*self._opening.values(), *([self._refreshing] if self._refreshing else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        for connection in self._connections.values():
            connection.close()
        self._connections.clear()

    async def call(self, node_id: int, key: ApiKey, request: Any, timeout: float | None = None) -> Any:
        """Ask one broker; raises one of CONNECTION_FAILURES."""
        connection = self.connected(node_id) or await self.connection(node_id)
        return await connection.call(
            key, request, self.options.request_timeout if timeout is None else timeout
        )

    def new_purpose(self, name: str) -> str:
        """A purpose for connections of one's own (see `connection`), on which nobody else waits."""
        self._purposes += 1
        return f"{name}-{self._purposes}"

    def close_purpose(self, purpose: str) -> None:
        """Close all connections of a purpose."""
        for place in [place for place in self._connections if place[2] == purpose]:
            self._connections.pop(place).close()
        for place in [place for place in self._opening if place[2] == purpose]:
            self._opening[place].cancel()

    async def call_any(self, key: ApiKey, request: Any, timeout: float | None = None) -> Any:
        """Ask brokers one after the other until one answers; raises the last one's failure."""
        patience = self.options.metadata_timeout if timeout is None else timeout
        failure: BaseException = DisconnectedError("no broker is known")
        for host, port in self._addresses():
            try:
                connection = await self._connect(host, port, "")
                response = await connection.call(key, request, patience)
            except CONNECTION_FAILURES as error:
                self._unreachable.add((host, port))
                failure = error
            else:
                self._unreachable.discard((host, port))
                return response
        seeds = ", ".join(f"{host}:{port}" for host, port in self._seeds)
        raise DisconnectedError(f"no broker answers at {seeds} ({failure or 'time is out'})") from failure

    def _addresses(self) -> list[tuple[str, int]]:
        """All known addresses, those that failed last at the end."""
        known = dict.fromkeys([*((b.host, b.port) for b in self.brokers.values()), *self._seeds])
        return sorted(known, key=lambda address: address in self._unreachable)

    async def connection(self, node_id: int, purpose: str = "") -> Connection:
        """The open connection to a broker; each `purpose` has one of its own."""
        broker = self.brokers.get(node_id)
        if broker is None:
            raise DisconnectedError(f"broker {node_id} is not known")
        return await self._connect(broker.host, broker.port, purpose)

    def connected(self, node_id: int, purpose: str = "") -> Connection | None:
        """The same if it is open already."""
        broker = self.brokers.get(node_id)
        if broker is None:
            return None
        connection = self._connections.get((broker.host, broker.port, purpose))
        return connection if connection is not None and connection.is_open else None

    async def _connect(self, host: str, port: int, purpose: str) -> Connection:
        place = (host, port, purpose)
        connection = self._connections.get(place)
        if connection is not None and connection.is_open:
            return connection
        opening = self._opening.get(place)
        if opening is None:
            options = self.options
            opening = asyncio.create_task(
                open_connection(self._dial, host, port, options.client_id, options.connect_timeout)
            )
            self._opening[place] = opening
            opening.add_done_callback(lambda task: self._opened(place, task))
        return await asyncio.shield(opening)

    def _opened(self, place: tuple[str, int, str], task: asyncio.Task[Connection]) -> None:
        del self._opening[place]
        if not task.cancelled() and task.exception() is None:
            self._connections[place] = task.result()

    async def refresh(self, topics: Iterable[str] = ()) -> None:
        """Fetch metadata of `topics` and all asked for before; callers at one time share a request."""
        missing = set(topics) - self._wanted
        self._wanted |= missing
        if self._refreshing is not None and missing:
            await asyncio.shield(self._refreshing)
        if self._refreshing is None:
            self._refreshing = asyncio.create_task(self._refresh())
            self._refreshing.add_done_callback(self._refreshed)
        await asyncio.shield(self._refreshing)

    def _refreshed(self, task: asyncio.Task[None]) -> None:
        self._refreshing = None
        if not task.cancelled():
            task.exception()

    async def _refresh(self) -> None:
        response = await self.metadata(sorted(self._wanted))
        self.refreshed_at = asyncio.get_running_loop().time()
        for topic in response.topics:
            if topic.name is None:
                continue
            if topic.error_code == ErrorCode.NONE:
                described = _topic(topic)
                self.topics[described.name] = _newer(self.topics.get(described.name), described)
            elif topic.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION:
                self.topics.pop(topic.name, None)

    async def metadata(self, topics: Sequence[str] | None) -> MetadataResponse:
        """The Metadata response for `topics`, or for all with None; its brokers are taken over."""
        request = MetadataRequest(None if topics is None else tuple(topics))
        response: MetadataResponse = await self.call_any(ApiKey.METADATA, request)
        self.brokers = {b.node_id: Broker(b.node_id, b.host, b.port, b.rack) for b in response.brokers}
        self.controller_id = response.controller_id
        self.cluster_id = response.cluster_id
        return response

    def known_leader(self, topic: str, partition: int) -> Leader | None:
        """The leader by what is known, without asking."""
        known = self.topics.get(topic)
        if known is None or partition >= len(known.partitions):
            return None
        described = known.partitions[partition]
        if described.leader < 0 or described.leader not in self.brokers:
            return None
        return Leader(described.leader, described.leader_epoch)

    async def leader(self, topic: str, partition: int, *, not_before: Leader | None = None) -> Leader:
        """The leader of a partition; waits for as long as there is none.

        With `not_before`, a leader that has failed, it asks anew at least once.
        """
        leader = self.known_leader(topic, partition)
        backoff = Backoff()
        while leader is None or leader == not_before:
            try:
                await self.refresh([topic])
            except CONNECTION_FAILURES:
                leader = None
            else:
                leader = self.known_leader(topic, partition)
            not_before = None
            if leader is None:
                await backoff.pause()
        return leader

    async def partition_count(self, topic: str, timeout: float = 30.0) -> int:
        """How many partitions a topic has; KafkaError(UNKNOWN_TOPIC_OR_PARTITION) if it stays unknown."""
        backoff = Backoff()
        loop = asyncio.get_running_loop()
        deadline = loop.time() + timeout
        while topic not in self.topics:
            await self.refresh([topic])
            if topic not in self.topics:
                if loop.time() > deadline:
                    raise KafkaError(ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, topic)
                await backoff.pause()
        return len(self.topics[topic].partitions)


def _topic(topic: TopicMetadata) -> Topic:
    partitions = sorted(map(_partition, topic.partitions), key=lambda partition: partition.index)
    return Topic(topic.name or "", topic.internal, tuple(partitions), topic.topic_id)


def _partition(each: PartitionMetadata) -> Partition:
    return Partition(each.partition, each.leader, each.leader_epoch, each.replicas, each.isr, each.offline)


def describe_topics(response: MetadataResponse) -> list[Topic]:
    """The topics of a Metadata response that have no error, by name."""
    return sorted((_topic(t) for t in response.topics if not t.error_code), key=lambda topic: topic.name)


def _newer(known: Topic | None, described: Topic) -> Topic:
    """What was just described, but of no partition an older epoch: brokers lag behind one another. A
    topic that was made again begins anew."""
    if known is None or known.topic_id != described.topic_id:
        return described
    before = {partition.index: partition for partition in known.partitions}
    partitions = tuple(
        before[partition.index]
        if partition.index in before and before[partition.index].leader_epoch > partition.leader_epoch
        else partition
        for partition in described.partitions
    )
    return Topic(described.name, described.internal, partitions, described.topic_id)
