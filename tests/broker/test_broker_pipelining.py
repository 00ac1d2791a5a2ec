"""Many requests at once on one connection: answered in their order, and never more than fits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode

Batch = Callable[..., bytes]
PAGE = 4096


def resident_bytes(pid: int) -> int:
    """Memory that a process has now."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1]) * PAGE


def test_answers_keep_the_order_of_requests(wire: Any, make_topic: Any, batch: Batch) -> None:
    """With flush.messages=1 an acks=all request waits for the disk, and nothing overtakes it."""
    synced, plain = make_topic(flush_messages="1"), make_topic()
    sent = []
    for index in range(300):
        match index % 4:
            case 0:
                sent.append(("synced", wire.send_produce([(synced, 0, batch(b"x"))])))
            case 1:
                sent.append(("versions", wire.request(ApiKey.API_VERSIONS, 1)))
            case 2:
                sent.append(("plain", wire.send_produce([(plain, 0, batch(b"x"))], acks=1)))
            case _:
                sent.append(("metadata", wire.request(ApiKey.METADATA, 1, topics=[])))
    offsets: dict[str, list[int]] = {"synced": [], "plain": []}
    for kind, number in sent:
        if kind == "versions":
            assert wire.response(ApiKey.API_VERSIONS, 1, number).error_code == ErrorCode.NONE
        elif kind == "metadata":
            assert wire.response(ApiKey.METADATA, 1, number).brokers
        else:
            offsets[kind].append(wire.produced(number)[0].base_offset)
    assert offsets == {"synced": list(range(75)), "plain": list(range(75))}


def test_a_request_waits_behind_a_fetch_that_waits(connect: Any, topic: str, batch: Batch) -> None:
    wire, writer = connect(), connect()
    fetch = wire.send_fetch([(topic, 0, 0)], max_wait_ms=60_000)
    versions = wire.request(ApiKey.API_VERSIONS, 1)
    writer.produce(topic, batch(b"x"))
    assert wire.fetched(fetch).results[0].records.size > 0
    assert wire.response(ApiKey.API_VERSIONS, 1, versions).error_code == ErrorCode.NONE


def test_more_requests_than_may_wait_are_all_answered(wire: Any, make_topic: Any, batch: Batch) -> None:
    topic = make_topic(flush_messages="1")
    numbers = [wire.send_produce([(topic, 0, batch(b"%d" % index))]) for index in range(1000)]
    assert [wire.produced(number)[0].base_offset for number in numbers] == list(range(1000))


def test_a_reader_that_does_not_read_costs_no_memory(
    connect: Any, broker: Any, topic: str, batch: Batch
) -> None:
    """Large answers go by sendfile, small ones through memory; neither piles up."""
    other = connect()
    for _ in range(4):
        other.produce(topic, batch(bytes(900_000)))
    before = resident_bytes(broker.pid)
    large, small = connect(), connect()
    numbers = [large.send_fetch([(topic, 0, 0)], partition_max_bytes=4_000_000) for _ in range(40)]
    many = [small.request(ApiKey.DESCRIBE_CONFIGS, 1, **DESCRIBE_EVERYTHING) for _ in range(400)]
    for _ in range(300):  # the broker gets round to everybody while these are answered
        other.call(ApiKey.API_VERSIONS, 1)
    assert resident_bytes(broker.pid) - before < 32_000_000
    for number in numbers:
        assert large.fetched(number).results[0].records.size == 4 * len(batch(bytes(900_000)))
    for number in many:
        assert small.frame()[:4] == number.to_bytes(4, "big")


DESCRIBE_EVERYTHING = {
    "resources": [{"resource_type": 4, "resource_name": "1", "configuration_keys": None}],
    "include_synonyms": True,
}
