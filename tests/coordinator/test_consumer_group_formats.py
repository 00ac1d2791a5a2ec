"""The records of KIP-848 groups, byte for byte as Kafka 4.2 writes them, and against random values."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kafkawire.errors import ErrorCode, KafkaError
from kraft.coordinator.group.commands import Protocol
from kraft.coordinator.group.consumer.formats import decode, encode
from kraft.coordinator.group.consumer.members import ClassicMember, Member, MemberState, Progress
from kraft.coordinator.group.consumer.records import (
    EpochChange,
    GroupEpoch,
    MemberChange,
    PartitionMetadataChange,
    ProgressChange,
    RegexChange,
    Resolved,
    TargetChange,
    TargetEpochChange,
)

A = bytes(range(16))
B = bytes(range(16, 32))
MEMBER = Member("m", "i", None, "c", "/h", ("t", "u"), None, 5, "uniform")

BYTES = [
    (EpochChange("g", GroupEpoch(7)), b"\0\x03\0\x01g", b"\0\0\0\0\0\x07\0"),
    (
        EpochChange("g", GroupEpoch(7, -2)),
        b"\0\x03\0\x01g",
        b"\0\0\0\0\0\x07\x01\0\x08\xff\xff\xff\xff\xff\xff\xff\xfe",
    ),
    (PartitionMetadataChange("g"), b"\0\x04\0\x01g", None),
    (
        MemberChange("g", "m", MEMBER),
        b"\0\x05\0\x01g\0\x01m",
        b"\0\0\x02i\0\x02c\x03/h\x03\x02t\x02u\0\0\0\0\x05\x08uniform\0",
    ),
    (
        MemberChange("g", "m", Member("m", regex="x", classic=ClassicMember(9, (Protocol("r", b"\x01"),)))),
        b"\0\x05\0\x01g\0\x01m",
        b"\0\0\0\0\x01\x01\x01\x02x\xff\xff\xff\xff\0\x01\0\x0c\x01\0\0\0\x09\x02\x02r\x02\x01\0\0",
    ),
    (TargetEpochChange("g", 7), b"\0\x06\0\x01g", b"\0\0\0\0\0\x07\0"),
    (
        TargetChange("g", "m", frozenset({(A, 1), (A, 0), (B, 2)})),
        b"\0\x07\0\x01g\0\x01m",
        b"\0\0\x03" + A + b"\x03\0\0\0\0\0\0\0\x01\0" + B + b"\x02\0\0\0\x02\0\0",
    ),
    (
        ProgressChange(
            "g",
            "m",
            Progress(7, 6, MemberState.UNREVOKED_PARTITIONS, frozenset({(A, 0)}), frozenset({(B, 1)})),
        ),
        b"\0\x08\0\x01g\0\x01m",
        b"\0\0\0\0\0\x07\0\0\0\x06\x01\x02" + A + b"\x02\0\0\0\0\0\x02" + B + b"\x02\0\0\0\x01\0\0",
    ),
    (
        RegexChange("g", "t.*", Resolved(("t",), 3, 4)),
        b"\0\x10\0\x01g\0\x03t.*",
        b"\0\0\x02\x02t\0\0\0\0\0\0\0\x03\0\0\0\0\0\0\0\x04\0",
    ),
]


@pytest.mark.parametrize(("change", "key", "value"), BYTES)
def test_records_have_kafkas_bytes(change: Any, key: bytes, value: bytes | None) -> None:
    assert encode(change) == (key, value)
    assert decode(key, value) == change


TEXT = st.text(max_size=5)
PARTITIONS = st.frozensets(st.tuples(st.sampled_from([A, B]), st.integers(0, 300)), max_size=6)
INT32 = st.integers(-(2**31), 2**31 - 1)
INT64 = st.integers(-(2**63), 2**63 - 1)
CLASSIC = st.builds(
    ClassicMember, INT32, st.lists(st.builds(Protocol, TEXT, st.binary(max_size=200))).map(tuple)
)
MEMBERS = st.builds(
    Member,
    st.just("m"),
    st.none() | TEXT,
    st.none() | TEXT,
    TEXT,
    TEXT,
    st.lists(TEXT, max_size=3).map(tuple),
    st.none() | st.text(min_size=1, max_size=5),
    INT32,
    st.none() | TEXT,
    st.none() | CLASSIC,
)
CHANGES = st.one_of(
    st.builds(EpochChange, TEXT, st.none() | st.builds(GroupEpoch, INT32, INT64)),
    st.builds(MemberChange, TEXT, st.just("m"), st.none() | MEMBERS),
    st.builds(TargetEpochChange, TEXT, st.none() | INT32),
    st.builds(TargetChange, TEXT, TEXT, st.none() | PARTITIONS),
    st.builds(
        ProgressChange,
        TEXT,
        TEXT,
        st.none() | st.builds(Progress, INT32, INT32, st.sampled_from(MemberState), PARTITIONS, PARTITIONS),
    ),
    st.builds(
        RegexChange,
        TEXT,
        TEXT,
        st.none() | st.builds(Resolved, st.lists(TEXT).map(tuple), INT64, INT64),
    ),
)


@given(CHANGES)
def test_what_is_written_is_read(change: Any) -> None:
    assert decode(*encode(change)) == change


@given(CHANGES, st.data())
def test_a_record_that_is_cut_off_is_corrupt(change: Any, data: st.DataObject) -> None:
    key, value = encode(change)
    if value is None:
        return
    end = data.draw(st.integers(0, len(value) - 1))
    with pytest.raises(KafkaError) as caught:
        decode(key, value[:end])
    assert caught.value.code is ErrorCode.CORRUPT_MESSAGE


def test_what_later_versions_say_is_skipped() -> None:
    # Kafka 4.3 writes when the group was made (KIP-1282), and the epoch of each assignment (KIP-1251).
    value = b"\0\0\0\0\0\x07\x02\0\x08\0\0\0\0\0\0\0\x05\x01\x08\0\0\0\0\0\0\0\x09"
    assert decode(b"\0\x03\0\x01g", value) == EpochChange("g", GroupEpoch(7, 5))
    partitions = b"\x02" + A + b"\x02\0\0\0\x01\x01\0\x05\x02\0\0\0\x07"
    value = b"\0\0\0\0\0\x07\0\0\0\x06\x4d" + partitions + b"\x01\0"
    expected = Progress(7, 6, MemberState.UNKNOWN, frozenset({(A, 1)}))
    assert decode(b"\0\x08\0\x01g\0\x01m", value) == ProgressChange("g", "m", expected)


def test_kinds_of_groups_that_are_not_known_are_skipped() -> None:
    assert decode(b"\0\x0a\0\x01g", b"\0\0") is None


def test_a_value_of_a_later_version_is_corrupt() -> None:
    with pytest.raises(KafkaError) as caught:
        decode(b"\0\x06\0\x01g", b"\0\x01\0\0\0\x07\0")
    assert caught.value.code is ErrorCode.CORRUPT_MESSAGE
