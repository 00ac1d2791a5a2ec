"""Who of a group reads what."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kraft.client.assignor import Subscriber, assign_ranges


def test_each_topic_is_cut_into_runs_and_the_first_members_have_one_more() -> None:
    members = [Subscriber(name, None, ("x", "y")) for name in ("c", "a", "b")]
    assert assign_ranges(members, {"x": 7, "y": 2, "unwanted": 3}) == {
        "a": {"x": [0, 1, 2], "y": [0]},
        "b": {"x": [3, 4], "y": [1]},
        "c": {"x": [5, 6]},
    }


def test_static_members_keep_their_places() -> None:
    before = [Subscriber("x", "1", ("t",)), Subscriber("y", "2", ("t",)), Subscriber("a", None, ("t",))]
    after = [member._replace(member_id=f"new-{member.member_id}") for member in before]
    for members, prefix in ((before, ""), (after, "new-")):
        assigned = assign_ranges(members, {"t": 3})
        assert [assigned[f"{prefix}{name}"]["t"] for name in ("x", "y", "a")] == [[0], [1], [2]]


@given(
    members=st.lists(
        st.tuples(st.text(min_size=1, max_size=3), st.frozensets(st.sampled_from("abc"))),
        unique_by=lambda member: member[0],
    ),
    partitions=st.dictionaries(st.sampled_from("abcd"), st.integers(0, 9)),
)
def test_every_partition_that_anybody_wants_has_one_reader_who_wants_it(
    members: list[tuple[str, frozenset[str]]], partitions: dict[str, int]
) -> None:
    subscribers = [Subscriber(name, None, tuple(topics)) for name, topics in members]
    assigned = assign_ranges(subscribers, partitions)
    assert assigned.keys() == {name for name, _ in members}
    for topic, count in partitions.items():
        readers = {name for name, topics in members if topic in topics}
        shares = {name: assigned[name].get(topic, []) for name in assigned}
        assert sorted(index for share in shares.values() for index in share) == (
            list(range(count)) if readers else []
        )
        assert all(name in readers for name, share in shares.items() if share)
        if readers:
            sizes = [len(shares[name]) for name in readers]
            assert max(sizes) - min(sizes) <= 1
