"""Producing and consuming by assignment, and topics to do it with."""

from __future__ import annotations

import time
from collections.abc import Iterable

from interop.shared.client import Client, Placed, Row
from interop.shared.telling import Deadline, Unexpected, Unsupported, expect

PARTITIONS = 3


def _rows() -> list[Row]:
    """Records of every kind that all libraries can send, with timestamps of the last hour."""
    keys = [None, b"", b"key", "schlüssel".encode()]
    values = [b"value", b"", b"long" * 5000]
    headers = [[], [("a", b"1")], [("a", b"1"), ("a", b""), ("ü", b"\x00\xff")]]
    first = (int(time.time()) - 3600) * 1000
    return [
        Row(keys[index % 4], values[index // 4 % 3], first + 1000 * index, headers[index % 3])
        for index in range(48)
    ]


ROWS = _rows()


def make_topic(client: Client, of: str, partitions: int = 1) -> str:
    """A topic that is ready: every partition has a leader."""
    name = client.at.name(of)
    client.create_topic(name, partitions, client.at.replication_factor, {})
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
    offsets = client.send(topic, ROWS, PARTITIONS)
    each = len(ROWS) // PARTITIONS
    wanted = [(partition, offset) for partition in range(PARTITIONS) for offset in range(each)]
    expect("offsets", sorted(offsets), wanted)


def produce_compressed(client: Client) -> str:
    """One topic for each codec."""
    if not client.codecs:
        raise Unsupported("no compression")
    for codec in client.codecs:
        topic = make_topic(client, codec)
        client.send(topic, ROWS, codec=codec)
        found = read(client, topic, {0: 0}, len(ROWS))
        expect(f"records with {codec}", [each.row for each in found], ROWS)
    return ", ".join(client.codecs)


def idempotent_produce(client: Client) -> None:
    """No gap in the offsets, and nothing twice."""
    topic = make_topic(client, "idempotent")
    offsets = client.send(topic, ROWS, idempotent=True)
    expect("offsets", offsets, [(0, offset) for offset in range(len(ROWS))])
    expect("records", [each.row for each in read(client, topic, {0: 0}, len(ROWS))], ROWS)


def consume(client: Client) -> None:
    """What `produce` wrote."""
    positions = dict.fromkeys(range(PARTITIONS), 0)
    found = read(client, client.at.name("data"), positions, len(ROWS))
    for partition in range(PARTITIONS):
        here = [each for each in found if each.partition == partition]
        expect("offsets", [each.offset for each in here], list(range(len(here))))
        expect("records", [each.row for each in here], ROWS[partition::PARTITIONS])


def consume_from_timestamp(client: Client) -> None:
    """From the middle of partition 0."""
    topic, wanted = client.at.name("data"), ROWS[0::PARTITIONS]
    middle = len(wanted) // 2
    # Between two records: the later one is the first that is not older.
    offset = client.offset_for_time(topic, wanted[middle].timestamp - 1)
    expect("offset", offset, middle)
    found = read(client, topic, {0: offset}, len(wanted) - middle)
    expect("records", [each.row for each in found], wanted[middle:])


STEPS = (produce, produce_compressed, idempotent_produce, consume, consume_from_timestamp)
