"""WriteTxnMarkers (key 27): end transactions in the partitions that this broker leads. Versions 1-2.

Brokers of ours send markers to each other by `kraft.broker.transaction_markers`; this is what an admin client
sends to abort a transaction that nobody else will end (KIP-664).
"""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.messages import response_class
from kafkawire.records import ControlType
from kraft.broker.context import BrokerContext
from kraft.broker.dispatch import Request
from kraft.coordinator.decision import Producer
from kraft.coordinator.transaction.marker_queue import Marker

_EPOCH_OF_ITS_OWN = 2
"""The `transaction.version` from which each transaction has one."""


class WriteTxnMarkersHandler:
    """See the module."""

    def __init__(self, context: BrokerContext) -> None:
        self._context = context
        self._response = response_class(ApiKey.WRITE_TXN_MARKERS)

    async def __call__(self, request: Request, message: Any) -> Any:
        markers = [_marker(each) for each in message.markers]
        if any(_is_nobodys(marker) for marker in markers):
            # As in Kafka, which fails to build such a marker and answers so for the whole request.
            answers = [[ErrorCode.UNKNOWN_SERVER_ERROR] * len(marker.partitions) for marker in markers]
        else:
            answers = await self._context.transactions.markers.write(markers)
        results = []
        for asked, marker, codes in zip(message.markers, markers, answers, strict=True):
            code_of = dict(zip(marker.partitions, codes, strict=True))
            results.append(self._result(asked, code_of))
        return self._response(markers=results)

    def _result(self, asked: Any, code_of: dict[tuple[str, int], ErrorCode]) -> Any:
        make = self._response.WritableTxnMarkerResult
        make_topic = make.WritableTxnMarkerTopicResult
        make_partition = make_topic.WritableTxnMarkerPartitionResult
        topics = [
            make_topic(
                name=topic.name,
                partitions=[
                    make_partition(partition_index=index, error_code=code_of[topic.name, index])
                    for index in topic.partition_indexes
                ],
            )
            for topic in asked.topics
        ]
        return make(producer_id=asked.producer_id, topics=topics)


def _is_nobodys(marker: Marker) -> bool:
    """Whether the marker would end a transaction of no producer."""
    return marker.producer.producer_id < 0 or marker.producer.producer_epoch < 0


def _marker(asked: Any) -> Marker:
    """The marker that is asked for; a partition that is named twice gets it once."""
    named = ((topic.name, index) for topic in asked.topics for index in topic.partition_indexes)
    return Marker(
        Producer(asked.producer_id, asked.producer_epoch),
        ControlType.COMMIT if asked.transaction_result else ControlType.ABORT,
        asked.coordinator_epoch,
        tuple(dict.fromkeys(named)),
        bumped=asked.transaction_version >= _EPOCH_OF_ITS_OWN,
    )
