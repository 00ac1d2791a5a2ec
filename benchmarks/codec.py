"""What the wire codec costs, in microseconds per operation: `python -m benchmarks.codec`.

Each figure is the best of several rounds, so that a busy machine does not show in it.
"""

from __future__ import annotations

import timeit
from collections.abc import Callable
from typing import Any

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.compression import Compression
from kafkawire.fetch import (
    FetchPartition,
    FetchRequest,
    FetchResult,
    decode_fetch_request,
    encode_fetch_response,
)
from kafkawire.fetch_client import Received, encode_fetch_request
from kafkawire.frames import FrameReader
from kafkawire.headers import parse_request_header
from kafkawire.produce import (
    ProducePartition,
    ProduceRequest,
    ProduceResult,
    decode_produce_request,
    encode_produce_response,
)
from kafkawire.produce_client import encode_produce_request
from kafkawire.records import build_batch, check_crc, read_header, records, stamp

ROUNDS = 7
SECONDS_PER_ROUND = 0.05

TOPIC = "page-views"
BATCH = build_batch([(1_700_000_000_000 + index, b"key", b"v" * 100) for index in range(10)])


def cost(operation: Callable[[], Any]) -> float:
    """Microseconds of one call, at best."""
    timer = timeit.Timer(operation)
    count, _ = timer.autorange()
    count = max(1, int(count * SECONDS_PER_ROUND / 0.2))
    return min(timer.repeat(ROUNDS, count)) / count * 1e6


def produce(partitions: int) -> dict[str, Callable[[], Any]]:
    """Request decoded and response encoded, version 9."""
    batch = memoryview(BATCH)
    wanted = [ProducePartition(TOPIC, index, batch) for index in range(partitions)]
    frame = memoryview(encode_produce_request(9, 1, ProduceRequest(None, -1, 30_000, wanted), "bench"))[4:]
    body = frame[parse_request_header(frame).body :]
    results = [ProduceResult(TOPIC, index, 0, 1 << 40, -1, 0, None, None) for index in range(partitions)]
    return {
        f"produce request, decode, {partitions}": lambda: decode_produce_request(9, body),
        f"produce response, encode, {partitions}": lambda: encode_produce_response(9, 1, results),
    }


def fetch(partitions: int) -> dict[str, Callable[[], Any]]:
    """Request decoded and response encoded around its records, version 12."""
    wanted = [FetchPartition(TOPIC, index, 3, 1 << 40, -1, 0, 1 << 20) for index in range(partitions)]
    request = FetchRequest(-1, 500, 1, 52_428_800, 0, 0, -1, wanted, [], "")
    frame = memoryview(encode_fetch_request(12, 1, request, "bench"))[4:]
    body = frame[parse_request_header(frame).body :]
    payload = Received(memoryview(BATCH))
    results = [
        FetchResult(TOPIC, index, 0, 1 << 40, 1 << 40, 0, None, -1, payload, None)
        for index in range(partitions)
    ]
    return {
        f"fetch request, decode, {partitions}": lambda: decode_fetch_request(12, body),
        f"fetch response, encode, {partitions}": lambda: encode_fetch_response(12, 1, results),
    }


def framing() -> dict[str, Callable[[], Any]]:
    """A frame received and cut out, and its header parsed."""
    frame = encode_produce_request(
        9, 1, ProduceRequest(None, -1, 30_000, [ProducePartition(TOPIC, 0, memoryview(BATCH))]), "bench"
    )
    reader = FrameReader(max_frame=1 << 20)
    payload = memoryview(frame)[4:]

    def receive() -> None:
        reader.get_buffer()[: len(frame)] = frame
        reader.received(len(frame))
        while reader.next_frame() is not None:
            pass

    return {
        "frame, received and cut out": receive,
        "request header, parse": lambda: parse_request_header(payload),
    }


def batches() -> dict[str, Callable[[], Any]]:
    """The work on one batch of ten records of 100 bytes."""
    view = memoryview(bytearray(BATCH))
    compressed = build_batch(list(_new_records()), compression=Compression.LZ4)

    def header_and_crc() -> None:
        check_crc(view, 0, read_header(view))

    return {
        "batch header, read": lambda: read_header(view),
        "batch header and checksum (1.1 kB)": header_and_crc,
        "batch, stamp": lambda: stamp(view, 0, 1 << 40, 7),
        "batch of 10 records, decode": lambda: list(records(view)),
        "batch of 10 records, lz4, decode": lambda: list(records(compressed)),
        "batch of 10 records, build": lambda: build_batch(list(_new_records())),
    }


def _new_records() -> list[tuple[int, bytes, bytes]]:
    return [(1_700_000_000_000 + index, b"key", b"v" * 100) for index in range(10)]


def cold() -> dict[str, Callable[[], Any]]:
    """An API that goes through the message classes, checked and decoded."""
    request_class = messages.request_class(ApiKey.METADATA)
    request = request_class(topics=[request_class.MetadataRequestTopic(name=TOPIC)])
    frame = memoryview(messages.encode_request(ApiKey.METADATA, 12, 1, request))[4:]
    body = frame[parse_request_header(frame).body :]
    return {"metadata request, check and decode": lambda: messages.decode_request(ApiKey.METADATA, 12, body)}


def main() -> None:
    """Print the table."""
    for group in (framing(), produce(1), produce(100), fetch(1), fetch(100), batches(), cold()):
        for name, operation in group.items():
            print(f"{name:42} {cost(operation):8.2f} µs")


if __name__ == "__main__":
    main()
