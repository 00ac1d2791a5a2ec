"""Control batches: one record that is no data but says how a transaction ended (KIP-98)."""

from __future__ import annotations

from enum import IntEnum
from struct import Struct
from typing import NamedTuple

from kafkawire.batch_builder import build_batch
from kafkawire.batch_reader import Record
from kafkawire.errors import ErrorCode, KafkaError

_CONTROL_KEY = Struct(">hh")
_CONTROL_VALUE = Struct(">hi")


class ControlType(IntEnum):
    """What a control record says (`ControlRecordType`). Only the first two stand in topic partitions."""

    ABORT = 0
    COMMIT = 1


class ControlRecord(NamedTuple):
    """A transaction marker: how the producer's transaction ended, and under which coordinator epoch."""

    kind: ControlType
    coordinator_epoch: int


def build_control_batch(
    kind: ControlType,
    *,
    timestamp: int,
    producer_id: int,
    producer_epoch: int,
    coordinator_epoch: int,
    base_offset: int = 0,
    leader_epoch: int = -1,
) -> bytes:
    """The marker that ends a producer's transaction in one partition (KIP-98)."""
    record = (timestamp, _CONTROL_KEY.pack(0, kind), _CONTROL_VALUE.pack(0, coordinator_epoch))
    return build_batch(
        [record],
        base_offset=base_offset,
        leader_epoch=leader_epoch,
        producer_id=producer_id,
        producer_epoch=producer_epoch,
        transactional=True,
        control=True,
    )


def parse_control_record(record: Record) -> ControlRecord:
    """What the one record of a control batch says; raises KafkaError(INVALID_RECORD)."""
    key, value = record.key, record.value
    if key is None or len(key) < _CONTROL_KEY.size or value is None or len(value) < _CONTROL_VALUE.size:
        raise _invalid("a control record without its fields")
    version, kind = _CONTROL_KEY.unpack_from(key)
    if version < 0 or kind not in (ControlType.ABORT, ControlType.COMMIT):
        raise _invalid(f"control record version {version} of type {kind}")
    _, coordinator_epoch = _CONTROL_VALUE.unpack_from(value)
    return ControlRecord(ControlType(kind), coordinator_epoch)


def _invalid(reason: str) -> KafkaError:
    return KafkaError(ErrorCode.INVALID_RECORD, reason)
