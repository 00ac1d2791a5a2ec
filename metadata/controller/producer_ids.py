"""Blocks of producer ids for brokers (KIP-730). The broker's epoch has been checked."""

from __future__ import annotations

from typing import Final

from kafkawire.errors import ErrorCode, KafkaError
from metadata.controller.commands import AllocateProducerIds, AllocateProducerIdsReply
from metadata.controller.decision import Decision, View
from metadata.records import ProducerIdsRecord

BLOCK_LENGTH: Final = 1000
"""Ids in a block (Kafka's `ProducerIdsBlock.PRODUCER_ID_BLOCK_SIZE`)."""

_MAX_ID: Final = 2**63 - 1


def allocate_producer_ids(view: View, command: AllocateProducerIds) -> Decision[AllocateProducerIdsReply]:
    """The next block. Raises KafkaError(UNKNOWN_SERVER_ERROR) when int64 has no more."""
    first = view.image.next_producer_id
    if first > _MAX_ID - BLOCK_LENGTH:
        raise KafkaError(ErrorCode.UNKNOWN_SERVER_ERROR, "Exhausted all producer ids.")
    record = ProducerIdsRecord(command.broker_id, command.broker_epoch, first + BLOCK_LENGTH)
    return Decision((record,), AllocateProducerIdsReply(first, BLOCK_LENGTH))
