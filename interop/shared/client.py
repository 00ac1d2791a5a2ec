"""What the walk asks of a client library: `Client`, which each Python client implements with its own calls.

A method that is not overridden is one that the library lacks, and its steps are reported as unsupported.
Errors of the broker are raised as the library raises them; `Client.code` reads Kafka's number off them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from interop.shared.telling import Unsupported


@dataclass(frozen=True, slots=True)
class Where:
    """The cluster, and the names that this run may use there."""

    bootstrap: str
    prefix: str
    replication_factor: int

    def name(self, of: str) -> str:
        """A name for a topic, a group or a transactional id that nobody else has."""
        return f"{self.prefix}-{of}"


class Row(NamedTuple):
    """One record; the timestamp is in ms."""

    key: bytes | None
    value: bytes | None
    timestamp: int
    headers: list[tuple[str, bytes]]


def every_kind_of_row() -> list[Row]:
    """Records of every kind that libraries agree to send, with timestamps of the last hour."""
    keys = [None, b"", b"key", "schlüssel".encode()]
    values = [b"value", None, b"", b"long" * 5000]
    headers = [[], [("a", b"1")], [("a", b"1"), ("a", b""), ("ü", b"\x00\xff")]]
    first = (int(time.time()) - 3600) * 1000
    combined = [(keys[index % 4], values[index // 4 % 4], headers[index % 3]) for index in range(48)]
    # The Python clients refuse a record with neither key nor value.
    return [
        Row(key, b"" if key is value is None else value, first + 1000 * index, said)
        for index, (key, value, said) in enumerate(combined)
    ]


class Placed(NamedTuple):
    """Where a record is, and the record."""

    partition: int
    offset: int
    row: Row


@dataclass(frozen=True, slots=True)
class Membership:
    """How to be in a group. The classic protocol with `range`, and sessions of 6 s, unless said otherwise."""

    group: str
    topic: str
    instance: str | None = None
    cooperative: bool = False
    next_gen: bool = False


class Member:
    """A group's member: starts at the earliest offset, and commits only when it is told to.

    `values` are the numbers it has read so far, `rebalances` counts what was assigned to it, `given_up` are
    the partitions that were revoked.
    """

    def __init__(self) -> None:
        self.values: list[int] = []
        self.rebalances = 0
        self.given_up: set[int] = set()

    @property
    def partitions(self) -> set[int]:
        """Which ones it has now."""
        raise Unsupported("no consumer groups")

    def poll(self) -> None:
        """Let it do what it has to for about 50 ms, and take records if there are some."""
        raise Unsupported("no consumer groups")

    def commit(self, offset: int) -> None:
        """For partition 0."""
        raise Unsupported("no commits")

    def committed(self) -> int:
        """Of partition 0."""
        raise Unsupported("no committed offsets")

    def close(self) -> None:
        """Leave the group."""
        raise Unsupported("no consumer groups")


class TransactionalProducer:
    """A producer with a transactional id, initialised. What it sends goes to partition 0."""

    def begin(self) -> None:
        """Start a transaction."""
        raise Unsupported("no transactions")

    def send(self, topic: str, numbers: Sequence[int]) -> None:
        """Send, and wait for the acknowledgements."""
        raise Unsupported("no transactions")

    def send_offset(self, reader: Member, membership: Membership, offset: int) -> None:
        """Partition 0's offset of the group becomes part of the transaction."""
        raise Unsupported("no offsets in transactions")

    def commit(self) -> None:
        """End it well."""
        raise Unsupported("no transactions")

    def abort(self) -> None:
        """Take it back."""
        raise Unsupported("no transactions")

    def close(self) -> None:
        """Give back what it holds."""


class SeenGroup(NamedTuple):
    """A group as an admin client sees it. State in lower case; partitions by member."""

    state: str
    assignor: str
    partitions: list[set[int]]


NO_CALL = "the library has no such call"


class Client:
    """The library at work on one cluster."""

    package: str
    """The module to run as a script."""
    codecs: Sequence[str] = ()
    rows: Sequence[Row] = every_kind_of_row()
    """What it sends in `produce` and the like; the walk's own unless the library can not send them all."""

    def __init__(self, at: Where) -> None:
        self.at = at

    def library(self) -> tuple[str, str]:
        """Name and version."""
        raise NotImplementedError

    def code(self, error: BaseException) -> int | None:
        """Kafka's error code of an exception; None if it has none."""
        raise NotImplementedError

    def close(self) -> None:
        """Give back what is held."""

    def own_steps(self) -> Mapping[str, Callable[[], str | None]]:
        """Steps that this client has to walk in its own way."""
        return {}

    def ready_topic(self, name: str, partitions: int) -> None:
        """Make a topic for the other steps."""
        self.create_topic(name, partitions, self.at.replication_factor, {})

    # Records

    def send(
        self,
        topic: str,
        rows: Sequence[Row],
        partitions: int = 1,
        codec: str | None = None,
        idempotent: bool = False,
    ) -> list[tuple[int, int]]:
        """Round and round the partitions with `acks=all`; returns partition and offset of each."""
        raise Unsupported(NO_CALL)

    def read(
        self, topic: str, positions: Mapping[int, int], count: int, committed: bool = False
    ) -> list[Placed]:
        """By assignment, from these offsets: the first `count`, and one more if it comes within 0.2 s."""
        raise Unsupported(NO_CALL)

    def offset_for_time(self, topic: str, timestamp: int) -> int:
        """The first offset of partition 0 that is not older."""
        raise Unsupported(NO_CALL)

    def offsets(self, topic: str) -> tuple[int, int]:
        """Earliest and latest of partition 0."""
        raise Unsupported(NO_CALL)

    def stable_offset(self, topic: str) -> int | None:
        """The last stable one of partition 0; None if the library can not ask for it."""
        return None

    # Groups and transactions

    def join(self, membership: Membership) -> Member:
        """A new member; it may take polls until it has partitions."""
        raise Unsupported("no consumer groups")

    def transactional(self, transactional_id: str) -> TransactionalProducer:
        """Initialised."""
        raise Unsupported("no transactions")

    # Administration

    def topics(self) -> Mapping[str, Sequence[int]]:
        """All topics, each with its partitions' leaders; -1 for none."""
        raise Unsupported(NO_CALL)

    def create_topic(self, name: str, partitions: int, replicas: int, config: Mapping[str, str]) -> None:
        """One topic."""
        raise Unsupported(NO_CALL)

    def delete_topic(self, name: str) -> None:
        """One topic."""
        raise Unsupported(NO_CALL)

    def describe_topic(self, name: str) -> Sequence[int]:
        """How many replicas each partition has."""
        raise Unsupported(NO_CALL)

    def create_partitions(self, name: str, total: int) -> None:
        """So many altogether."""
        raise Unsupported(NO_CALL)

    def brokers(self) -> tuple[set[int], int]:
        """All ids, and the controller's as clients see it."""
        raise Unsupported(NO_CALL)

    def config(self, topic: str) -> Mapping[str, tuple[str | None, bool]]:
        """Values, and whether each is the default."""
        raise Unsupported(NO_CALL)

    def set_config(self, topic: str, key: str, value: str) -> None:
        """Incrementally."""
        raise Unsupported(NO_CALL)

    def reset_config(self, topic: str, key: str) -> None:
        """Back to the default."""
        raise Unsupported(NO_CALL)

    def delete_records(self, topic: str, offset: int) -> int:
        """Of partition 0, up to the offset; returns the low watermark."""
        raise Unsupported(NO_CALL)

    def groups(self) -> Mapping[str, str | None]:
        """All groups with their states in lower case; None for a state that the library does not tell."""
        raise Unsupported(NO_CALL)

    def group(self, name: str) -> SeenGroup:
        """One group."""
        raise Unsupported(NO_CALL)

    def delete_group(self, name: str) -> None:
        """One group."""
        raise Unsupported(NO_CALL)

    def transactions(self) -> Mapping[str, str]:
        """All transactional ids and their states."""
        raise Unsupported(NO_CALL)

    def transaction(self, transactional_id: str) -> str:
        """The state of one."""
        raise Unsupported(NO_CALL)

    def elect_leader(self, topic: str) -> None:
        """The preferred one of partition 0."""
        raise Unsupported(NO_CALL)

    def reassignments(self) -> int:
        """How many partitions are on their way."""
        raise Unsupported(NO_CALL)

    def acls(self) -> int:
        """How many there are."""
        raise Unsupported(NO_CALL)

    def quotas(self) -> int:
        """How many entities have some."""
        raise Unsupported(NO_CALL)

    def scram(self, user: str) -> None:
        """Describe a user's credentials."""
        raise Unsupported(NO_CALL)
