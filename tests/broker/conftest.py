"""One broker as a process of its own, and a client that says exactly the bytes it is told to.

The process is shared by all tests of a worker, since nothing that a client sends may harm it: that is the
point. Its log must show no traceback at the end.
"""

from __future__ import annotations

import asyncio
import itertools
import re
import socket
import struct
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.fetch import FetchPartition, FetchRequest, FetchResult
from kafkawire.fetch_client import FetchResponse, decode_fetch_response, encode_fetch_request
from kafkawire.messages import decode_response, encode_request, request_class
from kafkawire.produce import ProducePartition, ProduceRequest, ProduceResult
from kafkawire.produce_client import decode_produce_response, encode_produce_request
from kafkawire.records import Record, build_batch, headers, records
from kraft.local_cluster import LocalCluster, plan_cluster

TIMEOUT = 15.0
"""Seconds that anything may take before a test gives up on it."""

SETTINGS = {
    "socket.request.max.bytes": "2000000",
    "fetch.max.bytes": "4000000",
    "replica.high.watermark.checkpoint.interval.ms": "500",
    "group.initial.rebalance.delay.ms": "0",
    "log.cleaner.backoff.ms": "100",
}
"""Limits that are small enough to have a far side within reach."""


@dataclass(frozen=True)
class RunningBroker:
    """Where a broker is reached, and the process that it is."""

    address: tuple[str, int]
    node: tuple[str, int]
    log_path: Path
    pid: int


@pytest.fixture(scope="session")
def broker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningBroker]:
    """One node with both roles."""
    with asyncio.Runner() as runner:
        cluster = LocalCluster(plan_cluster(1, 1, tmp_path_factory.mktemp("broker")), SETTINGS)
        (process,) = cluster.processes.values()
        try:
            addresses = runner.run(cluster.start())[1]
            assert addresses.kafka is not None
            yield RunningBroker(addresses.kafka, addresses.node, process.log_path, process.pid)
            assert runner.run(process.terminate()) == 0
            assert "Traceback" not in process.log_path.read_text()
        finally:
            process.kill_now()


def _snake(name: str) -> str:
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def _message(make: Any, schema: Mapping[str, Any], values: Mapping[str, Any]) -> Any:
    """A message of kafka-python from plain dictionaries."""
    fields = {_snake(field["name"]): field for field in schema["fields"]}
    filled = {}
    for name, value in values.items():
        kind = fields[name]["type"].removeprefix("[]")
        if "fields" in fields[name] and value is not None:
            struct_class = getattr(make, kind)
            if fields[name]["type"].startswith("[]"):
                filled[name] = [_message(struct_class, fields[name], item) for item in value]
            else:
                filled[name] = _message(struct_class, fields[name], value)
        else:
            filled[name] = value
    return make(**filled)


class Wire:
    """One connection, blocking. Every wait is bounded by TIMEOUT."""

    def __init__(self, address: tuple[str, int]) -> None:
        self.socket = socket.create_connection(address, timeout=TIMEOUT)
        self._ids = itertools.count(1)

    def close(self) -> None:
        self.socket.close()

    def send(self, data: bytes) -> None:
        self.socket.sendall(data)

    def request(self, key: int, version: int, **values: Any) -> int:
        """Send a request; returns its correlation id."""
        number = next(self._ids)
        make = request_class(key)
        self.send(encode_request(key, version, number, _message(make, make.json, values), "test"))
        return number

    def header_only(self, key: int, version: int, body: bytes = b"") -> int:
        """Send a request of which only the header (version 1) is known to make sense."""
        number = next(self._ids)
        payload = struct.pack(">hhih", key, version, number, -1) + body
        self.send(struct.pack(">i", len(payload)) + payload)
        return number

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            chunk = self.socket.recv(size - len(data))
            if not chunk:
                raise EOFError
            data += chunk
        return bytes(data)

    def frame(self) -> bytes:
        """The next response without its size. EOFError if the broker closed instead."""
        try:
            (size,) = struct.unpack(">i", self._exactly(4))
            return self._exactly(size)
        except ConnectionResetError:
            raise EOFError from None

    def response(self, key: int, version: int, number: int) -> Any:
        """The next response, which has to be the one to `number`."""
        frame = self.frame()
        assert struct.unpack_from(">i", frame) == (number,)
        return decode_response(key, version, frame)

    def call(self, key: int, version: int, **values: Any) -> Any:
        """Ask and wait for the answer."""
        return self.response(key, version, self.request(key, version, **values))

    def is_closed(self) -> bool:
        """Wait for the broker to close; False if it says something instead."""
        try:
            return self.socket.recv(1) == b""
        except ConnectionResetError:
            return True

    # -- Produce and Fetch ------------------------------------------------------------------------

    def topic_id(self, name: str) -> bytes:
        """The id of a topic, as Produce and Fetch from 13 on want it."""
        (topic,) = self.call(ApiKey.METADATA, 13, topics=[{"name": name, "topic_id": None}]).topics
        assert topic.error_code == ErrorCode.NONE
        return bytes(topic.topic_id.bytes)

    def send_produce(
        self,
        parts: Sequence[tuple[str | bytes, int, bytes | None]],
        *,
        acks: int = -1,
        version: int = 9,
        timeout_ms: int = 5000,
    ) -> int:
        """Send a Produce request with one batch for each partition."""
        number = next(self._ids)
        partitions = [ProducePartition(*part) for part in parts]  # type: ignore[arg-type]
        request = ProduceRequest(None, acks, timeout_ms, partitions)
        self.send(encode_produce_request(version, number, request, "test"))
        return number

    def produced(self, number: int, version: int = 9) -> list[ProduceResult]:
        """The next response, which has to be the one to the Produce request `number`."""
        frame = self.frame()
        assert struct.unpack_from(">i", frame) == (number,)
        return decode_produce_response(version, memoryview(frame)).results

    def produce(self, topic: str | bytes, batch: bytes | None, **options: Any) -> ProduceResult:
        """Produce one batch to partition 0 (or `partition`)."""
        partition = options.pop("partition", 0)
        number = self.send_produce([(topic, partition, batch)], **options)
        (result,) = self.produced(number, options.get("version", 9))
        return result

    def send_fetch(
        self,
        parts: Sequence[tuple[str | bytes, int, int]],
        *,
        version: int = 12,
        max_wait_ms: int = 0,
        min_bytes: int = 1,
        max_bytes: int = 50_000_000,
        partition_max_bytes: int = 1_000_000,
        session: tuple[int, int] = (0, -1),
        forgotten: Sequence[tuple[str | bytes, int]] = (),
        replica_id: int = -1,
        epoch: int = -1,
        isolation_level: int = 0,
    ) -> int:
        """Send a Fetch request for (topic, partition, offset)s."""
        number = next(self._ids)
        wanted = [
            FetchPartition(name, index, epoch, at, -1, -1, partition_max_bytes) for name, index, at in parts
        ]
        request = FetchRequest(
            replica_id,
            max_wait_ms,
            min_bytes,
            max_bytes,
            isolation_level,
            *session,
            wanted,
            list(forgotten),
            "",
        )
        self.send(encode_fetch_request(version, number, request, "test"))
        return number

    def fetched(self, number: int, version: int = 12) -> FetchResponse:
        """The next response, which has to be the one to the Fetch request `number`."""
        frame = self.frame()
        assert struct.unpack_from(">i", frame) == (number,)
        return decode_fetch_response(version, memoryview(frame))

    def fetch(self, *parts: tuple[str | bytes, int, int], **options: Any) -> FetchResponse:
        """Fetch and wait for the answer."""
        return self.fetched(self.send_fetch(parts, **options), options.get("version", 12))

    def fetch_one(self, topic: str | bytes, offset: int, **options: Any) -> FetchResult:
        """Fetch from partition 0."""
        (result,) = self.fetch((topic, 0, offset), **options).results
        return result

    def read(self, topic: str | bytes, offset: int = 0, **options: Any) -> list[Record]:
        """The records of one fetch from partition 0."""
        result = self.fetch_one(topic, offset, **options)
        assert result.error_code == ErrorCode.NONE
        return self.records_of(result)

    @staticmethod
    def records_of(result: FetchResult) -> list[Record]:
        """What a result holds, decoded."""
        view = result.records.view  # type: ignore[attr-defined]
        return [record for position, _ in headers(view) for record in records(view, position)]


@pytest.fixture
def connect(broker: RunningBroker) -> Iterator[Callable[[], Wire]]:
    """Opens connections, and closes what is left of them."""
    opened: list[Wire] = []

    def open_one() -> Wire:
        opened.append(Wire(broker.address))
        return opened[-1]

    yield open_one
    for wire in opened:
        wire.close()


@pytest.fixture
def wire(connect: Callable[[], Wire]) -> Wire:
    """One connection."""
    return connect()


_names = itertools.count(1)


@pytest.fixture
def make_topic(connect: Callable[[], Wire]) -> Callable[..., str]:
    """Creates a topic of a name that no other test has."""

    def create(partitions: int = 1, replication_factor: int = 1, **configs: str) -> str:
        name = f"topic-{next(_names)}"
        response = connect().call(
            ApiKey.CREATE_TOPICS,
            7,
            topics=[
                {
                    "name": name,
                    "num_partitions": partitions,
                    "replication_factor": replication_factor,
                    "configs": [
                        {"name": key.replace("_", "."), "value": value} for key, value in configs.items()
                    ],
                }
            ],
            timeout_ms=5000,
        )
        assert response.topics[0].error_code == ErrorCode.NONE, response
        return name

    return create


@pytest.fixture
def topic(make_topic: Callable[..., str]) -> str:
    """A topic with one partition."""
    return make_topic()


@pytest.fixture
def batch() -> Callable[..., bytes]:
    """Makes a batch of the given values, all with the present time."""

    def make(*values: bytes | None, **options: Any) -> bytes:
        now_ms = time.time_ns() // 1_000_000
        return build_batch([(now_ms, None, value) for value in values], **options)

    return make


@pytest.fixture
def unharmed(connect: Callable[[], Wire], topic: str, batch: Callable[..., bytes]) -> Iterator[str]:
    """A topic with a record in it, which has to be there after the test, alone, and to be added to."""
    before = batch(b"before")
    assert connect().produce(topic, before).base_offset == 0
    yield topic
    wire = connect()
    end = wire.fetch_one(topic, 0).high_watermark
    appended = wire.produce(topic, batch(b"after"))
    assert (appended.error_code, appended.base_offset) == (ErrorCode.NONE, end)
    stored = wire.read(topic)
    assert [stored[0].value, stored[-1].value] == [b"before", b"after"]
    assert [record.offset for record in stored] == list(range(end + 1))


@pytest.fixture
def delete_topic(connect: Callable[[], Wire]) -> Callable[[str], None]:
    """Deletes a topic by its name."""

    def delete(name: str) -> None:
        response = connect().call(
            ApiKey.DELETE_TOPICS, 6, topics=[{"name": name, "topic_id": None}], timeout_ms=5000
        )
        assert response.responses[0].error_code == ErrorCode.NONE, response

    return delete
