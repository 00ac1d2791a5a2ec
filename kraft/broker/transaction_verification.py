"""Asks the transaction coordinator, before a transaction begins in a partition, whether it is to be part of
it, or makes it part of it (KIP-890; Kafka's `AddPartitionsToTxnManager`).

A call's value is [transactional id, producer id, epoch, [[topic, partition]], whether to add], its answer one
error code for each partition.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final, NamedTuple

from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.produce import ProduceRequest
from kafkawire.records import NO_SEQUENCE, read_header
from kraft.broker.neighbours import Neighbours
from kraft.coordinator.decision import Producer
from kraft.coordinator.transaction.commands import AddPartitions, VerifyPartitions
from kraft.coordinator.transaction.coordinator import TOPIC, TransactionCoordinator
from kraft.coordinator.transaction.marker_queue import LeaderOf
from kraft.coordinator.transaction.states import TRANSACTION_V2, TopicPartition
from kraft.transport.errors import PeerError
from kraft.transport.link import Link
from kraft.transport.messages import Reply
from logstore.verification import Verification
from metadata.image import INTERNAL_TOPICS
from replication.partition import Partition
from replication.replicas import Replicas

VERIFY: Final = "transactions.verify"

VERIFY_TIMEOUT: Final = 5.0
"""Seconds to wait for the coordinator; after that the client tries again."""


ADD_ATTEMPTS: Final = 3
"""Times that a partition is added while the transaction before is not over: each waits for its end."""


class Question(NamedTuple):
    """A partition in which a transaction is about to begin with a batch of that sequence, and the leave that
    is asked for."""

    partition: Partition
    producer: Producer
    sequence: int
    verification: Verification

    @property
    def place(self) -> TopicPartition:
        return (self.partition.topic, self.partition.index)


class TransactionVerification:
    """`local_id` is this broker; `leader_of` tells where the coordinator is."""

    def __init__(
        self,
        local_id: int,
        coordinator: TransactionCoordinator,
        neighbours: Neighbours,
        replicas: Replicas,
        leader_of: LeaderOf,
    ) -> None:
        self._local_id = local_id
        self._coordinator = coordinator
        self._neighbours = neighbours
        self._replicas = replicas
        self._leader_of = leader_of

    async def handle(self, _: Link, value: Any) -> Reply:
        """Answer VERIFY."""
        transactional_id, producer_id, epoch, partitions, add = value
        command = VerifyPartitions(
            transactional_id,
            Producer(producer_id, epoch),
            tuple((topic, index) for topic, index in partitions),
        )
        return Reply([int(code) for code in await self._answer(command, add)])

    async def _answer(self, command: VerifyPartitions, add: bool) -> Sequence[ErrorCode]:
        if not add:
            return await self._coordinator.verify(command)
        await self._coordinator.add_partitions(
            AddPartitions(
                command.transactional_id, command.producer, frozenset(command.partitions), TRANSACTION_V2
            )
        )
        return [ErrorCode.NONE] * len(command.partitions)

    # -- which ------------------------------------------------------------------------------------

    def questions(self, produce: ProduceRequest) -> list[Question]:
        """The partitions of a request in which it would begin a transaction. What is wrong with a batch is
        for the append to say."""
        questions = []
        for part in produce.partitions:
            if part.records is None:
                continue
            partition = self._replicas.get(part.topic, part.partition)
            if partition is None or partition.topic in INTERNAL_TOPICS:
                continue
            try:
                header = read_header(part.records)
            except KafkaError:
                continue
            if header.is_transactional and header.producer_id >= 0:
                producer = Producer(header.producer_id, header.producer_epoch)
                question = self.question(partition, producer, header.base_sequence)
                if question is not None:
                    questions.append(question)
        return questions

    def question(
        self, partition: Partition, producer: Producer, sequence: int = NO_SEQUENCE
    ) -> Question | None:
        """What to ask before the producer writes there; None if its transaction is open already."""
        if partition.log.producers.has_open(producer.producer_id, producer.producer_epoch):
            return None
        return self._ask_for(partition, producer, sequence)

    @staticmethod
    def _ask_for(partition: Partition, producer: Producer, sequence: int) -> Question:
        verifications = partition.log.producers.verifications
        verification = verifications.ask(producer.producer_id, producer.producer_epoch, sequence)
        return Question(partition, producer, sequence, verification)

    # -- whether ----------------------------------------------------------------------------------

    async def ask(
        self, transactional_id: str, questions: Sequence[Question]
    ) -> dict[TopicPartition, ErrorCode]:
        """Why transactions may not begin, by partition; they may in all others, if the append follows without
        an await. TRANSACTION_ABORTABLE says that the partition is not part of the transaction."""
        return await self._ask_all(transactional_id, questions, add=False)

    async def add(
        self, transactional_id: str, questions: Sequence[Question]
    ) -> dict[TopicPartition, ErrorCode]:
        """Make the partitions part of the transaction; the answer is that of `ask`.

        CONCURRENT_TRANSACTIONS says that the one before is not over in every partition.
        """
        for _ in range(ADD_ATTEMPTS - 1):
            refused = await self._ask_all(transactional_id, questions, add=True)
            if ErrorCode.CONCURRENT_TRANSACTIONS not in refused.values():
                return refused
            # The coordinator has waited, and the marker that it waited for has taken the questions back.
            questions = [self._ask_for(each.partition, each.producer, each.sequence) for each in questions]
        return await self._ask_all(transactional_id, questions, add=True)

    async def _ask_all(
        self, transactional_id: str, questions: Sequence[Question], *, add: bool
    ) -> dict[TopicPartition, ErrorCode]:
        producers = dict.fromkeys(question.producer for question in questions)
        groups = [[each for each in questions if each.producer == producer] for producer in producers]
        answers = await asyncio.gather(*(self._ask_one(transactional_id, group, add) for group in groups))
        taken_back = ErrorCode.CONCURRENT_TRANSACTIONS if add else ErrorCode.INVALID_TXN_STATE
        refused = {}
        for group, codes in zip(groups, answers, strict=True):
            for question, code in zip(group, codes, strict=True):
                granted = code is ErrorCode.NONE and (
                    question.partition.log.producers.verifications.grant(question.verification)
                )
                if not granted:
                    refused[question.place] = code or taken_back
        return refused

    async def _ask_one(
        self, transactional_id: str, questions: Sequence[Question], add: bool
    ) -> Sequence[ErrorCode]:
        command = VerifyPartitions(
            transactional_id, questions[0].producer, tuple(question.place for question in questions)
        )
        try:
            return await self._ask_coordinator(command, add)
        except KafkaError as error:
            fenced = error.code is ErrorCode.PRODUCER_FENCED
            return [ErrorCode.INVALID_PRODUCER_EPOCH if fenced else error.code] * len(questions)

    async def _ask_coordinator(self, command: VerifyPartitions, add: bool) -> Sequence[ErrorCode]:
        index = self._coordinator.partition_for(command.transactional_id)
        broker = self._leader_of((TOPIC, index))
        if broker == self._local_id:
            return await self._answer(command, add)
        peer = None if broker is None else self._neighbours.peer(broker)
        if peer is None:
            raise KafkaError(ErrorCode.COORDINATOR_NOT_AVAILABLE)
        producer = command.producer
        value = [
            command.transactional_id,
            producer.producer_id,
            producer.producer_epoch,
            [list(each) for each in command.partitions],
            add,
        ]
        try:
            response = await peer.call(VERIFY, value, timeout=VERIFY_TIMEOUT)
        except PeerError as error:
            raise KafkaError(ErrorCode.NETWORK_EXCEPTION, str(error)) from error
        return [ErrorCode(code) for code in response.value]

    @staticmethod
    def settle(questions: Sequence[Question]) -> None:
        """The append was done, or came to nothing: no leave is left over."""
        for question in questions:
            question.partition.log.producers.verifications.take_back(question.producer.producer_id)
