"""ApiVersions (key 18): which requests in which versions this broker answers. Versions 0-4.

May come twice on one connection. From version 3 the client says what software it is; a name that is not one
is refused with INVALID_REQUEST (KIP-511).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cache

from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.features import FEATURES, FINALIZED_EPOCH, supported_features
from kafkawire.messages import decode_request, encode_response, response_class
from kraft.broker.dispatch import Request

_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")
_CORRELATION = slice(4, 8)
"""Where the correlation id stands in a response's frame."""


def api_versions(request: Request) -> Sequence[bytes]:
    """The API table, as the client may know it."""
    message = decode_request(ApiKey.API_VERSIONS, request.version, request.body)
    correlation_id = request.header.correlation_id
    name, version = message.client_software_name, message.client_software_version
    if name is not None:
        if not (_SOFTWARE.fullmatch(name) and _SOFTWARE.fullmatch(version)):
            refusal = response_class(ApiKey.API_VERSIONS)(
                error_code=ErrorCode.INVALID_REQUEST, api_keys=[], throttle_time_ms=0
            )
            return [encode_response(ApiKey.API_VERSIONS, request.version, correlation_id, refusal)]
        request.connection.client_software = (name, version)
    frame = bytearray(_table(request.version))
    frame[_CORRELATION] = correlation_id.to_bytes(4, "big", signed=True)
    return [bytes(frame)]


@cache
def _table(version: int) -> bytes:
    """The whole response in one version of the API; every connection asks for it first."""
    response = response_class(ApiKey.API_VERSIONS)
    keys = [
        response.ApiVersion(api_key=api.key, min_version=api.advertised_min, max_version=api.max_version)
        for api in APIS.values()
    ]
    supported = [
        response.SupportedFeatureKey(
            name=feature.name, min_version=feature.min_level, max_version=feature.max_level
        )
        for feature in supported_features(version)
    ]
    finalized = [
        response.FinalizedFeatureKey(
            name=feature.name, min_version_level=feature.finalized, max_version_level=feature.finalized
        )
        for feature in FEATURES
    ]
    table = response(
        error_code=0,
        api_keys=keys,
        throttle_time_ms=0,
        supported_features=supported,
        finalized_features_epoch=FINALIZED_EPOCH,
        finalized_features=finalized,
    )
    return encode_response(ApiKey.API_VERSIONS, version, 0, table)
