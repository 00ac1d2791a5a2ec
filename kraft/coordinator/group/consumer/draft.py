"""A KIP-848 group as it will be when what is being decided has been written."""

from __future__ import annotations

from collections.abc import Collection

from kafkawire.errors import KafkaError
from kraft.coordinator.group.consumer.assignors import ASSIGNORS, Subscriber
from kraft.coordinator.group.consumer.formats import encode
from kraft.coordinator.group.consumer.group import ConsumerGroup
from kraft.coordinator.group.consumer.members import NOTHING, Assignment, Member, Progress
from kraft.coordinator.group.consumer.reconciliation import reconcile
from kraft.coordinator.group.consumer.records import (
    Change,
    EpochChange,
    GroupEpoch,
    MemberChange,
    PartitionMetadataChange,
    ProgressChange,
    RegexChange,
    Resolved,
    TargetChange,
    TargetEpochChange,
)
from kraft.coordinator.group.consumer.topics import Topics
from kraft.coordinator.group.outcome import Outcome


class Draft:
    """`group` is the group itself until something is written, then a copy that has it. The group itself
    changes when the records are replayed, which they are not if they cannot be written."""

    def __init__(self, group: ConsumerGroup, topics: Topics, out: Outcome) -> None:
        self.group = group
        self.out = out
        self._original = group
        self._topics = topics

    def write(self, change: Change) -> None:
        """Write the record of a change."""
        if self.group is self._original:
            self.group = self._original.copy()
        self.group.apply(change)
        self.out.write(*encode(change))

    @property
    def group_id(self) -> str:
        return self.group.group_id

    # -- members ----------------------------------------------------------------------------------

    def put_member(self, member: Member) -> None:
        """Write what a member asks for, if that is new."""
        if self.group.members.get(member.member_id) != member:
            self.write(MemberChange(self.group_id, member.member_id, member))

    def put_progress(self, member_id: str, progress: Progress) -> None:
        """Write how far a member has got, if that is new."""
        if self.group.progress_of(member_id) != progress:
            self.write(ProgressChange(self.group_id, member_id, progress))

    def remove(self, member_id: str) -> None:
        """Write that a member is gone."""
        self.write(ProgressChange(self.group_id, member_id, None))
        self.write(TargetChange(self.group_id, member_id, None))
        self.write(MemberChange(self.group_id, member_id, None))

    def replace(self, old: Member, new: Member) -> None:
        """A static member came back under another id: it has what it had, and starts with epoch 0."""
        target = self.group.targets.get(old.member_id, NOTHING)
        had = self.group.progress_of(old.member_id)
        self.remove(old.member_id)
        self.write(MemberChange(self.group_id, new.member_id, new))
        self.write(TargetChange(self.group_id, new.member_id, target))
        progress = Progress(0, 0, had.state, had.assigned, had.revoking)
        self.write(ProgressChange(self.group_id, new.member_id, progress))

    def reconcile(self, member_id: str, owned: Assignment | None) -> None:
        """Let a member take its next step. Raises KafkaError(FENCED_MEMBER_EPOCH)."""
        group = self.group
        target = group.target_of(member_id)
        progress = group.progress_of(member_id)
        if not progress.is_at(target.epoch):
            self.put_progress(member_id, reconcile(progress, target, owned, group.is_free))

    # -- the group --------------------------------------------------------------------------------

    def look_at_topics(self, now_ms: int, *, bump: bool) -> None:
        """Begin a new epoch if `bump`, or if the topics are others than when the present one began."""
        changed = self._resolve(now_ms)
        metadata_hash = self._topics.hash_of(self.group.subscribed())
        if bump or changed or metadata_hash != self.group.metadata_hash:
            self.begin_epoch(metadata_hash)
        # What is to be written may be refused: then the group itself has not been looked at.
        self.group.checked = self._topics.version

    def begin_epoch(self, metadata_hash: int) -> None:
        """The target has to be made anew."""
        if self.group.has_old_metadata:
            self.write(PartitionMetadataChange(self.group_id))
        self.write(EpochChange(self.group_id, GroupEpoch(self.group.epoch + 1, metadata_hash)))

    def _resolve(self, now_ms: int) -> bool:
        """Bring the regular expressions up to date; returns whether one stands for something else now."""
        group = self.group
        used = {each.regex for each in group.members.values() if each.regex is not None}
        for regex in sorted(group.regexes.keys() - used):
            self.write(RegexChange(self.group_id, regex, None))
        changed = False
        for regex in sorted(used):
            try:
                names = self._topics.matching(regex)
            except KafkaError:  # somebody else wrote it, who understood it
                continue
            known = group.regexes.get(regex)
            if known is None or known.topics != names:
                resolved = Resolved(names, self._topics.version, now_ms)
                self.write(RegexChange(self.group_id, regex, resolved))
                changed = True
        return changed

    def retarget(self, default_assignor: str) -> None:
        """Make the target of the present epoch, unless there is one."""
        group = self.group
        if group.epoch <= group.target_epoch:
            return
        assign = ASSIGNORS[group.assignor(default_assignor)]
        wanted: dict[tuple[tuple[str, ...], str | None], frozenset[bytes]] = {}
        counts: dict[bytes, int] = {}
        subscribers = []
        for member in group.members.values():
            subscription = (member.topics, member.regex)
            if subscription not in wanted:
                topics = self._topics.existing(group.wants(member))
                wanted[subscription] = frozenset(each.topic_id for each in topics)
                counts.update({each.topic_id: each.partitions for each in topics})
            previous = group.targets.get(member.member_id, NOTHING)
            subscribers.append(
                Subscriber(member.member_id, member.instance_id, wanted[subscription], previous)
            )
        for member_id, target in assign(subscribers, counts).items() if subscribers else ():
            if group.targets.get(member_id) != target:
                self.write(TargetChange(self.group_id, member_id, target))
        self.write(TargetEpochChange(self.group_id, group.epoch))

    def lose(self, member_ids: Collection[str], now_ms: int) -> None:
        """Members are gone: the others share their work in the next epoch."""
        for member_id in member_ids:
            self.remove(member_id)
        self.look_at_topics(now_ms, bump=True)

    def delete(self, out: Outcome) -> None:
        """Write to `out` that the group is gone."""
        group, group_id = self.group, self.group_id
        changes: list[Change] = [ProgressChange(group_id, each, None) for each in group.members]
        changes += [TargetChange(group_id, each, None) for each in group.members]
        changes.append(TargetEpochChange(group_id, None))
        changes += [MemberChange(group_id, each, None) for each in group.members]
        changes += [RegexChange(group_id, each, None) for each in group.regexes]
        if group.has_old_metadata:
            changes.append(PartitionMetadataChange(group_id))
        changes.append(EpochChange(group_id, None))
        for change in changes:
            out.write(*encode(change))
