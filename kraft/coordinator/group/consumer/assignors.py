"""Who is to get which partitions: the assignors `uniform` and `range` of Kafka's coordinator.

Both are pure and deterministic: the same members, topics and previous assignments come to the same result.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from heapq import heapify, heappop, heappush, heapreplace
from itertools import islice
from typing import Final

import msgspec

from kraft.coordinator.group.consumer.members import NOTHING, Assignment, TopicPartition


class Subscriber(msgspec.Struct, frozen=True):
    """A member as an assignor sees it: the ids of its topics that exist, and what it was to have before."""

    member_id: str
    instance_id: str | None
    topics: frozenset[bytes]
    previous: Assignment = NOTHING


Assignor = Callable[[list[Subscriber], Mapping[bytes, int]], dict[str, Assignment]]
"""From members, and the number of partitions of each topic that one of them wants, to what each is to have.
"""


def assign_range(members: list[Subscriber], topics: Mapping[bytes, int]) -> dict[str, Assignment]:
    """Of each topic a contiguous range of partitions to each subscriber, in the order of their instances and
    ids: topics with equally many partitions are cut at the same places."""
    order = sorted(members, key=lambda each: (each.instance_id is None, each.instance_id or each.member_id))
    given: dict[str, list[TopicPartition]] = {each.member_id: [] for each in members}
    for topic_id, count in topics.items():
        subscribers = [each for each in order if topic_id in each.topics]
        start = 0
        for position, each in enumerate(subscribers):
            share = count // len(subscribers) + (position < count % len(subscribers))
            given[each.member_id] += [(topic_id, number) for number in range(start, start + share)]
            start += share
    return {member_id: frozenset(partitions) for member_id, partitions in given.items()}


def assign_uniform(members: list[Subscriber], topics: Mapping[bytes, int]) -> dict[str, Assignment]:
    """As many partitions to each as to any other, as far as subscriptions allow, and as few moves as that
    takes."""
    wanted = {each.topics for each in members}
    if len(wanted) == 1:
        return _Alike(members, topics).assign()
    return _Mixed(members, topics).assign()


class _Alike:
    """Everybody wants the same topics: each gets a share of all partitions, some one more."""

    def __init__(self, members: list[Subscriber], topics: Mapping[bytes, int]) -> None:
        every = [(topic_id, number) for topic_id in sorted(topics) for number in range(topics[topic_id])]
        self._every = every
        valid = frozenset(every)
        self._kept = {
            each.member_id: sorted(each.previous & valid)
            for each in sorted(members, key=lambda each: each.member_id)
        }

    def assign(self) -> dict[str, Assignment]:
        kept = self._kept
        share, extra = divmod(len(self._every), len(kept))
        # Whoever has most is the first to keep one more than the others.
        order = sorted(kept, key=lambda member_id: -len(kept[member_id]))
        shares = {member_id: share + (position < extra) for position, member_id in enumerate(order)}
        result: dict[str, list[TopicPartition]] = {}
        taken: set[TopicPartition] = set()
        for member_id, partitions in kept.items():
            result[member_id] = [each for each in partitions if each not in taken][: shares[member_id]]
            taken.update(result[member_id])
        free = iter([each for each in self._every if each not in taken])
        for member_id, partitions in result.items():
            partitions.extend(islice(free, shares[member_id] - len(partitions)))
        return {member_id: frozenset(partitions) for member_id, partitions in result.items()}


class _Mixed:
    """Members want different topics: who has least gets what nobody has, then partitions move from those who
    have most to those who have least, as long as that makes them more alike."""

    def __init__(self, members: list[Subscriber], topics: Mapping[bytes, int]) -> None:
        order = sorted(members, key=lambda each: each.member_id)
        self._subscribers: dict[bytes, list[str]] = {topic_id: [] for topic_id in sorted(topics)}
        for each in order:
            for topic_id in each.topics:
                self._subscribers[topic_id].append(each.member_id)
        self._topics = topics
        self._load = dict.fromkeys((each.member_id for each in order), 0)
        self._owners: dict[bytes, dict[int, str]] = {topic_id: {} for topic_id in self._subscribers}
        for each in order:
            for topic_id, number in sorted(each.previous):
                if topic_id in each.topics and number < topics[topic_id]:
                    self._give(topic_id, number, each.member_id)

    def _give(self, topic_id: bytes, number: int, member_id: str) -> None:
        owners = self._owners[topic_id]
        if number in owners:
            return
        owners[number] = member_id
        self._load[member_id] += 1

    def assign(self) -> dict[str, Assignment]:
        # Topics that few want come first: there is the least choice.
        for topic_id in sorted(self._subscribers, key=lambda each: len(self._subscribers[each])):
            self._hand_out(topic_id)
        while any(self._balance(topic_id) for topic_id in self._subscribers):
            pass
        result: dict[str, list[TopicPartition]] = {member_id: [] for member_id in self._load}
        for topic_id, owners in self._owners.items():
            for number, member_id in owners.items():
                result[member_id].append((topic_id, number))
        return {member_id: frozenset(partitions) for member_id, partitions in result.items()}

    def _hand_out(self, topic_id: bytes) -> None:
        least = [(self._load[member_id], member_id) for member_id in self._subscribers[topic_id]]
        heapify(least)
        for number in range(self._topics[topic_id]):
            if number not in self._owners[topic_id]:
                load, member_id = least[0]
                self._give(topic_id, number, member_id)
                heapreplace(least, (load + 1, member_id))

    def _balance(self, topic_id: bytes) -> bool:
        """Move partitions of one topic; returns whether any moved. Every move brings two loads closer, so
        that there is an end."""
        owners = self._owners[topic_id]
        owned: dict[str, list[int]] = {}
        for number in sorted(owners):
            owned.setdefault(owners[number], []).append(number)
        least = [(self._load[member_id], member_id) for member_id in self._subscribers[topic_id]]
        most = [(-self._load[member_id], member_id) for member_id in owned]
        heapify(least)
        heapify(most)
        moved = False
        while most:
            load, giver = most[0]
            if -load != self._load[giver] or not owned.get(giver):
                heappop(most)
                if owned.get(giver):
                    heappush(most, (-self._load[giver], giver))
                continue
            while least[0][0] != self._load[least[0][1]]:
                heapreplace(least, (self._load[least[0][1]], least[0][1]))
            taker = least[0][1]
            if self._load[giver] - self._load[taker] <= 1:
                break
            number = owned[giver].pop()
            owners[number] = taker
            owned.setdefault(taker, []).append(number)
            self._load[giver] -= 1
            self._load[taker] += 1
            moved = True
        return moved


ASSIGNORS: Final[Mapping[str, Assignor]] = {"uniform": assign_uniform, "range": assign_range}
"""By Kafka's names."""
