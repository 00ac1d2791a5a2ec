"""AlterReplicaLogDirs (key 34): in which log directory a replica is to lie. Versions 1-2 (KIP-113).

A replica that is still to come here will be put where it is asked for; one that lies there already is left
alone. One that lies elsewhere is not moved: OPERATION_NOT_ATTEMPTED.
"""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request


class AlterReplicaLogDirsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.ALTER_REPLICA_LOG_DIRS)

    def __call__(self, request: Request, message: Any) -> Any:
        make = self._response.AlterReplicaLogDirTopicResult
        topics: dict[str, list[Any]] = {}
        for directory in message.dirs:
            for topic in directory.topics:
                results = topics.setdefault(topic.name, [])
                for index in topic.partitions:
                    code = self._place(directory.path, topic.name, index)
                    results.append(
                        make.AlterReplicaLogDirPartitionResult(partition_index=index, error_code=code)
                    )
        return self._response(
            throttle_time_ms=0,
            results=[make(topic_name=name, partitions=results) for name, results in topics.items()],
        )

    def _place(self, path: str, topic: str, index: int) -> ErrorCode:
        context = self._context
        if path not in context.log_directories.paths:
            return ErrorCode.LOG_DIR_NOT_FOUND
        partition = context.replicas.get(topic, index)
        if partition is None:
            if context.metadata.image.topics.partition(topic, index) is not None:
                context.log_directories.prefer(topic, index, path)
            return ErrorCode.REPLICA_NOT_AVAILABLE
        if partition.log.directory.rpartition("/")[0] == path:
            return ErrorCode.NONE
        return ErrorCode.OPERATION_NOT_ATTEMPTED
