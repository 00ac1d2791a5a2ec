"""The rules of replication, each taken away from outside: the simulation has to notice."""

from __future__ import annotations

from collections.abc import Mapping

from chaos.planting import Mutant
from kafkawire.errors import ErrorCode, KafkaError
from logstore.log import EpochEnd
from metadata.image import PartitionImage
from replication.follower import Follower
from replication.isr import CommittedIsr, IsrChange, PendingExpand, PendingShrink
from replication.leader import BrokerEpochs, FollowerProgress, Leader
from replication.partition import Partition
from replication.settings import ReplicationSettings

_update = Partition.update
_fetched_by = Partition.fetched_by
_configure = Partition.configure


def _truncate_to_high_watermark(
    self: Partition, image: PartitionImage, broker_epochs: BrokerEpochs, now: float
) -> None:
    before = self.role
    _update(self, image, broker_epochs, now)
    if self.role != before and isinstance(self.role, Follower):
        self.log.truncate_to(self.high_watermark)


def _only_committed(self: PendingExpand) -> frozenset[int]:
    return self.committed.members


def _with_the_new(self: PendingExpand) -> frozenset[int]:
    return self.committed.members | {self.adding}


def _only_remaining(self: PendingShrink) -> frozenset[int]:
    return self.proposed


def _fall_back(self: Partition, change: IsrChange, error: ErrorCode, now: float) -> None:
    del error
    leader = self.role
    if isinstance(leader, Leader) and leader.epoch == change.leader_epoch:
        leader.isr = leader.isr.committed
        self._advance(leader, now)


def _fetched_in_any_epoch(
    self: Partition,
    follower_id: int,
    broker_epoch: int,
    claimed_epoch: int,
    offset: int,
    last_epoch: int,
    now: float,
) -> EpochEnd | None:
    del claimed_epoch, last_epoch
    return _fetched_by(self, follower_id, broker_epoch, self.leader_epoch, offset, -1, now)


def _fetched_by_any_incarnation(
    self: Partition,
    follower_id: int,
    broker_epoch: int,
    claimed_epoch: int,
    offset: int,
    last_epoch: int,
    now: float,
) -> EpochEnd | None:
    leader = self.leads()
    progress, known = leader.followers.get(follower_id), leader.broker_epochs(follower_id)
    latest = max(
        broker_epoch,
        progress.broker_epoch if progress is not None else -1,
        known if known is not None else -1,
    )
    return _fetched_by(self, follower_id, latest, claimed_epoch, offset, last_epoch, now)


def _add_if_eligible(self: Leader, broker: int, high_watermark: int, now: float) -> bool:
    isr = self.isr
    if isinstance(isr, PendingExpand | PendingShrink) or broker in isr.members or now < self.retry_isr_at:
        return False
    end = self.followers[broker].end_offset
    if end < max(high_watermark, self.start_offset) or self.broker_epochs(broker) is None:
        return False
    self.isr = PendingExpand(isr, broker, -1)
    return True


def _without_epochs(
    self: Leader, pending: PendingExpand | PendingShrink, local_broker_epoch: int
) -> tuple[tuple[int, int], ...]:
    del self, local_broker_epoch
    return tuple((broker, -1) for broker in sorted(pending.proposed))


def _leader_end(self: Leader, local_end: int, now: float, lag: float) -> int:
    del self, now, lag
    return local_end


def _add_at_once(self: Leader, broker: int, high_watermark: int, now: float) -> bool:
    del high_watermark
    isr = self.isr
    if isinstance(isr, PendingExpand | PendingShrink) or broker in isr.members or now < self.retry_isr_at:
        return False
    follower: FollowerProgress = self.followers[broker]
    if follower.end_offset < 0 or self.broker_epochs(broker) != follower.broker_epoch:
        return False
    self.isr = PendingExpand(isr, broker, follower.broker_epoch)
    return True


def ignore_divergence(
    self: Partition,
    follower_id: int,
    broker_epoch: int,
    claimed_epoch: int,
    offset: int,
    last_epoch: int,
    now: float,
) -> EpochEnd | None:
    """A leader that serves a follower whose log has parted from its own."""
    del last_epoch
    if offset > self.log.end_offset:
        raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
    return _fetched_by(self, follower_id, broker_epoch, claimed_epoch, offset, -1, now)


def _never_under(self: Partition, leader: Leader) -> bool:
    del self, leader
    return False


def _held_without_sync(self: Partition) -> int:
    return self.log.end_offset


def _latest_offset_at_once(self: Partition, *, read_committed: bool, claimed_epoch: int = -1) -> int:
    del read_committed, claimed_epoch
    self.leads()
    return self.high_watermark


def _take_any_answer(
    self: Partition, change: IsrChange, isr: frozenset[int], partition_epoch: int, now: float
) -> None:
    leader = self.role
    if not isinstance(leader, Leader) or leader.epoch != change.leader_epoch:
        return
    if partition_epoch > leader.isr.committed.partition_epoch:
        leader.isr = CommittedIsr(isr, partition_epoch)
        self.partition_epoch = max(self.partition_epoch, partition_epoch)
        self._advance(leader, now)


def _keep_settings(self: Partition, settings: ReplicationSettings) -> None:
    if settings.min_insync_replicas <= self.settings.min_insync_replicas:
        _configure(self, settings)


MUTANTS: Mapping[str, Mutant] = {
    "truncate-to-high-watermark": Mutant(
        "a follower truncates to its own high watermark (KIP-101)",
        ((Partition, "update", _truncate_to_high_watermark),),
    ),
    "no-maximal-isr": Mutant(
        "the high watermark ignores proposed members (KIP-497)",
        (
            (PendingExpand, "maximal", property(_only_committed)),
            (PendingExpand, "proposed", property(_with_the_new)),
        ),
    ),
    "shrink-counts-at-once": Mutant(
        "members whose removal is only proposed no longer count (KIP-497)",
        ((PendingShrink, "maximal", property(_only_remaining)),),
    ),
    "lost-answer-is-a-refusal": Mutant(
        "a leader falls back to the committed ISR after any error (KIP-497)",
        ((Partition, "isr_change_refused", _fall_back),),
    ),
    "no-leader-epoch-fence": Mutant(
        "a leader counts fetches of any leader epoch (KIP-320)",
        ((Partition, "fetched_by", _fetched_in_any_epoch),),
    ),
    "no-broker-epoch-check": Mutant(
        "one incarnation of a broker counts for another, in fetches and in proposals (KIP-903)",
        (
            (Partition, "fetched_by", _fetched_by_any_incarnation),
            (Leader, "proposes_to_add", _add_if_eligible),
            (Leader, "members_with_epochs", _without_epochs),
        ),
    ),
    "acknowledge-before-isr": Mutant(
        "the high watermark is the leader's log end", ((Leader, "committed_end", _leader_end),)
    ),
    "expand-before-caught-up": Mutant(
        "whoever fetches joins the ISR", ((Leader, "proposes_to_add", _add_at_once),)
    ),
    "ignore-diverging-epochs": Mutant(
        "a leader does not compare the last fetched epoch (KIP-595)",
        ((Partition, "fetched_by", ignore_divergence),),
    ),
    "advance-under-min-isr": Mutant(
        "records commit with fewer than min.insync.replicas (KIP-966)",
        ((Partition, "_is_under_min_isr", _never_under),),
    ),
    "acknowledge-before-sync": Mutant(
        "what is not synced counts as held (flush.messages=1)",
        ((Partition, "held_end", _held_without_sync),),
    ),
    "latest-offset-at-once": Mutant(
        "a new leader tells its high watermark before it has caught up (KIP-207)",
        ((Partition, "latest_offset", _latest_offset_at_once),),
    ),
    "shrink-before-metadata": Mutant(
        "a smaller ISR counts before the min.insync.replicas by which it was judged is known (KIP-966)",
        ((Partition, "isr_changed", _take_any_answer),),
    ),
    "deaf-to-min-isr": Mutant(
        "a leader does not hear that min.insync.replicas was raised (KIP-966)",
        ((Partition, "configure", _keep_settings),),
    ),
}
