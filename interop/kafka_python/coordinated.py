"""Members of groups, and transactional producers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor

from interop.kafka_python.consumer_thread import ConsumerThread
from interop.shared.client import Member, Membership, TransactionalProducer, Where
from interop.shared.telling import PATIENCE, Unsupported


class GroupMember(Member):
    """A consumer that has subscribed."""

    def __init__(self, at: Where, how: Membership) -> None:
        super().__init__()
        if how.next_gen:
            raise Unsupported("the library speaks the classic group protocol only")
        more: dict[str, Any] = {"group_instance_id": how.instance} if how.instance is not None else {}
        assignor = CooperativeStickyAssignor if how.cooperative else RangePartitionAssignor
        self._partition = TopicPartition(how.topic, 0)
        consumer = KafkaConsumer(
            bootstrap_servers=at.bootstrap,
            group_id=how.group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
            partition_assignment_strategy=[assignor],
            **more,
        )
        consumer.subscribe([how.topic], listener=_Listener(self))
        self._thread = ConsumerThread(consumer)

    @property
    def partitions(self) -> set[int]:
        return self._thread.partitions

    def poll(self) -> None:
        self.values += [int(record.value) for record in self._thread.records(timeout=0.05)]

    def commit(self, offset: int) -> None:
        position = {self._partition: OffsetAndMetadata(offset, "so far", -1)}
        self._thread.do(lambda consumer: consumer.commit(position))

    def committed(self) -> int:
        found = self._thread.do(lambda consumer: consumer.committed(self._partition))
        return -1 if found is None else int(found)

    def metadata(self) -> Any:
        """What a transaction has to say of the member that it commits for."""
        return self._thread.do(lambda consumer: consumer.group_metadata())

    def close(self) -> None:
        self._thread.close()


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    def __init__(self, member: Member) -> None:
        self._member = member

    def on_partitions_assigned(self, _: object) -> None:
        self._member.rebalances += 1

    def on_partitions_revoked(self, revoked: set[TopicPartition]) -> None:
        self._member.given_up |= {each.partition for each in revoked}


class Transactions(TransactionalProducer):
    """Initialised."""

    def __init__(self, at: Where, transactional_id: str) -> None:
        self._producer = KafkaProducer(bootstrap_servers=at.bootstrap, transactional_id=transactional_id)
        self._producer.init_transactions()

    def begin(self) -> None:
        self._producer.begin_transaction()

    def send(self, topic: str, numbers: Sequence[int]) -> None:
        for sent in [self._producer.send(topic, b"%d" % number, partition=0) for number in numbers]:
            sent.get(PATIENCE)

    def send_offset(self, reader: Member, membership: Membership, offset: int) -> None:
        assert isinstance(reader, GroupMember)
        position = {TopicPartition(membership.topic, 0): OffsetAndMetadata(offset, "", -1)}
        self._producer.send_offsets_to_transaction(position, reader.metadata())

    def commit(self) -> None:
        self._producer.commit_transaction()

    def abort(self) -> None:
        self._producer.abort_transaction()

    def close(self) -> None:
        self._producer.close(timeout=1)
