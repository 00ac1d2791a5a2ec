"""ApiVersions (key 18): which requests in which versions this broker answers. Versions 0-4.

May come twice on one connection. From version 3 the client says what software it is; a name that is not one
is refused with INVALID_REQUEST (KIP-511). No features are finalized.
"""

from __future__ import annotations

import re
from typing import Any

from kafkawire.apis import APIS, ApiKey
from kafkawire.errors import ErrorCode
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
    return response(error_code=0, api_keys=keys, throttle_time_ms=0)
