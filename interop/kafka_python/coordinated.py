"""Members of groups, and transactional producers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

from kafka import ConsumerRebalanceListener, KafkaConsumer, KafkaProducer, OffsetAndMetadata, TopicPartition
from kafka.coordinator.assignors.cooperative_sticky import CooperativeStickyAssignor
from kafka.coordinator.assignors.range import RangePartitionAssignor

from interop.shared.client import Member, Membership, TransactionalProducer, Where
from interop.shared.telling import PATIENCE, Unsupported

_T = TypeVar("_T")


class GroupMember(Member):
    """A consumer that has subscribed.

    It polls in a thread of its own, as each consumer of a real program does. The library forgets what comes
    of a join or a sync that ends between two polls; members that are polled in turn find that in nearly
    every round, and on a slow machine never come to an end.
    """

    def __init__(self, at: Where, how: Membership) -> None:
        super().__init__()
        if how.next_gen:
            raise Unsupported("the library speaks the classic group protocol only")
        more: dict[str, Any] = {"group_instance_id": how.instance} if how.instance is not None else {}
        assignor = CooperativeStickyAssignor if how.cooperative else RangePartitionAssignor
        self._partition = TopicPartition(how.topic, 0)
        self._consumer = KafkaConsumer(
            bootstrap_servers=at.bootstrap,
            group_id=how.group,
            auto_offset_reset="earliest",
            enable_auto_commit=False,
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
            partition_assignment_strategy=[assignor],
            **more,
        )
        self._consumer.subscribe([how.topic], listener=_Listener(self))
        # A leader that learns of the partitions after its first join joins again for their sake.
        self._consumer.partitions_for_topic(how.topic)
        self._asked: queue.SimpleQueue[Callable[[], bool]] = queue.SimpleQueue()
        self._arrived: queue.SimpleQueue[int | Exception] = queue.SimpleQueue()
        threading.Thread(target=self._live, daemon=True).start()

    def _live(self) -> None:
        """Poll, and do between the polls what is asked, until that says to stop."""
        goes_on = True
        while goes_on:
            try:
                goes_on = self._asked.get_nowait()()
            except queue.Empty:
                self._poll_once()

    def _poll_once(self) -> None:
        # One without partitions is joining: nobody asks anything of it, and it is not to be broken off.
        timeout_ms = 50 if self.partitions else 1000
        try:
            for records in self._consumer.poll(timeout_ms=timeout_ms).values():
                for record in records:
                    self._arrived.put(int(record.value))
        except Exception as error:  # noqa: BLE001 - whoever polls next is to see it
            self._arrived.put(error)

    def _do(self, ask: Callable[[], _T], goes_on: bool = True) -> _T:
        """What it comes to in the thread, between two polls or as its end."""
        answer: Future[_T] = Future()

        def answered() -> bool:
            try:
                answer.set_result(ask())
            except Exception as error:  # noqa: BLE001 - whoever asked is to see it
                answer.set_exception(error)
            return goes_on

        self._asked.put(answered)
        return answer.result(PATIENCE)

    @property
    def partitions(self) -> set[int]:
        return {each.partition for each in self._consumer.assignment()}

    def poll(self) -> None:
        try:
            self._take(self._arrived.get(timeout=0.05))
        except queue.Empty:
            return
        while not self._arrived.empty():
            self._take(self._arrived.get())

    def _take(self, arrived: int | Exception) -> None:
        if isinstance(arrived, Exception):
            raise arrived
        self.values.append(arrived)

    def commit(self, offset: int) -> None:
        self._do(lambda: self._consumer.commit({self._partition: OffsetAndMetadata(offset, "so far", -1)}))

    def committed(self) -> int:
        found = self._do(lambda: self._consumer.committed(self._partition))
        return -1 if found is None else int(found)

    def metadata(self) -> Any:
        """What a transaction has to say of the member that it commits for."""
        return self._do(self._consumer.group_metadata)

    def close(self) -> None:
        self._do(self._consumer.close, goes_on=False)


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
