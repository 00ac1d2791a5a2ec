"""Where the replicas of a partition start: a client deletes records on the leader, the followers follow.

The leader's log start travels to the followers with what they fetch, and each tells where its own log starts
with its next fetch. The lowest of them is the low watermark: below it no live replica has a record.
"""

from __future__ import annotations

from kafkawire.errors import ErrorCode, KafkaError
from replication.leader import Leader
from replication.partition import Partition

HIGH_WATERMARK = -1
"""The offset that asks for everything to go."""


def delete_records(partition: Partition, offset: int) -> int:
    """Let the log start at `offset` if it starts earlier, or at the high watermark with HIGH_WATERMARK.

    Returns the offset that is meant. Raises KafkaError NOT_LEADER_OR_FOLLOWER, POLICY_VIOLATION where records
    are only ever compacted, OFFSET_OUT_OF_RANGE past the high watermark; StorageError.
    """
    partition.leads()
    log = partition.log
    if log.config.compacts and not log.config.deletes:
        raise KafkaError(
            ErrorCode.POLICY_VIOLATION,
            f"Records of partition {partition.topic}-{partition.index} can not be deleted due to the "
            "configured policy",
        )
    wanted = partition.high_watermark if offset == HIGH_WATERMARK else offset
    if not 0 <= wanted <= partition.high_watermark:
        raise KafkaError(ErrorCode.OFFSET_OUT_OF_RANGE)
    if wanted > log.start_offset:
        log.advance_start(wanted)
        _tell(partition)
    return wanted


def low_watermark(partition: Partition) -> int:
    """The earliest offset that a live replica still has. Raises KafkaError NOT_LEADER_OR_FOLLOWER."""
    leader = partition.leads()
    starts = [
        follower.log_start
        for broker, follower in leader.followers.items()
        if leader.broker_epochs(broker) is not None
    ]
    return min(partition.log.start_offset, *starts) if starts else partition.log.start_offset


def heard_log_start(partition: Partition, follower_id: int, log_start: int) -> None:
    """A follower said where its log starts."""
    leader = partition.role
    progress = leader.followers.get(follower_id) if isinstance(leader, Leader) else None
    if progress is None or log_start == progress.log_start:
        return
    progress.log_start = log_start
    _tell(partition)


def _tell(partition: Partition) -> None:
    for watcher in tuple(partition.watchers):
        watcher.notify(partition)
