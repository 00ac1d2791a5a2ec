"""Requests and responses as clients send and read them: by hand what is frequent, by `messages` the rest.

The tables say for which APIs the values are those of the modules beside this one; for all others they are the
classes that `messages.request_class` and `messages.response_class` give.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any

from kafkawire import messages
from kafkawire.apis import ApiKey
from kafkawire.client_versions import decode_versions_response, encode_versions_request
from kafkawire.fetch_client import decode_fetch_response, encode_fetch_request
from kafkawire.group_client import (
    decode_heartbeat_response,
    decode_offset_commit_response,
    encode_heartbeat_request,
    encode_offset_commit_request,
)
from kafkawire.metadata_client import decode_metadata_response, encode_metadata_request
from kafkawire.produce_client import decode_produce_response, encode_produce_request
from kafkawire.transaction_client import (
    decode_end_txn_response,
    decode_txn_offsets_response,
    encode_end_txn_request,
    encode_txn_offsets_request,
)

_ENCODERS: Mapping[int, Callable[[int, int, Any, str | None], bytes]] = MappingProxyType(
    {
        ApiKey.PRODUCE: encode_produce_request,
        ApiKey.FETCH: encode_fetch_request,
        ApiKey.METADATA: encode_metadata_request,
        ApiKey.OFFSET_COMMIT: encode_offset_commit_request,
        ApiKey.HEARTBEAT: encode_heartbeat_request,
        ApiKey.API_VERSIONS: encode_versions_request,
        ApiKey.END_TXN: encode_end_txn_request,
        ApiKey.TXN_OFFSET_COMMIT: encode_txn_offsets_request,
    }
)
_DECODERS: Mapping[int, Callable[[int, memoryview], Any]] = MappingProxyType(
    {
        ApiKey.PRODUCE: decode_produce_response,
        ApiKey.FETCH: decode_fetch_response,
        ApiKey.METADATA: decode_metadata_response,
        ApiKey.OFFSET_COMMIT: decode_offset_commit_response,
        ApiKey.HEARTBEAT: decode_heartbeat_response,
        ApiKey.API_VERSIONS: decode_versions_response,
        ApiKey.END_TXN: decode_end_txn_response,
        ApiKey.TXN_OFFSET_COMMIT: decode_txn_offsets_response,
    }
)


def encode_client_request(
    key: int, version: int, correlation_id: int, request: Any, client_id: str | None
) -> bytes:
    """The whole frame."""
    encode = _ENCODERS.get(key)
    if encode is None:
        return messages.encode_request(key, version, correlation_id, request, client_id)
    return encode(version, correlation_id, request, client_id)


def decode_client_response(key: int, version: int, payload: memoryview) -> Any:
    """The response in a frame's payload, which may be overwritten afterwards: nothing points into it.

    Raises KafkaError(INVALID_REQUEST) for malformed bytes.
    """
    decode = _DECODERS.get(key)
    if decode is None:
        return messages.decode_response(key, version, payload)
    return decode(version, memoryview(bytes(payload)))
