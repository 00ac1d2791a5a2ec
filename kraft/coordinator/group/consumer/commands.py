"""What is asked of KIP-848 groups, and the replies, in the terms of Kafka's messages and of no version of
them."""

from __future__ import annotations

import msgspec

from kafkawire.errors import ErrorCode
from kraft.coordinator.group.consumer.members import Assignment, Member, Progress


class ConsumerHeartbeat(msgspec.Struct, frozen=True):
    """A member lives, joins (epoch 0) or leaves (-1; -2 for a static one that comes back). What is None, or a
    timeout of -1, has not changed since the last heartbeat. `regex` is empty where there is none any more.
    `names_itself`: the client has to bring a member id of its own (KIP-1082)."""

    group_id: str
    member_id: str
    epoch: int
    instance_id: str | None = None
    rack_id: str | None = None
    rebalance_timeout_ms: int = -1
    topics: tuple[str, ...] | None = None
    regex: str | None = None
    assignor: str | None = None
    owned: Assignment | None = None
    client_id: str = ""
    client_host: str = ""
    names_itself: bool = True

    @property
    def is_full(self) -> bool:
        """Whether the member says everything, and so may not know what it has."""
        subscribes = self.topics is not None or self.regex is not None
        return self.epoch == 0 or (self.rebalance_timeout_ms != -1 and subscribes and self.owned is not None)


class ConsumerHeartbeatReply(msgspec.Struct, frozen=True):
    """`assignment` is None if it is what the member knows already."""

    member_id: str
    epoch: int
    interval_ms: int = 0
    assignment: Assignment | None = None


class DescribedConsumer(msgspec.Struct, frozen=True):
    """A member as an administrator sees it."""

    member: Member
    progress: Progress
    target: Assignment


class DescribedConsumerGroup(msgspec.Struct, frozen=True):
    """A KIP-848 group as an administrator sees it; without a state if there is an error."""

    group_id: str
    state: str = ""
    epoch: int = 0
    target_epoch: int = 0
    assignor: str = ""
    members: tuple[DescribedConsumer, ...] = ()
    error: ErrorCode = ErrorCode.NONE
    message: str | None = None
