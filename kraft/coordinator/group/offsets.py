"""Committed offsets, those of open transactions apart (Kafka's `OffsetMetadataManager`)."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from typing import Final

from kafkawire.errors import ErrorCode
from kafkawire.records import ControlType
from kraft.coordinator.decision import LogRecord, TransactionMarker
from kraft.coordinator.group.commands import CommitOffsets, FetchedOffset, FetchedOffsets, FetchOffsets
from kraft.coordinator.group.config import GroupConfig
from kraft.coordinator.group.formats import (
    MAX_STRING,
    NO_EXPIRY,
    CommittedOffset,
    OffsetKey,
    decode_offset,
    encode_offset,
    encode_offset_key,
)
from kraft.coordinator.group.outcome import Outcome

_LATEST: Final = 2**63 - 1
"""Milliseconds since the epoch; further away nothing can be written down."""

_Partitions = dict[int, CommittedOffset]


class Offsets:
    """By group, topic and partition. Changed by `replay` and `replay_marker` alone."""

    def __init__(self, config: GroupConfig) -> None:
        self._config = config
        self._groups: dict[str, dict[str, _Partitions]] = {}
        self._open: dict[int, dict[OffsetKey, CommittedOffset]] = {}
        self._unstable: dict[OffsetKey, set[int]] = {}

    # -- what the log says ------------------------------------------------------------------------

    def replay(self, key: OffsetKey, record: LogRecord) -> None:
        """A commit, or what takes one back. Raises KafkaError(CORRUPT_MESSAGE)."""
        if record.value is None:
            self._remove(key)
            # What a transaction was about to commit goes as well, or its end would bring the offset back.
            for producer_id in self._unstable.pop(key, ()):
                del self._open[producer_id][key]
            return
        committed = decode_offset(record.value, record.offset)
        if record.transactional:
            self._open.setdefault(record.producer_id, {})[key] = committed
            self._unstable.setdefault(key, set()).add(record.producer_id)
        else:
            self._put(key, committed)

    def replay_marker(self, marker: TransactionMarker) -> list[str]:
        """The transaction's commits count, or are dropped; returns the groups that they are of."""
        pending = self._open.pop(marker.producer_id, {})
        for key, committed in pending.items():
            producers = self._unstable[key]
            producers.discard(marker.producer_id)
            if not producers:
                del self._unstable[key]
            if marker.kind is ControlType.COMMIT:
                known = self._groups.get(key.group_id, {}).get(key.topic, {}).get(key.partition)
                # What was committed outside after it is newer.
                if known is None or committed.record_offset > known.record_offset:
                    self._put(key, committed)
        return [] if marker.kind is ControlType.ABORT else [key.group_id for key in pending]

    def _put(self, key: OffsetKey, committed: CommittedOffset) -> None:
        topics = self._groups.get(key.group_id)
        if topics is None:
            topics = self._groups[key.group_id] = {}
        partitions = topics.get(key.topic)
        if partitions is None:
            partitions = topics[key.topic] = {}
        partitions[key.partition] = committed

    def _remove(self, key: OffsetKey) -> None:
        topics = self._groups.get(key.group_id, {})
        partitions = topics.get(key.topic, {})
        if partitions.pop(key.partition, None) is not None and not partitions:
            del topics[key.topic]
            if not topics:
                del self._groups[key.group_id]

    # -- what is asked ----------------------------------------------------------------------------

    def groups(self) -> Iterable[str]:
        """The groups that have offsets."""
        return tuple(self._groups)

    def of(self, group_id: str) -> Iterator[tuple[OffsetKey, CommittedOffset]]:
        """The offsets of a group."""
        for topic, partitions in self._groups.get(group_id, {}).items():
            for partition, committed in partitions.items():
                yield OffsetKey(group_id, topic, partition), committed

    def keys_of(self, group_id: str) -> list[OffsetKey]:
        """The offsets of a group, and those that open transactions are about to commit."""
        pending = [key for key in self._unstable if key.group_id == group_id]
        return list(dict.fromkeys([*(key for key, _ in self.of(group_id)), *pending]))

    def keys_in(self, topics: Collection[str]) -> list[OffsetKey]:
        """The same for some topics, of every group."""
        committed = (key for group_id in self._groups for key, _ in self.of(group_id))
        return list(dict.fromkeys(key for key in (*committed, *self._unstable) if key.topic in topics))

    def has(self, group_id: str) -> bool:
        """Whether the group has offsets, or may have when an open transaction ends."""
        return group_id in self._groups or any(key.group_id == group_id for key in self._unstable)

    def commit(self, command: CommitOffsets, out: Outcome, now_ms: int) -> tuple[ErrorCode, ...]:
        """Write each offset that can be; returns a code for each."""
        expires_ms = NO_EXPIRY if command.retention_ms < 0 else min(now_ms + command.retention_ms, _LATEST)
        most = self._config.offset_metadata_max_bytes
        codes = []
        for each in command.offsets:
            # A text has four times as many bytes as characters, at most.
            length = len(each.metadata)
            if length > most or (length * 4 > MAX_STRING and len(each.metadata.encode()) > MAX_STRING):
                codes.append(ErrorCode.OFFSET_METADATA_TOO_LARGE)
                continue
            committed = CommittedOffset(each.offset, each.leader_epoch, each.metadata, now_ms, expires_ms)
            key = encode_offset_key(command.group_id, each.topic, each.partition)
            out.write(key, encode_offset(committed))
            codes.append(ErrorCode.NONE)
        return tuple(codes)

    def fetch(self, command: FetchOffsets) -> FetchedOffsets:
        """What is committed, in the order of the request; everything if it names no topics."""
        held = self._groups.get(command.group_id, {})
        asked = command.topics
        if asked is None:
            asked = tuple((topic, tuple(partitions)) for topic, partitions in held.items())
        return tuple(
            (topic, tuple(self._fetched(command, held, topic, partition) for partition in partitions))
            for topic, partitions in asked
        )

    def _fetched(
        self, command: FetchOffsets, held: dict[str, _Partitions], topic: str, partition: int
    ) -> FetchedOffset:
        if command.require_stable and OffsetKey(command.group_id, topic, partition) in self._unstable:
            return FetchedOffset(partition, -1, -1, "", ErrorCode.UNSTABLE_OFFSET_COMMIT)
        committed = held.get(topic, {}).get(partition)
        if committed is None:
            return FetchedOffset(partition, -1, -1, "", ErrorCode.NONE)
        return FetchedOffset(
            partition, committed.offset, committed.leader_epoch, committed.metadata, ErrorCode.NONE
        )

    def expired(
        self, group_id: str, now_ms: int, in_use: Callable[[str], bool], since_ms: int | None
    ) -> list[OffsetKey]:
        """The offsets that have had their time: since they were committed, or since `since_ms`, and not of a
        topic that is in use."""
        return [
            key
            for key, committed in self.of(group_id)
            if not in_use(key.topic)
            and key not in self._unstable
            and self._is_over(committed, now_ms, since_ms)
        ]

    def _is_over(self, committed: CommittedOffset, now_ms: int, since_ms: int | None) -> bool:
        if committed.expires_ms != NO_EXPIRY:
            return now_ms >= committed.expires_ms
        begin = committed.committed_ms if since_ms is None else since_ms
        return now_ms - begin >= self._config.offsets_retention_ms

    @staticmethod
    def forget(keys: Iterable[OffsetKey], out: Outcome) -> None:
        """Write that these are gone."""
        for key in keys:
            out.write(encode_offset_key(*key), None)
