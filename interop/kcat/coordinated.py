"""Members of groups, each a kcat that runs for a while."""

from __future__ import annotations

import time

from interop.kcat.program import Running, messages, once, rebalances, settings
from interop.shared.client import Member, Membership, Where
from interop.shared.groups import PARTITIONS
from interop.shared.telling import Unsupported


def part(topic: str, partition: int) -> str:
    """kcat makes topics of one partition only: partition 2 of a topic is the only one of this topic."""
    return f"{topic}.{partition}"


class GroupMember(Member):
    """A kcat that consumes as a member of a group."""

    def __init__(self, at: Where, how: Membership) -> None:
        super().__init__()
        if how.next_gen:
            raise Unsupported("this librdkafka speaks the classic group protocol only")
        # Range would give the only partitions of all topics to one member.
        strategy = "cooperative-sticky" if how.cooperative else "roundrobin"
        options = settings(
            partition_assignment_strategy=strategy,
            auto_offset_reset="earliest",
            session_timeout_ms=6000,
            heartbeat_interval_ms=500,
            enable_auto_commit="false",
        )
        if how.instance is not None:
            options += settings(group_instance_id=how.instance)
        topics = [part(how.topic, partition) for partition in range(PARTITIONS)]
        self._kcat = Running(at.bootstrap, "-u", "-J", *options, "-G", how.group, *topics)

    @property
    def partitions(self) -> set[int]:
        has: set[int] = set()
        self.rebalances = 0
        self.given_up = set()
        for incremental, takes_away, topics in rebalances(self._kcat.complaints):
            partitions = {int(topic.rpartition(".")[2]) for topic in topics}
            if takes_away:
                has -= partitions
                self.given_up |= partitions
            else:
                has = has | partitions if incremental else partitions
                self.rebalances += 1
        return has

    def poll(self) -> None:
        time.sleep(0.02)
        self.values = [int(message["payload"]) for message in messages("".join(list(self._kcat.lines)))]

    def close(self) -> None:
        self._kcat.terminate()


def offset_at(bootstrap: str, topic: str, when: int) -> int:
    """The first offset that is not older than a timestamp; -1 asks for the end, -2 for the beginning."""
    uncommitted = settings(isolation_level="read_uncommitted")
    return int(once(bootstrap, "-Q", *uncommitted, "-t", f"{topic}:0:{when}").split()[-1])
