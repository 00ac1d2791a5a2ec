"""What holds for every state of a leader and of those who wait for it."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from kafkawire.errors import ErrorCode
from replication.isr import CommittedIsr, IsrState, PendingExpand, PendingShrink
from replication.leader import Leader
from replication.waiting import Acknowledgements

LAG = 10.0
REPLICAS = (1, 2, 3, 4)
EPOCHS = {2: 20, 3: 30, 4: 40}

offsets = st.integers(-1, 20)
times = st.floats(0.0, 100.0)


@st.composite
def isr_states(draw: Any) -> IsrState:
    committed = CommittedIsr(frozenset({1}) | draw(st.frozensets(st.sampled_from(REPLICAS))), 5)
    others = sorted(committed.members - {1})
    outside = sorted(set(REPLICAS) - committed.members)
    kinds = [committed]
    if outside:
        kinds.append(PendingExpand(committed, draw(st.sampled_from(outside)), 7))
    if others:
        kinds.append(PendingShrink(committed, frozenset(draw(st.sets(st.sampled_from(others), min_size=1)))))
    return draw(st.sampled_from(kinds))


@st.composite
def leaders(draw: Any) -> Leader:
    """A leader at 50 s whose log ends at 20, followed in every way there is."""
    leader = Leader(1, 3, draw(st.integers(0, 20)), CommittedIsr(frozenset({1}), 5), EPOCHS.get)
    leader.assign(REPLICAS, 0.0)
    leader.isr = draw(isr_states())
    for broker, follower in leader.followers.items():
        for offset in sorted(draw(st.lists(offsets.filter(lambda offset: offset >= 0), max_size=3))):
            follower.fetched(offset, draw(st.sampled_from((EPOCHS[broker], 1))), 20, draw(times))
    return leader


@given(leaders(), times)
def test_nothing_commits_that_a_member_of_the_maximal_isr_lacks(leader: Leader, now: float) -> None:
    """Row 5 (KIP-497)."""
    committed = leader.committed_end(20, now, LAG)
    for broker in leader.isr.maximal - {1}:
        assert committed <= leader.followers[broker].end_offset
    assert committed <= 20


@given(leaders(), times, st.integers(0, 20))
def test_only_who_has_everything_is_proposed(leader: Leader, now: float, high_watermark: int) -> None:
    before = leader.isr
    for broker, follower in leader.followers.items():
        if leader.proposes_to_add(broker, high_watermark, now):
            assert follower.end_offset >= max(high_watermark, leader.start_offset)
            assert leader.isr == PendingExpand(before, broker, EPOCHS[broker])
            assert leader.isr.maximal == leader.isr.proposed == before.maximal | {broker}
            return
    assert leader.isr == before


@given(leaders(), times)
def test_only_who_is_behind_is_to_go_and_never_the_leader(leader: Leader, now: float) -> None:
    before = leader.isr
    if leader.proposes_to_remove(20, now, LAG):
        assert isinstance(leader.isr, PendingShrink)
        assert leader.isr.maximal == before.maximal
        assert 1 in leader.isr.proposed < before.maximal
        for broker in leader.isr.removing:
            assert leader.followers[broker].end_offset < 20
            assert now - leader.followers[broker].caught_up_at > LAG
    else:
        assert leader.isr == before


@given(leaders(), st.integers(0, 1000))
def test_a_proposal_names_every_member_once(leader: Leader, epoch: int) -> None:
    if isinstance(leader.isr, CommittedIsr):
        return
    members = leader.members_with_epochs(leader.isr, epoch)
    assert [broker for broker, _ in members] == sorted(leader.isr.proposed)
    assert dict(members)[1] == epoch


class Told:
    def __init__(self, offset: int, deadline: float) -> None:
        self.offset = offset
        self.deadline = deadline
        self.errors: list[ErrorCode] = []

    def acknowledged(self, partition: Any, error: ErrorCode) -> None:
        self.errors.append(error)


steps = st.lists(
    st.tuples(st.just("add"), st.integers(1, 5), st.floats(0, 10))
    | st.tuples(st.just("release"), st.integers(0, 5))
    | st.tuples(st.just("expire"), st.floats(0, 10))
    | st.tuples(st.just("fail")),
    max_size=30,
)


@given(steps)
def test_each_waiter_is_told_once_and_for_the_right_reason(taken: list[Any]) -> None:
    waits = Acknowledgements()
    waiters: list[Told] = []
    end = 0
    partition: Any = None
    for step in taken:
        open_before = [waiter for waiter in waiters if not waiter.errors]
        match step:
            case ("add", growth, deadline):
                end += growth
                waiters.append(Told(end, deadline))
                waits.add(end, deadline, waiters[-1])
                continue
            case ("release", back):
                high_watermark = end - back
                waits.release(partition, high_watermark, ErrorCode.NONE)
                expected = {
                    waiter: ErrorCode.NONE for waiter in open_before if waiter.offset <= high_watermark
                }
            case ("expire", now):
                waits.expire(partition, now)
                expected = {
                    waiter: ErrorCode.REQUEST_TIMED_OUT for waiter in open_before if waiter.deadline <= now
                }
            case _:
                waits.fail(partition, ErrorCode.NOT_LEADER_OR_FOLLOWER)
                expected = dict.fromkeys(open_before, ErrorCode.NOT_LEADER_OR_FOLLOWER)
        for waiter in open_before:
            assert waiter.errors == ([expected[waiter]] if waiter in expected else [])
    assert len(waits) == sum(not waiter.errors for waiter in waiters)
    assert all(len(waiter.errors) <= 1 for waiter in waiters)
