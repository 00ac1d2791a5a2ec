"""Members of groups, and transactional producers."""

from __future__ import annotations

from collections.abc import Sequence

from confluent_kafka import Consumer, Producer, TopicPartition

from interop.confluent_kafka.connections import Deliveries, Setting, checked, settings
from interop.shared.client import Member, Membership, TransactionalProducer, Where
from interop.shared.telling import PATIENCE


def _settings(how: Membership) -> dict[str, Setting]:
    said: dict[str, Setting] = {"group_id": how.group}
    if how.next_gen:
        said["group_protocol"] = "consumer"
    else:
        said |= {"session_timeout_ms": 6000, "heartbeat_interval_ms": 500}
        said["partition_assignment_strategy"] = "cooperative-sticky" if how.cooperative else "range"
    if how.instance is not None:
        said["group_instance_id"] = how.instance
    return said


class GroupMember(Member):
    """A consumer that has subscribed."""

    def __init__(self, at: Where, how: Membership) -> None:
        super().__init__()
        self._topic = how.topic
        self.consumer = Consumer(
            settings(at, auto_offset_reset="earliest", enable_auto_commit=False, **_settings(how))
        )
        self.consumer.subscribe([how.topic], on_assign=self._on_assign, on_revoke=self._on_revoke)

    def _on_assign(self, *_: object) -> None:
        self.rebalances += 1

    def _on_revoke(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        self.given_up |= {each.partition for each in partitions}

    @property
    def partitions(self) -> set[int]:
        return {each.partition for each in self.consumer.assignment()}

    def poll(self) -> None:
        message = self.consumer.poll(0.05)
        if message is not None:
            self.values.append(int(checked(message).value() or b""))

    def commit(self, offset: int) -> None:
        position = TopicPartition(self._topic, 0, offset, metadata="so far")
        self.consumer.commit(offsets=[position], asynchronous=False)

    def committed(self) -> int:
        (found,) = self.consumer.committed([TopicPartition(self._topic, 0)], timeout=PATIENCE)
        return int(found.offset)

    def close(self) -> None:
        self.consumer.close()


class Transactions(TransactionalProducer):
    """Initialised."""

    def __init__(self, at: Where, transactional_id: str) -> None:
        self._producer = Producer(settings(at, transactional_id=transactional_id))
        self._producer.init_transactions(PATIENCE)

    def begin(self) -> None:
        self._producer.begin_transaction()

    def send(self, topic: str, numbers: Sequence[int]) -> None:
        deliveries = Deliveries(self._producer)
        for number in numbers:
            deliveries.send(topic, b"%d" % number, partition=0)
        deliveries.flush()

    def send_offset(self, reader: Member, membership: Membership, offset: int) -> None:
        assert isinstance(reader, GroupMember)
        position = TopicPartition(membership.topic, 0, offset)
        metadata = reader.consumer.consumer_group_metadata()
        self._producer.send_offsets_to_transaction([position], metadata, PATIENCE)

    def commit(self) -> None:
        self._producer.commit_transaction(PATIENCE)

    def abort(self) -> None:
        self._producer.abort_transaction(PATIENCE)
