"""Placement: even, apart over racks, by turns."""

from __future__ import annotations

from collections import Counter
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkawire.errors import ErrorCode, KafkaError
from metadata.controller.placement import place
from metadata.image import BrokerImage, BrokerState
from metadata.records import NodeEndpoint


def broker(broker_id: int, rack: str | None = None, state: BrokerState = BrokerState.ACTIVE) -> BrokerImage:
    return BrokerImage(broker_id, 0, UUID(int=0), (), NodeEndpoint("h", 1), rack, state)


def spread(counter: Counter[int], brokers: list[BrokerImage]) -> int:
    counts = [counter[each.broker_id] for each in brokers]
    return max(counts) - min(counts)


@given(count=st.integers(1, 9), partitions=st.integers(1, 60), data=st.data(), turn=st.integers(0, 70_000))
def test_replicas_and_leaders_are_even(count, partitions, data, turn):
    brokers = [broker(broker_id) for broker_id in range(count)]
    factor = data.draw(st.integers(1, count))
    placed = place(brokers, partitions, factor, turn)
    assert all(len(set(replicas)) == factor for replicas in placed)
    assert spread(Counter(each for replicas in placed for each in replicas), brokers) <= 1
    assert spread(Counter(replicas[0] for replicas in placed), brokers) <= 2
    if partitions % count == 0:
        assert spread(Counter(each for replicas in placed for each in replicas), brokers) == 0


@given(racks=st.integers(1, 4), per_rack=st.integers(1, 3), partitions=st.integers(1, 40), data=st.data())
def test_racks_of_one_size_are_used_apart_and_evenly(racks, per_rack, partitions, data):
    brokers = [broker(number, f"r{number % racks}") for number in range(racks * per_rack)]
    factor = data.draw(st.integers(1, len(brokers)))
    placed = place(brokers, partitions, factor, data.draw(st.integers(0, 99)))
    for replicas in placed:
        per = Counter(number % racks for number in replicas)
        assert len(per) == min(factor, racks), "as many racks as there can be"
        assert max(per.values()) - min([per[rack] for rack in range(racks)]) <= 1
    assert spread(Counter(each for replicas in placed for each in replicas), brokers) <= 2


def test_spread_over_racks_comes_before_evenness():
    brokers = [broker(1, "a"), broker(2, "b"), broker(3, "b"), broker(4, "b")]
    for replicas in place(brokers, 30, 2, 0):
        assert 1 in replicas, "the only broker of its rack holds every partition"


def test_the_leaderships_of_a_broker_that_dies_fall_on_all_others():
    brokers = [broker(broker_id) for broker_id in range(6)]
    placed = place(brokers, 300, 3, 5)
    heirs = Counter(replicas[1] for replicas in placed if replicas[0] == 0)
    assert set(heirs) == {1, 2, 3, 4, 5}
    assert max(heirs.values()) <= 3 * min(heirs.values())


def test_new_partitions_complete_those_that_are_there():
    brokers = [broker(broker_id) for broker_id in range(3)]
    existing = [(0, 1), (0, 2), (0, 1)]
    placed = place(brokers, 3, 2, 0, existing)
    held = Counter(each for replicas in (*existing, *placed) for each in replicas)
    assert set(held.values()) == {4}


def test_a_fenced_broker_never_leads_and_is_the_last_choice():
    brokers = [broker(1), broker(2, state=BrokerState.FENCED), broker(3, state=BrokerState.SHUTTING_DOWN)]
    assert set(place(brokers, 5, 1, 0)) == {(1,)}
    assert all(replicas[0] == 1 for replicas in place(brokers, 5, 3, 0))


@pytest.mark.parametrize(
    ("brokers", "factor", "message"),
    [
        ([], 1, "only 0 broker(s) are registered"),
        ([broker(1)], 2, "only 1 broker(s) are registered"),
        ([broker(1, state=BrokerState.FENCED)], 1, "All brokers are currently fenced"),
    ],
)
def test_too_few_brokers(brokers, factor, message):
    with pytest.raises(KafkaError) as caught:
        place(brokers, 1, factor, 0)
    assert caught.value.code is ErrorCode.INVALID_REPLICATION_FACTOR
    assert message in caught.value.message
