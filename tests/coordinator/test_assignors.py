"""The assignors `uniform` and `range`, in examples and against what has to hold of every assignment."""

from __future__ import annotations

from collections import Counter

from hypothesis import given, settings
from hypothesis import strategies as st

from kraft.coordinator.group.consumer.assignors import Subscriber, assign_range, assign_uniform
from kraft.coordinator.group.consumer.members import Assignment

T, U, V = (bytes([letter]) * 16 for letter in b"tuv")
TOPICS = {T: 4, U: 3, V: 7}


def members_of(subscriptions: dict[str, frozenset[bytes]], had: dict[str, Assignment]) -> list[Subscriber]:
    return [
        Subscriber(name, None, topics, had.get(name, frozenset())) for name, topics in subscriptions.items()
    ]


def moves(before: dict[str, Assignment], after: dict[str, Assignment]) -> int:
    """Partitions that a member of both has no more."""
    return sum(len(before[name] - after[name]) for name in before.keys() & after.keys())


SUBSCRIPTIONS = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.frozensets(st.sampled_from([T, U, V])),
    min_size=1,
)
HAD = st.dictionaries(
    st.sampled_from("abcdefgh"),
    st.frozensets(st.tuples(st.sampled_from([T, U, V, b"gone" * 4]), st.integers(0, 9)), max_size=8),
)


def check_whole(subscriptions: dict[str, frozenset[bytes]], found: dict[str, Assignment]) -> None:
    assert found.keys() == subscriptions.keys()
    given_out = Counter(each for assignment in found.values() for each in assignment)
    wanted = {topic for topics in subscriptions.values() for topic in topics}
    assert given_out == Counter({(topic, number) for topic in wanted for number in range(TOPICS[topic])})
    for name, assignment in found.items():
        assert {topic for topic, _ in assignment} <= subscriptions[name]


def counts_of(subscriptions: dict[str, frozenset[bytes]]) -> dict[bytes, int]:
    wanted = {topic for topics in subscriptions.values() for topic in topics}
    return {topic: count for topic, count in TOPICS.items() if topic in wanted}


@settings(max_examples=200)
@given(SUBSCRIPTIONS, HAD)
def test_uniform(subscriptions: dict[str, frozenset[bytes]], had: dict[str, Assignment]) -> None:
    counts = counts_of(subscriptions)
    found = assign_uniform(members_of(subscriptions, had), counts)
    check_whole(subscriptions, found)
    for giver, much in found.items():
        for taker, little in found.items():
            if len(much) - len(little) > 1:
                assert {topic for topic, _ in much}.isdisjoint(subscriptions[taker]), (giver, taker)
    # Nothing has changed, so nothing moves.
    assert assign_uniform(members_of(subscriptions, found), counts) == found


@settings(max_examples=100)
@given(st.sets(st.sampled_from("abcdefgh"), min_size=1), st.sets(st.sampled_from("abcdefgh"), min_size=1))
def test_uniform_moves_no_more_than_it_has_to(before: set[str], after: set[str]) -> None:
    topics = frozenset(TOPICS)
    first = assign_uniform(members_of(dict.fromkeys(before, topics), {}), TOPICS)
    second = assign_uniform(members_of(dict.fromkeys(after, topics), first), TOPICS)
    stay, share = before & after, sum(TOPICS.values()) // len(after)
    have = sorted((len(first[name]) for name in stay), reverse=True)
    extra = sum(TOPICS.values()) % len(after)
    least = sum(max(0, count - share - (position < extra)) for position, count in enumerate(have))
    assert moves(first, second) == least


@given(SUBSCRIPTIONS, HAD)
def test_range(subscriptions: dict[str, frozenset[bytes]], had: dict[str, Assignment]) -> None:
    found = assign_range(members_of(subscriptions, had), counts_of(subscriptions))
    check_whole(subscriptions, found)
    for assignment in found.values():
        for topic in TOPICS:
            numbers = sorted(number for each, number in assignment if each == topic)
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers))) if numbers else True


def test_range_cuts_topics_at_the_same_places_and_goes_by_instance() -> None:
    members = [
        Subscriber("x", "two", frozenset({T, U})),
        Subscriber("y", "one", frozenset({T, U})),
        Subscriber("a", None, frozenset({T, U})),
    ]
    found = assign_range(members, {T: 5, U: 5})
    assert found["y"] == {(T, 0), (T, 1), (U, 0), (U, 1)}
    assert found["x"] == {(T, 2), (T, 3), (U, 2), (U, 3)}
    assert found["a"] == {(T, 4), (U, 4)}
