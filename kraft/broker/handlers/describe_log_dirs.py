"""DescribeLogDirs (key 35): what lies in this broker's log directories. Versions 1-4."""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.messages import response_class
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from replication.partition import Partition


class DescribeLogDirsHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.DESCRIBE_LOG_DIRS)

    def __call__(self, request: Request, message: Any) -> Any:
        results = []
        hosted = self._hosted(message.topics)
        for directory in self._context.log_directories.paths:
            total, usable = self._context.log_directories.space(directory)
            results.append(
                self._response.DescribeLogDirsResult(
                    error_code=0,
                    log_dir=directory,
                    topics=self._topics(directory, hosted),
                    total_bytes=total,
                    usable_bytes=usable,
                )
            )
        return self._response(throttle_time_ms=0, error_code=0, results=results)

    def _hosted(self, topics: Any) -> dict[str, list[Partition]]:
        wanted = None if topics is None else {(t.topic, index) for t in topics for index in t.partitions}
        hosted: dict[str, list[Partition]] = {}
        for partition in self._context.replicas:
            if wanted is None or (partition.topic, partition.index) in wanted:
                hosted.setdefault(partition.topic, []).append(partition)
        return hosted

    def _topics(self, directory: str, hosted: dict[str, list[Partition]]) -> list[Any]:
        make = self._response.DescribeLogDirsResult.DescribeLogDirsTopic
        topics = []
        for name, all_partitions in sorted(hosted.items()):
            partitions = [
                make.DescribeLogDirsPartition(
                    partition_index=partition.index,
                    partition_size=partition.log.size,
                    offset_lag=max(0, partition.high_watermark - partition.log.end_offset),
                    is_future_key=False,
                )
                for partition in all_partitions
                if partition.log.directory.rpartition("/")[0] == directory
            ]
            if partitions:
                topics.append(make(name=name, partitions=partitions))
        return topics
