"""The port to groups of other protocols than the classic one (KIP-848's): they share group ids, offsets and
records with the classic groups of the same shard."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.decision import FOREVER, Decision, LogRecord
from kraft.coordinator.group.commands import (
    CommitOffsets,
    FetchOffsets,
    JoinGroup,
    JoinReply,
    ListedGroup,
)
from kraft.coordinator.group.outcome import Outcome


class OtherGroups(Protocol):
    """Groups that are no classic ones. A group id belongs to one kind at a time."""

    def has(self, group_id: str) -> bool:
        """Whether there is such a group of this kind."""

    def replay(self, version: int, record: LogRecord) -> None:
        """Take in a record whose key has `version`, none of the classic ones; one of a version that is not
        known is skipped."""

    def loaded(self, now: float, now_ms: int) -> None:
        """See `Shard`."""

    def tick(self, now: float, now_ms: int) -> Iterable[Decision[Any]]:
        """See `Shard`."""

    def next_deadline(self) -> float:
        """See `Shard`."""

    def check_commit(self, command: CommitOffsets) -> None:
        """Whether the member may commit: raises KafkaError UNKNOWN_MEMBER_ID, STALE_MEMBER_EPOCH…"""

    def check_fetch(self, command: FetchOffsets) -> None:
        """Whether the member may ask for offsets; raises as `check_commit`."""

    def uses_topic(self, group_id: str, topic: str) -> bool:
        """Whether a member subscribes to it: then its offsets stay."""

    def is_empty(self, group_id: str) -> bool:
        """Whether the group has no members: then it may be deleted."""

    def delete(self, group_id: str, out: Outcome) -> None:
        """Write that the group is gone."""

    def listed(self) -> Iterable[ListedGroup]:
        """All of them."""

    def join(self, command: JoinGroup, now: float, now_ms: int) -> Decision[JoinReply]:
        """A classic member joins such a group. Raises KafkaError(INCONSISTENT_GROUP_PROTOCOL) where the kinds
        do not mix."""


class NoOtherGroups:
    """A shard with classic groups alone; see `OtherGroups`. Records of other kinds are skipped."""

    def has(self, group_id: str) -> bool:
        del group_id
        return False

    def replay(self, version: int, record: LogRecord) -> None:
        """Nothing to take in."""

    def loaded(self, now: float, now_ms: int) -> None:
        """Nothing to do."""

    def tick(self, now: float, now_ms: int) -> Iterable[Decision[Any]]:
        del now, now_ms
        return ()

    def next_deadline(self) -> float:
        return FOREVER

    def check_commit(self, command: CommitOffsets) -> None:
        raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, command.group_id)

    def check_fetch(self, command: FetchOffsets) -> None:
        raise KafkaError(ErrorCode.GROUP_ID_NOT_FOUND, command.group_id)

    def uses_topic(self, group_id: str, topic: str) -> bool:
        del group_id, topic
        return False

    def is_empty(self, group_id: str) -> bool:
        del group_id
        return True

    def delete(self, group_id: str, out: Outcome) -> None:
        """Nothing to write."""

    def listed(self) -> Iterable[ListedGroup]:
        return ()

    def join(self, command: JoinGroup, now: float, now_ms: int) -> Decision[JoinReply]:
        del now, now_ms
        raise KafkaError(ErrorCode.INCONSISTENT_GROUP_PROTOCOL, command.group_id)
