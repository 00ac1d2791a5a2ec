"""Copies a topic in transactions until all of it is copied: the process that the copy test kills.

`copying_process.py BOOTSTRAP SOURCE TARGET NAME RECORDS`. Before each transaction it says "ready" and waits
for a line; after it, "copied N". When the group has committed as many offsets as there are RECORDS it ends
with status 0. Whatever goes wrong it ends at once with status 3: the next process begins where this one's
last transaction was committed, which is the point of it.

librdkafka 2.16 may hang in `send_offsets_to_transaction` when the group's coordinator dies in that moment; a
transaction that takes longer than STUCK_AFTER is such a case, and ends the process as well.
"""

from __future__ import annotations

import os
import sys
import threading
from typing import Any

from confluent_kafka import Consumer, KafkaException, Message, Producer, TopicPartition

BATCH = 750
PATIENCE = 30.0
TRANSACTION_TIMEOUT_MS = 10_000
STUCK_AFTER = 6.0
PARTITIONS = 3


class Copier:
    """One member of the group `copiers`, which reads what is committed; one transactional id."""

    def __init__(self, bootstrap: str, source: str, target: str, name: str) -> None:
        self._source = source
        self._target = target
        self._read: list[Message] = []
        quiet = {"bootstrap.servers": bootstrap, "log_level": 0}
        self._producer = Producer(
            {
                **quiet,
                "transactional.id": f"{source}-{name}",
                "transaction.timeout.ms": TRANSACTION_TIMEOUT_MS,
                "linger.ms": 1,
            }
        )
        self._consumer = Consumer(
            {
                **quiet,
                "group.id": f"{source}-copiers",
                # A process that is killed comes back as the same member: the others keep their partitions.
                "group.instance.id": name,
                "session.timeout.ms": 6000,
                "heartbeat.interval.ms": 500,
                "isolation.level": "read_committed",
                "auto.offset.reset": "earliest",
                "enable.auto.commit": False,
            }
        )

    def run(self, records: int) -> None:
        """Raises KafkaException when anything fails."""
        self._producer.init_transactions(PATIENCE)
        self._consumer.subscribe([self._source], on_revoke=self._forget, on_lost=self._forget)
        while True:
            self._collect()
            if self._read:
                say("ready")
                sys.stdin.readline()
                watchdog = threading.Timer(STUCK_AFTER, give_up, ["stuck"])
                watchdog.start()
                self._copy()
                watchdog.cancel()
            elif self._committed() >= records:
                return

    def _forget(self, _consumer: Any, _partitions: Any) -> None:
        # What was read of partitions that are another's now is read again by whoever has them.
        self._read.clear()

    def _collect(self) -> None:
        self._read.clear()
        while len(self._read) < BATCH:
            message = self._consumer.poll(0.3)
            if message is None:
                return
            if message.error() is None:
                self._read.append(message)

    def _copy(self) -> None:
        positions: dict[int, int] = {}
        self._producer.begin_transaction()
        for message in self._read:
            partition, offset = message.partition(), message.offset()
            assert partition is not None
            assert offset is not None
            positions[partition] = offset + 1
            self._producer.produce(self._target, message.value(), message.key(), partition)
        self._producer.send_offsets_to_transaction(
            [TopicPartition(self._source, partition, offset) for partition, offset in positions.items()],
            self._consumer.consumer_group_metadata(),
            PATIENCE,
        )
        self._producer.commit_transaction(PATIENCE)
        say(f"copied {len(self._read)}")

    def _committed(self) -> int:
        every = [TopicPartition(self._source, partition) for partition in range(PARTITIONS)]
        return sum(max(found.offset, 0) for found in self._consumer.committed(every, PATIENCE))


def give_up(reason: object) -> None:
    """End at once."""
    say(f"failed {reason}")
    os._exit(3)


def say(line: str) -> None:
    """Tell the test."""
    print(line, flush=True)


if __name__ == "__main__":
    *names, count = sys.argv[1:]
    try:
        Copier(*names).run(int(count))
    except KafkaException as failure:
        give_up(failure)
    os._exit(0)
