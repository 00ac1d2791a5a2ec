"""A cluster for clients: brokers with real sockets that keep records in memory and fail when told to."""

from __future__ import annotations

import asyncio
import itertools
import uuid
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from typing import Any

import pytest

from kafkawire import messages
from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.headers import parse_request_header
from kafkawire.records import BatchHeader, headers, stamp
from kraft.client.admin import Admin
from kraft.client.cluster import Cluster
from kraft.local_cluster import LocalCluster, plan_cluster

TOPIC = "t"
MAX_IN_FLIGHT = 5


class FakePartition:
    """A leader's log: batches with offsets, and the sequences by which it knows a batch again."""

    def __init__(self, leader: int) -> None:
        self.leader = leader
        self.epoch = 0
        self.batches: list[bytes] = []
        self.end = 0
        self.remembered: deque[tuple[int, int]] = deque(maxlen=MAX_IN_FLIGHT)
        self.next_sequence = 0

    def append(self, data: bytes) -> tuple[ErrorCode, int]:
        """Error code and base offset, as a leader answers."""
        ((_, header),) = headers(data)
        for sequence, offset in self.remembered:
            if sequence == header.base_sequence:
                return ErrorCode.NONE, offset
        if header.base_sequence != self.next_sequence:
            return ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER, -1
        batch = bytearray(data)
        stamp(batch, 0, self.end, self.epoch)
        self.batches.append(bytes(batch))
        self.remembered.append((header.base_sequence, self.end))
        self.next_sequence = header.base_sequence + header.record_count
        base, self.end = self.end, self.end + header.record_count
        return ErrorCode.NONE, base

    def lose(self, offset: int) -> None:
        """Take back the batches from `offset` on, as an unclean election does."""
        self.batches = [batch for batch in self.batches if self._header(batch).base_offset < offset]
        self.end = offset
        self.forget_producers()

    def forget_producers(self) -> None:
        """The next one begins anew."""
        self.remembered.clear()
        self.next_sequence = 0

    def epoch_end(self, epoch: int) -> tuple[int, int]:
        """The largest epoch up to this one, and its end offset."""
        if epoch >= self.epoch:
            return self.epoch, self.end
        older = [self._header(batch) for batch in self.batches]
        older = [header for header in older if header.partition_leader_epoch <= epoch]
        return (older[-1].partition_leader_epoch, older[-1].next_offset) if older else (-1, -1)

    @staticmethod
    def _header(batch: bytes) -> BatchHeader:
        ((_, header),) = headers(batch)
        return header


class FakeCluster:
    """Some brokers that can fail.

    `failures` are the next answers to produce and fetch requests; `silent` brokers read and never answer;
    `swallow` produce requests are carried out, then the connection is dropped without a reply.
    """

    def __init__(self) -> None:
        self.servers: dict[int, asyncio.Server] = {}
        self.ports: dict[int, int] = {}
        self.topic_id = uuid.UUID(int=1)
        self.partitions = [FakePartition(1), FakePartition(2)]
        self.failures: deque[ErrorCode] = deque()
        self.silent: set[int] = set()
        self.swallow = 0
        self.created: dict[str, Any] = {}
        self.requests: list[tuple[int, ApiKey]] = []
        self.before: Callable[[int, ApiKey], None] = lambda node_id, key: None
        self.controller_misses = 0
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def bootstrap(self) -> str:
        return ",".join(f"127.0.0.1:{port}" for port in self.ports.values())

    async def start(self, node_id: int) -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            self._writers.add(writer)
            try:
                while True:
                    size = int.from_bytes(await reader.readexactly(4), "big")
                    reply = self.answer(node_id, await reader.readexactly(size))
                    if reply is None:
                        break
                    writer.write(reply)
            except (asyncio.IncompleteReadError, ConnectionError):
                pass
            finally:
                self._writers.discard(writer)
                writer.close()

        server = await asyncio.start_server(serve, "127.0.0.1", self.ports.get(node_id, 0))
        self.servers[node_id] = server
        self.ports[node_id] = server.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        for server in self.servers.values():
            server.close()
        for writer in list(self._writers):
            writer.transport.abort()
        for server in self.servers.values():
            await server.wait_closed()

    def move(self, partition: int, leader: int) -> None:
        """Another leader, in the next epoch; it knows what the first one knew."""
        self.partitions[partition].leader = leader
        self.partitions[partition].epoch += 1

    def make_again(self) -> None:
        """The topic was deleted, and made again."""
        self.topic_id = uuid.UUID(int=self.topic_id.int + 1)
        self.partitions = [FakePartition(1), FakePartition(2)]

    def answer(self, node_id: int, frame: bytes) -> bytes | None:
        """The reply's frame; b"" is none, None closes the connection."""
        header = parse_request_header(memoryview(frame))
        key = ApiKey(header.api_key)
        self.before(node_id, key)
        self.requests.append((node_id, key))
        if node_id in self.silent:
            return b""
        request = messages.decode_request(key, header.api_version, frame[header.body :])
        response = getattr(self, key.name.lower())(node_id, request)
        if response is None:
            return None
        return messages.encode_response(key, header.api_version, header.correlation_id, response)

    def api_versions(self, node_id: int, request: Any) -> Any:
        response_class = messages.response_class(ApiKey.API_VERSIONS)
        keys = [
            response_class.ApiVersion(api_key=a.key, min_version=a.advertised_min, max_version=a.max_version)
            for a in APIS.values()
        ]
        return response_class(error_code=0, api_keys=keys)

    def metadata(self, node_id: int, request: Any) -> Any:
        response_class = messages.response_class(ApiKey.METADATA)
        topic_class = response_class.MetadataResponseTopic
        partitions = [
            topic_class.MetadataResponsePartition(
                error_code=0,
                partition_index=index,
                leader_id=each.leader,
                leader_epoch=each.epoch,
                replica_nodes=[1, 2],
                isr_nodes=[1, 2],
                offline_replicas=[],
            )
            for index, each in enumerate(self.partitions)
        ]
        names = [TOPIC] if request.topics is None else [topic.name for topic in request.topics]
        topics = [
            topic_class(
                error_code=0 if name == TOPIC else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION,
                name=name,
                topic_id=self.topic_id,
                is_internal=False,
                partitions=partitions if name == TOPIC else [],
            )
            for name in names
        ]
        brokers = [
            response_class.MetadataResponseBroker(node_id=n, host="127.0.0.1", port=port, rack=None)
            for n, port in self.ports.items()
        ]
        return response_class(
            throttle_time_ms=0, brokers=brokers, cluster_id="fake", controller_id=1, topics=topics
        )

    def init_producer_id(self, node_id: int, request: Any) -> Any:
        response_class = messages.response_class(ApiKey.INIT_PRODUCER_ID)
        return response_class(throttle_time_ms=0, error_code=0, producer_id=7, producer_epoch=0)

    def produce(self, node_id: int, request: Any) -> Any:
        response_class = messages.response_class(ApiKey.PRODUCE)
        topic_class = response_class.TopicProduceResponse
        data = request.topic_data[0].partition_data[0]
        partition = self.partitions[data.index]
        if self.failures:
            code, base = self.failures.popleft(), -1
        elif partition.leader != node_id:
            code, base = ErrorCode.NOT_LEADER_OR_FOLLOWER, -1
        else:
            code, base = partition.append(bytes(data.records))
            if self.swallow:
                self.swallow -= 1
                return None
        result = topic_class.PartitionProduceResponse(
            index=data.index,
            error_code=code,
            base_offset=base,
            log_append_time_ms=-1,
            log_start_offset=0,
            record_errors=[],
            error_message=None,
        )
        return response_class(
            responses=[topic_class(name=TOPIC, partition_responses=[result])], throttle_time_ms=0
        )

    def list_offsets(self, node_id: int, request: Any) -> Any:
        response_class = messages.response_class(ApiKey.LIST_OFFSETS)
        topic_class = response_class.ListOffsetsTopicResponse
        asked = request.topics[0].partitions[0]
        partition = self.partitions[asked.partition_index]
        code = self.failures.popleft() if self.failures else ErrorCode.NONE
        result = topic_class.ListOffsetsPartitionResponse(
            partition_index=asked.partition_index,
            error_code=code,
            timestamp=-1,
            offset=0 if asked.timestamp == -2 else partition.end,
            leader_epoch=partition.epoch,
        )
        return response_class(throttle_time_ms=0, topics=[topic_class(name=TOPIC, partitions=[result])])

    def fetch(self, node_id: int, request: Any) -> Any:
        response_class = messages.response_class(ApiKey.FETCH)
        topic_class = response_class.FetchableTopicResponse
        results = []
        room = request.max_bytes
        for asked in (asked for topic in request.topics for asked in topic.partitions):
            results.append(self._fetched(node_id, asked))
            if room < request.max_bytes and len(results[-1].records) > room:
                results[-1].records = b""
            room -= len(results[-1].records)
        return response_class(
            throttle_time_ms=0,
            error_code=0,
            session_id=0,
            responses=[topic_class(topic=TOPIC, partitions=results)],
        )

    def _fetched(self, node_id: int, asked: Any) -> Any:
        partition_class = messages.response_class(ApiKey.FETCH).FetchableTopicResponse.PartitionData
        partition = self.partitions[asked.partition]
        code, data = ErrorCode.NONE, b""
        if self.failures:
            code = self.failures.popleft()
        elif partition.leader != node_id:
            code = ErrorCode.NOT_LEADER_OR_FOLLOWER
        elif asked.fetch_offset > partition.end:
            code = ErrorCode.OFFSET_OUT_OF_RANGE
        else:
            for batch in partition.batches:
                ((_, header),) = headers(batch)
                if header.next_offset > asked.fetch_offset:
                    data = batch
                    break
        return partition_class(
            partition_index=asked.partition,
            error_code=code,
            high_watermark=partition.end,
            last_stable_offset=partition.end,
            log_start_offset=0,
            aborted_transactions=None,
            preferred_read_replica=-1,
            records=data,
        )

    def offset_for_leader_epoch(self, node_id: int, request: Any) -> Any:
        response_class = messages.response_class(ApiKey.OFFSET_FOR_LEADER_EPOCH)
        topic_class = response_class.OffsetForLeaderTopicResult
        (asked,) = request.topics[0].partitions
        epoch, end = self.partitions[asked.partition].epoch_end(asked.leader_epoch)
        result = topic_class.EpochEndOffset(
            error_code=0, partition=asked.partition, leader_epoch=epoch, end_offset=end
        )
        return response_class(throttle_time_ms=0, topics=[topic_class(topic=TOPIC, partitions=[result])])

    def create_topics(self, node_id: int, request: Any) -> Any:
        response_class = messages.response_class(ApiKey.CREATE_TOPICS)
        (topic,) = request.topics
        code = ErrorCode.NONE
        if self.controller_misses:
            self.controller_misses -= 1
            code = ErrorCode.NOT_CONTROLLER
        elif topic.name == TOPIC:
            code = ErrorCode.TOPIC_ALREADY_EXISTS
        else:
            self.created[topic.name] = topic
        result = response_class.CreatableTopicResult(
            name=topic.name, topic_id=uuid.UUID(int=2), error_code=code, error_message=code.name, configs=[]
        )
        return response_class(throttle_time_ms=0, topics=[result])

    def delete_topics(self, node_id: int, request: Any) -> Any:
        response_class = messages.response_class(ApiKey.DELETE_TOPICS)
        name = request.topics[0].name
        code = ErrorCode.NONE if self.created.pop(name, None) else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        result = response_class.DeletableTopicResult(
            name=name, topic_id=uuid.UUID(int=2), error_code=code, error_message=None
        )
        return response_class(throttle_time_ms=0, responses=[result])


@pytest.fixture
async def fake() -> AsyncIterator[FakeCluster]:
    """Brokers 1 and 2; partition 0 of topic "t" is led by 1, partition 1 by 2."""
    cluster = FakeCluster()
    await cluster.start(1)
    await cluster.start(2)
    yield cluster
    await cluster.stop()


NODE_SETTINGS = {
    "group.initial.rebalance.delay.ms": "0",
    "group.min.session.timeout.ms": "500",
    "offsets.topic.num.partitions": "2",
    "transaction.state.log.num.partitions": "2",
}


@pytest.fixture(scope="session")
def real_node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A node with both roles, as a process; where it is reached."""
    with asyncio.Runner() as runner:
        cluster = LocalCluster(plan_cluster(1, 1, tmp_path_factory.mktemp("node")), NODE_SETTINGS)
        (process,) = cluster.processes.values()
        try:
            runner.run(cluster.start())
            yield cluster.plan.bootstrap
            assert runner.run(process.terminate()) == 0
            assert "Traceback" not in process.log_path.read_text()
        finally:
            process.kill_now()


@pytest.fixture
async def cluster(real_node: str) -> AsyncIterator[Cluster]:
    """A client's view of the node."""
    async with Cluster(real_node) as cluster, asyncio.timeout(30):
        yield cluster


_names = itertools.count(1)


@pytest.fixture
def make_topic(cluster: Cluster) -> Callable[..., Awaitable[str]]:
    """Creates a topic of a name that no other test has."""

    async def make(partitions: int = 1) -> str:
        name = f"topic-{next(_names)}"
        await Admin(cluster).create_topic(name, partitions=partitions, replication_factor=1)
        return name

    return make
