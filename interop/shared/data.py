"""Producing and consuming by assignment, and topics to do it with."""

from __future__ import annotations

import time
from collections.abc import Iterable

from interop.shared.client import Client, Placed, Row
from interop.shared.telling import Deadline, Unexpected, Unsupported, expect

PARTITIONS = 3


def make_topic(client: Client, of: str, partitions: int = 1) -> str:
    """A topic that is ready: every partition has a leader."""
    name = client.at.name(of)
    client.ready_topic(name, partitions)
    deadline = Deadline()
    while deadline.left(f"leaders of {name}"):
        leaders = client.topics().get(name, ())
        if len(leaders) == partitions and min(leaders) >= 0:
            break
    return name


def send_numbers(client: Client, topic: str, numbers: Iterable[int], partitions: int = 1) -> None:
    """Values 0, 1, … round and round the partitions."""
    now = time.time_ns() // 1_000_000
    client.send(topic, [Row(None, b"%d" % number, now, []) for number in numbers], partitions)


def read(
    client: Client, topic: str, positions: dict[int, int], count: int, committed: bool = False
) -> list[Placed]:
    """Exactly so many. Raises Unexpected."""
    found = client.read(topic, positions, count, committed)
    if len(found) > count:
        raise Unexpected(f"more than {count} records")
    return found


def read_numbers(client: Client, topic: str, count: int, committed: bool) -> list[int]:
    """All of partition 0."""
    return [int(each.row.value or b"") for each in read(client, topic, {0: 0}, count, committed)]


def produce(client: Client) -> None:
    """Records of every kind to three partitions."""
    topic = make_topic(client, "data", PARTITIONS)
    offsets = client.send(topic, client.rows, PARTITIONS)
    each = len(client.rows) // PARTITIONS
    wanted = [(partition, offset) for partition in range(PARTITIONS) for offset in range(each)]
    expect("offsets", sorted(offsets), wanted)


def produce_compressed(client: Client) -> str:
    """One topic for each codec."""
    if not client.codecs:
        raise Unsupported("no compression")
    for codec in client.codecs:
        topic = make_topic(client, codec)
        client.send(topic, client.rows, codec=codec)
        found = read(client, topic, {0: 0}, len(client.rows))
        expect(f"records with {codec}", [each.row for each in found], client.rows)
    return ", ".join(client.codecs)


def idempotent_produce(client: Client) -> None:
    """No gap in the offsets, and nothing twice."""
    topic = make_topic(client, "idempotent")
    offsets = client.send(topic, client.rows, idempotent=True)
    expect("offsets", offsets, [(0, offset) for offset in range(len(client.rows))])
    expect("records", [each.row for each in read(client, topic, {0: 0}, len(client.rows))], client.rows)


def consume(client: Client) -> None:
    """What `produce` wrote."""
    positions = dict.fromkeys(range(PARTITIONS), 0)
    found = read(client, client.at.name("data"), positions, len(client.rows))
    for partition in range(PARTITIONS):
        here = [each for each in found if each.partition == partition]
        expect("offsets", [each.offset for each in here], list(range(len(here))))
        expect("records", [each.row for each in here], client.rows[partition::PARTITIONS])


def consume_from_timestamp(client: Client) -> None:
    """From the middle of partition 0."""
    topic, wanted = client.at.name("data"), client.rows[0::PARTITIONS]
    middle = len(wanted) // 2
    # Between two records: the later one is the first that is not older.
    offset = client.offset_for_time(topic, wanted[middle].timestamp - 1)
    expect("offset", offset, middle)
    found = read(client, topic, {0: offset}, len(wanted) - middle)
    expect("records", [each.row for each in found], wanted[middle:])


STEPS = (produce, produce_compressed, idempotent_produce, consume, consume_from_timestamp)
