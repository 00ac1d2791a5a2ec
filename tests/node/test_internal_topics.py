"""Internal topics are made in the cluster's own way, whoever asks for them first."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.messages import decode_response, encode_request, request_class


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
    make = request_class(ApiKey.DESCRIBE_CONFIGS)
    resource = make.DescribeConfigsResource(
        resource_type=2, resource_name=name, configuration_keys=["cleanup.policy"]
    )
    (described,) = (await ask(port, ApiKey.DESCRIBE_CONFIGS, 4, make(resources=[resource]))).results
    assert [config.value for config in described.configs] == ["compact"]
