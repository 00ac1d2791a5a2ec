"""Deleting records: the leader starts later, the followers follow, and the leader hears that they did."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from kafkawire.errors import ErrorCode
from replication.log_starts import HIGH_WATERMARK, delete_records, low_watermark

Refused = Callable[..., ErrorCode]


@pytest.fixture
def replicated(bench: Any) -> Any:
    """Three committed records on all three brokers."""
    for _ in range(3):
        bench.produce(1)
    for follower in (2, 3, 2):
        bench.fetch(follower, 1, times=3)
    assert [bench.partition(number).high_watermark for number in (1, 2, 3)] == [3, 3, 3]
    return bench


def starts(bench: Any) -> list[int]:
    return [bench.partition(number).log.start_offset for number in (1, 2, 3)]


def test_followers_follow_and_the_leader_hears(replicated: Any) -> None:
    leader = replicated.partition(1)
    assert low_watermark(leader) == 0
    assert delete_records(leader, 2) == 2
    assert (low_watermark(leader), starts(replicated)) == (0, [2, 0, 0])
    replicated.fetch(2, 1, times=2)
    assert (low_watermark(leader), starts(replicated)) == (0, [2, 2, 0])
    replicated.fetch(3, 1, times=2)
    assert (low_watermark(leader), starts(replicated)) == (2, [2, 2, 2])


def test_everything_committed_goes_and_what_is_not_stays(replicated: Any) -> None:
    replicated.produce(1)
    assert delete_records(replicated.partition(1), HIGH_WATERMARK) == 3
    for follower in (2, 3, 2):
        replicated.fetch(follower, 1, times=3)
    assert starts(replicated) == [3, 3, 3]
    assert [replicated.partition(number).high_watermark for number in (1, 2, 3)] == [4, 4, 4]
    assert [replicated.log_of(number) for number in (1, 2, 3)] == [[(3, 0)]] * 3


def test_what_is_gone_already_is_no_error(replicated: Any) -> None:
    leader = replicated.partition(1)
    delete_records(leader, 2)
    assert delete_records(leader, 1) == 1
    assert leader.log.start_offset == 2


@pytest.mark.parametrize("offset", [4, -2, 2**62])
def test_only_committed_records_are_deleted(replicated: Any, refused: Refused, offset: int) -> None:
    assert refused(delete_records, replicated.partition(1), offset) is ErrorCode.OFFSET_OUT_OF_RANGE
    assert starts(replicated) == [0, 0, 0]


def test_a_follower_deletes_nothing_by_itself(replicated: Any, refused: Refused) -> None:
    assert refused(delete_records, replicated.partition(2), 1) is ErrorCode.NOT_LEADER_OR_FOLLOWER
    assert refused(low_watermark, replicated.partition(2)) is ErrorCode.NOT_LEADER_OR_FOLLOWER


@pytest.mark.parametrize(("policy", "allowed"), [("compact", False), ("compact,delete", True), ("", True)])
def test_records_that_are_only_compacted_are_not_deleted(
    replicated: Any, refused: Refused, policy: str, allowed: bool
) -> None:
    leader = replicated.partition(1)
    leader.log.config = replace(leader.log.config, cleanup_policy=policy)
    if allowed:
        assert delete_records(leader, 2) == 2
    else:
        assert refused(delete_records, leader, 2) is ErrorCode.POLICY_VIOLATION
    assert starts(replicated) == [2 if allowed else 0, 0, 0]


def test_a_fenced_follower_is_not_waited_for_and_catches_up_later(replicated: Any) -> None:
    leader = replicated.partition(1)
    replicated.fence(3)
    replicated.hear(1, 2)
    delete_records(leader, 3)
    replicated.fetch(2, 1, times=2)
    assert low_watermark(leader) == 3
    replicated.restart(3)
    replicated.hear()
    replicated.fetch(3, 1, times=3)
    assert starts(replicated) == [3, 3, 3]


def test_a_follower_that_lacks_what_is_deleted_starts_where_the_leader_does(replicated: Any) -> None:
    replicated.fence(3)
    replicated.hear(1, 2)
    for _ in range(3):
        replicated.produce(1)
    replicated.fetch(2, 1, times=3)
    delete_records(replicated.partition(1), 5)
    replicated.restart(3)
    replicated.hear()
    replicated.fetch(3, 1, times=4)
    assert replicated.log_of(3) == [(5, 0)]


def test_an_answer_that_was_lost_is_made_good(replicated: Any) -> None:
    leader = replicated.partition(1)
    delete_records(leader, 2)
    replicated.ask(2, 1)
    replicated.lose_connection(2, 1)
    replicated.fetch(2, 1, times=2)
    assert replicated.partition(2).log.start_offset == 2
    assert leader.leads().followers[2].log_start == 2
