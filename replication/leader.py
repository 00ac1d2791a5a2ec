"""The leader's side of one partition: how far each follower is, who is in sync, what is committed."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import msgspec

from replication.isr import CommittedIsr, IsrState, PendingExpand, PendingShrink

BrokerEpochs = Callable[[int], int | None]
"""The epoch of a broker that may be in an ISR; None for one that is unknown, fenced or shutting down
(KIP-841)."""


class FollowerProgress(msgspec.Struct):
    """What a leader knows of one follower in the leader's own epoch.

    `end_offset` is the offset that it fetched last, which acknowledges everything below; -1 until the first
    fetch. So is `log_start`, where its log starts. Times are monotonic seconds; `caught_up_at` is -inf for
    one that was not in sync when it began to follow, until it has caught up.
    """

    caught_up_at: float
    end_offset: int = -1
    broker_epoch: int = -1
    fetched_at: float = 0.0
    leader_end_when_fetched: int = -1
    log_start: int = -1

    def fetched(self, offset: int, broker_epoch: int, leader_end: int, now: float) -> None:
        """Take a fetch at `offset` into account. A follower is caught up when it has reached the leader's
        end, or what was the leader's end at its previous fetch (Kafka's
        `Replica.updateFetchStateOrThrow`)."""
        if offset >= leader_end:
            self.caught_up_at = now
        elif self.leader_end_when_fetched >= 0 and offset >= self.leader_end_when_fetched:
            self.caught_up_at = max(self.caught_up_at, self.fetched_at)
        self.end_offset = offset
        self.broker_epoch = broker_epoch
        self.leader_end_when_fetched = leader_end
        self.fetched_at = now


class Leader:
    """The role of the replica that clients write to. `start_offset` is the log end when its epoch began,
    `in_sync` how many members the committed ISR has, and `maximal` who may be elected."""

    __slots__ = (
        "_isr",
        "broker_epochs",
        "epoch",
        "followers",
        "in_sync",
        "local_id",
        "maximal",
        "replicas",
        "retry_isr_at",
        "start_offset",
    )

    def __init__(
        self, local_id: int, epoch: int, start_offset: int, isr: CommittedIsr, broker_epochs: BrokerEpochs
    ) -> None:
        self.local_id = local_id
        self.epoch = epoch
        self.start_offset = start_offset
        self.isr = isr
        self.broker_epochs = broker_epochs
        self.replicas: tuple[int, ...] = ()
        self.followers: dict[int, FollowerProgress] = {}
        self.retry_isr_at = 0.0

    def __repr__(self) -> str:
        return f"Leader(epoch={self.epoch}, start_offset={self.start_offset}, isr={self.isr!r})"

    @property
    def isr(self) -> IsrState:
        """The in-sync replicas, with a change that may be under way."""
        return self._isr

    @isr.setter
    def isr(self, isr: IsrState) -> None:
        # Changes are rare, and every append and fetch asks for these two.
        self._isr = isr
        self.in_sync = len(isr.committed.members)
        self.maximal = isr.maximal

    def assign(self, replicas: tuple[int, ...], now: float) -> None:
        """Set the replicas; the progress of those that stay is kept."""
        self.replicas = replicas
        in_sync = self.isr.committed.members
        self.followers = {
            # Nobody waits for one to join that may have everything to copy yet.
            broker: self.followers.get(broker) or FollowerProgress(now if broker in in_sync else -inf)
            for broker in replicas
            if broker != self.local_id
        }

    def is_replaced(self, broker: int, broker_epoch: int) -> bool:
        """Whether a later process of a follower has fetched, or may be in the ISR: what an earlier one
        acknowledges, that one may lack."""
        known = self.broker_epochs(broker)
        return broker_epoch < max(self.followers[broker].broker_epoch, -1 if known is None else known)

    def appended(self, end_before: int, now: float) -> None:
        """The local log grew from `end_before`: whoever had reached that was in sync until this moment."""
        for follower in self.followers.values():
            if follower.end_offset >= end_before:
                follower.caught_up_at = now

    def committed_end(self, local_end: int, now: float, lag: float) -> int:
        """The end offset that every replica which may be elected has, and those about to join: the next high
        watermark. -1 while an in-sync follower has not yet fetched in this epoch."""
        end = local_end
        maximal = self.maximal
        for broker, follower in self.followers.items():
            if follower.end_offset >= end:
                continue
            if broker in maximal or self._is_about_to_join(broker, follower, local_end, now, lag):
                end = follower.end_offset
        return end

    def _is_about_to_join(
        self, broker: int, follower: FollowerProgress, local_end: int, now: float, lag: float
    ) -> bool:
        # Without this wait a follower under constant load chases a high watermark that is always ahead of it.
        return (
            follower.end_offset >= 0
            and self._is_caught_up(follower, local_end, now, lag)
            and self.broker_epochs(broker) == follower.broker_epoch
        )

    @staticmethod
    def _is_caught_up(follower: FollowerProgress, local_end: int, now: float, lag: float) -> bool:
        return follower.end_offset >= local_end or now - follower.caught_up_at <= lag

    def proposes_to_add(self, broker: int, high_watermark: int, now: float) -> bool:
        """Move to PendingExpand if `broker` may join: it has the whole committed log and has reached the
        start of this leader's epoch (KIP-320's model: expansion rule), and is alive under the epoch it
        fetched with (KIP-841, KIP-903)."""
        isr = self.isr
        if not isinstance(isr, CommittedIsr) or broker in isr.members or now < self.retry_isr_at:
            return False
        follower = self.followers[broker]
        if follower.end_offset < max(high_watermark, self.start_offset):
            return False
        if self.broker_epochs(broker) != follower.broker_epoch:
            return False
        self.isr = PendingExpand(isr, broker, follower.broker_epoch)
        follower.caught_up_at = max(follower.caught_up_at, now)  # it may not have been at the very end yet
        return True

    def is_at_rest(self, high_watermark: int, local_end: int) -> bool:
        """Whether the time that passes changes nothing: all replicas are in sync, if there are others, and
        have everything, which is committed. So it is with most partitions, which are looked at all the time.
        """
        if not isinstance(self._isr, CommittedIsr):
            return False
        if self.followers and (high_watermark < local_end or self.in_sync < len(self.replicas)):
            return False
        for follower in self.followers.values():  # noqa: SIM110 - a generator costs more than all the rest
            if follower.end_offset < local_end:
                return False
        return True

    def proposes_to_remove(self, local_end: int, now: float, lag: float) -> bool:
        """Move to PendingShrink if members have not been caught up for `lag` seconds
        (replica.lag.time.max.ms)."""
        isr = self.isr
        if not isinstance(isr, CommittedIsr) or now < self.retry_isr_at:
            return False
        behind = frozenset(
            broker
            for broker in isr.members
            if broker in self.followers
            and not self._is_caught_up(self.followers[broker], local_end, now, lag)
        )
        if not behind:
            return False
        self.isr = PendingShrink(isr, behind)
        return True

    def members_with_epochs(
        self, pending: PendingExpand | PendingShrink, local_broker_epoch: int
    ) -> tuple[tuple[int, int], ...]:
        """The proposed members as (broker id, broker epoch), the epoch being that of the incarnation that did
        the fetching."""
        epochs = {broker: follower.broker_epoch for broker, follower in self.followers.items()}
        epochs[self.local_id] = local_broker_epoch
        if isinstance(pending, PendingExpand):
            epochs[pending.adding] = pending.broker_epoch
        return tuple((broker, epochs[broker]) for broker in sorted(pending.proposed))
