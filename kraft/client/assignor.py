"""Who of a group reads what, by Kafka's `RangeAssignor`: of each topic a run of partitions to each member."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

PROTOCOL = "range"
"""The name under which members of a group agree on it."""

Assignment = dict[str, list[int]]
"""Partitions by topic."""


class Subscriber(NamedTuple):
    """A member of the group and what it wants."""

    member_id: str
    instance_id: str | None
    topics: tuple[str, ...]


def assign_ranges(members: Sequence[Subscriber], partitions: Mapping[str, int]) -> dict[str, Assignment]:
    """What each member is to read, by its id. `partitions` says how many each topic has.

    Members stand in the order of their ids, static ones in that of their instance ids before all others, so
    that a static member keeps its place. Where it does not come out even, the first ones get one more.
    """
    assigned: dict[str, Assignment] = {member.member_id: {} for member in members}
    ordered = sorted(
        members, key=lambda each: (each.instance_id is None, each.instance_id or "", each.member_id)
    )
    for topic, count in sorted(partitions.items()):
        readers = [member.member_id for member in ordered if topic in member.topics]
        if not readers or not count:
            continue
        each, more = divmod(count, len(readers))
        start = 0
        for place, member_id in enumerate(readers):
            end = start + each + (place < more)
            if end > start:
                assigned[member_id][topic] = list(range(start, end))
            start = end
    return assigned
