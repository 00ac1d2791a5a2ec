"""The client's half of EndTxn and TxnOffsetCommit, which a transactional producer sends in every transaction.

Source: `EndTxnRequest.json`, `TxnOffsetCommitRequest.json` and their responses of Kafka 4.2. EndTxn 3 is
flexible, 5 tells the producer's next epoch (KIP-890). TxnOffsetCommit 2 adds leader epochs, 3 the group's
member (KIP-447) and is flexible.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import NamedTuple

from kafkawire.apis import APIS, ApiKey
from kafkawire.headers import encode_request_header
from kafkawire.primitives import (
    compact_nullable,
    compact_string,
    invalid,
    plain_nullable,
    plain_string,
)
from kafkawire.reader import Reader
from kafkawire.varints import unsigned

_INT32 = Struct(">i")
_PRODUCER = Struct(">qh")
_INDEX_OFFSET = Struct(">iq")
_INDEX_OFFSET_EPOCH = Struct(">iqi")
_INDEX_ERROR = Struct(">ih")


class EndTxnRequest(NamedTuple):
    """Commit, or abort."""

    transactional_id: str
    producer_id: int
    producer_epoch: int
    commit: bool


class EndTxnResponse(NamedTuple):
    """Who the producer is in its next transaction; -1 and -1 where the version does not say."""

    error_code: int
    producer_id: int
    producer_epoch: int


class TxnOffset(NamedTuple):
    """How far one partition has been read; `leader_epoch` is -1 where nothing is known."""

    topic: str
    partition: int
    offset: int
    leader_epoch: int


class TxnOffsetCommitRequest(NamedTuple):
    """Offsets of a group that count once the transaction is committed. Offsets of one topic that follow each
    other share its entry."""

    transactional_id: str
    group_id: str
    producer_id: int
    producer_epoch: int
    generation: int
    member_id: str
    instance_id: str | None
    offsets: list[TxnOffset]


class TxnOffsetCommitResponse(NamedTuple):
    """(topic, partition, error code) of each offset."""

    results: list[tuple[str, int, int]]


def encode_end_txn_request(
    version: int, correlation_id: int, request: EndTxnRequest, client_id: str | None = None
) -> bytes:
    """The whole frame."""
    compact = APIS[ApiKey.END_TXN].is_flexible(version)
    payload = (
        encode_request_header(ApiKey.END_TXN, version, correlation_id, client_id)
        + (compact_string if compact else plain_string)(request.transactional_id)
        + _PRODUCER.pack(request.producer_id, request.producer_epoch)
        + (b"\x01" if request.commit else b"\x00")
        + (b"\x00" if compact else b"")
    )
    return _INT32.pack(len(payload)) + payload


def decode_end_txn_response(version: int, payload: memoryview) -> EndTxnResponse:
    """The response in a frame's payload; raises KafkaError(INVALID_REQUEST) for malformed bytes."""
    reader = Reader(payload, compact=APIS[ApiKey.END_TXN].is_flexible(version), position=4)
    try:
        reader.skip_tags()
        reader.int32()
        error_code = reader.int16()
        producer_id, epoch = reader.fields(_PRODUCER) if version >= 5 else (-1, -1)
        reader.skip_tags()
        return EndTxnResponse(error_code, producer_id, epoch)
    except (IndexError, struct_error):
        raise invalid("the EndTxn response is cut off") from None


def encode_txn_offsets_request(
    version: int, correlation_id: int, request: TxnOffsetCommitRequest, client_id: str | None = None
) -> bytes:
    """The whole frame."""
    compact = APIS[ApiKey.TXN_OFFSET_COMMIT].is_flexible(version)
    string = compact_string if compact else plain_string
    parts = [
        encode_request_header(ApiKey.TXN_OFFSET_COMMIT, version, correlation_id, client_id),
        string(request.transactional_id),
        string(request.group_id),
        _PRODUCER.pack(request.producer_id, request.producer_epoch),
    ]
    if version >= 3:
        nullable = compact_nullable if compact else plain_nullable
        member = (_INT32.pack(request.generation), string(request.member_id), nullable(request.instance_id))
        parts += member
    runs: list[tuple[str, list[bytes]]] = []
    for topic, partition, offset, epoch in request.offsets:
        if not runs or runs[-1][0] != topic:
            runs.append((topic, []))
        fixed = (
            _INDEX_OFFSET_EPOCH.pack(partition, offset, epoch)
            if version >= 2
            else _INDEX_OFFSET.pack(partition, offset)
        )
        runs[-1][1].append(fixed + (b"\x01\x00" if compact else b"\x00\x00"))  # metadata, empty
    parts.append(_count(compact, len(runs)))
    for topic, encoded in runs:
        parts += (string(topic), _count(compact, len(encoded)), *encoded)
        if compact:
            parts.append(b"\x00")
    if compact:
        parts.append(b"\x00")
    payload = b"".join(parts)
    return _INT32.pack(len(payload)) + payload


def _count(compact: bool, count: int) -> bytes:
    return unsigned(count + 1) if compact else _INT32.pack(count)


def decode_txn_offsets_response(version: int, payload: memoryview) -> TxnOffsetCommitResponse:
    """The response in a frame's payload; raises KafkaError(INVALID_REQUEST) for malformed bytes."""
    reader = Reader(payload, compact=APIS[ApiKey.TXN_OFFSET_COMMIT].is_flexible(version), position=4)
    try:
        return _read_txn_offsets(reader)
    except (IndexError, struct_error):
        raise invalid("the TxnOffsetCommit response is cut off") from None
    except UnicodeDecodeError:
        raise invalid("a text in the TxnOffsetCommit response is not UTF-8") from None


def _read_txn_offsets(reader: Reader) -> TxnOffsetCommitResponse:
    reader.skip_tags()
    reader.int32()
    results = []
    for _ in reader.items():
        topic = reader.string()
        for _ in reader.items():
            results.append((topic, *reader.fields(_INDEX_ERROR)))
            reader.skip_tags()
        reader.skip_tags()
    reader.skip_tags()
    return TxnOffsetCommitResponse(results)
