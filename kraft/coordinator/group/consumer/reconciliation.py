"""How a member gets from what it has to what it is to have (Kafka's `CurrentAssignmentBuilder`).

    STABLE ──a newer target──> gives up what is not in it ──> UNREVOKED_PARTITIONS
                    │                                              │ says that it has
                    └── nothing to give up ──> takes what is free <┘
                                                 │ all of it: STABLE
                                                 └ others have some: UNRELEASED_PARTITIONS, and again

A partition is taken when nobody owns it, and owned until its member says that it gave it up: so it never has
two owners.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import assert_never

import msgspec

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.group.consumer.members import (
    NOTHING,
    Assignment,
    MemberState,
    Progress,
    TopicPartition,
)


class Target(msgspec.Struct, frozen=True):
    """What a member is to have, under which epoch."""

    epoch: int
    assignment: Assignment


def reconcile(
    progress: Progress,
    target: Target,
    owned: Assignment | None,
    is_free: Callable[[TopicPartition], bool],
) -> Progress:
    """The member's next step, or `progress` itself where there is none.

    `owned` is what the member says that it has, None if it says nothing. Raises
    KafkaError(FENCED_MEMBER_EPOCH) for a state that a later software wrote.
    """
    match progress.state:
        case MemberState.STABLE:
            if progress.epoch == target.epoch:
                return progress
            return _advance(progress, progress.epoch, target, owned, is_free)
        case MemberState.UNREVOKED_PARTITIONS:
            if owned is None or owned & progress.revoking:
                return progress
            return _advance(progress, progress.epoch + 1, target, owned, is_free)
        case MemberState.UNRELEASED_PARTITIONS:
            return _advance(progress, progress.epoch, target, owned, is_free)
        case MemberState.UNKNOWN:
            if owned is None or owned:
                raise KafkaError(ErrorCode.FENCED_MEMBER_EPOCH, "the member's state is not known here")
            return _advance(progress, target.epoch, target, owned, is_free)
        case _:
            assert_never(progress.state)


def _advance(
    progress: Progress,
    epoch: int,
    target: Target,
    owned: Assignment | None,
    is_free: Callable[[TopicPartition], bool],
) -> Progress:
    """From an epoch in which nothing is left to be given up."""
    kept = progress.assigned & target.assignment
    revoking = progress.assigned - kept
    if revoking and (owned is None or owned & revoking):
        return Progress(epoch, progress.epoch, MemberState.UNREVOKED_PARTITIONS, kept, revoking)
    missing = target.assignment - kept
    taken = frozenset(filter(is_free, missing))
    state = MemberState.STABLE if taken == missing else MemberState.UNRELEASED_PARTITIONS
    return Progress(target.epoch, progress.epoch, state, kept | taken, NOTHING)
