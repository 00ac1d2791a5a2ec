"""What one client process is to do; goes to it as JSON on its command line."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from enum import StrEnum

MAX_UNSETTLED = 20_000
"""Records that a producer may have under way: what an outage can pile up."""

BURST = 100
"""Records that go to one partition before the next one's turn, at most."""

KEYS = 7


class Library(StrEnum):
    """The client libraries."""

    CONFLUENT = "confluent"
    AIOKAFKA = "aiokafka"
    KRAFT = "kraft"


class Role(StrEnum):
    """What a client does all the time."""

    PRODUCE = "produce"
    READ = "read"
    GROUP = "group"
    COPY = "copy"
    READ_BACK = "read-back"


@dataclass(frozen=True, slots=True)
class Task:
    """One client. `topic` is what it works on, `target` where a copier writes, `topics` what is read back.

    A producer sends `records`, `rate` a second, numbered from `first_record`. `size` is the payload in bytes.
    """

    name: str
    library: Library
    role: Role
    bootstrap: str
    journal: str
    topics: tuple[tuple[str, int], ...]
    target: str = ""
    group: str = ""
    first_record: int = 0
    records: int = 0
    rate: float = 0.0
    size: int = 100

    @property
    def topic(self) -> str:
        return self.topics[0][0]

    @property
    def partitions(self) -> int:
        return self.topics[0][1]


def encode_task(task: Task) -> str:
    """As text."""
    return json.dumps(asdict(task))


def decode_task(text: str) -> Task:
    """From text; ValueError, TypeError or KeyError if it is none."""
    fields = json.loads(text)
    fields["library"], fields["role"] = Library(fields["library"]), Role(fields["role"])
    fields["topics"] = tuple((str(name), int(count)) for name, count in fields["topics"])
    return Task(**fields)


class Pace:
    """How much is due: `rate` records a second, `records` in all, bursts in turn to every partition."""

    def __init__(self, task: Task, now: float) -> None:
        self._task = task
        self._began = now
        self._sent = 0
        self._burst = 0
        self.unsettled = 0

    @property
    def finished(self) -> bool:
        """True when everything has been sent."""
        return self._sent >= self._task.records

    def next_burst(self, now: float) -> tuple[int, int, int, int] | None:
        """(partition, key, first record, count) of what is to be sent now; None if nothing is."""
        due = min(self._task.records, int((now - self._began) * self._task.rate) + 1)
        count = min(due - self._sent, BURST, MAX_UNSETTLED - self.unsettled)
        # A few records at a time are no burst, unless they are the last.
        if count <= 0 or (count < BURST // 4 and due < self._task.records):
            return None
        first = self._task.first_record + self._sent
        partition, key = self._burst % self._task.partitions, self._burst % KEYS
        self._burst += 1
        self._sent += count
        self.unsettled += count
        return partition, key, first, count


def payload(task: Task) -> bytes:
    """What a record carries beside its number."""
    return b"x" * task.size


def wire_key(key: int) -> bytes:
    """A record's key on the wire."""
    return b"%d" % key
