"""Topics and the state of a cluster, by Kafka's admin requests."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kraft.client.cluster import Backoff, Broker, Cluster, Topic, describe_topics
from kraft.client.connections import CONNECTION_FAILURES

METADATA_TOPIC = "__cluster_metadata"
ANSWER_GRACE = 1.0
"""Seconds that a broker's word may take on its way that the time it was given is over."""


class Voter(msgspec.Struct, frozen=True):
    """A node as the active controller sees it. `last_caught_up_ms` is when it had everything (wall clock).
    -1 is unknown, of both."""

    node_id: int
    log_end_offset: int
    last_caught_up_ms: int


class Quorum(msgspec.Struct, frozen=True):
    """The controllers' quorum: who leads it, in which term, and how far its log is committed."""

    leader_id: int
    epoch: int
    high_watermark: int
    voters: tuple[Voter, ...]
    observers: tuple[Voter, ...]


class ClusterState(msgspec.Struct, frozen=True):
    """A whole cluster at one moment. `quorum` is None while it has no active controller."""

    cluster_id: str | None
    brokers: tuple[Broker, ...]
    topics: tuple[Topic, ...]
    quorum: Quorum | None


class Admin:
    """Administers through any broker. What may heal is tried again for `timeout` seconds, then its KafkaError
    is raised; a cluster that nobody answers for raises one of CONNECTION_FAILURES."""

    def __init__(self, cluster: Cluster, timeout: float = 15.0) -> None:
        self.cluster = cluster
        self.timeout = timeout

    async def create_topic(
        self,
        name: str,
        *,
        partitions: int = -1,
        replication_factor: int = -1,
        configs: Mapping[str, str] | None = None,
    ) -> None:
        """Create a topic; -1 is the cluster's default. Raises KafkaError, TOPIC_ALREADY_EXISTS among them."""
        request_class = messages.request_class(ApiKey.CREATE_TOPICS)
        topic_class = request_class.CreatableTopic
        topic = topic_class(
            name=name,
            num_partitions=partitions,
            replication_factor=replication_factor,
            assignments=[],
            configs=[
                topic_class.CreatableTopicConfig(name=key, value=value)
                for key, value in (configs or {}).items()
            ],
        )
        request = request_class(topics=[topic], timeout_ms=self._timeout_ms(), validate_only=False)
        await self._change(ApiKey.CREATE_TOPICS, request)

    async def delete_topic(self, name: str) -> None:
        """Delete a topic; raises KafkaError."""
        request_class = messages.request_class(ApiKey.DELETE_TOPICS)
        request = request_class(
            topics=[request_class.DeleteTopicState(name=name)],
            topic_names=[name],
            timeout_ms=self._timeout_ms(),
        )
        await self._change(ApiKey.DELETE_TOPICS, request)

    async def topics(self) -> list[Topic]:
        """All topics, by name."""
        return describe_topics(await self.cluster.metadata(None))

    async def topic(self, name: str) -> Topic:
        """One topic; raises KafkaError(UNKNOWN_TOPIC_OR_PARTITION)."""
        response = await self.cluster.metadata([name])
        for described in describe_topics(response):
            return described
        code = response.topics[0].error_code if response.topics else ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
        raise KafkaError(ErrorCode(code), name)

    async def topic_configs(self, name: str) -> dict[str, str]:
        """What a topic's own configuration sets; raises KafkaError."""
        request_class = messages.request_class(ApiKey.DESCRIBE_CONFIGS)
        resource = request_class.DescribeConfigsResource(
            resource_type=2, resource_name=name, configuration_keys=None
        )
        request = request_class(resources=[resource], include_synonyms=False, include_documentation=False)
        response = await self.cluster.call_any(ApiKey.DESCRIBE_CONFIGS, request)
        (result,) = response.results
        _check(result.error_code, result.error_message)
        dynamic_topic_config = 1
        return {
            each.name: each.value or ""
            for each in result.configs
            if each.config_source == dynamic_topic_config
        }

    async def quorum(self) -> Quorum:
        """The controllers; raises KafkaError if the active one is not found in time."""
        request_class = messages.request_class(ApiKey.DESCRIBE_QUORUM)
        topic_class = request_class.TopicData
        request = request_class(
            topics=[
                topic_class(
                    topic_name=METADATA_TOPIC, partitions=[topic_class.PartitionData(partition_index=0)]
                )
            ]
        )
        response = await self._retried(ApiKey.DESCRIBE_QUORUM, request, _check_quorum)
        described = response.topics[0].partitions[0]
        return Quorum(
            described.leader_id,
            described.leader_epoch,
            described.high_watermark,
            _voters(described.current_voters),
            _voters(described.observers),
        )

    async def state(self) -> ClusterState:
        """Everything at once."""
        topics = await self.topics()
        try:
            quorum = await self.quorum()
        except KafkaError as error:
            if not error.code.retriable:
                raise
            quorum = None
        brokers = tuple(sorted(self.cluster.brokers.values()))
        return ClusterState(self.cluster.cluster_id, brokers, tuple(topics), quorum)

    async def _change(self, key: ApiKey, request: Any) -> None:
        def check(response: Any) -> None:
            results = response.responses if key is ApiKey.DELETE_TOPICS else response.topics
            for result in results:
                _check(result.error_code, result.error_message)

        await self._retried(key, request, check)

    async def _retried(self, key: ApiKey, request: Any, check: Any) -> Any:
        """Ask until `check` accepts the reply, raises what no retry heals, or time is over. What was answered
        last says more than that a last try had no time left."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + self.timeout
        backoff = Backoff()
        answered: KafkaError | None = None
        while True:
            patience = max(0.1, deadline - loop.time()) + (ANSWER_GRACE if answered is None else 0.0)
            try:
                response = await self.cluster.call_any(key, request, patience)
                check(response)
            except CONNECTION_FAILURES as failure:
                if loop.time() > deadline:
                    if answered is not None:
                        raise answered from failure
                    raise
                answered = None
            except KafkaError as error:
                if not error.code.retriable or _is_final(key, error.code) or loop.time() > deadline:
                    raise
                answered = error
            else:
                return response
            await backoff.pause()

    def _timeout_ms(self) -> int:
        return int(self.timeout * 1000)


def _is_final(key: ApiKey, code: ErrorCode) -> bool:
    """Retriable by its kind, but not in this reply: a topic to delete is not there."""
    return key is ApiKey.DELETE_TOPICS and code is ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


def _check(error_code: int, message: str | None) -> None:
    if error_code != ErrorCode.NONE:
        raise KafkaError(ErrorCode(error_code), message or "")


def _check_quorum(response: Any) -> None:
    _check(response.error_code, response.error_message)
    _check(response.topics[0].partitions[0].error_code, response.topics[0].partitions[0].error_message)


def _voters(states: Sequence[Any]) -> tuple[Voter, ...]:
    return tuple(
        Voter(state.replica_id, state.log_end_offset, state.last_caught_up_timestamp) for state in states
    )
