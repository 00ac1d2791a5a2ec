"""The times that members of KIP-848 groups have."""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from kraft.coordinator.group.consumer.members import MemberState, Progress
from kraft.coordinator.group.timers import Timers


class Wait(Enum):
    """What a member has to do in time."""

    HEARTBEAT = "send a heartbeat"
    REVOKE = "give up partitions"
    JOIN = "join again"
    SYNC = "ask for its assignment"


class Due(NamedTuple):
    """A member that was too late."""

    group_id: str
    member_id: str
    wait: Wait


class Timeouts:
    """Deadlines of every group of a shard; they are in memory alone, and begin anew with the coordinator."""

    def __init__(self) -> None:
        self.timers: Timers[Due] = Timers()

    def expect(self, group_id: str, member_id: str, wait: Wait, deadline: float) -> None:
        """The member has until `deadline` (monotonic seconds)."""
        self.timers.put(Due(group_id, member_id, wait), deadline)

    def expect_once(self, group_id: str, member_id: str, wait: Wait, deadline: float) -> None:
        """The same, unless it is expected already."""
        if Due(group_id, member_id, wait) not in self.timers:
            self.expect(group_id, member_id, wait, deadline)

    def expect_revocation(self, group_id: str, member_id: str, progress: Progress, deadline: float) -> None:
        """The member has made a step, after which it may have to give partitions up."""
        if progress.state is MemberState.UNREVOKED_PARTITIONS:
            self.expect(group_id, member_id, Wait.REVOKE, deadline)
        else:
            self.met(group_id, member_id, Wait.REVOKE)

    def met(self, group_id: str, member_id: str, wait: Wait) -> None:
        """It was in time."""
        self.timers.drop(Due(group_id, member_id, wait))

    def forget(self, group_id: str, member_id: str) -> None:
        """The member is gone."""
        for wait in Wait:
            self.met(group_id, member_id, wait)

    def due(self, now: float) -> Iterator[Due]:
        """Who was too late, each once."""
        yield from self.timers.due(now)
