"""The API table: which requests this broker answers, and in which versions.

Dispatch, the ApiVersions response, the codec and `docs/protocol.md` derive from it. The minimum versions
are exactly those of Kafka 4.2, because clients hard-code some of them (kafka-go sends FindCoordinator 0,
librdkafka OffsetForLeaderEpoch 2). The maximum versions are those of Kafka 4.2, but for what brokers ask each
other (AddPartitionsToTxn from 4 on) and what is not served yet.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import IntEnum
from types import MappingProxyType

import msgspec


class ApiKey(IntEnum):
    """Kafka's numbers (`org.apache.kafka.common.protocol.ApiKeys`) of the requests that are answered here."""

    PRODUCE = 0
    FETCH = 1
    LIST_OFFSETS = 2
    METADATA = 3
    OFFSET_COMMIT = 8
    OFFSET_FETCH = 9
    FIND_COORDINATOR = 10
    JOIN_GROUP = 11
    HEARTBEAT = 12
    LEAVE_GROUP = 13
    SYNC_GROUP = 14
    DESCRIBE_GROUPS = 15
    LIST_GROUPS = 16
    SASL_HANDSHAKE = 17
    API_VERSIONS = 18
    CREATE_TOPICS = 19
    DELETE_TOPICS = 20
    DELETE_RECORDS = 21
    INIT_PRODUCER_ID = 22
    OFFSET_FOR_LEADER_EPOCH = 23
    ADD_PARTITIONS_TO_TXN = 24
    ADD_OFFSETS_TO_TXN = 25
    END_TXN = 26
    WRITE_TXN_MARKERS = 27
    TXN_OFFSET_COMMIT = 28
    DESCRIBE_ACLS = 29
    CREATE_ACLS = 30
    DELETE_ACLS = 31
    DESCRIBE_CONFIGS = 32
    ALTER_CONFIGS = 33
    ALTER_REPLICA_LOG_DIRS = 34
    DESCRIBE_LOG_DIRS = 35
    SASL_AUTHENTICATE = 36
    CREATE_PARTITIONS = 37
    DELETE_GROUPS = 42
    ELECT_LEADERS = 43
    INCREMENTAL_ALTER_CONFIGS = 44
    ALTER_PARTITION_REASSIGNMENTS = 45
    LIST_PARTITION_REASSIGNMENTS = 46
    OFFSET_DELETE = 47
    DESCRIBE_CLIENT_QUOTAS = 48
    ALTER_CLIENT_QUOTAS = 49
    DESCRIBE_USER_SCRAM_CREDENTIALS = 50
    ALTER_USER_SCRAM_CREDENTIALS = 51
    DESCRIBE_QUORUM = 55
    UPDATE_FEATURES = 57
    DESCRIBE_CLUSTER = 60
    DESCRIBE_PRODUCERS = 61
    UNREGISTER_BROKER = 64
    DESCRIBE_TRANSACTIONS = 65
    LIST_TRANSACTIONS = 66
    CONSUMER_GROUP_HEARTBEAT = 68
    CONSUMER_GROUP_DESCRIBE = 69
    LIST_CONFIG_RESOURCES = 74
    DESCRIBE_TOPIC_PARTITIONS = 75


class Api(msgspec.Struct, frozen=True):
    """One row: a request that is answered in the versions `min_version` to `max_version`, both included.

    `advertised_min` is what ApiVersions says. It differs for Produce alone: older librdkafka switches
    compression off unless version 0 is advertised, yet never sends it (KAFKA-18659).
    `flexible_from` is the first version with compact lengths and tagged fields (KIP-482), None without one.
    `forwarded` marks what the broker sends on to the active controller.
    """

    key: ApiKey
    name: str
    min_version: int
    max_version: int
    advertised_min: int
    flexible_from: int | None
    forwarded: bool = False

    def accepts(self, version: int) -> bool:
        """True if a request of this version is answered."""
        return self.min_version <= version <= self.max_version

    def is_flexible(self, version: int) -> bool:
        """True if this version has compact lengths and tagged fields."""
        return self.flexible_from is not None and version >= self.flexible_from


def _api(
    key: ApiKey,
    versions: range,
    flexible_from: int | None,
    *,
    advertised_min: int | None = None,
    forwarded: bool = False,
) -> Api:
    name = "".join(word.capitalize() for word in key.name.split("_"))
    low, high = versions[0], versions[-1]
    advertised = low if advertised_min is None else advertised_min
    return Api(key, name, low, high, advertised, flexible_from, forwarded)


def _versions(first: int, last: int) -> range:
    return range(first, last + 1)


_TABLE = (
    _api(ApiKey.PRODUCE, _versions(3, 13), 9, advertised_min=0),
    _api(ApiKey.FETCH, _versions(4, 18), 12),
    _api(ApiKey.LIST_OFFSETS, _versions(1, 11), 6),
    _api(ApiKey.METADATA, _versions(0, 13), 9),
    _api(ApiKey.OFFSET_COMMIT, _versions(2, 10), 8),
    _api(ApiKey.OFFSET_FETCH, _versions(1, 10), 6),
    _api(ApiKey.FIND_COORDINATOR, _versions(0, 6), 3),
    _api(ApiKey.JOIN_GROUP, _versions(0, 9), 6),
    _api(ApiKey.HEARTBEAT, _versions(0, 4), 4),
    _api(ApiKey.LEAVE_GROUP, _versions(0, 5), 4),
    _api(ApiKey.SYNC_GROUP, _versions(0, 5), 4),
    _api(ApiKey.DESCRIBE_GROUPS, _versions(0, 6), 5),
    _api(ApiKey.LIST_GROUPS, _versions(0, 5), 3),
    _api(ApiKey.SASL_HANDSHAKE, _versions(0, 1), None),
    _api(ApiKey.API_VERSIONS, _versions(0, 4), 3),
    _api(ApiKey.CREATE_TOPICS, _versions(2, 7), 5, forwarded=True),
    _api(ApiKey.DELETE_TOPICS, _versions(1, 6), 4, forwarded=True),
    _api(ApiKey.DELETE_RECORDS, _versions(0, 2), 2),
    _api(ApiKey.INIT_PRODUCER_ID, _versions(0, 5), 2),
    _api(ApiKey.OFFSET_FOR_LEADER_EPOCH, _versions(2, 4), 4),
    _api(ApiKey.ADD_PARTITIONS_TO_TXN, _versions(0, 3), 3),
    _api(ApiKey.ADD_OFFSETS_TO_TXN, _versions(0, 4), 3),
    _api(ApiKey.END_TXN, _versions(0, 5), 3),
    _api(ApiKey.WRITE_TXN_MARKERS, _versions(1, 2), 1),
    _api(ApiKey.TXN_OFFSET_COMMIT, _versions(0, 5), 3),
    _api(ApiKey.DESCRIBE_ACLS, _versions(1, 3), 2),
    _api(ApiKey.CREATE_ACLS, _versions(1, 3), 2),
    _api(ApiKey.DELETE_ACLS, _versions(1, 3), 2),
    _api(ApiKey.DESCRIBE_CONFIGS, _versions(1, 4), 4),
    _api(ApiKey.ALTER_CONFIGS, _versions(0, 2), 2, forwarded=True),
    _api(ApiKey.ALTER_REPLICA_LOG_DIRS, _versions(1, 2), 2),
    _api(ApiKey.DESCRIBE_LOG_DIRS, _versions(1, 4), 2),
    _api(ApiKey.SASL_AUTHENTICATE, _versions(0, 2), 2),
    _api(ApiKey.CREATE_PARTITIONS, _versions(0, 3), 2, forwarded=True),
    _api(ApiKey.DELETE_GROUPS, _versions(0, 2), 2),
    _api(ApiKey.ELECT_LEADERS, _versions(0, 2), 2, forwarded=True),
    _api(ApiKey.INCREMENTAL_ALTER_CONFIGS, _versions(0, 1), 1, forwarded=True),
    _api(ApiKey.ALTER_PARTITION_REASSIGNMENTS, _versions(0, 1), 0, forwarded=True),
    _api(ApiKey.LIST_PARTITION_REASSIGNMENTS, _versions(0, 0), 0),
    _api(ApiKey.OFFSET_DELETE, _versions(0, 0), None),
    _api(ApiKey.DESCRIBE_CLIENT_QUOTAS, _versions(0, 1), 1),
    _api(ApiKey.ALTER_CLIENT_QUOTAS, _versions(0, 1), 1, forwarded=True),
    _api(ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS, _versions(0, 0), 0),
    _api(ApiKey.ALTER_USER_SCRAM_CREDENTIALS, _versions(0, 0), 0, forwarded=True),
    _api(ApiKey.DESCRIBE_QUORUM, _versions(0, 2), 0, forwarded=True),
    _api(ApiKey.UPDATE_FEATURES, _versions(0, 2), 0, forwarded=True),
    _api(ApiKey.DESCRIBE_CLUSTER, _versions(0, 2), 0),
    _api(ApiKey.DESCRIBE_PRODUCERS, _versions(0, 0), 0),
    _api(ApiKey.UNREGISTER_BROKER, _versions(0, 0), 0, forwarded=True),
    _api(ApiKey.DESCRIBE_TRANSACTIONS, _versions(0, 0), 0),
    _api(ApiKey.LIST_TRANSACTIONS, _versions(0, 2), 0),
    _api(ApiKey.CONSUMER_GROUP_HEARTBEAT, _versions(0, 1), 0),
    _api(ApiKey.CONSUMER_GROUP_DESCRIBE, _versions(0, 1), 0),
    _api(ApiKey.LIST_CONFIG_RESOURCES, _versions(0, 1), 0),
    _api(ApiKey.DESCRIBE_TOPIC_PARTITIONS, _versions(0, 0), 0),
)

APIS: Mapping[int, Api] = MappingProxyType({int(api.key): api for api in _TABLE})
"""Every API that is answered, by its key."""
