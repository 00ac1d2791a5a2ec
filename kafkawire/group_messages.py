"""Where versions of the group APIs differ in more than their fields, so that no handler has to know.

`complete_request` and `reduce_response` are what `messages` does for them; the other functions tell what a
client of a version understands.
"""

from __future__ import annotations

from typing import Any

from kafkawire.apis import ApiKey


def requires_member_id(version: int) -> bool:
    """Whether a client that sends JoinGroup of this version comes again with the id it is given (KIP-394)."""
    return version >= 4


def skips_assignment(version: int) -> bool:
    """Whether JoinGroup's reply can tell a leader that it need not assign (KIP-814)."""
    return version >= 9


def names_protocol(version: int) -> bool:
    """Whether SyncGroup says which protocol the member takes the group's for (KIP-559)."""
    return version >= 5


def tells_missing_group(version: int) -> bool:
    """Whether OffsetCommit's reply may be GROUP_ID_NOT_FOUND (KIP-848)."""
    return version >= 9


def names_topics_by_id(version: int) -> bool:
    """Whether OffsetCommit and OffsetFetch refer to topics by id (KIP-848)."""
    return version >= 10


def describes_missing_group(version: int) -> bool:
    """Whether DescribeGroups tells a group that is not there from one that is dead (KIP-1043)."""
    return version >= 6


def names_itself(version: int) -> bool:
    """Whether clients that send ConsumerGroupHeartbeat of this version make their member ids (KIP-1082)."""
    return version >= 1


def has_group_error(version: int) -> bool:
    """Whether OffsetFetch's reply has a place for an error of the whole group; else each partition has it."""
    return version >= 2


def complete_request(key: int, version: int, request: Any) -> None:
    """Fill in what an old version says elsewhere: JoinGroup 0's rebalance timeout is its session timeout;
    LeaveGroup before 3 names one member, always in `members` here; OffsetFetch before 8 names one group,
    always in `groups` here."""
    if key == ApiKey.JOIN_GROUP and version < 1:
        request.rebalance_timeout_ms = request.session_timeout_ms
    elif key == ApiKey.LEAVE_GROUP and version < 3:
        request.members = [type(request).MemberIdentity(member_id=request.member_id, group_instance_id=None)]
    elif key == ApiKey.OFFSET_FETCH and version < 8:
        groups = type(request).OffsetFetchRequestGroup
        topics = request.topics
        if topics is not None:
            make = groups.OffsetFetchRequestTopics
            topics = [make(name=each.name, partition_indexes=each.partition_indexes) for each in topics]
        request.groups = [groups(group_id=request.group_id, topics=topics)]


def reduce_response(key: int, version: int, response: Any) -> None:
    """The reverse of `complete_request`; JoinGroup before 7 has no null."""
    if key == ApiKey.JOIN_GROUP and version < 7:
        response.protocol_name = response.protocol_name or ""
    elif key == ApiKey.LEAVE_GROUP and version < 3:
        if not response.error_code and response.members:
            response.error_code = response.members[0].error_code
    elif key == ApiKey.OFFSET_FETCH and version < 8 and response.groups:
        (group,) = response.groups
        response.error_code = group.error_code
        response.topics = [_plain_topic(type(response), topic) for topic in group.topics]


def _plain_topic(response: Any, topic: Any) -> Any:
    make = response.OffsetFetchResponseTopic
    return make(
        name=topic.name,
        partitions=[
            make.OffsetFetchResponsePartition(
                partition_index=each.partition_index,
                committed_offset=each.committed_offset,
                committed_leader_epoch=each.committed_leader_epoch,
                metadata=each.metadata,
                error_code=each.error_code,
            )
            for each in topic.partitions
        ],
    )
