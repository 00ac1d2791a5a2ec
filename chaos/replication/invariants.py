"""What must hold after every event of a replication history.

The truth about a partition is what any leader ever called committed: it only grows. Every batch is known by
(base offset, leader epoch): where two logs share one they agree on everything before (log matching), so that
a log has the whole truth if it has the truth's last batch.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable
from typing import Protocol
from uuid import UUID

from chaos.replication.known_logs import Batch, Shadow, Truth, peek
from chaos.trace import Trace
from kafkawire.batch_header import headers
from metadata.image import MetadataImage, PartitionImage
from metadata.invariants import image_violations, step_violations
from replication.client_read import ClientRead
from replication.fetch_messages import Key
from replication.leader import Leader
from replication.partition import Partition


class ClusterView(Protocol):
    """What the invariants look at beside the partition that just changed."""

    @property
    def image(self) -> MetadataImage:
        """What the controllers committed, to the last record."""

    def replica(self, broker_id: int, key: Key) -> Partition | None:
        """A partition in the live process of a broker."""

    def lost_power(self, broker_id: int, incarnation: UUID) -> bool:
        """Whether this incarnation of a broker may lack what it had."""


class ViolationError(Exception):
    """An invariant does not hold."""


class ReplicationInvariants:
    """Looks at every process after each of its events, and at every image of the controller."""

    def __init__(self, view: ClusterView, trace: Trace) -> None:
        self._view = view
        self._trace = trace
        self._truths: dict[Key, Truth] = {}
        self._shadows: dict[tuple[int, Key], Shadow] = {}
        self._lineage: dict[tuple[Key, int, int], tuple[int, int, int]] = {}
        self._acknowledged: list[tuple[Partition, int, int]] = []
        self.acknowledgements = 0

    # Events.

    def image_changed(self, old: MetadataImage, new: MetadataImage) -> None:
        """The controller committed something."""
        problems = step_violations(old, new) + image_violations(new)
        if problems:
            raise ViolationError(problems[0])
        for entry in new.topics.partitions():
            key = (entry.topic.topic_id.bytes, entry.number)
            if old.topics.partition(entry.topic.name, entry.number) is not entry.partition:
                partition = entry.partition
                self._trace.detail("image {}-{} {}", entry.topic.name, entry.number, partition)
                self._check_complete(key)
                replica = self._view.replica(partition.leader, key)
                if replica is not None:
                    self._check_maximal_isr(replica, partition)

    def appended(self, partition: Partition) -> None:
        """A leader took a batch from a client."""
        truth = self._truth(partition.key)
        leader = truth.leaders.setdefault(partition.leader_epoch, partition.local_id)
        if leader != partition.local_id:
            raise ViolationError(f"{leader} and {partition.local_id} both led at {partition!r}")

    def acknowledged(self, partition: Partition, first: int, end: int) -> None:
        """A leader told a producer that a batch is safe; looked at when the event is over."""
        self.appended(partition)
        self.acknowledgements += 1
        self._acknowledged.append((partition, first, end))
        place = partition.topic, partition.index, partition.local_id
        self._trace.detail("ack {}-{} by={} {}..{}", *place, first, end)

    def told_end(self, partition: Partition, end: int) -> None:
        """A client was told where the partition ends: never less than an older leader told (KIP-207)."""
        told = self._truth(partition.key).told
        epoch = partition.leader_epoch
        first, largest = told.get(epoch, (end, end))
        if end < largest:
            raise ViolationError(f"the end went back from {largest} to {end} in epoch {epoch}")
        told[epoch] = first, end
        for other, (others_first, others_largest) in told.items():
            if (other < epoch and others_largest > end) or (other > epoch and others_first < end):
                raise ViolationError(f"epoch {epoch} told the end {end}, epoch {other} {told[other]}")

    def read(self, partition: Partition, position: int, read: ClientRead) -> int:
        """A consumer read from `position`; returns where it goes on."""
        truth = self._truth(partition.key)
        if not read.records.size:
            return position
        number = truth.holding(position)
        for _, header in headers(read.records.bytes()):
            if number >= len(truth.batches) or truth.batches[number] != Batch.of(header):
                raise ViolationError(f"{header} was read from {partition!r} and is not what was committed")
            number += 1
            position = header.next_offset
        return position

    def out_of_range(self, partition: Partition, position: int) -> None:
        """A consumer that has read up to `position` was told that there is no such offset.

        A deposed leader that does not know it yet may say so, which is why clients name the epoch (KIP-320).
        """
        image = self._view.image.topics.partition(*partition.key)
        if image is None or image.leader_epoch != partition.leader_epoch:
            return
        raise ViolationError(f"offset {position} was read and is gone from {partition!r}")

    def observe(self, partitions: Iterable[Partition], *, after_power_cut: bool) -> None:
        """A process, which came up after a power cut or not, has done something to some of its partitions."""
        for partition in partitions:
            shadow = self._shadows.get((partition.local_id, partition.key))
            if shadow is None or shadow.differs(partition):
                self._look(partition, shadow, after_power_cut=after_power_cut)
        if self._acknowledged:
            acknowledged, self._acknowledged = self._acknowledged, []
            for partition, first, end in acknowledged:
                truth = self._truth(partition.key)
                if end <= truth.end:
                    continue
                shadow = self._shadows.get((partition.local_id, partition.key))
                if shadow is None or shadow.readable:
                    raise ViolationError(
                        f"{first}..{end} was acknowledged, {truth.end} is the end: {partition!r}"
                    )
                self._acknowledged.append((partition, first, end))

    # How a replica changed.

    def _look(self, partition: Partition, shadow: Shadow | None, *, after_power_cut: bool) -> None:
        broker_id, key = partition.local_id, partition.key
        if shadow is None or shadow.partition is not partition:
            shadow = self._shadows[broker_id, key] = Shadow(partition)
        truth = self._truth(key)
        shadow.readable = self._follow_log(broker_id, partition, shadow)
        if not shadow.readable:
            return
        if isinstance(partition.role, Leader):
            if shadow.role is partition.role and partition.high_watermark < shadow.high_watermark:
                raise ViolationError(
                    f"the high watermark went back from {shadow.high_watermark}: {partition!r}"
                )
            if partition.high_watermark > truth.end:
                self._commit(partition, shadow, truth)
            self._check_leader(broker_id, partition, shadow, truth)
        if shadow.high_watermark >= 0 or not after_power_cut:
            # A power cut may undo a truncation, so that the log is older than the checkpoint beside it.
            self._check_high_watermark(broker_id, partition, shadow, truth)
        role = partition.role
        shadow.role = role
        shadow.isr = role.isr if isinstance(role, Leader) else None
        shadow.epoch = partition.log.latest_epoch
        shadow.high_watermark = partition.high_watermark

    def _follow_log(self, broker_id: int, partition: Partition, shadow: Shadow) -> bool:
        """Take in what is new; False if that is damaged."""
        end = partition.log.end_offset
        key = partition.key
        if end < shadow.end:
            place = partition.topic, partition.index, broker_id
            self._trace.detail("cut {}-{} at={} {}->{}", *place, shadow.end, end)
            shadow.cut(end)
            self._check_complete(key)
        while shadow.end < end:
            seen = shadow.end
            found = peek(partition.log, seen, end)
            for batch in self._damaged(key, seen) if found is None else found:
                before = (shadow.batches[-1].base, shadow.batches[-1].epoch) if shadow.batches else (-1, -1)
                identity = (batch.crc, *before)
                known = self._lineage.setdefault((key, batch.base, batch.epoch), identity)
                if known != identity:
                    raise ViolationError(f"{broker_id} has another {batch} or another log before it: {known}")
                shadow.batches.append(batch)
                shadow.epochs[batch.base] = batch.epoch
                shadow.end = batch.next_offset
                self._trace.note(
                    f"log {partition.topic}-{partition.index} at={broker_id} {batch.base} epoch={batch.epoch}"
                )
            if shadow.end > seen:
                continue
            if found is None:
                return False
            raise ViolationError(f"{broker_id} has nothing at {seen} in a log up to {end}: {partition!r}")
        return True

    def _damaged(self, key: Key, offset: int) -> list[Batch]:
        """The batch that ought to be where none can be read, if it is a committed one: others have it."""
        truth = self._truth(key)
        number = truth.holding(offset)
        return truth.batches[number : number + 1]

    def _commit(self, partition: Partition, shadow: Shadow, truth: Truth) -> None:
        place = partition.topic, partition.index, partition.local_id
        self._trace.detail("commit {}-{} by={} {}", *place, partition.high_watermark)
        number = bisect_right(shadow.batches, truth.end, key=lambda batch: batch.next_offset)
        if truth.batches and not shadow.has(truth.batches[-1]):
            raise ViolationError(f"{partition!r} commits without {truth.batches[-1]}")
        while truth.end < partition.high_watermark:
            batch = shadow.batches[number]
            number += 1
            if batch.sequence >= 0 and not partition.topic.startswith("__"):
                # What a coordinator writes in a producer's name has no sequence.
                # Of whom nothing is known may begin anywhere, in Kafka as here (KIP-360).
                first = batch.producer_epoch, batch.sequence
                epoch, expected = truth.sequences.get(batch.producer_id, first)
                if epoch != batch.producer_epoch:
                    expected = 0
                if epoch > batch.producer_epoch or batch.sequence != expected:
                    raise ViolationError(f"sequence {expected} should have come, not that of {batch}")
                truth.sequences[batch.producer_id] = batch.producer_epoch, expected + batch.records
            truth.batches.append(batch)
            truth.end = batch.next_offset
        self._check_complete(partition.key)

    # What must hold.

    def _check_leader(self, broker_id: int, partition: Partition, shadow: Shadow, truth: Truth) -> None:
        # By its id: another topic may have the name by now.
        image = self._view.image.topics.partition(*partition.key)
        if image is None or image.leader != broker_id or image.leader_epoch != partition.leader_epoch:
            return
        if truth.batches and not shadow.has(truth.batches[-1]):
            raise ViolationError(f"the leader lacks {truth.batches[-1]}, which is committed: {partition!r}")
        self._check_maximal_isr(partition, image)

    @staticmethod
    def _check_maximal_isr(partition: Partition, image: PartitionImage) -> None:
        leader = partition.role
        if not isinstance(leader, Leader) or leader.epoch != image.leader_epoch:
            return
        maximal = leader.isr.maximal
        if not maximal.issuperset(image.isr):
            raise ViolationError(f"the controller's ISR {image.isr} is not within {maximal} of {partition!r}")

    def _check_high_watermark(
        self, broker_id: int, partition: Partition, shadow: Shadow, truth: Truth
    ) -> None:
        end = partition.high_watermark
        if end in (shadow.high_watermark, 0):
            return
        batch = shadow.ending_at(end)
        if end > truth.end or batch is None or batch != truth.batches[truth.holding(end - 1)]:
            raise ViolationError(f"{broker_id} takes {batch} for committed: {partition!r}")

    def _check_complete(self, key: Key) -> None:
        """Whoever may be elected has everything that is committed."""
        truth = self._truth(key)
        image = self._view.image
        topic = image.topics.by_id.get(truth.topic_id)
        if topic is None or not truth.batches:
            return
        partition = topic.partitions[key[1]]
        last = truth.batches[-1]
        for broker_id in (*partition.isr, *partition.elr):
            if self._view.lost_power(broker_id, image.brokers[broker_id].incarnation):
                continue  # it cannot be elected before it registers again, which takes it out
            shadow = self._shadows.get((broker_id, key))
            if shadow is not None and not shadow.readable:
                continue
            if shadow is None or not shadow.has(last):
                end = None if shadow is None else shadow.end
                raise ViolationError(
                    f"{broker_id} (log end {end}) may be elected without {last}: isr={partition.isr}"
                    f" elr={partition.elr} leader={partition.leader} epoch={partition.leader_epoch}"
                )

    def _truth(self, key: Key) -> Truth:
        truth = self._truths.get(key)
        if truth is None:
            truth = self._truths[key] = Truth(key)
        return truth

    # The end.

    def committed(self, key: Key) -> int:
        """How much of a partition is committed."""
        return self._truth(key).end
