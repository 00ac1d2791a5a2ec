"""Where versions of the transaction APIs differ in more than their fields, so that no handler has to know."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode

_KNOWS_FENCED: Mapping[int, int] = MappingProxyType(
    {
        ApiKey.INIT_PRODUCER_ID: 4,
        ApiKey.ADD_PARTITIONS_TO_TXN: 2,
        ApiKey.ADD_OFFSETS_TO_TXN: 2,
        ApiKey.END_TXN: 2,
    }
)
"""The first version whose clients know PRODUCER_FENCED (KIP-588)."""


def abortable_produce(version: int) -> ErrorCode:
    """What a client of this Produce version takes as a reason to abort its transaction (KIP-890)."""
    return ErrorCode.TRANSACTION_ABORTABLE if version >= 11 else ErrorCode.INVALID_TXN_STATE


def abortable_offset_commit(version: int) -> ErrorCode:
    """The same for TxnOffsetCommit."""
    return ErrorCode.TRANSACTION_ABORTABLE if version >= 4 else ErrorCode.INVALID_TXN_STATE


def produce_adds_partitions(version: int) -> bool:
    """Whether Produce itself makes a partition part of the transaction (KIP-890, second part)."""
    return version >= 12


def offset_commit_adds_offsets(version: int) -> bool:
    """The same for TxnOffsetCommit and the group's offsets."""
    return version >= 5


def known_offset_commit_code(version: int, code: ErrorCode) -> ErrorCode:
    """The error as a client of this TxnOffsetCommit version knows it: those of the first ones may break at a
    coordinator that is loading (KAFKA-7296)."""
    if code is ErrorCode.COORDINATOR_LOAD_IN_PROGRESS and version < 2:
        return ErrorCode.COORDINATOR_NOT_AVAILABLE
    return code


def end_bumps_epoch(version: int) -> bool:
    """Whether EndTxn gives the producer its next epoch."""
    return version >= 5


def known_code(key: int, version: int, code: ErrorCode) -> ErrorCode:
    """The error as a client of this version knows it: PRODUCER_FENCED was INVALID_PRODUCER_EPOCH once."""
    if code is ErrorCode.PRODUCER_FENCED and version < _KNOWS_FENCED[key]:
        return ErrorCode.INVALID_PRODUCER_EPOCH
    return code
