"""Requests and responses as objects, for every API but the hot paths of Produce and Fetch.

The classes are those of kafka-python's `kafka.protocol`: one class per message for all versions, attributes
named like Kafka's fields in snake case, nested structs as attributes of the class
(`response_class(ApiKey.METADATA)` has
`.MetadataResponseTopic`), defaults from the schema for what a version lacks. Each API's module is imported
when it is first needed, and nothing else of kafka-python: about 1 ms each, and 20 ms for the first.

What is made good here, so that no handler has to know: - bodies are checked against the schema before they
are decoded (`schemas.check`); - Metadata 0 says "all topics" with an empty list, later versions with null:
always None here; - DeleteTopics before 6 names topics in `topic_names`: always `topics` here; -
FindCoordinator before 4 asks and answers about one key: always `coordinator_keys` and `coordinators` here;
- what versions of the group and admin APIs say in different places (`group_messages`, `admin_messages`);
- ApiVersions before 3 does not say what software asks: its name and version are None here;
- a zero uuid is None; authorized operations are a set of operation numbers, None where they were not asked
for.
"""

from __future__ import annotations

import sys
import warnings
from functools import cache
from importlib import import_module
from struct import Struct
from typing import Any

from kafkawire.admin_messages import complete_admin_request
from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode, KafkaError
from kafkawire.group_messages import complete_request, reduce_response
from kafkawire.headers import encode_request_header
from kafkawire.lazy_packages import defer
from kafkawire.primitives import invalid, skip_tags
from kafkawire.schemas import Structure, check, shape_of

Buffer = bytes | bytearray | memoryview

MAX_REQUEST_ITEMS = 200_000
"""Most array items of one request, all arrays together: an item costs up to a hundred times its bytes."""

MAX_RESPONSE_ITEMS = 5_000_000
"""The same for a response; a large cluster's Metadata has that many replica ids."""

_INT32 = Struct(">i")
_SIZE_AND_CORRELATION = Struct(">ii")
_UNSUPPORTED_VERSION = Struct(">h").pack(ErrorCode.UNSUPPORTED_VERSION)

_PACKAGES = (
    "kafka",
    "kafka.protocol",
    "kafka.protocol.admin",
    "kafka.protocol.consumer",
    "kafka.protocol.metadata",
    "kafka.protocol.producer",
)

_OWN = "kafkawire."
"""Where the modules are that define what kafka-python lacks."""

_MODULES = {
    ApiKey.PRODUCE: "producer.produce",
    ApiKey.FETCH: "consumer.fetch",
    ApiKey.LIST_OFFSETS: "consumer.offsets",
    ApiKey.METADATA: "metadata.metadata",
    ApiKey.OFFSET_COMMIT: "consumer.group",
    ApiKey.OFFSET_FETCH: "consumer.group",
    ApiKey.FIND_COORDINATOR: "metadata.find_coordinator",
    ApiKey.JOIN_GROUP: "consumer.group",
    ApiKey.HEARTBEAT: "consumer.group",
    ApiKey.LEAVE_GROUP: "consumer.group",
    ApiKey.SYNC_GROUP: "consumer.group",
    ApiKey.DESCRIBE_GROUPS: "admin.groups",
    ApiKey.LIST_GROUPS: "admin.groups",
    ApiKey.SASL_HANDSHAKE: "sasl",
    ApiKey.API_VERSIONS: "metadata.api_versions",
    ApiKey.CREATE_TOPICS: "admin.topics",
    ApiKey.DELETE_TOPICS: "admin.topics",
    ApiKey.DELETE_RECORDS: "admin.topics",
    ApiKey.INIT_PRODUCER_ID: "producer.transaction",
    ApiKey.OFFSET_FOR_LEADER_EPOCH: "consumer.offsets",
    ApiKey.ADD_PARTITIONS_TO_TXN: "producer.transaction",
    ApiKey.ADD_OFFSETS_TO_TXN: "producer.transaction",
    ApiKey.END_TXN: "producer.transaction",
    ApiKey.WRITE_TXN_MARKERS: "producer.transaction",
    ApiKey.TXN_OFFSET_COMMIT: "producer.transaction",
    ApiKey.DESCRIBE_ACLS: "admin.acl",
    ApiKey.CREATE_ACLS: "admin.acl",
    ApiKey.DELETE_ACLS: "admin.acl",
    ApiKey.DESCRIBE_CONFIGS: "admin.configs",
    ApiKey.ALTER_CONFIGS: "admin.configs",
    ApiKey.ALTER_REPLICA_LOG_DIRS: "admin.cluster",
    ApiKey.DESCRIBE_LOG_DIRS: "admin.cluster",
    ApiKey.SASL_AUTHENTICATE: "sasl",
    ApiKey.CREATE_PARTITIONS: "admin.topics",
    ApiKey.DELETE_GROUPS: "admin.groups",
    ApiKey.ELECT_LEADERS: "admin.topics",
    ApiKey.INCREMENTAL_ALTER_CONFIGS: "admin.configs",
    ApiKey.ALTER_PARTITION_REASSIGNMENTS: "admin.topics",
    ApiKey.LIST_PARTITION_REASSIGNMENTS: "admin.topics",
    ApiKey.OFFSET_DELETE: "consumer.group",
    ApiKey.DESCRIBE_CLIENT_QUOTAS: "admin.client_quotas",
    ApiKey.ALTER_CLIENT_QUOTAS: "admin.client_quotas",
    ApiKey.DESCRIBE_USER_SCRAM_CREDENTIALS: "admin.users",
    ApiKey.ALTER_USER_SCRAM_CREDENTIALS: "admin.users",
    ApiKey.DESCRIBE_QUORUM: "admin.cluster",
    ApiKey.UPDATE_FEATURES: "admin.cluster",
    ApiKey.DESCRIBE_CLUSTER: "admin.cluster",
    ApiKey.DESCRIBE_PRODUCERS: "admin.transactions",
    ApiKey.UNREGISTER_BROKER: _OWN + "broker_messages",
    ApiKey.DESCRIBE_TRANSACTIONS: "admin.transactions",
    ApiKey.LIST_TRANSACTIONS: "admin.transactions",
    ApiKey.CONSUMER_GROUP_HEARTBEAT: _OWN + "consumer_group_messages",
    ApiKey.CONSUMER_GROUP_DESCRIBE: _OWN + "consumer_group_messages",
    ApiKey.LIST_CONFIG_RESOURCES: "admin.configs",
    ApiKey.DESCRIBE_TOPIC_PARTITIONS: "admin.topics",
}


def request_class(key: int) -> Any:
    """The class of this API's requests; build one with keyword arguments. KeyError for an API not in the
    table.
    """
    return _message_class(key, "Request")


def response_class(key: int) -> Any:
    """The class of this API's responses; build one with keyword arguments. KeyError for an API not in the
    table.
    """
    return _message_class(key, "Response")


def decode_request(key: int, version: int, body: Buffer) -> Any:
    """The request whose body (what follows the header) starts at the front of `body`.

    Raises KafkaError and nothing else: UNSUPPORTED_VERSION for what the API table does not hold,
    INVALID_REQUEST for a body that is malformed or names more than MAX_REQUEST_ITEMS things. Bytes after
    the request are ignored, as in Kafka: librdkafka sends some.
    """
    api = APIS.get(key)
    if api is None or not api.accepts(version):
        raise KafkaError(ErrorCode.UNSUPPORTED_VERSION, f"API {key} version {version}")
    request = _decode(key, "Request", version, memoryview(body), MAX_REQUEST_ITEMS)
    if key == ApiKey.METADATA and version == 0 and not request.topics:
        request.topics = None
    elif key == ApiKey.DELETE_TOPICS and version < 6:
        state = request_class(key).DeleteTopicState
        request.topics = [state(name=name) for name in request.topic_names]
    elif key == ApiKey.FIND_COORDINATOR and version < 4:
        request.coordinator_keys = [request.key]
    elif key == ApiKey.API_VERSIONS and version < 3:
        request.client_software_name = request.client_software_version = None
    else:
        complete_request(key, version, request)
        complete_admin_request(key, version, request)
    return request


def encode_response(key: int, version: int, correlation_id: int, response: Any) -> bytes:
    """The whole frame: size, response header, body. ApiVersions always has a header without tags
    (KIP-511).
    """
    if key == ApiKey.FIND_COORDINATOR and version < 4 and response.coordinators:
        _answer_one_key(response)
    else:
        reduce_response(key, version, response)
    body: bytes = response.encode(version=version)
    if APIS[key].is_flexible(version) and key != ApiKey.API_VERSIONS:
        return _SIZE_AND_CORRELATION.pack(5 + len(body), correlation_id) + b"\x00" + body
    return _SIZE_AND_CORRELATION.pack(4 + len(body), correlation_id) + body


def encode_request(
    key: int, version: int, correlation_id: int, request: Any, client_id: str | None = None
) -> bytes:
    """The whole frame, as a client sends it."""
    if key == ApiKey.FIND_COORDINATOR and version < 4 and request.coordinator_keys:
        (request.key,) = request.coordinator_keys
    header = encode_request_header(key, version, correlation_id, client_id)
    body: bytes = request.encode(version=version)
    return _INT32.pack(len(header) + len(body)) + header + body


def decode_response(key: int, version: int, payload: Buffer) -> Any:
    """The response in a frame's payload (header and body, without the size), as a client reads it.

    The correlation id is the payload's first int32. Raises KafkaError(INVALID_REQUEST) for malformed bytes.
    """
    view = memoryview(payload)
    start = 4
    if APIS[key].is_flexible(version) and key != ApiKey.API_VERSIONS:
        try:
            start = skip_tags(view, start)
        except IndexError:
            raise invalid("the response header is cut off") from None
    body = view[start:]
    if key == ApiKey.API_VERSIONS and bytes(body[:2]) == _UNSUPPORTED_VERSION:
        version = 0  # this one error comes in the version that every client reads (KIP-511)
    response = _decode(key, "Response", version, body, MAX_RESPONSE_ITEMS)
    if key == ApiKey.FIND_COORDINATOR and version < 4:
        response.coordinators = [
            response_class(key).Coordinator(
                node_id=response.node_id,
                host=response.host,
                port=response.port,
                error_code=response.error_code,
                error_message=response.error_message,
            )
        ]
    return response


def _answer_one_key(response: Any) -> None:
    (found,) = response.coordinators
    response.error_code = found.error_code
    response.error_message = found.error_message
    response.node_id = found.node_id
    response.host = found.host
    response.port = found.port


def _decode(key: int, kind: str, version: int, body: memoryview, most_items: int) -> Any:
    check(_shape(key, kind, version), body, most_items=most_items)
    made = _message_class(key, kind)
    # Its own decoder reads every error of ApiVersions as version 0.
    decode = super(made, made).decode if key == ApiKey.API_VERSIONS else made.decode
    try:
        message = decode(body, version=version)
    except UnicodeDecodeError:
        raise invalid("a text is not UTF-8") from None
    except (ValueError, AssertionError):
        # A tagged struct with tags of its own; no schema has one.
        raise invalid("tagged fields where there are none") from None
    message._header = None  # or kafka-python cannot encode what it decoded
    return message


@cache
def _shape(key: int, kind: str, version: int) -> Structure:
    return shape_of(_message_class(key, kind).json, version)


@cache
def _message_class(key: int, kind: str) -> Any:
    module = _MODULES[ApiKey(key)]
    path = module if module.startswith(_OWN) else "kafka.protocol." + module
    if path not in sys.modules:
        for package in _PACKAGES:
            defer(package)
        with warnings.catch_warnings():
            # kafka-python reads its schemas with importlib.resources.read_text.
            warnings.simplefilter("ignore", DeprecationWarning)
            import_module(path)
    return getattr(sys.modules[path], APIS[key].name + kind)
