"""A KIP-848 group: changed by records alone (Kafka's `ConsumerGroup`)."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from typing import assert_never

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.group.consumer.members import NOTHING, Assignment, Member, Progress, TopicPartition
from kraft.coordinator.group.consumer.reconciliation import Target
from kraft.coordinator.group.consumer.records import (
    Change,
    EpochChange,
    MemberChange,
    PartitionMetadataChange,
    ProgressChange,
    RegexChange,
    Resolved,
    TargetChange,
    TargetEpochChange,
)

_FRESH = Progress()


class ConsumerGroup:
    """`epoch` moves when the target has to be made anew, `target_epoch` follows when it is. `owners` has who
    owns each partition. `checked` is the version of the topics that the group was last looked at with; it is
    not written."""

    def __init__(self, group_id: str) -> None:
        self.group_id = group_id
        self.epoch = 0
        self.metadata_hash = 0
        self.target_epoch = 0
        self.members: dict[str, Member] = {}
        self.static: dict[str, str] = {}
        self.progress: dict[str, Progress] = {}
        self.targets: dict[str, Assignment] = {}
        self.owners: dict[TopicPartition, str] = {}
        self.regexes: dict[str, Resolved] = {}
        self.has_old_metadata = False
        self.checked: int | None = None

    def copy(self) -> ConsumerGroup:
        """One that can be changed without changing this."""
        other = ConsumerGroup(self.group_id)
        other.epoch, other.metadata_hash = self.epoch, self.metadata_hash
        other.target_epoch = self.target_epoch
        other.members, other.static = self.members.copy(), self.static.copy()
        other.progress, other.targets = self.progress.copy(), self.targets.copy()
        other.owners, other.regexes = self.owners.copy(), self.regexes.copy()
        other.has_old_metadata, other.checked = self.has_old_metadata, self.checked
        return other

    # -- what changes -----------------------------------------------------------------------------

    def apply(self, change: Change) -> None:
        """Take a change in; one that says nothing new changes nothing. That the group is gone is for whoever
        keeps it."""
        match change:
            case EpochChange(_, value):
                if value is not None:
                    self.epoch, self.metadata_hash = value
            case PartitionMetadataChange(_, present):
                self.has_old_metadata = present
            case MemberChange(_, member_id, member):
                self._put_member(member_id, member)
            case TargetEpochChange(_, epoch):
                self.target_epoch = 0 if epoch is None else epoch
            case TargetChange(_, member_id, target):
                if target is None:
                    self.targets.pop(member_id, None)
                else:
                    self.targets[member_id] = target
            case ProgressChange(_, member_id, progress):
                self._put_progress(member_id, progress)
            case RegexChange(_, regex, resolved):
                if resolved is None:
                    self.regexes.pop(regex, None)
                else:
                    self.regexes[regex] = resolved
            case _:
                assert_never(change)

    def _put_member(self, member_id: str, member: Member | None) -> None:
        known = self.members.pop(member_id, None)
        instance_id = None if known is None else known.instance_id
        # Another may have its place by now.
        if instance_id is not None and self.static.get(instance_id) == member_id:
            del self.static[instance_id]
        if member is not None:
            self.members[member_id] = member
            if member.instance_id is not None:
                self.static[member.instance_id] = member_id

    def _put_progress(self, member_id: str, progress: Progress | None) -> None:
        known = self.progress.pop(member_id, _FRESH)
        for partition in known.owned:
            if self.owners.get(partition) == member_id:
                del self.owners[partition]
        if progress is not None:
            self.progress[member_id] = progress
            self.owners.update(dict.fromkeys(progress.owned, member_id))

    # -- what is the case -------------------------------------------------------------------------

    @property
    def state(self) -> str:
        """Kafka's name of the group's state."""
        if not self.members:
            return "Empty"
        if self.epoch > self.target_epoch:
            return "Assigning"
        if all(self.progress_of(each).is_at(self.target_epoch) for each in self.members):
            return "Stable"
        return "Reconciling"

    def progress_of(self, member_id: str) -> Progress:
        return self.progress.get(member_id, _FRESH)

    def target_of(self, member_id: str) -> Target:
        """What the member is to have."""
        return Target(self.target_epoch, self.targets.get(member_id, NOTHING))

    def is_free(self, partition: TopicPartition) -> bool:
        """Whether nobody owns it."""
        return partition not in self.owners

    def wants(self, member: Member) -> set[str]:
        """The names that a member subscribes to, those that its expression stands for among them."""
        names = set(member.topics)
        if member.regex is not None and member.regex in self.regexes:
            names.update(self.regexes[member.regex].topics)
        return names

    def subscribed(self) -> set[str]:
        """The names that any member subscribes to."""
        every = {member.topics for member in self.members.values()}
        used = {member.regex for member in self.members.values()}
        names = {name for topics in every for name in topics}
        for regex, resolved in self.regexes.items():
            if regex in used:
                names.update(resolved.topics)
        return names

    def uses_regex(self, regex: str) -> bool:
        return any(member.regex == regex for member in self.members.values())

    def assignor(self, default: str) -> str:
        """What most members that ask for one ask for."""
        votes = Counter(each.assignor for each in self.members.values() if each.assignor is not None)
        return max(sorted(votes), key=lambda name: votes[name]) if votes else default

    def classic_members(self) -> list[Member]:
        """Those that speak the classic protocol."""
        return [each for each in self.members.values() if each.classic is not None]

    def supports(self, names: Iterable[str]) -> bool:
        """Whether a classic member that offers these can be beside the other classic ones."""
        offered: Counter[str] = Counter()
        classic = self.classic_members()
        for member in classic:
            assert member.classic is not None
            offered.update({each.name for each in member.classic.protocols})
        return any(offered[name] == len(classic) for name in names)

    def check_member(self, member_id: str, instance_id: str | None) -> Member:
        """Raises KafkaError: UNKNOWN_MEMBER_ID, FENCED_INSTANCE_ID (another has the instance id now)."""
        if instance_id is not None:
            known = self.static.get(instance_id)
            if known is None:
                raise KafkaError(ErrorCode.UNKNOWN_MEMBER_ID, f"instance id {instance_id} is unknown")
            if known != member_id:
                raise KafkaError(ErrorCode.FENCED_INSTANCE_ID, f"{known} has instance id {instance_id}")
        member = self.members.get(member_id)
        if member is None:
            raise KafkaError(
                ErrorCode.UNKNOWN_MEMBER_ID, f"{member_id} is not a member of group {self.group_id}"
            )
        return member
