"""ApiVersions as a client uses it: the first exchange on every connection, so that it is kept cheap.

Source: `ApiVersionsRequest.json` and `ApiVersionsResponse.json` of Kafka 4.2. Version 3 is flexible, but its
response has a plain header, and a broker that does not know the version answers in version 0 (KIP-511);
features are in tagged fields (KIP-584).
"""

from __future__ import annotations

from functools import lru_cache
from struct import Struct
from struct import error as struct_error
from typing import NamedTuple

from kafkawire.apis import ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.headers import encode_request_header
from kafkawire.primitives import compact_string, invalid
from kafkawire.reader import Reader

_INT32 = Struct(">i")
_UNSUPPORTED = int(ErrorCode.UNSUPPORTED_VERSION)
_FINALIZED_FEATURES = 2


class ApiVersionsRequest(NamedTuple):
    """What software asks."""

    software_name: str
    software_version: str


class ApiVersionsResponse(NamedTuple):
    """`versions` are (API key, first version, last version); `features` are (name, level in force)."""

    error_code: int
    versions: tuple[tuple[int, int, int], ...]
    features: tuple[tuple[str, int], ...]


def encode_versions_request(
    version: int, correlation_id: int, request: ApiVersionsRequest, client_id: str | None = None
) -> bytes:
    """The whole frame, in version 0 to 4."""
    payload = encode_request_header(ApiKey.API_VERSIONS, version, correlation_id, client_id)
    if version >= 3:
        payload += compact_string(request.software_name) + compact_string(request.software_version) + b"\x00"
    return _INT32.pack(len(payload)) + payload


def decode_versions_response(version: int, payload: memoryview) -> ApiVersionsResponse:
    """The response in a frame's payload; raises KafkaError(INVALID_REQUEST) for malformed bytes."""
    return _decode(version, bytes(payload[4:]))


@lru_cache(64)
def _decode(version: int, body: bytes) -> ApiVersionsResponse:
    """All brokers of a cluster say the same, again and again."""
    try:
        return _read(version, body)
    except (IndexError, struct_error):
        raise invalid("the ApiVersions response is cut off") from None
    except UnicodeDecodeError:
        raise invalid("a text in the ApiVersions response is not UTF-8") from None


def _read(version: int, body: bytes) -> ApiVersionsResponse:
    reader = Reader(memoryview(body), compact=version >= 3)
    error_code = reader.int16()
    if error_code == _UNSUPPORTED and version > 0:
        return _read(0, body)
    versions = []
    for _ in reader.items():
        versions.append((reader.int16(), reader.int16(), reader.int16()))
        reader.tags()
    if version >= 1:
        reader.int32()
    finalized = reader.tags().get(_FINALIZED_FEATURES)
    features = []
    for _ in finalized.items() if finalized is not None else ():
        name, level, _ = finalized.string(), finalized.int16(), finalized.int16()  # type: ignore[union-attr]
        finalized.tags()  # type: ignore[union-attr]
        features.append((name, level))
    return ApiVersionsResponse(error_code, tuple(versions), tuple(features))
