"""Replica fetches on the wire: what another node sends is checked before anything believes it."""

from __future__ import annotations

from typing import Any

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafkawire.errors import ErrorCode, KafkaError
from replication.fetch_messages import (
    MAX_PARTITIONS_PER_FETCH,
    Fetched,
    FetchFrom,
    ReplicaFetch,
    ReplicaFetchReply,
)

number = st.integers(-(2**63), 2**63 - 1)
topic_ids = st.binary(min_size=16, max_size=16)
fetch_froms = st.builds(FetchFrom, topic_ids, number, number, number, number)
fetcheds = st.builds(
    Fetched, topic_ids, number, number, number, number, st.integers(0, 2**31), number, number
)
keys = st.tuples(topic_ids, number)
anything: Any = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=3) | st.binary(max_size=17),
    lambda inner: st.lists(inner, max_size=9) | st.dictionaries(st.text(max_size=2), inner, max_size=2),
    max_leaves=20,
)


def through_cbor(value: Any) -> Any:
    return cbor2.loads(cbor2.dumps(value))


@given(st.tuples(*[number] * 6), st.lists(fetch_froms), st.lists(keys))
def test_requests_survive_the_wire(numbers: Any, changed: list[FetchFrom], dropped: list[Any]) -> None:
    request = ReplicaFetch(*numbers, changed, dropped)
    assert ReplicaFetch.from_wire(through_cbor(request.to_wire())) == request


@given(number, number, st.lists(fetcheds))
def test_replies_survive_the_wire(error: int, session: int, partitions: list[Fetched]) -> None:
    reply = ReplicaFetchReply(error, session, partitions)
    assert ReplicaFetchReply.from_wire(through_cbor(reply.to_wire())) == reply


@pytest.mark.parametrize("kind", [ReplicaFetch, ReplicaFetchReply])
@settings(max_examples=300)
@given(value=anything)
def test_what_is_none_is_an_invalid_request(kind: Any, value: Any) -> None:
    with pytest.raises(KafkaError) as caught:
        kind.from_wire(value)
    assert caught.value.code is ErrorCode.INVALID_REQUEST


GOOD_FETCH: list[Any] = [2, 5, 0, 1, 500, 1000, [[b"i" * 16, 0, 0, 0, -1]], [[b"i" * 16, 1]]]
GOOD_REPLY: list[Any] = [0, 7, [[b"i" * 16, 0, 0, 0, 0, 0, -1, -1]]]


def spoilt(value: list[Any], path: tuple[int, ...], by: object) -> list[Any]:
    """A copy of `value` in which the item at `path` is another."""
    copy = list(value)
    head, *rest = path
    copy[head] = spoilt(copy[head], tuple(rest), by) if rest else by
    return copy


@pytest.mark.parametrize("by", [None, "1", 1.0, float("inf"), float("nan"), [], {}, True])
@pytest.mark.parametrize(
    "path", [(0,), (4,), (6,), (6, 0), (6, 0, 0), (6, 0, 3), (7, 0), (7, 0, 0), (7, 0, 1)]
)
def test_a_request_with_one_wrong_item_is_refused(path: tuple[int, ...], by: object) -> None:
    if by == [] and path == (6,):
        return
    with pytest.raises(KafkaError) as caught:
        ReplicaFetch.from_wire(spoilt(GOOD_FETCH, path, by))
    assert caught.value.code is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize("by", [None, "1", 1.0, float("inf"), {}, True])
@pytest.mark.parametrize("path", [(0,), (1,), (2,), (2, 0), (2, 0, 0), (2, 0, 3), (2, 0, 5)])
def test_a_reply_with_one_wrong_item_is_refused(path: tuple[int, ...], by: object) -> None:
    with pytest.raises(KafkaError) as caught:
        ReplicaFetchReply.from_wire(spoilt(GOOD_REPLY, path, by))
    assert caught.value.code is ErrorCode.INVALID_REQUEST


def test_records_of_negative_size_are_refused() -> None:
    with pytest.raises(KafkaError):
        ReplicaFetchReply.from_wire(spoilt(GOOD_REPLY, (2, 0, 5), -1))


def test_too_many_partitions_are_refused_before_they_are_looked_at() -> None:
    for place in (6, 7):
        with pytest.raises(KafkaError) as caught:
            ReplicaFetch.from_wire(spoilt(GOOD_FETCH, (place,), [None] * (MAX_PARTITIONS_PER_FETCH + 1)))
        assert "too many" in caught.value.message
