"""kcat's command lines for what the walk asks."""

from __future__ import annotations

import itertools
import json
import re
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from interop.kcat.coordinated import GroupMember, offset_at, part
from interop.kcat.program import SEPARATOR, KcatError, Running, messages, once, settings
from interop.shared.administration import TOPIC, list_offsets
from interop.shared.client import Client, Member, Membership, Placed, Row
from interop.shared.data import PARTITIONS, make_topic, read_numbers
from interop.shared.groups import group_of, membership, poll_until
from interop.shared.telling import Deadline, Unsupported, expect, refused

_NOW = 0
"""Stands for the time of sending, which is the only one that kcat knows."""


def _rows() -> list[Row]:
    """One line of input has no headers of its own: so records come in runs with the same ones."""
    keys = [None, b"", b"key", "schlüssel".encode()]
    values = [b"value", b"long" * 5000]
    headers = [[], [("a", b"1")], [("a", b"1"), ("a", b"2"), ("ü", "ö".encode())]]
    return [Row(keys[index % 4], values[index // 4 % 2], _NOW, headers[index // 8]) for index in range(24)]


def _line(row: Row) -> str:
    value = (row.value or b"").decode()
    return value if row.key is None else f"{row.key.decode()}{SEPARATOR}{value}"


def _placed(message: dict[str, Any]) -> Placed:
    recent = message["tstype"] == "create" and abs(time.time() * 1000 - message["ts"]) < 120_000
    said = message.get("headers", [])
    headers = [(name, value.encode()) for name, value in zip(said[::2], said[1::2], strict=True)]
    key = message["key"]
    row = Row(
        None if key is None else key.encode(),
        message["payload"].encode(),
        _NOW if recent else message["ts"],
        headers,
    )
    return Placed(int(message["topic"].rpartition(".")[2]), message["offset"], row)


class Kcat(Client):
    """A topic of several partitions is as many topics here, since kcat can not make one."""

    package = "interop.kcat"
    codecs = ("gzip", "snappy", "lz4", "zstd")
    rows = _rows()

    def library(self) -> tuple[str, str]:
        said = subprocess.run(["kcat", "-V"], capture_output=True, text=True, check=True).stdout
        kcat, librdkafka = (
            re.search(pattern, said) for pattern in (r"Version (\S+)", r"librdkafka ([\d.]+)")
        )
        assert kcat is not None
        assert librdkafka is not None
        return "kcat", f"{kcat[1]}, librdkafka {librdkafka[1]}"

    def code(self, error: BaseException) -> int | None:
        return error.code if isinstance(error, KcatError) else None

    def own_steps(self) -> Mapping[str, Callable[[], str | None]]:
        return {
            "consume_from_timestamp": self._consume_from_timestamp,
            "commit_and_resume": self._commit_and_resume,
            "fenced_producer": self._fenced_producer,
            "static_membership": self._static_membership,
            "transactions_copy": self._transactions_copy,
            "list_offsets": self._list_offsets,
            "transaction_abort": self._transaction_abort,
            "read_committed": self._read_committed,
            "describe_topics": self._describe_topics,
        }

    def ready_topic(self, name: str, partitions: int) -> None:
        for partition in range(partitions):
            once(self.at.bootstrap, "-L", "-t", part(name, partition))

    # Records

    def send(
        self,
        topic: str,
        rows: Sequence[Row],
        partitions: int = 1,
        codec: str | None = None,
        idempotent: bool = False,
    ) -> list[tuple[int, int]]:
        options = settings(enable_idempotence=str(idempotent).lower(), acks="all")
        options += [] if codec is None else ["-z", codec]
        placed = []
        for partition in range(partitions):
            name = part(topic, partition)
            first = offset_at(self.at.bootstrap, name, -1)
            for headers, run in itertools.groupby(rows[partition::partitions], key=lambda row: row.headers):
                said = [word for name_, value in headers for word in ("-H", f"{name_}={value.decode()}")]
                lines = "".join(f"{_line(row)}\n" for row in run)
                once(self.at.bootstrap, "-P", "-t", name, "-K", SEPARATOR, *said, *options, given=lines)
            last = offset_at(self.at.bootstrap, name, -1)
            placed += [(partition, offset) for offset in range(first, last)]
        return placed

    def read(
        self, topic: str, positions: Mapping[int, int], count: int, committed: bool = False
    ) -> list[Placed]:
        isolation = settings(isolation_level="read_committed" if committed else "read_uncommitted")
        found: list[Placed] = []
        for partition, offset in positions.items():
            words = ["-C", "-J", "-e", "-q", "-t", part(topic, partition), "-p", "0", "-o", str(offset)]
            found += [_placed(each) for each in messages(once(self.at.bootstrap, *words, *isolation))]
        return found

    def offsets(self, topic: str) -> tuple[int, int]:
        name = part(topic, 0)
        return offset_at(self.at.bootstrap, name, -2), offset_at(self.at.bootstrap, name, -1)

    def _consume_from_timestamp(self) -> None:
        topic = part(make_topic(self, "times"), 0)
        for value in ("before", "after"):
            once(self.at.bootstrap, "-P", "-t", topic, given=f"{value}\n")
        _, after = messages(once(self.at.bootstrap, "-C", "-J", "-e", "-q", "-t", topic))
        expect("offset", offset_at(self.at.bootstrap, topic, after["ts"]), 1)
        found = messages(
            once(self.at.bootstrap, "-C", "-J", "-e", "-q", "-t", topic, "-o", f"s@{after['ts']}")
        )
        expect("records", [each["payload"] for each in found], ["after"])

    # Groups and transactions

    def join(self, membership: Membership) -> Member:
        return GroupMember(self.at, membership)

    def _static_membership(self) -> None:
        """As the walk does it; the first record that the returned one reads is the earliest."""
        how = membership(self, "static")
        first, second = (Membership(how.group, how.topic, instance) for instance in "ab")
        with group_of(self, first, second) as members:
            had, rebalances = members[1].partitions, members[0].rebalances
            members[1].close()
            members[1] = self.join(second)
            poll_until(members, lambda: members[1].partitions, "its return")
            expect("partitions after its return", members[1].partitions, had)
            expect("partitions of the other", len(members[0].partitions), len(had))
            expect("rebalances of the other", members[0].rebalances, rebalances)

    def _commit_and_resume(self) -> None:
        topic, group = part(make_topic(self, "resume"), 0), self.at.name("resume")
        once(self.at.bootstrap, "-P", "-t", topic, given="".join(f"{number}\n" for number in range(20)))
        for start, end in ((0, 12), (12, 20)):
            options = settings(auto_offset_reset="earliest", session_timeout_ms=6000)
            printed = once(self.at.bootstrap, "-q", "-c", str(end - start), *options, "-G", group, topic)
            expect("records", [int(line) for line in printed.split()], list(range(start, end)))

    def _transactions_copy(self) -> None:
        raise Unsupported("kcat does not send offsets to a transaction")

    def _transaction_abort(self) -> None:
        raise Unsupported("kcat sends nothing before its whole input is read, and then it commits")

    def _read_committed(self) -> str:
        topic = make_topic(self, "open")
        options = settings(transactional_id=self.at.name("open"))
        once(self.at.bootstrap, "-P", "-t", part(topic, 0), *options, given="0\n1\n2\n")
        expect("records", read_numbers(self, topic, 3, committed=True), [0, 1, 2])
        return "of a whole transaction; kcat can not hold one open"

    def _fenced_producer(self) -> None:
        words = ["-P", "-t", part(make_topic(self, "fenced"), 0)]
        words += settings(transactional_id=self.at.name("fenced"))
        first = Running(self.at.bootstrap, *words)
        try:
            deadline = Deadline()
            while not first.complaints and deadline.left("the first producer to begin"):
                time.sleep(0.02)
            once(self.at.bootstrap, *words, given="second\n")
            first.give(["first"])
            first.end_of_input()
        finally:
            first.kill()
        raise refused("the first producer's commit")

    # Administration

    def _listed(self, *words: str) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(once(self.at.bootstrap, "-L", "-J", *words))
        return found

    def topics(self) -> Mapping[str, Sequence[int]]:
        leaders: dict[str, list[int]] = {}
        for topic in self._listed()["topics"]:
            name = topic["topic"].rpartition(".")[0]
            leaders.setdefault(name, []).extend(each["leader"] for each in topic["partitions"])
        return leaders

    def brokers(self) -> tuple[set[int], int]:
        found = self._listed()
        return {broker["id"] for broker in found["brokers"]}, found["controllerid"]

    def _list_offsets(self) -> None:
        make_topic(self, TOPIC)
        list_offsets(self)

    def _describe_topics(self) -> None:
        for partition in range(PARTITIONS):
            (found,) = self._listed("-t", part(self.at.name("data"), partition))["topics"]
            expect("partitions", [each["partition"] for each in found["partitions"]], [0])
            (only,) = found["partitions"]
            expect("replicas in sync", only["isrs"], only["replicas"])
