"""Partitions in bulk: what becomes of them when brokers come and go, and when elections are asked for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import islice
from typing import Final

from kafkawire.errors import ErrorCode
from metadata.controller.commands import (
    ElectionType,
    ElectLeaderResult,
    ElectLeaders,
    ElectLeadersReply,
    TopicPartition,
)
from metadata.controller.decision import Decision, View
from metadata.controller.election import Change, Election, change_partition
from metadata.image import PartitionEntry
from metadata.records import NO_LEADER, PartitionChangeRecord

MAX_ELECTIONS_PER_BALANCE: Final = 1000
"""Leaderships that one round of balancing moves (Kafka's MAX_ELECTIONS_PER_IMBALANCE)."""

_NOBODY: Final[frozenset[int]] = frozenset()


def remove_brokers(
    view: View, leaving: frozenset[int], *, lost: bool = False
) -> Iterator[PartitionChangeRecord]:
    """Take brokers out of every ISR and every leadership; those who are `lost` out of every ELR too."""
    affected = (
        entry
        for entry in view.image.topics.partitions()
        if not leaving.isdisjoint(entry.partition.isr)
        or entry.partition.leader in leaving
        or (lost and not leaving.isdisjoint(entry.partition.elr))
    )
    yield from _changes(
        view,
        affected,
        may_lead=lambda broker_id: broker_id not in leaving and view.image.is_active(broker_id),
        leaving=leaving,
        lost=leaving if lost else _NOBODY,
    )


def welcome_broker(view: View, broker_id: int) -> Iterator[PartitionChangeRecord]:
    """Elect leaders for partitions without one, now that a broker may lead again."""
    leaderless = (entry for entry in view.image.topics.partitions() if entry.partition.leader == NO_LEADER)
    yield from _changes(
        view, leaderless, may_lead=lambda other: other == broker_id or view.image.is_active(other)
    )


def reconsider(view: View, topics: Iterable[str]) -> Iterator[PartitionChangeRecord]:
    """Apply the rules of topics to their partitions anew: those with an ELR, and those without a leader."""
    wanted = set(topics)
    affected = (
        entry
        for entry in view.image.topics.partitions()
        if entry.topic.name in wanted and (entry.partition.elr or not entry.partition.has_leader)
    )
    yield from _changes(view, affected, may_lead=view.image.is_active)


def leads_anything(view: View, broker_id: int) -> bool:
    """Whether the broker leads a partition."""
    return any(entry.partition.leader == broker_id for entry in view.image.topics.partitions())


def balance_leaders(view: View) -> list[PartitionChangeRecord]:
    """Move leaderships to their preferred leaders, MAX_ELECTIONS_PER_BALANCE of them at most."""
    return list(islice(_preferred_elections(view), MAX_ELECTIONS_PER_BALANCE))


def elect_leaders(view: View, command: ElectLeaders) -> Decision[ElectLeadersReply]:
    """Hold the elections that are asked for."""
    records: list[PartitionChangeRecord] = []
    results = []
    for wanted, entry in _candidates(view, command):
        error = _elect(view, command.election_type, entry, records)
        if command.partitions is None and error is ErrorCode.ELECTION_NOT_NEEDED:
            continue
        message = _ELECTION_MESSAGES.get(error)
        results.append(ElectLeaderResult(wanted.topic, wanted.partition, error, message))
    return Decision(records, ElectLeadersReply(tuple(results), view.image.offset + len(records)))


_ELECTION_MESSAGES: Final = {
    ErrorCode.UNKNOWN_TOPIC_OR_PARTITION: "No such partition.",
    ErrorCode.ELECTION_NOT_NEEDED: "Leader election not needed for this partition.",
    ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE: "The preferred leader was not available.",
    ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE: "Eligible topic partition leaders are not available.",
}


def _candidates(view: View, command: ElectLeaders) -> Iterator[tuple[TopicPartition, PartitionEntry | None]]:
    """The partitions asked for, each once, with None for those that do not exist."""
    if command.partitions is None:
        for entry in view.image.topics.partitions():
            yield TopicPartition(entry.topic.name, entry.number), entry
        return
    for wanted in dict.fromkeys(command.partitions):
        topic = view.image.topics.get(wanted.topic)
        partition = None if topic is None else topic.partition(wanted.partition)
        if topic is None or partition is None:
            yield wanted, None
        else:
            yield wanted, PartitionEntry(topic, wanted.partition, partition)


def _elect(
    view: View, kind: ElectionType, entry: PartitionEntry | None, records: list[PartitionChangeRecord]
) -> ErrorCode:
    if entry is None:
        return ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    partition = entry.partition
    if kind is ElectionType.PREFERRED:
        needed, election = partition.leader != partition.preferred_leader, Election.PREFERRED
        unavailable = ErrorCode.PREFERRED_LEADER_NOT_AVAILABLE
    else:
        needed, election = not partition.has_leader, Election.UNCLEAN
        unavailable = ErrorCode.ELIGIBLE_LEADERS_NOT_AVAILABLE
    if not needed:
        return ErrorCode.ELECTION_NOT_NEEDED
    record = _change(view, entry, Change(partition.isr, election), view.image.is_active)
    if record is None or record.leader is None:
        return unavailable
    records.append(record)
    return ErrorCode.NONE


def _preferred_elections(view: View) -> Iterator[PartitionChangeRecord]:
    for entry in view.image.topics.partitions():
        partition = entry.partition
        preferred = partition.preferred_leader
        if partition.leader != preferred and preferred in partition.isr and view.image.is_active(preferred):
            change = Change(partition.isr, Election.PREFERRED)
            record = _change(view, entry, change, view.image.is_active)
            if record is not None:
                yield record


def _changes(
    view: View,
    affected: Iterable[PartitionEntry],
    may_lead: Callable[[int], bool],
    *,
    leaving: frozenset[int] = _NOBODY,
    lost: frozenset[int] = _NOBODY,
) -> Iterator[PartitionChangeRecord]:
    """Kafka's `generateLeaderAndIsrUpdates`: the records for partitions some of whose brokers leave."""
    for entry in affected:
        isr = tuple(replica for replica in entry.partition.isr if replica not in leaving)
        election = Election.UNCLEAN if view.rules(entry.topic.name).unclean else Election.ONLINE
        record = _change(view, entry, Change(isr, election, lost), may_lead)
        if record is not None:
            yield record


def _change(
    view: View, entry: PartitionEntry, change: Change, may_lead: Callable[[int], bool]
) -> PartitionChangeRecord | None:
    rules = view.rules(entry.topic.name)
    return change_partition(entry.topic.topic_id, entry.number, entry.partition, change, rules, may_lead)
