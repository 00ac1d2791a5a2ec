"""Questions to the coordinator of transactions, and what is remembered of those that nobody answered."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import Any, cast

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.produce import ProducePartition, ProduceRequest
from kafkawire.records import build_batch
from kraft.broker.transaction_verification import TransactionVerification
from kraft.coordinator.transaction.commands import VerifyPartitions
from logstore.config import LogConfig
from logstore.log import Log
from logstore.memory import MemoryStorage
from replication.outbox import Outbox
from replication.partition import Partition
from replication.settings import ReplicationSettings

NOW_MS = 1_700_000_000_000


class Coordinator:
    """Agrees to everything, where it is found."""

    leader: int | None = None

    def leader_of(self, _: tuple[str, int]) -> int | None:
        return self.leader

    def partition_for(self, _: str) -> int:
        return 0

    async def verify(self, command: VerifyPartitions) -> Sequence[ErrorCode]:
        return [ErrorCode.NONE for _ in command.partitions]


class OnePartition:
    """The replicas of a broker that has one partition."""

    def __init__(self, partition: Partition) -> None:
        self._partition = partition

    def get(self, topic: str, index: int) -> Partition | None:
        return self._partition if (topic, index) == (self._partition.topic, 0) else None


def produce(sequence: int) -> ProduceRequest:
    batch = build_batch(
        [(NOW_MS, None, b"x")], producer_id=7, producer_epoch=0, base_sequence=sequence, transactional=True
    )
    return ProduceRequest("copier", -1, 5000, [ProducePartition("orders", 0, batch)])


def test_a_batch_does_not_overtake_one_that_found_no_coordinator() -> None:
    log = Log.open(MemoryStorage(random.Random(1)), "/data/orders-0", LogConfig(), now_ms=NOW_MS)
    partition = Partition("orders", (b"id", 0), log, 1, ReplicationSettings(), Outbox(lambda: None))
    coordinator = Coordinator()
    verification = TransactionVerification(
        1, cast(Any, coordinator), cast(Any, None), cast(Any, OnePartition(partition)), coordinator.leader_of
    )

    def send(sequence: int) -> ErrorCode:
        request = produce(sequence)
        questions = verification.questions(request)
        refused = asyncio.run(verification.ask("copier", questions))
        try:
            if refused:
                return refused["orders", 0]
            log.append_as_leader(request.partitions[0].records or b"", 1, NOW_MS)
        except KafkaError as error:
            return error.code
        finally:
            verification.settle(questions)
        return ErrorCode.NONE

    assert send(0) is ErrorCode.COORDINATOR_NOT_AVAILABLE
    coordinator.leader = 1
    assert send(1) is ErrorCode.OUT_OF_ORDER_SEQUENCE_NUMBER
    assert [send(number) for number in range(3)] == [ErrorCode.NONE] * 3
