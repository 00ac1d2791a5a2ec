"""Internal topics are made in the cluster's own way, whoever asks for them first."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from chaos.observer import Observer
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.messages import decode_response, encode_request, request_class
from kraft.client.admin import Admin
from kraft.client.cluster import Cluster


async def ask(port: int, key: ApiKey, version: int, request: Any) -> Any:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(encode_request(key, version, 1, request))
    async with asyncio.timeout(15):
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        answer = decode_response(key, version, await reader.readexactly(size))
    writer.close()
    return answer


async def topic_of(port: int, name: str, *, create: bool) -> Any:
    make = request_class(ApiKey.METADATA)
    asked = make.MetadataRequestTopic(name=name, topic_id=None)
    request = make(topics=[asked], allow_auto_topic_creation=create)
    (topic,) = (await ask(port, ApiKey.METADATA, 12, request)).topics
    return topic


@pytest.mark.parametrize("name", ["__consumer_offsets", "__transaction_state"])
async def test_a_reader_comes_first(start_nodes: Callable[[int, int], Awaitable[Any]], name: str) -> None:
    """One that watches how groups come on, say, in a cluster that has none yet."""
    nodes = await start_nodes(1, 1)
    (port,) = [node.kafka_port for node in nodes.plan.nodes if node.kafka_port is not None]
    missing = await topic_of(port, name, create=False)
    assert missing.error_code == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    made = await topic_of(port, name, create=True)
    assert (made.error_code, made.is_internal, len(made.partitions)) == (ErrorCode.NONE, True, 50)
    async with Cluster(nodes.plan.bootstrap) as cluster:
        assert (await Admin(cluster).topic_configs(name))["cleanup.policy"] == "compact"


async def test_they_get_the_replicas_that_they_lacked_when_more_brokers_come(
    start_nodes: Callable[..., Awaitable[Any]],
) -> None:
    """And keep their word about how many have to be in sync."""
    names = ("__consumer_offsets", "__transaction_state")
    nodes = await start_nodes(1, 3, later=2)
    first = nodes.plan.nodes[1]
    async with Cluster(nodes.plan.bootstrap) as cluster:
        observer = Observer(cluster, timeout=30.0)

        async def min_isr() -> str | None:
            return (await observer.admin.topic_configs(names[1])).get("min.insync.replicas")

        for name in names:
            made = await topic_of(first.kafka_port, name, create=True)
            assert {tuple(each.replica_nodes) for each in made.partitions} == {(first.node_id,)}
        assert await min_isr() == "1"
        for replicas, node in enumerate(nodes.plan.nodes[2:], 2):
            await nodes.start([node])

            async def grown(replicas: int = replicas) -> bool:
                topics = [await observer.admin.topic(name) for name in names]
                return {len(each.isr) for topic in topics for each in topic.partitions} == {replicas}

            await observer.until(grown)

        async def demands_two() -> bool:
            return await min_isr() == "2"

        await observer.until(demands_two)
