"""The client's half of Metadata: what is asked whenever a leader is looked for. Versions 1 to 13.

Source: `MetadataRequest.json` and `MetadataResponse.json` of Kafka 4.2. Version 4 adds the choice to create
topics, 5 offline replicas, 7 leader epochs (KIP-320), 8 authorized operations (not asked for), 10 topic ids
(KIP-516), 13 an error of the whole; 9 is flexible.
"""

from __future__ import annotations

from struct import Struct
from struct import error as struct_error
from typing import NamedTuple

from kafkawire.apis import APIS, ApiKey
from kafkawire.endpoints import NodeEndpoint
from kafkawire.headers import encode_request_header
from kafkawire.primitives import compact_string, invalid, plain_string
from kafkawire.reader import Reader
from kafkawire.varints import unsigned

_API = APIS[ApiKey.METADATA]
_INT32 = Struct(">i")
_PARTITION_1 = Struct(">hii")
_PARTITION_7 = Struct(">hiii")
_NO_ID = bytes(16)


class MetadataRequest(NamedTuple):
    """Topics by name; None asks for all."""

    topics: tuple[str, ...] | None
    create_topics: bool = False


class PartitionMetadata(NamedTuple):
    """One partition; `leader` is -1 while it has none, `leader_epoch` -1 where the version has none."""

    error_code: int
    partition: int
    leader: int
    leader_epoch: int
    replicas: tuple[int, ...]
    isr: tuple[int, ...]
    offline: tuple[int, ...]


class TopicMetadata(NamedTuple):
    """One topic; `topic_id` is 16 zero bytes where the version has none."""

    error_code: int
    name: str | None
    topic_id: bytes
    internal: bool
    partitions: list[PartitionMetadata]


class MetadataResponse(NamedTuple):
    """`controller_id` is -1 while none is known."""

    brokers: list[NodeEndpoint]
    cluster_id: str | None
    controller_id: int
    topics: list[TopicMetadata]
    error_code: int


def encode_metadata_request(
    version: int, correlation_id: int, request: MetadataRequest, client_id: str | None = None
) -> bytes:
    """The whole frame."""
    compact = _API.is_flexible(version)
    parts = [encode_request_header(ApiKey.METADATA, version, correlation_id, client_id)]
    if request.topics is None:
        parts.append(b"\x00" if compact else b"\xff\xff\xff\xff")
    else:
        count = len(request.topics)
        parts.append(unsigned(count + 1) if compact else _INT32.pack(count))
        for name in request.topics:
            if version >= 10:
                parts.append(_NO_ID)
            parts += (compact_string(name), b"\x00") if compact else (plain_string(name),)
    if version >= 4:
        parts.append(b"\x01" if request.create_topics else b"\x00")
    if version >= 8:
        parts.append(b"\x00" if version >= 11 else b"\x00\x00")
    if compact:
        parts.append(b"\x00")
    payload = b"".join(parts)
    return _INT32.pack(len(payload)) + payload


def decode_metadata_response(version: int, payload: memoryview) -> MetadataResponse:
    """The response in a frame's payload: correlation id (its first int32, not looked at), header, body.

    Raises KafkaError(INVALID_REQUEST) for malformed bytes.
    """
    try:
        return _read(version, Reader(payload, compact=_API.is_flexible(version), position=4))
    except (IndexError, struct_error):
        raise invalid("the Metadata response is cut off") from None
    except UnicodeDecodeError:
        raise invalid("a text in the Metadata response is not UTF-8") from None


def _read(version: int, reader: Reader) -> MetadataResponse:
    reader.tags()
    if version >= 3:
        reader.int32()
    brokers = []
    for _ in reader.items():
        brokers.append(
            NodeEndpoint(reader.int32(), reader.string(), reader.int32(), reader.nullable_string())
        )
        reader.tags()
    cluster_id = reader.nullable_string() if version >= 2 else None
    controller_id = reader.int32()
    topics = [_read_topic(version, reader) for _ in reader.items()]
    if 8 <= version <= 10:
        reader.int32()
    error_code = reader.int16() if version >= 13 else 0
    reader.tags()
    return MetadataResponse(brokers, cluster_id, controller_id, topics, error_code)


def _read_topic(version: int, reader: Reader) -> TopicMetadata:
    error_code = reader.int16()
    name = reader.nullable_string() if version >= 12 else reader.string()
    topic_id = reader.uuid() if version >= 10 else _NO_ID
    internal = reader.int8() != 0
    partitions = [_read_partition(version, reader) for _ in reader.items()]
    if version >= 8:
        reader.int32()
    reader.tags()
    return TopicMetadata(error_code, name, topic_id, internal, partitions)


def _read_partition(version: int, reader: Reader) -> PartitionMetadata:
    epoch = -1
    if version >= 7:
        error_code, index, leader, epoch = reader.fields(_PARTITION_7)
    else:
        error_code, index, leader = reader.fields(_PARTITION_1)
    replicas, isr = reader.int32s(), reader.int32s()
    offline = reader.int32s() if version >= 5 else ()
    reader.tags()
    return PartitionMetadata(error_code, index, leader, epoch, replicas, isr, offline)
