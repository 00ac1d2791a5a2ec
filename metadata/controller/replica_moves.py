"""The replicas of a partition while they are being exchanged (KIP-455): pure values.

A reassignment first widens the replicas to old and new ones together. When the new ones are all in sync, the
old ones leave, in the very record that took the last new one into the ISR.
"""

from __future__ import annotations

from typing import NamedTuple

from metadata.image import PartitionImage


class Assignment(NamedTuple):
    """A partition's replicas, those of them that a reassignment adds, and those that it removes."""

    replicas: tuple[int, ...]
    adding: tuple[int, ...] = ()
    removing: tuple[int, ...] = ()

    @property
    def in_progress(self) -> bool:
        return bool(self.adding or self.removing)

    @property
    def target(self) -> tuple[int, ...]:
        """The replicas once the reassignment is done."""
        return _without(self.replicas, self.removing)

    @property
    def original(self) -> tuple[int, ...]:
        """The replicas if the reassignment is given up."""
        return _without(self.replicas, self.adding)


def assignment_of(partition: PartitionImage) -> Assignment:
    """The present one."""
    return Assignment(partition.replicas, partition.adding, partition.removing)


def towards(present: Assignment, target: tuple[int, ...]) -> Assignment:
    """The assignment on the way from `present` to `target`. Where another reassignment is under way, what it
    was adding is still being added if it is wanted, and removed if not."""
    removing = tuple(sorted(set(present.replicas).difference(target)))
    adding = tuple(sorted(set(target).difference(present.original)))
    return Assignment((*target, *removing), adding, removing)


def settled(assignment: Assignment, isr: tuple[int, ...]) -> tuple[Assignment, tuple[int, ...]]:
    """The assignment and the ISR, with the reassignment done if all that is wanted is in sync."""
    target = assignment.target
    if not assignment.in_progress or not target or not set(target) <= set(isr):
        return assignment, isr
    return Assignment(target), _without(isr, assignment.removing)


def _without(replicas: tuple[int, ...], others: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(replica for replica in replicas if replica not in others)
