"""Every API of the table, in every version, against kio; and what malformed bodies do."""

from __future__ import annotations

import dataclasses
import struct
import subprocess
import sys
import tracemalloc
import uuid
from datetime import datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kafkawire import messages
from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode, KafkaError

EVERY_VERSION = [
    pytest.param(key, version, id=f"{api.name}-{version}")
    for key, api in APIS.items()
    for version in range(api.min_version, api.max_version + 1)
]

# kafka-python gives these another name and type; their bytes are compared all the same.
RENAMED = {"authorized_operations", "cluster_authorized_operations", "topic_authorized_operations"}


def assert_same(theirs: Any, ours: Any) -> None:
    """Every field of kio's message has its value in ours."""
    for field in dataclasses.fields(theirs):
        if field.name in RENAMED:
            continue
        value = getattr(theirs, field.name)
        name = field.name if field.name in ours.fields else field.name + "_ms"
        assert name in ours.fields
        assert_same_value(value, getattr(ours, name))


def assert_same_value(theirs: Any, ours: Any) -> None:
    if isinstance(theirs, tuple):
        assert len(theirs) == len(ours)
        for one, other in zip(theirs, ours, strict=True):
            assert_same_value(one, other)
    elif dataclasses.is_dataclass(theirs):
        if ours is not None:  # a tagged struct that has its default stays away
            assert_same(theirs, ours)
    elif isinstance(theirs, timedelta):
        assert ours == round(theirs.total_seconds() * 1000)
    elif isinstance(theirs, datetime):
        assert ours == round(theirs.timestamp() * 1000)
    elif theirs == uuid.UUID(int=0):
        assert ours is None
    elif theirs is None:
        assert ours is None or ours == -1
    else:
        assert ours == theirs


@pytest.mark.parametrize(("key", "version"), EVERY_VERSION)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_request_reads_and_writes_as_in_kio(
    kio_oracle: Any, key: int, version: int, data: st.DataObject
) -> None:
    theirs = data.draw(kio_oracle.requests(key, version))
    body = kio_oracle.encode(theirs)
    ours = messages.decode_request(key, version, memoryview(body))
    if not (key == ApiKey.METADATA and version == 0):  # where an empty list means all topics
        assert_same(theirs, ours)
    frame = messages.encode_request(key, version, 77, ours, "client")
    flexible = APIS[key].is_flexible(version)
    header = struct.pack(">hhih6s", key, version, 77, 6, b"client") + (b"\x00" if flexible else b"")
    assert frame == struct.pack(">i", len(header) + len(body)) + header + body


@pytest.mark.parametrize(("key", "version"), EVERY_VERSION)
@settings(max_examples=10, deadline=None)
@given(data=st.data())
def test_response_reads_and_writes_as_in_kio(
    kio_oracle: Any, key: int, version: int, data: st.DataObject
) -> None:
    theirs = data.draw(kio_oracle.responses(key, version))
    if key == ApiKey.API_VERSIONS and theirs.error_code == ErrorCode.UNSUPPORTED_VERSION:
        return  # comes as version 0, whatever was asked
    body = kio_oracle.encode(theirs)
    tagged_header = APIS[key].is_flexible(version) and key != ApiKey.API_VERSIONS
    payload = struct.pack(">i", -5) + (b"\x00" if tagged_header else b"") + body
    ours = messages.decode_response(key, version, payload)
    assert_same(theirs, ours)
    assert messages.encode_response(key, version, -5, ours) == struct.pack(">i", len(payload)) + payload


def test_an_unknown_version_of_api_versions_is_answered_in_version_0() -> None:
    response_class = messages.response_class(ApiKey.API_VERSIONS)
    keys = [response_class.ApiVersion(api_key=18, min_version=0, max_version=3)]
    for code, version in ((ErrorCode.UNSUPPORTED_VERSION, 0), (ErrorCode.INVALID_REQUEST, 3)):
        response = response_class(error_code=code, api_keys=keys)
        frame = messages.encode_response(ApiKey.API_VERSIONS, version, 7, response)
        read = messages.decode_response(ApiKey.API_VERSIONS, 3, frame[4:])
        assert (read.error_code, len(read.api_keys)) == (code, 1)


def refusal(key: int, version: int, body: bytes) -> ErrorCode | None:
    try:
        messages.decode_request(key, version, body)
    except KafkaError as error:
        return error.code
    return None


@pytest.mark.parametrize(("key", "version"), EVERY_VERSION)
@settings(max_examples=8, deadline=None)
@given(data=st.data())
def test_malformed_request_is_an_invalid_request(
    kio_oracle: Any, mutations: Any, key: int, version: int, data: st.DataObject
) -> None:
    body = kio_oracle.encode(data.draw(kio_oracle.requests(key, version)))
    assert refusal(key, version, data.draw(mutations(body))) in (None, ErrorCode.INVALID_REQUEST)


@pytest.mark.parametrize(("key", "version"), EVERY_VERSION)
@settings(max_examples=3, deadline=None)
@given(data=st.data())
def test_request_cut_off_anywhere_is_refused(
    kio_oracle: Any, key: int, version: int, data: st.DataObject
) -> None:
    body = kio_oracle.encode(data.draw(kio_oracle.requests(key, version)))
    for end in range(len(body)):
        with pytest.raises(KafkaError) as caught:
            messages.decode_request(key, version, body[:end])
        assert caught.value.code is ErrorCode.INVALID_REQUEST


@pytest.mark.parametrize(("key", "version"), EVERY_VERSION)
def test_flexible_versions_are_those_of_the_schema(kio_oracle: Any, key: int, version: int) -> None:
    api = APIS[key]
    request, response = kio_oracle.request_class(key, version), kio_oracle.response_class(key, version)
    assert request.__flexible__ is response.__flexible__ is api.is_flexible(version)
    assert request.__name__ == api.name + "Request"


@settings(max_examples=20, deadline=None)
@given(tail=st.binary(max_size=20))
def test_bytes_after_a_request_are_ignored(tail: bytes) -> None:
    # librdkafka sends three bytes too many in a Metadata request for all topics.
    request = messages.decode_request(ApiKey.METADATA, 9, b"\x00\x01\x00\x00\x00" + tail)
    assert request.topics is None
    assert request.allow_auto_topic_creation


HOSTILE = [
    pytest.param(ApiKey.METADATA, 1, b"\x7f\xff\xff\xff", id="count of two billion"),
    pytest.param(ApiKey.METADATA, 1, b"\x00\x01\x86\xa0", id="count larger than the body"),
    pytest.param(ApiKey.METADATA, 1, b"\xff\xff\xff\xfe", id="count of minus two"),
    pytest.param(ApiKey.METADATA, 1, b"\x00\x00\x00\x01\xff\xff", id="null name"),
    pytest.param(ApiKey.METADATA, 1, b"\x00\x00\x00\x01\x00\x02\xc3\x28", id="not UTF-8"),
    pytest.param(ApiKey.METADATA, 9, b"\xff\xff\xff\xff\x0f", id="compact count of four billion"),
    pytest.param(ApiKey.METADATA, 9, b"\x80" * 500_000, id="endless varint"),
    pytest.param(ApiKey.METADATA, 9, b"\x01\x00\x00\x00\xff\xff\xff\xff\x0f", id="four billion tags"),
    pytest.param(ApiKey.METADATA, 9, b"\x01\x00\x00\x00\x01\x05\xff\xff\xff\xff\x0f", id="tag of 4 GB"),
    pytest.param(ApiKey.METADATA, 4, struct.pack(">i", 300_000) + b"\x00" * 600_001, id="too many items"),
    pytest.param(
        ApiKey.METADATA,
        9,
        b"\xa1\x8d\x06" + b"\x02a\x01\x00\x00" * 100_000 + b"\x00\x00\x00\x00",
        id="a tagged section in each of 100,000 items",
    ),
    pytest.param(ApiKey.CREATE_TOPICS, 7, b"\x02\xff\xff\xff\xff\x0f" + b"x" * 30, id="text of 4 GB"),
    pytest.param(ApiKey.API_VERSIONS, 3, b"", id="empty"),
]


@pytest.mark.parametrize(("key", "version", "body"), HOSTILE)
def test_hostile_body_costs_little(key: int, version: int, body: bytes) -> None:
    messages.request_class(key)
    tracemalloc.start()
    try:
        with pytest.raises(KafkaError) as caught:
            messages.decode_request(key, version, body)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert caught.value.code is ErrorCode.INVALID_REQUEST
    assert peak < 1_000_000


@pytest.mark.parametrize(
    ("key", "version"),
    [(ApiKey.PRODUCE, 2), (ApiKey.FETCH, 19), (ApiKey.METADATA, 14), (ApiKey.METADATA, -1), (9999, 0)],
)
def test_version_outside_the_table_is_unsupported(key: int, version: int) -> None:
    with pytest.raises(KafkaError) as caught:
        messages.decode_request(key, version, b"\x00" * 100)
    assert caught.value.code is ErrorCode.UNSUPPORTED_VERSION


def test_metadata_for_all_topics_is_none_in_every_version() -> None:
    assert messages.decode_request(ApiKey.METADATA, 0, struct.pack(">i", 0)).topics is None
    assert messages.decode_request(ApiKey.METADATA, 1, struct.pack(">i", -1)).topics is None
    assert messages.decode_request(ApiKey.METADATA, 1, struct.pack(">i", 0)).topics == []


@pytest.mark.parametrize("version", range(1, 7))
def test_topics_to_delete_stand_in_one_place(version: int) -> None:
    request_class = messages.request_class(ApiKey.DELETE_TOPICS)
    request = request_class(topics=[request_class.DeleteTopicState(name="a")], timeout_ms=5)
    frame = messages.encode_request(ApiKey.DELETE_TOPICS, version, 1, request)
    body = frame[14 + APIS[ApiKey.DELETE_TOPICS].is_flexible(version) :]
    decoded = messages.decode_request(ApiKey.DELETE_TOPICS, version, body)
    assert [(topic.name, topic.topic_id) for topic in decoded.topics] == [("a", None)]


@pytest.mark.parametrize("version", range(7))
def test_coordinator_keys_and_answers_stand_in_one_place(version: int) -> None:
    key = ApiKey.FIND_COORDINATOR
    request = messages.request_class(key)(coordinator_keys=["group"], key_type=0)
    frame = messages.encode_request(key, version, 1, request)
    body = frame[14 + APIS[key].is_flexible(version) :]
    assert messages.decode_request(key, version, body).coordinator_keys == ["group"]
    response_class = messages.response_class(key)
    found = response_class.Coordinator(key="group", node_id=3, host="h", port=9, error_code=ErrorCode.NONE)
    frame = messages.encode_response(key, version, 1, response_class(coordinators=[found]))
    (answer,) = messages.decode_response(key, version, frame[4:]).coordinators
    assert (answer.node_id, answer.host, answer.port, answer.error_code) == (3, "h", 9, 0)


def test_refused_version_of_api_versions_is_readable_to_every_client() -> None:
    # KIP-511: version 0, with the range that would have been accepted.
    response_class = messages.response_class(ApiKey.API_VERSIONS)
    row = response_class.ApiVersion(api_key=18, min_version=0, max_version=3)
    response = response_class(error_code=ErrorCode.UNSUPPORTED_VERSION, api_keys=[row])
    frame = messages.encode_response(ApiKey.API_VERSIONS, 0, 9, response)
    assert frame == struct.pack(">iihihhh", 16, 9, 35, 1, 18, 0, 3)
    assert messages.decode_response(ApiKey.API_VERSIONS, 3, frame[4:]).api_keys[0].max_version == 3


def test_api_versions_never_tags_its_response_header() -> None:
    response = messages.response_class(ApiKey.API_VERSIONS)()
    frame = messages.encode_response(ApiKey.API_VERSIONS, 3, 9, response)
    assert frame == struct.pack(">iihBiB", 12, 9, 0, 1, 0, 0)


IMPORTS = """
import sys
from kafkawire import messages
messages.request_class(3)
assert "kafka.protocol.metadata.metadata" in sys.modules
for unwanted in ("kafka.admin", "kafka.consumer", "kafka.net", "kafka.protocol.metadata.find_coordinator"):
    assert unwanted not in sys.modules, unwanted
import kafka
assert kafka.KafkaConsumer.__name__ == "KafkaConsumer"
from kafka.protocol.metadata import FindCoordinatorRequest
assert messages.request_class(10) is FindCoordinatorRequest
assert kafka.errors.KafkaError is sys.modules["kafka.errors"].KafkaError
"""


def test_one_api_imports_one_module_and_the_client_stays_importable() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORTS], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
