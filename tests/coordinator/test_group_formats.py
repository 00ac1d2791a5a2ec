"""Records of `__consumer_offsets`, byte for byte and against damage."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.group.formats import (
    CommittedOffset,
    GroupKey,
    GroupValue,
    MemberValue,
    OffsetKey,
    OtherKey,
    decode_group,
    decode_key,
    decode_offset,
    encode_group,
    encode_group_key,
    encode_offset,
    encode_offset_key,
)

TEXT = st.text(max_size=40)
INT64 = st.integers(-(2**63), 2**63 - 1)
INT32 = st.integers(-(2**31), 2**31 - 1)


def test_the_key_of_an_offset() -> None:
    key = bytes.fromhex("0001000367727000017400000007")
    assert encode_offset_key("grp", "t", 7) == key
    assert decode_key(key) == OffsetKey("grp", "t", 7)
    assert decode_key(b"\x00\x00" + key[2:]) == OffsetKey("grp", "t", 7), "version 0 is the same"


def test_the_key_of_a_group() -> None:
    key = bytes.fromhex("00020003677270")
    assert encode_group_key("grp") == key
    assert decode_key(key) == GroupKey("grp")


def test_keys_of_other_kinds_are_told_by_their_version() -> None:
    assert decode_key(bytes.fromhex("0005ffff")) == OtherKey(5)


def test_a_committed_offset() -> None:
    value = bytes.fromhex("0003000000000000010200000009000268690000018bcfe56800")
    committed = CommittedOffset(0x102, 9, "hi", 1_700_000_000_000)
    assert encode_offset(committed) == value
    assert decode_offset(value) == committed


def test_a_committed_offset_with_a_retention_of_its_own() -> None:
    value = bytes.fromhex("0001000000000000010200000000018bcfe568000000018bcfe56801")
    committed = CommittedOffset(0x102, -1, "", 1_700_000_000_000, 1_700_000_000_001)
    assert encode_offset(committed) == value
    assert decode_offset(value) == committed


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("000000000000000000050001610000000000000009", CommittedOffset(5, -1, "a", 9)),
        ("000200000000000000050001610000000000000009", CommittedOffset(5, -1, "a", 9)),
        ("00040000000000000005000000020261000000000000000900", CommittedOffset(5, 2, "a", 9)),
    ],
)
def test_offsets_of_other_versions_are_read(value: str, expected: CommittedOffset) -> None:
    assert decode_offset(bytes.fromhex(value)) == expected


def test_a_group() -> None:
    value = bytes.fromhex(
        "0003"
        "0008"
        "636f6e73756d6572"  # consumer
        "00000002"
        "0005"
        "72616e6765"  # range
        "0002"
        "6d31"
        "0000018bcfe56800"
        "00000001"
        "0002"
        "6d31"
        "ffff"
        "0003"
        "617070"
        "0002"
        "2f68"
        "0000ea60"
        "00002710"
        "00000002"
        "0102"
        "00000001"
        "03"
    )
    member = MemberValue("m1", None, "app", "/h", 60_000, 10_000, b"\x01\x02", b"\x03")
    group = GroupValue("consumer", 2, "range", "m1", 1_700_000_000_000, (member,))
    assert encode_group(group) == value
    assert decode_group(value) == group


def test_a_group_of_the_first_version_lacks_what_came_later() -> None:
    value = bytes.fromhex("0000000000000001ffffffff0000000100016d000163000168000027100000000000000000")
    member = MemberValue("m", None, "c", "h", 10_000, 10_000, b"", b"")
    assert decode_group(value) == GroupValue("", 1, None, None, -1, (member,))


@given(st.builds(CommittedOffset, INT64, INT32, TEXT, INT64))
def test_offsets_come_back(committed: CommittedOffset) -> None:
    assert decode_offset(encode_offset(committed)) == committed


MEMBERS = st.builds(
    MemberValue,
    TEXT,
    st.none() | TEXT,
    TEXT,
    TEXT,
    st.integers(0, 2**31 - 1),
    INT32,
    st.binary(max_size=50),
    st.binary(max_size=50),
)
GROUPS = st.builds(
    GroupValue,
    TEXT,
    INT32,
    st.none() | TEXT,
    st.none() | TEXT,
    INT64,
    st.lists(MEMBERS, max_size=4).map(tuple),
)


@given(GROUPS)
def test_groups_come_back(group: GroupValue) -> None:
    assert decode_group(encode_group(group)) == group


@given(st.data())
def test_damage_is_noticed_and_nothing_else_is_raised(data: st.DataObject) -> None:
    encoded = data.draw(
        st.sampled_from([encode_offset_key("g", "t", 1), encode_offset(CommittedOffset(1, 1, "a", 1))])
    )
    cut = encoded[: data.draw(st.integers(0, len(encoded) - 1))]
    with pytest.raises(KafkaError) as caught:
        (decode_key if encoded[1] == 1 else decode_offset)(cut)
    assert caught.value.code is ErrorCode.CORRUPT_MESSAGE


@given(st.binary(max_size=200))
def test_anything_is_read_or_refused(garbage: bytes) -> None:
    refusals = []
    for decode in (decode_key, decode_offset, decode_group):
        try:
            decode(garbage)
        except KafkaError as error:
            refusals.append(error.code)
    assert set(refusals) <= {ErrorCode.CORRUPT_MESSAGE}
