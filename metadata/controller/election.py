"""How one partition changes: its ISR, its eligible replicas and its leader, in one record.

This is Kafka's `PartitionChangeBuilder` with eligible leader replicas (KIP-966) on. Every change of a
partition after its creation is made here, so that the rules hold everywhere:

- A replica that leaves the ISR while that falls below `min.insync.replicas` stays *eligible*: the high
watermark stands still from then on, so the replica keeps having all that was ever committed. The ISR may
become empty.
- A replica that registered after an unclean stop is *lost*: it may miss the end of its log, so it is
neither in sync nor eligible.
- A reassignment (KIP-455) is done when all replicas that it wants are in sync; those that it removes leave in
the same record.
- A leader is elected from the ISR, else from the eligible replicas. When neither has anyone left, the last
leader is taken back when it comes, or, if the topic allows it, any replica: both may lose records, which
the recovery state tells.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto
from typing import NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

from metadata.controller.decision import TopicRules
from metadata.controller.replica_moves import Assignment, assignment_of, settled
from metadata.image import PartitionImage
from metadata.records import NO_LEADER, LeaderRecoveryState, PartitionChangeRecord


class Election(Enum):
    """Whom to elect."""

    ONLINE = auto()
    """Keep the leader if it may lead, else take the first replica that may."""
    PREFERRED = auto()
    """Take the preferred leader if it may lead."""
    UNCLEAN = auto()
    """As ONLINE, and if nobody may lead, any replica that lives."""


class Change(msgspec.Struct, frozen=True):
    """What happens to a partition. `isr` is the ISR to be; `lost` are replicas that stopped uncleanly;
    `recovery` is the recovery state that the leader reports; `assignment` are the replicas to be, None if
    they stay."""

    isr: tuple[int, ...]
    election: Election = Election.ONLINE
    lost: frozenset[int] = frozenset()
    recovery: LeaderRecoveryState | None = None
    assignment: Assignment | None = None


class _State(NamedTuple):
    """The part of a partition that a change works out."""

    isr: tuple[int, ...]
    elr: tuple[int, ...]
    last_known: tuple[int, ...]
    leader: int
    recovery: LeaderRecoveryState
    assignment: Assignment


def change_partition(
    topic_id: UUID,
    number: int,
    partition: PartitionImage,
    change: Change,
    rules: TopicRules,
    may_lead: Callable[[int], bool],
) -> PartitionChangeRecord | None:
    """The record that makes `change`, or None when nothing comes of it. `may_lead` tells the brokers that are
    active once the change is made."""
    # A reassignment is done in the record that makes its last replica in-sync.
    assignment, isr = settled(change.assignment or assignment_of(partition), change.isr)
    change = replace(change, isr=isr, assignment=assignment)
    enough = min(rules.min_isr, len(assignment.replicas))
    state = _elect(partition, _with_eligible(partition, change, assignment, enough), change, may_lead)
    if len(state.isr) >= enough:
        # Acknowledged records need nobody else from here on, and the high watermark moves without the others.
        # An election from the ELR gets here too when min.insync.replicas was lowered since.
        state = state._replace(elr=(), last_known=())
    elif not state.isr and partition.isr and partition.has_leader:
        state = state._replace(last_known=(partition.leader,))
    return _record(topic_id, number, partition, state)


def _with_eligible(partition: PartitionImage, change: Change, assignment: Assignment, enough: int) -> _State:
    """The partition with its new ISR, and with the replicas that thereby become or remain eligible."""
    isr = change.isr
    recovery = partition.leader_recovery_state if change.recovery is None else change.recovery
    if len(isr) >= enough:
        return _State(isr, (), (), partition.leader, recovery, assignment)
    complete = {*partition.isr, *partition.elr}.difference(isr, change.lost)
    elr = tuple(replica for replica in assignment.replicas if replica in complete)
    return _State(isr, elr, partition.last_known_elr, partition.leader, recovery, assignment)


def _elect(
    partition: PartitionImage, state: _State, change: Change, may_lead: Callable[[int], bool]
) -> _State:
    """The state with the leader that it has from now on."""
    replicas = state.assignment.replicas
    in_sync = [replica for replica in replicas if replica in state.isr and may_lead(replica)]
    eligible = [replica for replica in state.elr if may_lead(replica)]
    if change.election is Election.PREFERRED and replicas[0] in in_sync:
        return state._replace(leader=replicas[0])
    if partition.leader in in_sync:
        return state
    if in_sync:
        return state._replace(leader=in_sync[0])
    if eligible:
        leader = eligible[0]
        others = {*state.isr, *state.elr} - {leader}
        elr = tuple(replica for replica in replicas if replica in others)
        return state._replace(isr=(leader,), elr=elr, leader=leader)
    return _elect_with_loss(partition, state, change, may_lead)


def _elect_with_loss(
    partition: PartitionImage, state: _State, change: Change, may_lead: Callable[[int], bool]
) -> _State:
    """Nobody who is known to have everything can lead."""
    nobody_left = not state.isr and not state.elr
    candidates: tuple[int, ...] = (
        partition.last_known_elr if nobody_left and len(partition.last_known_elr) == 1 else ()
    )
    if change.election is Election.UNCLEAN:
        candidates += state.assignment.replicas
    for leader in candidates:
        if leader in state.assignment.replicas and may_lead(leader):
            return _State((leader,), (), (), leader, LeaderRecoveryState.RECOVERING, state.assignment)
    return state._replace(leader=NO_LEADER)


def _record(
    topic_id: UUID, number: int, partition: PartitionImage, state: _State
) -> PartitionChangeRecord | None:
    replicas, adding, removing = state.assignment
    # Whoever is no replica any more must not be counted by a leader that has not heard of it: another epoch.
    same_leader = state.leader == partition.leader and set(partition.replicas) <= set(replicas)
    record = PartitionChangeRecord(
        partition_id=number,
        topic_id=topic_id,
        isr=None if state.isr == partition.isr else state.isr,
        leader=None if same_leader else state.leader,
        replicas=None if replicas == partition.replicas else replicas,
        removing_replicas=None if removing == partition.removing else removing,
        adding_replicas=None if adding == partition.adding else adding,
        leader_recovery_state=None if state.recovery is partition.leader_recovery_state else state.recovery,
        eligible_leader_replicas=None if state.elr == partition.elr else state.elr,
        last_known_elr=None if state.last_known == partition.last_known_elr else state.last_known,
    )
    return None if record == PartitionChangeRecord(number, topic_id) else record
