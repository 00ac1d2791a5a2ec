"""One replica of one partition: its role, its high watermark, and who may read and write when.

Synchronous and without a clock: events come in with `now` (monotonic seconds), effects are visible at once
in the log, in `Outbox` (what the shell has to do) and through `Acknowledgement` and `Watcher` (who waits).
"""

from __future__ import annotations

from kafkawire.errors import ErrorCode, KafkaError
from logstore.log import EMPTY_SLICE, Append, EpochEnd, Log, LogSlice, Origin
from metadata.image import PartitionImage
from replication.client_read import ClientRead
from replication.follower import Follower, Offline
from replication.isr import CommittedIsr, IsrChange, PendingExpand, PendingShrink
from replication.leader import BrokerEpochs, Leader
from replication.outbox import Outbox
from replication.settings import ReplicationSettings
from replication.sync_schedule import SyncSchedule
from replication.waiting import Acknowledgement, Acknowledgements, Watcher

RETRY_ISR_AFTER = 0.5
"""Seconds before a leader asks again for an ISR change that the controller refused or did not make."""


class Partition:
    """A replica. `key` is (topic id, partition index)."""

    def __init__(
        self,
        topic: str,
        key: tuple[bytes, int],
        log: Log,
        local_id: int,
        settings: ReplicationSettings,
        outbox: Outbox,
        *,
        high_watermark: int = 0,
    ) -> None:
        self.topic = topic
        self.key = key
        self.log = log
        self.local_id = local_id
        self.settings = settings
        self.outbox = outbox
        self.role: Leader | Follower | Offline = Offline(-1)
        self.high_watermark = min(max(high_watermark, log.start_offset), log.end_offset)
        self.partition_epoch = -1
        self.acknowledgements = Acknowledgements()
        self.watchers: dict[Watcher, None] = {}
        self._syncs = SyncSchedule(log)

    def __repr__(self) -> str:
        return f"<{self.topic}-{self.index} {self.role!r} hw={self.high_watermark} end={self.log.end_offset}>"

    @property
    def index(self) -> int:
        return self.key[1]

    @property
    def leader_epoch(self) -> int:
        return self.role.epoch

    def leads(self) -> Leader:
        """The leader role; raises KafkaError NOT_LEADER_OR_FOLLOWER."""
        if isinstance(self.role, Leader):
            return self.role
        raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)

    def check_epoch(self, claimed: int) -> None:
        """Refuse a request from another leader epoch (KIP-320): FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH. -1
        claims nothing. Asked before who leads: a client that knows a newer epoch may be right to come."""
        if claimed in (-1, self.role.epoch):
            return
        if claimed < self.role.epoch:
            raise KafkaError(ErrorCode.FENCED_LEADER_EPOCH)
        raise KafkaError(ErrorCode.UNKNOWN_LEADER_EPOCH)

    # -- roles ------------------------------------------------------------------------------------

    def update(self, image: PartitionImage, broker_epochs: BrokerEpochs, now: float) -> None:
        """Take the role that the metadata gives this replica. A stale image changes nothing."""
        if image.partition_epoch < self.partition_epoch or image.leader_epoch < self.role.epoch:
            return
        if image.leader == self.local_id:
            self._lead(image, broker_epochs, now)
        elif image.leader < 0:
            self._step_down(Offline(image.leader_epoch))
        else:
            self._step_down(Follower(image.leader, image.leader_epoch))
        self.partition_epoch = image.partition_epoch
        self._sync_if_owed()

    def configure(self, settings: ReplicationSettings) -> None:
        """Obey other settings from now on."""
        self.settings = settings
        self._sync_if_owed()

    def _sync_if_owed(self) -> None:
        # A process that was killed leaves what nobody has synced, and so does one that is told to only now.
        if self.held_end() < self.log.end_offset:
            self.outbox.want_sync(self)

    def _lead(self, image: PartitionImage, broker_epochs: BrokerEpochs, now: float) -> None:
        committed = CommittedIsr(frozenset(image.isr), image.partition_epoch)
        role = self.role
        if isinstance(role, Leader) and role.epoch == image.leader_epoch:
            if image.partition_epoch > role.isr.committed.partition_epoch:
                role.isr = committed
        else:
            self.log.assign_epoch(image.leader_epoch)
            role = Leader(self.local_id, image.leader_epoch, self.log.end_offset, committed, broker_epochs)
            self.role = role
            self._notify()
        role.assign(tuple(image.replicas), now)
        self._advance(role, now)

    def _step_down(self, role: Follower | Offline) -> None:
        if self.role == role:
            return
        was_leader = isinstance(self.role, Leader)
        self.role = role
        if was_leader:
            self.acknowledgements.fail(self, ErrorCode.NOT_LEADER_OR_FOLLOWER)
        self._notify()

    def close(self) -> None:
        """The replica leaves this broker: whoever waits is told. The log is its owner's to close."""
        self._step_down(Offline(self.role.epoch))
        self._notify()

    def _notify(self) -> None:
        if self.watchers:
            for watcher in tuple(self.watchers):
                watcher.notify(self)

    # -- the leader: clients ----------------------------------------------------------------------

    def check_append(self, acks: int) -> Leader:
        """Whether a batch may be appended; with `acks` -1 the ISR must have min.insync.replicas members.
        Raises KafkaError NOT_LEADER_OR_FOLLOWER, NOT_ENOUGH_REPLICAS."""
        leader = self.role
        if not isinstance(leader, Leader):
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        if acks == -1 and self._is_under_min_isr(leader):
            raise KafkaError(ErrorCode.NOT_ENOUGH_REPLICAS)
        return leader

    def append(
        self, records: bytes | memoryview, acks: int, now: float, now_ms: int, origin: Origin = Origin.CLIENT
    ) -> Append:
        """Append one batch. Raises KafkaError (see `check_append`, `Log.append_as_leader`), StorageError."""
        leader = self.check_append(acks)
        appended = self.log.append_as_leader(records, leader.epoch, now_ms, origin=origin)
        if not appended.duplicate:
            if leader.followers:
                leader.appended(appended.first_offset, now)
            if self.settings.sync_before_acknowledging or self._syncs.is_full():
                self.outbox.want_sync(self)
            self._advance(leader, now)
            self._notify()
        return appended

    def await_commit(self, next_offset: int, deadline: float, waiter: Acknowledgement) -> bool:
        """True if everything below `next_offset` is committed already; else `waiter` is told once it is, once
        it cannot be, or when `deadline` (monotonic seconds) has passed and `expire` is called."""
        if self.high_watermark >= next_offset:
            return True
        self.acknowledgements.add(next_offset, deadline, waiter)
        return False

    def read(
        self,
        offset: int,
        max_bytes: int,
        *,
        read_committed: bool = False,
        claimed_epoch: int = -1,
        at_least_one: bool = True,
    ) -> ClientRead:
        """Read for a consumer: nothing at or above the high watermark, or the last stable offset. Raises
        KafkaError NOT_LEADER_OR_FOLLOWER, FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH, OFFSET_OUT_OF_RANGE.
        """
        if claimed_epoch != -1:
            self.check_epoch(claimed_epoch)
        self.leads()
        log = self.log
        start = log.start_offset
        if not start <= offset <= log.end_offset:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
        stable = log.last_stable_offset(self.high_watermark)
        limit = stable if read_committed else self.high_watermark
        if offset >= limit:
            return ClientRead(EMPTY_SLICE, self.high_watermark, stable, start, [] if read_committed else None)
        records = log.read(offset, max_bytes, up_to=limit, at_least_one=at_least_one)
        aborted = log.aborted_transactions(offset, records.next_offset) if read_committed else None
        return ClientRead(records, self.high_watermark, stable, start, aborted)

    def latest_offset(self, *, read_committed: bool, claimed_epoch: int = -1) -> int:
        """The end that a consumer sees. OFFSET_NOT_AVAILABLE until the high watermark of a new leader has
        reached the start of its epoch: an older leader may have shown more (KIP-207)."""
        self.check_epoch(claimed_epoch)
        leader = self.leads()
        if self.high_watermark < leader.start_offset:
            raise KafkaError(ErrorCode.OFFSET_NOT_AVAILABLE)
        return self.log.last_stable_offset(self.high_watermark) if read_committed else self.high_watermark

    # -- the leader: followers and the controller -------------------------------------------------

    def fetched_by(
        self,
        follower_id: int,
        broker_epoch: int,
        claimed_epoch: int,
        offset: int,
        last_epoch: int,
        now: float,
    ) -> EpochEnd | None:
        """Take a follower's fetch at `offset` as its acknowledgement of all below.

        Returns None, or where the follower's log parted from ours (KIP-595's diverging epoch): then nothing
        is acknowledged and it has to truncate first. Raises KafkaError NOT_LEADER_OR_FOLLOWER (also for one
        that is no replica or is an older incarnation), FENCED_LEADER_EPOCH, UNKNOWN_LEADER_EPOCH,
        OFFSET_OUT_OF_RANGE.
        """
        leader = self.leads()
        if claimed_epoch != leader.epoch:
            self.check_epoch(claimed_epoch if claimed_epoch >= 0 else -2)
        progress = leader.followers.get(follower_id)
        if progress is None or (
            broker_epoch != progress.broker_epoch and leader.is_replaced(follower_id, broker_epoch)
        ):
            raise KafkaError(ErrorCode.NOT_LEADER_OR_FOLLOWER)
        log = self.log
        if last_epoch >= 0:
            agreed = log.end_offset_for_epoch(last_epoch)
            if agreed.epoch < last_epoch or agreed.end_offset < offset:
                if agreed.epoch < 0:
                    raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
                return agreed
        if not log.start_offset <= offset <= log.end_offset:
            raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
        progress.fetched(offset, broker_epoch, log.end_offset, now)
        if leader.proposes_to_add(follower_id, self.high_watermark, now):
            self.outbox.want_isr_change(self)
        self._advance(leader, now)
        return None

    def read_for_follower(self, offset: int, max_bytes: int) -> LogSlice:
        """Everything that the leader has from `offset` on, committed or not."""
        if offset >= self.log.end_offset:
            return EMPTY_SLICE
        return self.log.read(offset, max_bytes, up_to=self.log.end_offset, at_least_one=True)

    def isr_change(self, local_broker_epoch: int) -> IsrChange | None:
        """The change that waits for the controller, or None when it was overtaken."""
        leader = self.role
        if not isinstance(leader, Leader) or isinstance(leader.isr, CommittedIsr):
            return None
        return IsrChange(
            topic=self.topic,
            partition=self.index,
            topic_id=self.key[0],
            leader_epoch=leader.epoch,
            partition_epoch=leader.isr.committed.partition_epoch,
            members=leader.members_with_epochs(leader.isr, local_broker_epoch),
        )

    def isr_changed(self, change: IsrChange, isr: frozenset[int], partition_epoch: int, now: float) -> None:
        """The controller agreed to `change`; the partition is at `partition_epoch` now.

        A smaller ISR, and one after one too small to commit, count once the metadata tells of them and of the
        min.insync.replicas by which the controller judged who stays eligible (KIP-966): it may be new.
        """
        leader = self.role
        if not isinstance(leader, Leader) or leader.epoch != change.leader_epoch:
            return
        if isinstance(leader.isr, PendingShrink) or self._is_under_min_isr(leader):
            return
        if partition_epoch > leader.isr.committed.partition_epoch:
            leader.isr = CommittedIsr(isr, partition_epoch)
            self.partition_epoch = max(self.partition_epoch, partition_epoch)
            self._advance(leader, now)

    def isr_change_refused(self, change: IsrChange, error: ErrorCode, now: float) -> None:
        """The controller refused `change`.

        INELIGIBLE_REPLICA alone says that it was not made, since the controller hears one broker's requests
        in their order: fall back to what is committed, and ask again later. After any other error an earlier
        request, whose answer was lost, may have made it, so the change stays pending until the metadata
        tells (Kafka's `Partition.handleAlterPartitionError`).
        """
        leader = self.role
        if error is not ErrorCode.INELIGIBLE_REPLICA:
            return
        if not isinstance(leader, Leader) or leader.epoch != change.leader_epoch:
            return
        if isinstance(leader.isr, PendingExpand | PendingShrink) and (
            leader.isr.committed.partition_epoch == change.partition_epoch
        ):
            leader.isr = leader.isr.committed
            leader.retry_isr_at = now + RETRY_ISR_AFTER
            self._advance(leader, now)

    def tick(self, now: float) -> None:
        """Look for followers that fell behind and producers that waited too long, a few times a second."""
        self.acknowledgements.expire(self, now)
        if self._syncs.is_due(now):
            self.outbox.want_sync(self)
        leader = self.role
        if not isinstance(leader, Leader) or leader.is_at_rest(self.high_watermark, self.log.end_offset):
            return
        if leader.proposes_to_remove(self.log.end_offset, now, self.settings.replica_lag_time_max):
            self.outbox.want_isr_change(self)
        elif not isinstance(leader.isr, CommittedIsr) and now >= leader.retry_isr_at:
            leader.retry_isr_at = now + RETRY_ISR_AFTER
            self.outbox.want_isr_change(self)
        self.reconsider_isr(now)

    def reconsider_isr(self, now: float) -> None:
        """A broker came back or the controller refused earlier: whoever has caught up may join now."""
        leader = self.role
        if not isinstance(leader, Leader):
            return
        if isinstance(leader.isr, CommittedIsr) and len(leader.isr.members) < len(leader.replicas):
            for broker in leader.followers:
                if leader.proposes_to_add(broker, self.high_watermark, now):
                    self.outbox.want_isr_change(self)
                    break
        self._advance(leader, now)

    def synced(self, offset: int, now: float) -> None:
        """Everything below `offset` survives a power cut."""
        self.log.synced_to(offset)
        if isinstance(self.role, Leader):
            self._advance(self.role, now)

    def held_end(self) -> int:
        """The end of what this replica may vouch for: its log, or what is synced where that is asked."""
        if self.settings.sync_before_acknowledging:
            return min(self.log.recovery_point, self.log.end_offset)
        return self.log.end_offset

    def _is_under_min_isr(self, leader: Leader) -> bool:
        return leader.in_sync < self.settings.min_insync_replicas and leader.in_sync < len(leader.replicas)

    def _advance(self, leader: Leader, now: float) -> None:
        # KIP-966: under min.insync.replicas nothing commits, so an eligible leader replica misses nothing.
        if self._is_under_min_isr(leader):
            return
        end = leader.committed_end(self.held_end(), now, self.settings.replica_lag_time_max)
        if end <= self.high_watermark:
            return
        self.high_watermark = end
        self.acknowledgements.release(self, end, ErrorCode.NONE)
        self._notify()

    # -- the follower -----------------------------------------------------------------------------

    def follows(self, leader_id: int, epoch: int) -> bool:
        """Whether an answer from that leader in that epoch still concerns this replica."""
        return self.role == Follower(leader_id, epoch)

    def replicate(self, records: memoryview | bytes, leader_high_watermark: int, leader_start: int) -> None:
        """Append what the leader sent, as it is, and follow its high watermark and log start.

        Raises KafkaError CORRUPT_MESSAGE when the bytes changed on the way, and StorageError.
        """
        if len(records):
            self.log.append_as_follower(records)
            if self.settings.sync_before_acknowledging or self._syncs.is_full():
                self.outbox.want_sync(self)
        self.high_watermark = max(self.high_watermark, min(leader_high_watermark, self.log.end_offset))
        if leader_start > self.log.start_offset:
            self.log.advance_start(min(leader_start, self.high_watermark))

    def truncate_to_agreement(self, diverging: EpochEnd) -> None:
        """The leader has epoch `diverging.epoch` up to `diverging.end_offset`; give up what it cannot have.

        Where our own log knows only an older epoch, we fall back to that one's end and ask again (KIP-279).
        """
        ours = self.log.end_offset_for_epoch(diverging.epoch)
        if ours.epoch < 0:
            keep = self.log.start_offset
        elif ours.epoch < diverging.epoch:
            keep = ours.end_offset
        else:
            keep = min(ours.end_offset, diverging.end_offset)
        self.log.truncate_to(min(keep, self.log.end_offset))
        self._was_cut()

    def restart_at(self, offset: int) -> None:
        """The leader no longer has what we would fetch next: begin anew at its log start."""
        self.log.reset_to(offset)
        self.high_watermark = offset
        self._was_cut()

    def _was_cut(self) -> None:
        # The cut may lie below what was asked for: batches are not divided.
        self.high_watermark = min(self.high_watermark, self.log.end_offset)
        self.outbox.was_cut(self)
