"""An image as bytes, and back.

A snapshot is the shortest log that leads to the image: the offset that it stands for and the records that
rebuild it, in CBOR: `{"version": 1, "offset": n, "records": [[type, version, {field: value}], ...]}`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import cbor2

from metadata.image import EMPTY_IMAGE, BrokerState, MetadataImage
from metadata.records import (
    ClientQuotaRecord,
    ConfigRecord,
    FeatureLevelRecord,
    PartitionRecord,
    ProducerIdsRecord,
    Record,
    RegisterBrokerRecord,
    TopicRecord,
)
from metadata.replay import rebuild
from metadata.serde import MalformedError, UnknownRecordError, load_cbor, record_from_wire, record_to_wire

SNAPSHOT_VERSION: Final = 1


def encode_snapshot(image: MetadataImage) -> bytes:
    """The whole image as bytes."""
    return cbor2.dumps(
        {
            "version": SNAPSHOT_VERSION,
            "offset": image.offset,
            "records": [record_to_wire(record) for record in snapshot_records(image)],
        }
    )


def decode_snapshot(data: bytes) -> MetadataImage:
    """The image in `data`. Raises MalformedError when it is not a snapshot, UnknownRecordError when it is
    one of a later release."""
    body = load_cbor(data)
    if not isinstance(body, dict) or not isinstance(body.get("records"), list):
        raise MalformedError("a metadata snapshot is a map with a list of records")
    if body.get("version") != SNAPSHOT_VERSION:
        raise UnknownRecordError(f"unknown version {body.get('version')!r} of a metadata snapshot")
    offset = body.get("offset")
    if type(offset) is not int or offset < -1:
        raise MalformedError(f"{offset!r} is no offset of a metadata snapshot")
    records = [record_from_wire(each) for each in body["records"]]
    try:
        return rebuild(EMPTY_IMAGE, records, offset)
    except ValueError as error:
        raise MalformedError(
            f"the records of the metadata snapshot contradict each other: {error}"
        ) from error


def snapshot_records(image: MetadataImage) -> Iterator[Record]:
    """The records that rebuild `image` from an empty one, in an order that `rebuild` accepts."""
    for name, level in image.features.items():
        yield FeatureLevelRecord(name, level)
    yield from _broker_records(image)
    yield from _topic_records(image)
    for (kind, resource), values in image.configs.by_resource.items():
        for name, value in values.items():
            yield ConfigRecord(kind, resource, name, value)
    for entity, quotas in image.client_quotas.items():
        for key, quota in quotas.items():
            yield ClientQuotaRecord(entity, key, quota)
    yield from image.scram_credentials.values()
    if image.next_producer_id:
        yield ProducerIdsRecord(-1, -1, image.next_producer_id)


def _broker_records(image: MetadataImage) -> Iterator[Record]:
    for broker in image.brokers.values():
        yield RegisterBrokerRecord(
            broker_id=broker.broker_id,
            incarnation_id=broker.incarnation,
            broker_epoch=broker.epoch,
            end_points=broker.endpoints,
            node_endpoint=broker.node_endpoint,
            rack=broker.rack,
            features=broker.features,
            fenced=broker.state is BrokerState.FENCED,
            in_controlled_shutdown=broker.state is BrokerState.SHUTTING_DOWN,
        )


def _topic_records(image: MetadataImage) -> Iterator[Record]:
    for topic in image.topics:
        yield TopicRecord(topic.name, topic.topic_id)
        for index, partition in enumerate(topic.partitions):
            yield PartitionRecord(
                partition_id=index,
                topic_id=topic.topic_id,
                replicas=partition.replicas,
                isr=partition.isr,
                leader=partition.leader,
                leader_epoch=partition.leader_epoch,
                partition_epoch=partition.partition_epoch,
                removing_replicas=partition.removing,
                adding_replicas=partition.adding,
                leader_recovery_state=partition.leader_recovery_state,
                eligible_leader_replicas=partition.elr,
                last_known_elr=partition.last_known_elr,
            )
