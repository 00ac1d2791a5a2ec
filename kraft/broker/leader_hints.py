"""Tells a client that asked the wrong broker who leads (KIP-951), so that it need not ask for metadata
first."""

from __future__ import annotations

from collections.abc import Iterable

from kafkawire.endpoints import NodeEndpoint
from kafkawire.errors import ErrorCode
from kafkawire.primitives import TopicRef
from metadata.image import MetadataImage

_HINTED = frozenset({ErrorCode.NOT_LEADER_OR_FOLLOWER, ErrorCode.FENCED_LEADER_EPOCH})

LeaderHint = tuple[int, int]
"""(leader id, leader epoch)."""


def leader_hint(image: MetadataImage, topic: TopicRef, index: int, code: int) -> LeaderHint | None:
    """The leader of a partition, where `code` says that the client had the wrong one."""
    if code not in _HINTED:
        return None
    partition = image.topics.partition(topic, index)
    if partition is None or not partition.has_leader:
        return None
    return partition.leader, partition.leader_epoch


def endpoints_of_hints(
    image: MetadataImage, listener: str, hints: Iterable[LeaderHint]
) -> list[NodeEndpoint]:
    """Where the hinted leaders are reached, each once."""
    endpoints = []
    for broker_id in sorted({broker_id for broker_id, _ in hints}):
        broker = image.brokers.get(broker_id)
        endpoint = broker.endpoint(listener) if broker is not None else None
        if broker is not None and endpoint is not None:
            endpoints.append(NodeEndpoint(broker_id, endpoint.host, endpoint.port, broker.rack))
    return endpoints
