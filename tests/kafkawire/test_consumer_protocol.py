"""Subscriptions and assignments inside JoinGroup and SyncGroup, as consumers of all kinds write them."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkawire.consumer_protocol import (
    MalformedProtocolError,
    Subscription,
    read_assignment,
    read_subscription,
    write_assignment,
    write_subscription,
)

NAMES = st.text(min_size=1, max_size=6)
OWNED = st.lists(
    st.tuples(NAMES, st.lists(st.integers(0, 2**31 - 1), max_size=3).map(tuple)), max_size=3
).map(tuple)


@given(
    version=st.integers(0, 3),
    topics=st.lists(NAMES, max_size=3).map(tuple),
    owned=OWNED,
    rack=st.one_of(st.none(), NAMES),
    generation=st.integers(-1, 2**31 - 1),
)
def test_subscriptions_are_read_back(
    version: int,
    topics: tuple[str, ...],
    owned: tuple[tuple[str, tuple[int, ...]], ...],
    rack: str | None,
    generation: int,
) -> None:
    read = read_subscription(write_subscription(Subscription(version, topics, owned, rack, generation)))
    assert (read.version, read.topics) == (version, topics)
    assert read.owned == (owned if version >= 1 else ())
    assert read.generation == (generation if version >= 2 else -1)
    assert read.rack_id == (rack if version >= 3 else None)


@given(owned=OWNED, version=st.integers(0, 9))
def test_assignments_are_read_back(owned: tuple[tuple[str, tuple[int, ...]], ...], version: int) -> None:
    assert read_assignment(write_assignment(owned, version)).owned == owned


def test_the_bytes_are_those_of_other_clients() -> None:
    topic = struct.pack(">h", 1) + b"t"
    count, nothing = struct.pack(">i", 1), struct.pack(">i", -1)
    subscription = struct.pack(">h", 3) + count + topic + nothing + struct.pack(">ii", 0, -1) + b"\xff\xff"
    assert write_subscription(Subscription(3, ("t",))) == subscription
    assignment = struct.pack(">h", 1) + count + topic + struct.pack(">iii", 2, 0, 5) + nothing
    assert write_assignment((("t", (0, 5)),), 1) == assignment


@pytest.mark.parametrize("version", range(4))
def test_what_is_cut_off_is_refused(version: int) -> None:
    full = write_subscription(Subscription(version, ("t",), (("t", (1,)),), "r", 5))
    for end in range(len(full)):
        with pytest.raises(MalformedProtocolError):
            read_subscription(full[:end])
