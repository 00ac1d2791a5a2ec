"""ListOffsets asked of a leader that does not know yet how far its predecessor was."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.messages import request_class
from kraft.broker.handlers.list_offsets import ListOffsetsHandler


class NewLeader:
    """Replicas of which none can say yet where it ends."""

    def find(self, topic: str, index: int) -> Any:
        raise KafkaError(ErrorCode.OFFSET_NOT_AVAILABLE, f"{topic}-{index}")


@pytest.mark.parametrize(
    ("version", "code"),
    [
        (1, ErrorCode.LEADER_NOT_AVAILABLE),
        (4, ErrorCode.LEADER_NOT_AVAILABLE),
        (5, ErrorCode.OFFSET_NOT_AVAILABLE),
        (11, ErrorCode.OFFSET_NOT_AVAILABLE),
    ],
)
def test_old_clients_hear_a_code_that_they_know(version: int, code: ErrorCode) -> None:
    make = request_class(ApiKey.LIST_OFFSETS)
    topic = make.ListOffsetsTopic
    asked = topic.ListOffsetsPartition(partition_index=0, timestamp=-1, current_leader_epoch=-1)
    message = make(isolation_level=0, topics=[topic(name="t", partitions=[asked])])
    context: Any = SimpleNamespace(replicas=NewLeader())
    request: Any = SimpleNamespace(version=version)
    answer = ListOffsetsHandler(context)(request, message)
    assert answer.topics[0].partitions[0].error_code == code
