"""Transactions against a real broker: from begin to end, what readers see, and what is refused."""

from __future__ import annotations

import itertools
import struct
import time
from collections import defaultdict, deque
from collections.abc import Callable
from typing import Any

import pytest

from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.fetch import FetchResult
from kafkawire.produce import ProducePartition, ProduceRequest
from kafkawire.produce_client import encode_produce_request
from kafkawire.records import build_batch, headers, records

TIMEOUT = 15.0
READ_COMMITTED = 1

_numbers = itertools.count(1)


class Client:
    """One transactional producer that says exactly what it is told to."""

    def __init__(self, wire: Any, transactional_id: str) -> None:
        self.wire = wire
        self.transactional_id = transactional_id
        self.producer_id, self.epoch = -1, -1
        self.sequences: dict[tuple[str, int], int] = {}

    def init(self, *, expected: tuple[int, int] = (-1, -1), version: int = 4, **values: Any) -> Any:
        filled = {
            "transactional_id": self.transactional_id,
            "transaction_timeout_ms": 60_000,
            "producer_id": expected[0],
            "producer_epoch": expected[1],
            **values,
        }
        return self.wire.call(ApiKey.INIT_PRODUCER_ID, version, **filled)

    def start(self) -> None:
        """Find the coordinator, which creates the topic of transactions, and become its producer."""
        until(lambda: find(self.wire, self.transactional_id, 1) == ErrorCode.NONE)
        reply = until(lambda: self._ready(self.init()))
        self.producer_id, self.epoch = reply.producer_id, reply.producer_epoch
        self.sequences.clear()

    @staticmethod
    def _ready(reply: Any) -> Any:
        retriable = (ErrorCode.CONCURRENT_TRANSACTIONS, ErrorCode.COORDINATOR_LOAD_IN_PROGRESS)
        assert reply.error_code in (ErrorCode.NONE, *retriable), reply
        return None if reply.error_code else reply

    def identity(self, **changes: Any) -> dict[str, Any]:
        return {
            "transactional_id": self.transactional_id,
            "producer_id": self.producer_id,
            "producer_epoch": self.epoch,
            **changes,
        }

    def add(self, *partitions: tuple[str, int], version: int = 3, **changes: Any) -> list[int]:
        fields = self.identity(**changes)
        reply = self.wire.call(
            ApiKey.ADD_PARTITIONS_TO_TXN,
            version,
            v3_and_below_transactional_id=fields["transactional_id"],
            v3_and_below_producer_id=fields["producer_id"],
            v3_and_below_producer_epoch=fields["producer_epoch"],
            v3_and_below_topics=[{"name": topic, "partitions": [index]} for topic, index in partitions],
        )
        return [
            part.partition_error_code
            for topic in reply.results_by_topic_v3_and_below
            for part in topic.results_by_partition
        ]

    def produce(
        self, topic: str, value: bytes, *, partition: int = 0, version: int = 9, transactional: bool = True
    ) -> Any:
        sequence = self.sequences.get((topic, partition), 0)
        batch = build_batch(
            [(time.time_ns() // 1_000_000, None, value)],
            producer_id=self.producer_id,
            producer_epoch=self.epoch,
            base_sequence=sequence,
            transactional=True,
        )
        number = next(_numbers) + 10_000
        request = ProduceRequest(
            self.transactional_id if transactional else None,
            -1,
            5000,
            [ProducePartition(topic, partition, batch)],
        )
        self.wire.send(encode_produce_request(version, number, request, "test"))
        (result,) = self.wire.produced(number, version)
        if not result.error_code:
            self.sequences[topic, partition] = sequence + 1
        return result

    def end(self, *, commit: bool, version: int = 4, **changes: Any) -> int:
        reply = self.wire.call(ApiKey.END_TXN, version, committed=commit, **self.identity(**changes))
        return int(reply.error_code)

    def write(self, topic: str, *values: bytes) -> None:
        """Add the topic's first partition to the transaction, and write there."""
        until(lambda: self.add((topic, 0)) == [ErrorCode.NONE])
        for value in values:
            assert self.produce(topic, value).error_code == ErrorCode.NONE

    def state(self) -> str:
        (described,) = self.wire.call(
            ApiKey.DESCRIBE_TRANSACTIONS, 0, transactional_ids=[self.transactional_id]
        ).transaction_states
        return str(described.transaction_state)

    def over(self) -> None:
        """Wait until every partition knows how the last transaction ended."""
        until(lambda: self.state().startswith("Complete"))


def until(satisfied: Callable[[], Any]) -> Any:
    """Ask again until the answer is true; every question goes over the wire."""
    deadline = time.monotonic() + TIMEOUT
    while time.monotonic() < deadline:
        answer = satisfied()
        if answer:
            return answer
    raise AssertionError("not in time")


def find(wire: Any, key: str, key_type: int) -> int:
    reply = wire.call(ApiKey.FIND_COORDINATOR, 4, key_type=key_type, coordinator_keys=[key])
    return int(reply.coordinators[0].error_code)


def committed(wire: Any, topic: str) -> FetchResult:
    result: FetchResult = wire.fetch_one(topic, 0, isolation_level=READ_COMMITTED)
    assert result.error_code == ErrorCode.NONE
    return result


def data_of(wire: Any, result: FetchResult) -> list[bytes]:
    """The values that a reader of committed records keeps."""
    aborted = defaultdict[int, deque[int]](deque)
    for producer_id, start in sorted(result.aborted or (), key=lambda each: each[1]):
        aborted[producer_id].append(start)
    view = result.records.view  # type: ignore[attr-defined]

    values = []
    for position, header in headers(view):
        starts = aborted[header.producer_id]
        is_aborted = bool(starts) and starts[0] <= header.base_offset
        if header.is_control:
            if is_aborted:
                starts.popleft()
        elif not is_aborted:
            values += [record.value for record in records(view, position)]
    return values


@pytest.fixture
def make_client(connect: Callable[[], Any]) -> Callable[[], Client]:
    def make() -> Client:
        client = Client(connect(), f"transactional-{next(_numbers)}")
        client.start()
        return client

    return make


@pytest.fixture
def client(make_client: Callable[[], Client]) -> Client:
    return make_client()


# -- what readers see -----------------------------------------------------------------------------


def test_committed_records_are_seen_when_their_transaction_is_over(client: Client, topic: str) -> None:
    client.write(topic, b"a", b"b")
    before = committed(client.wire, topic)
    assert (before.last_stable_offset, before.high_watermark, before.records.size) == (0, 2, 0)
    assert [each.value for each in client.wire.read(topic)] == [b"a", b"b"]
    assert client.end(commit=True) == ErrorCode.NONE
    client.over()
    after = committed(client.wire, topic)
    assert (after.last_stable_offset, after.high_watermark) == (3, 3)
    assert after.aborted == []
    assert data_of(client.wire, after) == [b"a", b"b"]


def test_aborted_records_are_named_to_whoever_reads_committed_ones(client: Client, topic: str) -> None:
    client.write(topic, b"a")
    assert client.end(commit=False) == ErrorCode.NONE
    client.over()
    client.write(topic, b"b")
    assert client.end(commit=True) == ErrorCode.NONE
    client.over()
    result = committed(client.wire, topic)
    assert result.aborted == [(client.producer_id, 0)]
    assert data_of(client.wire, result) == [b"b"]


def test_another_producers_records_wait_behind_an_open_transaction(
    client: Client, make_client: Callable[[], Client], topic: str
) -> None:
    other = make_client()
    client.write(topic, b"open")
    other.write(topic, b"done")
    assert other.end(commit=True) == ErrorCode.NONE
    other.over()
    assert committed(client.wire, topic).records.size == 0
    offsets = client.wire.call(
        ApiKey.LIST_OFFSETS,
        7,
        replica_id=-1,
        isolation_level=READ_COMMITTED,
        topics=[
            {
                "name": topic,
                "partitions": [{"partition_index": 0, "current_leader_epoch": -1, "timestamp": -1}],
            }
        ],
    )
    assert offsets.topics[0].partitions[0].offset == 0
    assert client.end(commit=False) == ErrorCode.NONE
    client.over()
    assert data_of(client.wire, committed(client.wire, topic)) == [b"done"]


def test_whoever_starts_anew_aborts_what_was_left_open(client: Client, topic: str) -> None:
    client.write(topic, b"left")
    before = client.producer_id, client.epoch
    first = client.init()
    assert first.error_code == ErrorCode.CONCURRENT_TRANSACTIONS
    assert (first.producer_id, first.producer_epoch) == (-1, -1)
    client.start()
    assert (client.producer_id, client.epoch) == (before[0], before[1] + 2)
    assert data_of(client.wire, committed(client.wire, topic)) == []
    assert committed(client.wire, topic).last_stable_offset == 2


def test_a_transaction_that_takes_too_long_is_aborted(client: Client, topic: str) -> None:
    reply = client.init(transaction_timeout_ms=300)
    client.epoch = reply.producer_epoch
    client.write(topic, b"slow")
    client.over()
    assert client.state() == "CompleteAbort"
    assert client.end(commit=True) == ErrorCode.PRODUCER_FENCED
    assert client.produce(topic, b"late").error_code == ErrorCode.INVALID_PRODUCER_EPOCH
    assert committed(client.wire, topic).aborted == [(client.producer_id, 0)]


def test_a_deleted_topic_does_not_keep_a_transaction_open(
    client: Client, make_topic: Callable[..., str], delete_topic: Callable[[str], None]
) -> None:
    doomed, other = make_topic(), make_topic()
    client.write(doomed, b"a")
    client.write(other, b"b")
    delete_topic(doomed)
    assert client.end(commit=True) == ErrorCode.NONE
    client.over()
    assert data_of(client.wire, committed(client.wire, other)) == [b"b"]


# -- offsets --------------------------------------------------------------------------------------


def commit_offset(
    client: Client, group: str, topic: str, *, version: int = 3, partition: int = 0, **changes: Any
) -> int:
    reply = client.wire.call(
        ApiKey.TXN_OFFSET_COMMIT,
        version,
        group_id=group,
        **client.identity(**{"generation_id": -1, "member_id": "", "group_instance_id": None, **changes}),
        topics=[
            {
                "name": topic,
                "partitions": [
                    {
                        "partition_index": partition,
                        "committed_offset": 7,
                        "committed_leader_epoch": -1,
                        "committed_metadata": "",
                    }
                ],
            }
        ],
    )
    return int(reply.topics[0].partitions[0].error_code)


def add_offsets(client: Client, group: str, *, version: int = 3, **changes: Any) -> int:
    fields = client.identity(**changes)
    return int(client.wire.call(ApiKey.ADD_OFFSETS_TO_TXN, version, group_id=group, **fields).error_code)


def offset_of(client: Client, group: str, topic: str) -> tuple[int, int]:
    """(offset, error) of a fetch that waits for no transaction to end but says when there is one."""
    reply = client.wire.call(
        ApiKey.OFFSET_FETCH,
        8,
        groups=[{"group_id": group, "topics": [{"name": topic, "partition_indexes": [0]}]}],
        require_stable=True,
    )
    part = reply.groups[0].topics[0].partitions[0]
    return part.committed_offset, part.error_code


@pytest.fixture
def group(client: Client) -> str:
    name = f"copying-{next(_numbers)}"
    until(lambda: find(client.wire, name, 0) == ErrorCode.NONE)
    return name


@pytest.mark.parametrize(("commit", "expected"), [(True, 7), (False, -1)])
def test_offsets_count_when_their_transaction_does(
    client: Client, group: str, topic: str, commit: bool, expected: int
) -> None:
    until(lambda: add_offsets(client, group) == ErrorCode.NONE)
    assert commit_offset(client, group, topic) == ErrorCode.NONE
    assert offset_of(client, group, topic) == (-1, ErrorCode.UNSTABLE_OFFSET_COMMIT)
    assert client.end(commit=commit) == ErrorCode.NONE
    client.over()
    assert offset_of(client, group, topic) == (expected, ErrorCode.NONE)


@pytest.mark.parametrize("partition", [1, -1])
def test_offsets_of_a_partition_that_is_not_there_are_refused(
    client: Client, group: str, topic: str, partition: int
) -> None:
    until(lambda: add_offsets(client, group) == ErrorCode.NONE)
    refused = commit_offset(client, group, topic, partition=partition)
    assert refused == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert commit_offset(client, group, topic) == ErrorCode.NONE


@pytest.mark.parametrize(
    ("version", "code"), [(3, ErrorCode.INVALID_TXN_STATE), (4, ErrorCode.TRANSACTION_ABORTABLE)]
)
def test_offsets_that_were_not_added_are_refused(
    client: Client, group: str, topic: str, version: int, code: ErrorCode
) -> None:
    client.write(topic, b"a")
    assert commit_offset(client, group, topic, version=version) == code
    assert offset_of(client, group, topic) == (-1, ErrorCode.NONE)


def test_offsets_of_a_fenced_producer_or_a_stranger_are_refused(
    client: Client, group: str, topic: str
) -> None:
    until(lambda: add_offsets(client, group) == ErrorCode.NONE)
    stale = {"producer_epoch": client.epoch - 1}
    assert commit_offset(client, group, topic, **stale) == ErrorCode.INVALID_PRODUCER_EPOCH
    assert add_offsets(client, group, **stale) == ErrorCode.PRODUCER_FENCED
    assert add_offsets(client, group, version=1, **stale) == ErrorCode.INVALID_PRODUCER_EPOCH
    stranger = {"member_id": "nobody", "generation_id": 1}
    assert commit_offset(client, group, topic, **stranger) == ErrorCode.ILLEGAL_GENERATION
    assert add_offsets(client, "") == ErrorCode.INVALID_GROUP_ID
    assert commit_offset(client, group, "no-such-topic") == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION


# -- bad input ------------------------------------------------------------------------------------


@pytest.mark.parametrize("version", [3, 9, 10])
def test_a_partition_that_was_not_added_takes_nothing(client: Client, unharmed: str, version: int) -> None:
    assert client.produce(unharmed, b"x", version=version).error_code == ErrorCode.INVALID_TXN_STATE


def test_newer_producers_are_told_to_abort(client: Client, unharmed: str) -> None:
    assert client.produce(unharmed, b"x", version=11).error_code == ErrorCode.TRANSACTION_ABORTABLE


def test_a_transaction_without_its_id_is_refused(client: Client, unharmed: str) -> None:
    assert client.add((unharmed, 0)) == [ErrorCode.NONE]
    refused = client.produce(unharmed, b"x", transactional=False)
    assert refused.error_code == ErrorCode.INVALID_TXN_STATE


def test_a_producer_id_of_somebody_else_is_refused(client: Client, unharmed: str) -> None:
    assert client.add((unharmed, 0)) == [ErrorCode.NONE]
    client.producer_id += 1_000_000
    assert client.produce(unharmed, b"x").error_code == ErrorCode.INVALID_PRODUCER_ID_MAPPING


def test_requests_behind_one_that_is_verified_keep_their_order(client: Client, topic: str) -> None:
    assert client.add((topic, 0)) == [ErrorCode.NONE]
    numbers = []
    for sequence in range(5):
        batch = build_batch(
            [(time.time_ns() // 1_000_000, None, b"%d" % sequence)],
            producer_id=client.producer_id,
            producer_epoch=client.epoch,
            base_sequence=sequence,
            transactional=True,
        )
        numbers.append(20_000 + sequence)
        request = ProduceRequest(client.transactional_id, -1, 5000, [ProducePartition(topic, 0, batch)])
        client.wire.send(encode_produce_request(9, numbers[-1], request, "test"))
    results = [client.wire.produced(number)[0] for number in numbers]
    assert [(each.error_code, each.base_offset) for each in results] == [(0, at) for at in range(5)]


def test_a_fenced_producer_succeeds_nowhere(client: Client, topic: str) -> None:
    client.write(topic, b"a")
    stale = {"producer_epoch": client.epoch - 1}
    for version in range(4):
        known = ErrorCode.INVALID_PRODUCER_EPOCH if version < 2 else ErrorCode.PRODUCER_FENCED
        assert client.add((topic, 0), version=version, **stale) == [known]
        assert client.end(commit=True, version=version, **stale) == known
    for version, known in ((3, ErrorCode.INVALID_PRODUCER_EPOCH), (4, ErrorCode.PRODUCER_FENCED)):
        reply = client.init(expected=(client.producer_id, client.epoch + 5), version=version)
        assert reply.error_code == known
    client.epoch -= 1
    assert client.produce(topic, b"z").error_code == ErrorCode.INVALID_PRODUCER_EPOCH
    client.epoch += 1
    assert client.state() == "Ongoing"
    assert client.end(commit=True) == ErrorCode.NONE
    client.over()
    assert data_of(client.wire, committed(client.wire, topic)) == [b"a"]


def test_a_second_end_has_no_effect(client: Client, topic: str) -> None:
    assert client.end(commit=True) == ErrorCode.INVALID_TXN_STATE, "nothing has begun"
    client.write(topic, b"a")
    assert client.end(commit=True) == ErrorCode.NONE
    client.over()
    assert client.end(commit=True) == ErrorCode.NONE
    assert client.end(commit=False) == ErrorCode.INVALID_TXN_STATE
    assert committed(client.wire, topic).high_watermark == 2
    assert data_of(client.wire, committed(client.wire, topic)) == [b"a"]


def test_ids_that_nobody_has(client: Client, topic: str) -> None:
    stranger = {"transactional_id": "never-seen"}
    assert client.add((topic, 0), **stranger) == [ErrorCode.INVALID_PRODUCER_ID_MAPPING]
    assert client.end(commit=True, **stranger) == ErrorCode.INVALID_PRODUCER_ID_MAPPING
    of_nobody = client.producer_id + 1_000_000
    assert client.end(commit=True, producer_id=of_nobody) == ErrorCode.INVALID_PRODUCER_ID_MAPPING
    (unknown,) = client.wire.call(
        ApiKey.DESCRIBE_TRANSACTIONS, 0, transactional_ids=["never-seen"]
    ).transaction_states
    assert unknown.error_code == ErrorCode.TRANSACTIONAL_ID_NOT_FOUND


@pytest.mark.parametrize(
    ("values", "code"),
    [
        ({"transactional_id": ""}, ErrorCode.INVALID_REQUEST),
        ({"producer_id": 5}, ErrorCode.INVALID_REQUEST),
        ({"producer_epoch": 5}, ErrorCode.INVALID_REQUEST),
        ({"transaction_timeout_ms": 0}, ErrorCode.INVALID_TRANSACTION_TIMEOUT),
        ({"transaction_timeout_ms": -1}, ErrorCode.INVALID_TRANSACTION_TIMEOUT),
        ({"transaction_timeout_ms": 900_001}, ErrorCode.INVALID_TRANSACTION_TIMEOUT),
    ],
)
def test_what_no_producer_can_be_made_of(client: Client, values: dict[str, Any], code: ErrorCode) -> None:
    reply = client.init(**values)
    assert (reply.error_code, reply.producer_id, reply.producer_epoch) == (code, -1, -1)


def test_a_topic_that_is_not_there_spoils_the_request(client: Client, topic: str) -> None:
    unknown, spoilt = ErrorCode.UNKNOWN_TOPIC_OR_PARTITION, ErrorCode.OPERATION_NOT_ATTEMPTED
    assert client.add((topic, 0), ("missing", 0), (topic, 99), (topic, -1)) == [
        spoilt,
        unknown,
        unknown,
        unknown,
    ]
    assert client.state() == "Empty"


@pytest.mark.parametrize("internal", ["__transaction_state", "__consumer_offsets"])
def test_internal_topics_are_in_no_transaction(client: Client, topic: str, internal: str) -> None:
    """Its marker would come where the coordinator does not expect any offset of others."""
    assert find(client.wire, "any group", 0) == ErrorCode.NONE
    refused, spoilt = ErrorCode.TOPIC_AUTHORIZATION_FAILED, ErrorCode.OPERATION_NOT_ATTEMPTED
    assert client.add((topic, 0), (internal, 0)) == [spoilt, refused]
    assert client.state() == "Empty"


def test_a_record_for_an_internal_topic_adds_nothing(new_client: NewClient, topic: str) -> None:
    for partition in range(50):
        refused = new_client.produce("__transaction_state", b"x", partition=partition, version=12)
        assert refused.error_code == ErrorCode.INVALID_TOPIC_EXCEPTION
    assert new_client.state() == "Empty"
    assert new_client.produce(topic, b"goes on", version=12).error_code == ErrorCode.NONE


@pytest.mark.parametrize(
    ("key", "version"),
    [
        (key, version)
        for key in (
            ApiKey.ADD_PARTITIONS_TO_TXN,
            ApiKey.ADD_OFFSETS_TO_TXN,
            ApiKey.END_TXN,
            ApiKey.TXN_OFFSET_COMMIT,
            ApiKey.DESCRIBE_TRANSACTIONS,
            ApiKey.LIST_TRANSACTIONS,
        )
        for version in (APIS[key].min_version, APIS[key].max_version)
    ],
)
def test_a_request_that_does_not_parse_closes_its_connection(
    connect: Callable[[], Any], client: Client, key: ApiKey, version: int
) -> None:
    wire = connect()
    tags = b"\x00" if APIS[key].is_flexible(version) else b""
    wire.header_only(key, version, tags + struct.pack(">i", 2**31 - 1))
    assert wire.is_closed()
    assert client.state() == "Empty"


def test_the_longest_id_is_that_of_a_string(connect: Callable[[], Any], client: Client) -> None:
    longest = client.init(transactional_id="x" * 32_767)
    assert (longest.error_code, longest.producer_epoch) == (ErrorCode.NONE, 0)
    with pytest.raises(EOFError):
        Client(connect(), "x" * 32_768).init()


# -- looking --------------------------------------------------------------------------------------


def listed(wire: Any, **filters: Any) -> Any:
    values = {"state_filters": [], "producer_id_filters": [], "duration_filter": -1, **filters}
    return wire.call(ApiKey.LIST_TRANSACTIONS, 1, **values)


def test_transactions_are_described_and_listed(client: Client, topic: str) -> None:
    client.write(topic, b"a")
    (found,) = client.wire.call(
        ApiKey.DESCRIBE_TRANSACTIONS, 0, transactional_ids=[client.transactional_id]
    ).transaction_states
    assert (found.transaction_state, found.transaction_timeout_ms) == ("Ongoing", 60_000)
    assert (found.producer_id, found.producer_epoch) == (client.producer_id, client.epoch)
    assert [(each.topic, each.partitions) for each in found.topics] == [(topic, [0])]
    mine = {"producer_id_filters": [client.producer_id]}
    (one,) = listed(client.wire, **mine).transaction_states
    assert (one.transactional_id, one.transaction_state) == (client.transactional_id, "Ongoing")
    assert not listed(client.wire, state_filters=["Empty"], **mine).transaction_states
    assert not listed(client.wire, duration_filter=3_600_000, **mine).transaction_states
    strange = listed(client.wire, state_filters=["Napping"], **mine)
    assert (strange.unknown_state_filters, strange.transaction_states) == (["Napping"], [])
    described = client.wire.call(
        ApiKey.DESCRIBE_PRODUCERS, 0, topics=[{"name": topic, "partition_indexes": [0]}]
    )
    (producer,) = described.topics[0].partitions[0].active_producers
    assert (producer.producer_id, producer.current_txn_start_offset) == (client.producer_id, 0)


def test_transactions_are_listed_by_a_pattern(wire: Any) -> None:
    for name in ("pattern-a1", "pattern-a2", "pattern-b1"):
        wire.call(ApiKey.FIND_COORDINATOR, 4, key_type=1, coordinator_keys=[name])
        values = {"transactional_id": name, "transaction_timeout_ms": 1000, "producer_id": -1}
        assert wire.call(ApiKey.INIT_PRODUCER_ID, 4, producer_epoch=-1, **values).error_code == 0

    def listed(pattern: str | None) -> Any:
        return wire.call(
            ApiKey.LIST_TRANSACTIONS,
            2,
            state_filters=[],
            producer_id_filters=[],
            duration_filter=-1,
            transactional_id_pattern=pattern,
        )

    def names(pattern: str | None) -> set[str]:
        return {each.transactional_id for each in listed(pattern).transaction_states}

    assert names("pattern-a.") == {"pattern-a1", "pattern-a2"}
    assert names("pattern-a") == set()
    assert names("(?i)PATTERN-.1") == {"pattern-a1", "pattern-b1"}
    assert names(None) >= names("") >= {"pattern-a1", "pattern-a2", "pattern-b1"}
    for bad in ("(", "a{2000}", r"(a)\1", "(?=a)", "x" * 5000):
        assert listed(bad).error_code == ErrorCode.INVALID_REGULAR_EXPRESSION
    assert names("(a+)+" * 50 + "b") == set()


# -- version 2: brokers add the partitions, and every transaction has an epoch of its own (KIP-890) --------


class NewClient(Client):
    """A producer that knows version 2."""

    def put(self, topic: str, *values: bytes, version: int = 12) -> None:
        for value in values:
            result = until(lambda value=value: self._taken(topic, value, version))
            assert result.error_code == ErrorCode.NONE

    def _taken(self, topic: str, value: bytes, version: int) -> Any:
        """None where a producer is to try again."""
        result = self.produce(topic, value, version=version)
        return None if result.error_code == ErrorCode.NOT_ENOUGH_REPLICAS else result

    def finish(self, *, commit: bool, **changes: Any) -> Any:
        return self.wire.call(ApiKey.END_TXN, 5, committed=commit, **self.identity(**changes))

    def go_on(self, *, commit: bool) -> tuple[int, int]:
        """End the transaction, and be who the answer says; returns who it was."""
        before = (self.producer_id, self.epoch)
        reply = until(lambda: self._ready(self.finish(commit=commit)))
        assert (reply.producer_id, reply.producer_epoch) == (self.producer_id, self.epoch + 1)
        self.epoch = reply.producer_epoch
        self.sequences.clear()
        return before


@pytest.fixture
def new_client(connect: Callable[[], Any]) -> NewClient:
    client = NewClient(connect(), f"transactional-{next(_numbers)}")
    client.start()
    return client


FEATURES = {"eligible.leader.replicas.version": 1, "group.version": 1, "transaction.version": 2}


def test_clients_are_told_of_version_2(wire: Any) -> None:
    software = {"client_software_name": "test", "client_software_version": "1"}
    for version, supported in ((3, {}), (4, FEATURES)):
        told = wire.call(ApiKey.API_VERSIONS, version, **software)
        assert {f.name: f.max_version for f in told.supported_features} == supported
        assert {f.name: f.max_version_level for f in told.finalized_features} == FEATURES
        assert told.finalized_features_epoch == 0


def test_transactions_follow_each_other_without_a_pause(
    new_client: NewClient, make_topic: Callable[..., str]
) -> None:
    topic = make_topic(partitions=1)
    for number in range(12):
        new_client.put(topic, b"%d" % number, b"%d again" % number)
        new_client.go_on(commit=number % 3 != 2)
    until(lambda: committed(new_client.wire, topic).last_stable_offset == 36)
    kept = [number for number in range(12) if number % 3 != 2]
    expected = [value for number in kept for value in (b"%d" % number, b"%d again" % number)]
    assert data_of(new_client.wire, committed(new_client.wire, topic)) == expected


def test_a_topic_id_does_as_well(new_client: NewClient, topic: str) -> None:
    topic_id = new_client.wire.topic_id(topic)
    new_client.put(topic_id, b"1", b"2", version=13)
    new_client.go_on(commit=True)
    until(lambda: data_of(new_client.wire, committed(new_client.wire, topic)) == [b"1", b"2"])


def test_an_end_that_is_asked_for_again_has_the_same_answer(new_client: NewClient, topic: str) -> None:
    new_client.put(topic, b"x")
    producer_id, epoch = new_client.go_on(commit=True)
    was = {"producer_id": producer_id, "producer_epoch": epoch}
    again = until(lambda: new_client._ready(new_client.finish(commit=True, **was)))
    assert (again.producer_id, again.producer_epoch) == (producer_id, epoch + 1)
    assert new_client.finish(commit=False, **was).error_code == ErrorCode.INVALID_TXN_STATE
    new_client.put(topic, b"y")
    assert new_client.finish(commit=True, **was).error_code == ErrorCode.PRODUCER_FENCED
    new_client.go_on(commit=True)
    until(lambda: data_of(new_client.wire, committed(new_client.wire, topic)) == [b"x", b"y"])


def test_a_record_that_comes_after_the_end_opens_nothing(new_client: NewClient, topic: str) -> None:
    """The hanging transaction: it was sent before the end, and arrives when the partition was told."""
    new_client.put(topic, b"x")
    _, epoch = new_client.go_on(commit=True)
    new_client.over()
    late = NewClient(new_client.wire, new_client.transactional_id)
    late.producer_id, late.epoch = new_client.producer_id, epoch
    for sequence in (0, 1):
        late.sequences[topic, 0] = sequence
        refused = late.produce(topic, b"late", version=12)
        assert refused.error_code == ErrorCode.INVALID_PRODUCER_EPOCH
    assert committed(new_client.wire, topic).last_stable_offset == 2


def test_a_transaction_to_which_nothing_was_added(new_client: NewClient, topic: str) -> None:
    assert new_client.finish(commit=True).error_code == ErrorCode.INVALID_TXN_STATE
    new_client.go_on(commit=False)
    new_client.over()
    new_client.go_on(commit=False)
    new_client.put(topic, b"x")
    new_client.go_on(commit=True)
    until(lambda: data_of(new_client.wire, committed(new_client.wire, topic)) == [b"x"])


def test_a_transaction_of_version_2_that_takes_too_long_can_only_be_aborted(
    new_client: NewClient, topic: str
) -> None:
    reply = until(lambda: new_client._ready(new_client.init(transaction_timeout_ms=300)))
    new_client.epoch = reply.producer_epoch
    new_client.put(topic, b"late")
    until(lambda: new_client.state() == "CompleteAbort")
    refused = new_client.produce(topic, b"later", version=12)
    assert refused.error_code == ErrorCode.INVALID_PRODUCER_EPOCH
    assert new_client.finish(commit=True).error_code == ErrorCode.PRODUCER_FENCED
    assert data_of(new_client.wire, committed(new_client.wire, topic)) == []
    new_client.go_on(commit=False)
    new_client.put(topic, b"of the next transaction")


@pytest.mark.parametrize(("commit", "expected"), [(True, 7), (False, -1)])
def test_offsets_are_added_as_they_are_committed(
    new_client: NewClient, topic: str, commit: bool, expected: int
) -> None:
    group = f"copying-{next(_numbers)}"
    until(lambda: find(new_client.wire, group, 0) == ErrorCode.NONE)
    for _ in range(2):
        until(
            lambda: (
                (code := commit_offset(new_client, group, topic, version=5)) == ErrorCode.NONE
                or (code != ErrorCode.COORDINATOR_LOAD_IN_PROGRESS and pytest.fail(f"{code}"))
            )
        )
        new_client.go_on(commit=commit)
    new_client.over()
    assert offset_of(new_client, group, topic) == (expected, ErrorCode.NONE)


def test_a_stranger_adds_nothing(new_client: NewClient, unharmed: str) -> None:
    end = new_client.wire.fetch_one(unharmed, 0).high_watermark
    new_client.epoch += 1
    fenced = new_client.produce(unharmed, b"x", version=12)
    assert fenced.error_code == ErrorCode.INVALID_PRODUCER_EPOCH
    new_client.producer_id += 1_000_000
    unknown = new_client.produce(unharmed, b"x", version=12)
    assert unknown.error_code == ErrorCode.INVALID_PRODUCER_ID_MAPPING
    assert new_client.wire.fetch_one(unharmed, 0).last_stable_offset == end


def markers(client: Client, topic: str, *, version: int = 2, partition: int = 0, **changes: Any) -> int:
    """Write an abort marker as an admin client does; the error code."""
    marker = {
        "producer_id": client.producer_id,
        "producer_epoch": client.epoch,
        "transaction_result": False,
        "topics": [{"name": topic, "partition_indexes": [partition]}],
        "coordinator_epoch": 0,
        "transaction_version": 0,
        **changes,
    }
    (told,) = client.wire.call(ApiKey.WRITE_TXN_MARKERS, version, markers=[marker]).markers
    assert told.producer_id == marker["producer_id"]
    ((part,),) = [each.partitions for each in told.topics]
    assert part.partition_index == partition
    return int(part.error_code)


@pytest.mark.parametrize("version", [1, 2])
def test_an_admin_client_aborts_what_nobody_ends(client: Client, topic: str, version: int) -> None:
    client.write(topic, b"hangs")
    assert data_of(client.wire, committed(client.wire, topic)) == []
    assert markers(client, topic, version=version) == ErrorCode.NONE
    later = Client(client.wire, f"later-{next(_numbers)}")
    later.start()
    later.write(topic, b"later")
    assert later.end(commit=True) == ErrorCode.NONE
    assert until(lambda: data_of(client.wire, committed(client.wire, topic))) == [b"later"]


def test_markers_that_are_refused(client: Client, topic: str) -> None:
    client.start()
    client.write(topic, b"begun")
    assert markers(client, topic, producer_epoch=client.epoch - 1) == ErrorCode.INVALID_PRODUCER_EPOCH
    assert markers(client, topic, partition=9) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert markers(client, "nowhere") == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert markers(client, "__consumer_offsets", partition=999) == ErrorCode.UNKNOWN_TOPIC_OR_PARTITION
    assert data_of(client.wire, committed(client.wire, topic)) == []


@pytest.mark.parametrize("nobody", [{"producer_id": -1}, {"producer_epoch": -1}])
def test_there_are_no_markers_of_nobody(client: Client, topic: str, nobody: dict[str, int]) -> None:
    end = committed(client.wire, topic).high_watermark
    for name in (topic, "__consumer_offsets"):
        assert markers(client, name, **nobody) == ErrorCode.UNKNOWN_SERVER_ERROR
    assert committed(client.wire, topic).high_watermark == end


@pytest.mark.parametrize("version", [1, 2])
def test_no_marker_comes_between_the_states_of_transactions(client: Client, topic: str, version: int) -> None:
    for partition in range(50):
        code = markers(client, "__transaction_state", version=version, partition=partition)
        assert code == ErrorCode.INVALID_TOPIC_EXCEPTION
    client.write(topic, b"goes on")
    assert client.end(commit=True) == ErrorCode.NONE
    client.over()
