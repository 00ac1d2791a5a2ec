"""The follower's side of replica fetches: everything that this broker copies from one leader."""

from __future__ import annotations

from collections.abc import Sequence

from kafkawire.errors import ErrorCode, KafkaError
from logstore.log import EpochEnd, OffsetsOutOfOrder
from replication.fetch_messages import NEW_SESSION, Fetched, FetchFrom, Key, ReplicaFetch, ReplicaFetchReply
from replication.follower import Follower
from replication.partition import Partition

FIRST_RETRY_AFTER = 0.02
"""Seconds until a partition that the leader refused is asked for again; doubles up to `LAST_RETRY_AFTER`.
The usual reason is that one of the two has not yet seen the metadata that the other has."""
LAST_RETRY_AFTER = 0.5


class LeaderFetcher:
    """What to ask `leader_id` next, and what its answer does to our partitions. One request is in flight at
    most."""

    def __init__(self, leader_id: int, local_id: int) -> None:
        self.leader_id = leader_id
        self.local_id = local_id
        self.partitions: dict[Key, Partition] = {}
        self._session_id = NEW_SESSION
        self._session_epoch = 0
        self._changed: dict[Key, None] = {}
        self._dropped: dict[Key, None] = {}
        self._asked: dict[Key, FetchFrom] = {}
        self._retry_at: dict[Key, float] = {}
        self._retry_after: dict[Key, float] = {}
        self._unsynced: dict[Key, None] = {}

    @property
    def has_news(self) -> bool:
        """Whether the next request would tell the leader something that the one in flight did not."""
        return bool(self._changed or self._dropped)

    def follow(self, partition: Partition) -> None:
        """Begin, or begin anew under a new leader epoch."""
        self.partitions[partition.key] = partition
        self._ask_when_held(partition)
        self._retry_at.pop(partition.key, None)
        self._retry_after.pop(partition.key, None)

    def unfollow(self, key: Key) -> None:
        """Stop asking for a partition."""
        if self.partitions.pop(key, None) is None:
            return
        for waiting in (self._changed, self._retry_at, self._retry_after, self._unsynced):
            waiting.pop(key, None)
        if self._asked.pop(key, None) is not None:
            self._dropped[key] = None

    def reset(self) -> None:
        """The connection or the session is gone: the next request lists everything."""
        self._session_id = NEW_SESSION
        self._session_epoch = 0
        self._asked.clear()
        self._dropped.clear()
        self._changed = dict.fromkeys(key for key in self.partitions if key not in self._unsynced)
        self._retry_at.clear()

    def next_request(self, broker_epoch: int, now: float, wait_ms: int, max_bytes: int) -> ReplicaFetch:
        """The request to send now. Its offsets acknowledge what we hold below them."""
        for key in [key for key, at in self._retry_at.items() if at <= now]:
            del self._retry_at[key]
            self._changed[key] = None
        changed = []
        for key in self._changed:
            asked = self._ask(key)
            if asked is not None:
                self._asked[key] = asked
                changed.append(asked)
        dropped = [key for key in self._dropped if key not in self._asked]
        self._changed = {}
        self._dropped = {}
        if self._retry_at:
            wait_ms = min(wait_ms, max(1, round((min(self._retry_at.values()) - now) * 1000)))
        self._session_epoch += 1
        return ReplicaFetch(
            self.local_id,
            broker_epoch,
            self._session_id,
            self._session_epoch,
            wait_ms,
            max_bytes,
            changed,
            dropped,
        )

    def _ask(self, key: Key) -> FetchFrom | None:
        partition = self.partitions.get(key)
        if partition is None or not isinstance(partition.role, Follower):
            return None
        log = partition.log
        return FetchFrom(*key, partition.role.epoch, log.end_offset, log.latest_epoch, log.start_offset)

    def apply(self, reply: ReplicaFetchReply, payload: memoryview, now: float) -> None:
        """Take an answer in: append records, truncate where our log has parted from the leader's, retry
        later where it refused. Raises StorageError, and KafkaError CORRUPT_MESSAGE for bytes that do not
        add up."""
        if reply.error != ErrorCode.NONE:
            self.reset()
            return
        self._session_id = reply.session_id
        position = 0
        for fetched in reply.partitions:
            records = payload[position : position + fetched.size]
            position += fetched.size
            if len(records) != fetched.size:
                raise KafkaError(ErrorCode.CORRUPT_MESSAGE, "a replica fetch reply is shorter than it says")
            self._apply_one(fetched, records, now)

    def _apply_one(self, fetched: Fetched, records: memoryview, now: float) -> None:
        key = fetched.key
        partition = self.partitions.get(key)
        asked = self._asked.get(key)
        if partition is None or asked is None or not partition.follows(self.leader_id, asked.leader_epoch):
            return
        if fetched.error == ErrorCode.OFFSET_OUT_OF_RANGE:
            self._asked.pop(key)
            self._recover_range(partition, fetched, now)
        elif fetched.error != ErrorCode.NONE:
            self._asked.pop(key)
            self._retry_later(key, now)
        elif fetched.diverging_epoch >= 0:
            self._asked.pop(key)
            partition.truncate_to_agreement(EpochEnd(fetched.diverging_epoch, fetched.end_offset))
            self._changed[key] = None
        else:
            self._retry_after.pop(key, None)
            if partition.log.end_offset != asked.offset:
                if key not in self._unsynced:
                    self._changed[key] = None
                return
            self._replicate(partition, fetched, records, now)

    def _replicate(self, partition: Partition, fetched: Fetched, records: memoryview, now: float) -> None:
        start = partition.log.start_offset
        try:
            partition.replicate(records, fetched.high_watermark, fetched.log_start)
        except (KafkaError, OffsetsOutOfOrder):
            # Bytes that do not fit our log, or their checksum: this partition asks again, the others go on.
            self._asked.pop(partition.key)
            self._retry_later(partition.key, now)
            return
        if len(records) or partition.log.start_offset != start:
            # Where our log starts is news as well: somebody may wait for records to be gone everywhere.
            self._ask_when_held(partition)

    def _ask_when_held(self, partition: Partition) -> None:
        # The next request acknowledges what it asks past, so where a sync is owed it waits for that.
        if partition.held_end() < partition.log.end_offset:
            self._unsynced[partition.key] = None
        else:
            self._changed[partition.key] = None

    def synced(self, partitions: Sequence[Partition]) -> bool:
        """Some logs were synced; returns whether that lets us ask for more."""
        for partition in partitions:
            if partition.key in self._unsynced and partition.held_end() >= partition.log.end_offset:
                del self._unsynced[partition.key]
                self._changed[partition.key] = None
        return self.has_news

    def _recover_range(self, partition: Partition, fetched: Fetched, now: float) -> None:
        log = partition.log
        # Only an unclean election makes the leader's log shorter without an epoch to say where we parted.
        ahead = 0 <= fetched.end_offset < log.end_offset
        if log.end_offset < fetched.log_start or (ahead and fetched.end_offset <= log.start_offset):
            partition.restart_at(fetched.log_start)
            self._changed[partition.key] = None
        elif ahead:
            partition.truncate_to_agreement(EpochEnd(log.latest_epoch, fetched.end_offset))
            self._changed[partition.key] = None
        else:
            self._retry_later(partition.key, now)

    def _retry_later(self, key: Key, now: float) -> None:
        after = self._retry_after.get(key, FIRST_RETRY_AFTER)
        self._retry_at[key] = now + after
        self._retry_after[key] = min(after * 2, LAST_RETRY_AFTER)
