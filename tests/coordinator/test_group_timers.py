"""Deadlines that move, against a dictionary."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kraft.coordinator.group.timers import Timers

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("put"), st.integers(0, 5), st.integers(1, 50)),
        st.tuples(st.just("drop"), st.integers(0, 5), st.just(0)),
        st.tuples(st.just("due"), st.just(0), st.integers(0, 20)),
    ),
    max_size=300,
)


@given(STEPS)
def test_each_key_is_due_once_and_at_its_time(steps: list[tuple[str, int, int]]) -> None:
    timers: Timers[int] = Timers()
    model: dict[int, float] = {}
    now = 0.0
    for what, key, amount in steps:
        if what == "put":
            timers.put(key, now + amount)
            model[key] = now + amount
        elif what == "drop":
            timers.drop(key)
            model.pop(key, None)
        else:
            now += amount
            due = sorted(each for each, at in model.items() if at <= now)
            assert sorted(timers.due(now)) == due
            model = {each: at for each, at in model.items() if at > now}
        assert len(timers) == len(model)
        assert timers.earliest <= min(model.values(), default=float("inf"))


def test_what_is_dropped_again_and_again_takes_no_room() -> None:
    timers: Timers[int] = Timers()
    for key in range(10_000):
        timers.put(key, 1000.0 + key)
        timers.drop(key)
    assert len(timers._heap) < 200
