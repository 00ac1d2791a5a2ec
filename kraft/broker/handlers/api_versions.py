"""ApiVersions (key 18): which requests in which versions this broker answers. Versions 0-4.

May come twice on one connection. From version 3 the client says what software it is; a name that is not one
is refused with INVALID_REQUEST (KIP-511).
"""

from __future__ import annotations

import re
from typing import Any

from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode
from kafkawire.features import FEATURES, FINALIZED_EPOCH, supported_features
from kafkawire.messages import response_class
from kraft.broker.dispatch import Request

_SOFTWARE = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9\-.]*[a-zA-Z0-9])?")


def api_versions(request: Request, message: Any) -> Any:
    """The API table, as the client may know it."""
    response = response_class(ApiKey.API_VERSIONS)
    name, version = message.client_software_name, message.client_software_version
    if name is not None:
        if not (_SOFTWARE.fullmatch(name) and _SOFTWARE.fullmatch(version)):
            return response(error_code=ErrorCode.INVALID_REQUEST, api_keys=[], throttle_time_ms=0)
        request.connection.client_software = (name, version)
    keys = [
        response.ApiVersion(api_key=api.key, min_version=api.advertised_min, max_version=api.max_version)
        for api in APIS.values()
    ]
    supported = [
        response.SupportedFeatureKey(
            name=feature.name, min_version=feature.min_level, max_version=feature.max_level
        )
        for feature in supported_features(request.version)
    ]
    finalized = [
        response.FinalizedFeatureKey(
            name=feature.name, min_version_level=feature.finalized, max_version_level=feature.finalized
        )
        for feature in FEATURES
    ]
    return response(
        error_code=0,
        api_keys=keys,
        throttle_time_ms=0,
        supported_features=supported,
        finalized_features_epoch=FINALIZED_EPOCH,
        finalized_features=finalized,
    )
