"""Records, commands and replies as CBOR: round trips, evolution, hostile bytes."""

from __future__ import annotations

from collections.abc import Callable
from typing import get_args
from uuid import UUID

import cbor2
import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import fields, replace

from kafkawire.errors import ErrorCode
from metadata.controller.commands import (
    COMMANDS,
    AlterConfigsResource,
    AlterPartition,
    AlterPartitionItem,
    AlterPartitionResult,
    Command,
    CreateTopicResult,
    CreateTopics,
    IsrMember,
    NewTopic,
)
from metadata.image import EMPTY_IMAGE
from metadata.records import RECORD_TYPES, NoOpRecord, PartitionChangeRecord, Record, TopicRecord
from metadata.serde import (
    MAX_RECORD_BYTES,
    MalformedError,
    UnknownRecordError,
    decode_record,
    encode_record,
    from_wire,
    load_cbor,
    to_wire,
)
from metadata.snapshot import decode_snapshot, encode_snapshot


def whole(cls: type) -> st.SearchStrategy:
    """Any value of a struct, those fields that have a default included, and so inside of it."""
    return st.builds(cls, **{field.name: ... for field in fields(cls)})


for nested in (AlterConfigsResource, AlterPartitionItem, AlterPartitionResult, CreateTopicResult, NewTopic):
    st.register_type_strategy(nested, whole(nested))
st.register_type_strategy(float, st.floats(allow_nan=False))  # which is not equal to itself

records = st.one_of([whole(cls) for cls in RECORD_TYPES.values()])
wire_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False)
    | st.text()
    | st.binary(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8) | st.integers(), inner, max_size=4)
    ),
    max_leaves=12,
)


def complaint(decode: Callable[[bytes], object], data: bytes) -> str | None:
    """The message of the one error that decoding may raise, None if it raises none."""
    try:
        decode(data)
    except MalformedError as error:
        return error.message
    return None


@given(records)
def test_a_record_survives_its_bytes(record: Record):
    assert decode_record(encode_record(record)) == record


@given(st.one_of([whole(cls) for spec in COMMANDS.values() for cls in (spec.command, spec.reply)]))
def test_commands_and_replies_survive_the_wire(value):
    assert from_wire(type(value), cbor2.loads(cbor2.dumps(to_wire(value)))) == value


def test_every_record_has_a_number_and_every_command_a_name():
    assert set(RECORD_TYPES.values()) == set(get_args(Record))
    unsent = {"BrokerConnected", "BrokerDisconnected", "Tick"}
    assert {cls.__name__ for cls in get_args(Command)} == set(COMMANDS) | unsent


def test_the_bytes_of_a_record_are_stable():
    """A record that was written must be read for ever: this is one, as the first release wrote it."""
    record = PartitionChangeRecord(3, UUID(int=7), isr=(1, 2), leader=1)
    assert cbor2.loads(encode_record(record)) == [
        5,
        0,
        {"partition_id": 3, "topic_id": UUID(int=7).bytes, "isr": [1, 2], "leader": 1},
    ]
    assert {number: cls.__name__ for number, cls in RECORD_TYPES.items()} == {
        0: "RegisterBrokerRecord",
        1: "UnregisterBrokerRecord",
        2: "TopicRecord",
        3: "PartitionRecord",
        4: "ConfigRecord",
        5: "PartitionChangeRecord",
        9: "RemoveTopicRecord",
        11: "UserScramCredentialRecord",
        12: "FeatureLevelRecord",
        14: "ClientQuotaRecord",
        15: "ProducerIdsRecord",
        17: "BrokerRegistrationChangeRecord",
        20: "NoOpRecord",
        22: "RemoveUserScramCredentialRecord",
    }


@given(records, st.dictionaries(st.text(min_size=1), wire_values, max_size=3))
def test_unknown_fields_are_ignored(record: Record, extra):
    number, version, body = cbor2.loads(encode_record(record))
    assert (
        decode_record(cbor2.dumps([number, version, {**{f"x-{key}": extra[key] for key in extra}, **body}]))
        == record
    )


@pytest.mark.parametrize("number", [-1, 6, 7, 99, 2**70])
def test_unknown_types_are_refused(number):
    with pytest.raises(UnknownRecordError) as caught:
        decode_record(cbor2.dumps([number, 0, {}]))
    assert caught.value.code is ErrorCode.UNSUPPORTED_VERSION
    assert str(number) in caught.value.message


def test_a_later_version_is_refused():
    with pytest.raises(UnknownRecordError, match="version 1 of NoOpRecord"):
        decode_record(cbor2.dumps([20, 1, {}]))
    assert decode_record(cbor2.dumps([20, 0, {}])) == NoOpRecord()


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (None, "an array"),
        ([2, 0], "an array"),
        (["2", 0, {}], "integers"),
        ([True, 0, {}], "integers"),
        ([2, 0, []], "map of TopicRecord"),
        ([2, 0, {"name": "t"}], "TopicRecord lacks topic_id"),
        ([2, 0, {"name": 5, "topic_id": bytes(16)}], "TopicRecord.name: expected str, got int"),
        ([2, 0, {"name": None, "topic_id": bytes(16)}], "TopicRecord.name: expected str"),
        ([2, 0, {"name": "t", "topic_id": bytes(15)}], "TopicRecord.topic_id: expected 16 bytes"),
        ([5, 0, {"partition_id": True, "topic_id": bytes(16)}], "expected int, got bool"),
        ([5, 0, {"partition_id": 0, "topic_id": bytes(16), "isr": 5}], "expected array"),
        ([5, 0, {"partition_id": 0, "topic_id": bytes(16), "isr": ["1"]}], "expected int"),
        (
            [5, 0, {"partition_id": 0, "topic_id": bytes(16), "leader_recovery_state": 7}],
            "LeaderRecoveryState",
        ),
        (
            [5, 0, {"partition_id": 0, "topic_id": bytes(16), "leader_recovery_state": []}],
            "LeaderRecoveryState",
        ),
    ],
)
def test_what_is_wrong_is_named(value, message):
    with pytest.raises(MalformedError) as caught:
        decode_record(cbor2.dumps(value))
    assert message in caught.value.message


@given(
    st.binary(max_size=200)
    | wire_values.map(cbor2.dumps)
    | wire_values.map(lambda each: cbor2.dumps([5, 0, each]))
)
def test_hostile_bytes_give_a_clear_error_and_nothing_else(data):
    for decode in (decode_record, decode_snapshot, lambda each: from_wire(CreateTopics, load_cbor(each))):
        assert complaint(decode, data) != ""


@given(records, st.data())
def test_damaged_records_give_a_clear_error_and_nothing_else(record: Record, data: st.DataObject):
    encoded = bytearray(encode_record(record))
    position = data.draw(st.integers(0, len(encoded) - 1))
    encoded[position] ^= data.draw(st.integers(1, 255))
    assert complaint(decode_record, bytes(encoded)) != ""


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x81" * 100_000,
        b"\x9b\x7f\xff\xff\xff\xff\xff\xff\xff",
        b"\x5b\x00\x00\x00\xff\xff\xff\xff\xff",
        b"\xd8\x1c\x83\xd8\x1d\x00\x00\xa0",
        b"\xc0\x60",
        b"\xa1\xd9\x01\x02\x80\x01",
    ],
    ids=["empty", "deep", "long array", "long bytes", "cycle", "bad date", "unhashable key"],
)
def test_known_attacks_on_decoders(data):
    for decode in (decode_record, decode_snapshot):
        with pytest.raises(MalformedError):
            decode(data)


def test_the_longest_record():
    with pytest.raises(MalformedError, match="exceeds"):
        decode_record(bytes(MAX_RECORD_BYTES + 1))
    name = "x" * (MAX_RECORD_BYTES - 100)
    assert decode_record(encode_record(TopicRecord(name, UUID(int=1)))) == TopicRecord(name, UUID(int=1))


def test_a_command_of_a_later_release_is_read_without_its_new_fields():
    item = AlterPartitionItem(UUID(int=1), 0, 1, 2, (IsrMember(1, 5),))
    command = AlterPartition(1, 5, (item,))
    wire = to_wire(command)
    wire["partitions"][0]["new_in_five_years"] = {"a": 1}
    assert from_wire(AlterPartition, wire) == command


def test_a_command_of_an_earlier_release_gets_defaults():
    assert from_wire(CreateTopics, {"topics": [{"name": "t"}]}) == CreateTopics((NewTopic("t"),))


def test_a_type_without_a_form_is_a_bug_and_says_so():
    class Odd(msgspec.Struct, frozen=True):
        value: complex

    with pytest.raises(TypeError, match="complex"):
        to_wire(Odd(1j))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 2}, "version 2"),
        ({"records": 5}, "list of records"),
        ({"offset": -2}, "-2"),
        ({"offset": "1"}, "'1'"),
        ({"records": [[9, 0, {"topic_id": bytes(16)}]]}, "contradict"),
    ],
)
def test_a_snapshot_that_is_none_is_refused(change, message):
    body = cbor2.loads(encode_snapshot(replace(EMPTY_IMAGE, offset=5)))
    with pytest.raises(MalformedError) as caught:
        decode_snapshot(cbor2.dumps({**body, **change}))
    assert message in caught.value.message
