"""What transactional producers of each version are told while a coordinator loads."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import request_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.broker.handlers.txn_offset_commit import TxnOffsetCommitHandler

_API = APIS[ApiKey.TXN_OFFSET_COMMIT]


class Loading:
    """A broker that leads the group's partition and is still reading it."""

    def __init__(self) -> None:
        self.metadata = SimpleNamespace(image=SimpleNamespace(topics=self))
        self.replicas = self.groups = self
        self.transactions = SimpleNamespace(verification=self)

    def partition(self, topic: str, index: int) -> object:
        return (topic, index)

    def get(self, topic: str, index: int) -> object:
        return (topic, index)

    def partition_of(self, group_id: str) -> int:
        return len(group_id)

    def question(self, partition: object, producer: object) -> None:
        """Its transaction is open."""

    async def submit(self, group_id: str, decide: object) -> None:
        del group_id, decide
        raise KafkaError(ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)


@pytest.mark.parametrize("version", range(_API.min_version, _API.max_version + 1))
async def test_only_those_who_know_of_loading_are_told_of_it(version: int) -> None:
    make = request_class(ApiKey.TXN_OFFSET_COMMIT)
    topic = make.TxnOffsetCommitRequestTopic
    part = topic.TxnOffsetCommitRequestPartition(
        partition_index=0, committed_offset=1, committed_leader_epoch=-1, committed_metadata=None
    )
    message = make(
        transactional_id="pay",
        group_id="g",
        producer_id=1,
        producer_epoch=0,
        generation_id=-1,
        member_id="",
        group_instance_id=None,
        topics=[topic(name="t", partitions=[part])],
    )
    handler = TxnOffsetCommitHandler(cast("BrokerContext", Loading()))
    request = cast("Request", SimpleNamespace(version=version))
    answer: Any = await handler(request, message)
    expected = ErrorCode.COORDINATOR_NOT_AVAILABLE if version < 2 else ErrorCode.COORDINATOR_LOAD_IN_PROGRESS
    assert answer.topics[0].partitions[0].error_code == expected
